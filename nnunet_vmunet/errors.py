"""The one exception that a user's input may raise."""


class InputError(Exception):
    """Something that the user gave cannot be used: the message names it and says what to do, in one line.

    The command line prints the message without a traceback and exits with code 2.
    """
