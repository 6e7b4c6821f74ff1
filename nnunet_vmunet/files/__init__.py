"""Files of every kind that the commands read and write, and the processes that do it.

Everything here is quick to import: worker processes start with it. Other packages take from it, it takes from none.
"""
