"""What the user did wrong, told in one line."""


class UserError(Exception):
    """Wrong input or configuration: the command line prints the message alone and exits with 2.

    The message is one line that says what is wrong, where, and what to do.
    """
