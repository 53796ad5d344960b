"""What the DataGate raises; imports nothing, so that the command line can tell it from other failures."""


class DataError(ValueError):
    """Data is over a limit; the message is one line that says which, names the first case, and what to do.

    Attributes:
        case: As much of it as may be told to anybody: without names of images or patients, and values of theirs.
    """

    def __init__(self, message: str, case: str = "data are over a limit") -> None:
        """Take the message and the case."""
        super().__init__(message)
        self.case = case
