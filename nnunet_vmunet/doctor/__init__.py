"""What stands between this machine and a training, found out without a dataset.

A check is a generator of findings. Those that need torch run in a process of their own (`torch_process`), because what
is broken there may take Python down with it; they come last, because they take seconds.
"""
