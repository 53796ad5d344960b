"""What the DataGate raises; imports nothing, so that the command line can tell it from other failures."""


class DataError(ValueError):
    """Data is over a limit; the message is one line that says which, names the first case, and what to do."""
