"""What went wrong with a file, in words."""

from pipeline.errors import one_line


def error_reason(error: OSError) -> str:
    """Return what went wrong, in one line."""
    details = getattr(error, "exception_details", None) or {}  # of BeamIOError: what went wrong with each file
    for cause in details.values():
        return error_reason(cause) if isinstance(cause, OSError) else one_line(cause)
    return error.strerror or one_line(error)
