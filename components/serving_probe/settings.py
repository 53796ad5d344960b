"""What the ServingProbe sends."""

from schema.settings import Settings


class ProbeSettings(Settings):
    """Where the images come from that are sent to the model."""

    split: str = "test"
    """Of whose originals a few are taken."""
