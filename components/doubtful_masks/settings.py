"""What DoubtfulMasks is given beside its inputs."""

from schema.settings import Settings


class DoubtfulMasksSettings(Settings):
    """The study whose masks are ranked."""

    pipeline: str
    """Its name."""
