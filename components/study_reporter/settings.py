"""What the StudyReporter is given beside its inputs."""

from components.augmenter.policy import Policy
from schema.settings import Settings


class StudyReporterSettings(Settings):
    """The study that is reported on."""

    pipeline: str
    """Its name."""
    policy: Policy
    """That made the copies of test images."""
