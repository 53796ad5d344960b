"""What the Reporter is given beside its inputs."""

from components.augmenter.policy import Policy
from modules.evaluation.settings import EvaluateSettings
from modules.network.settings import ModelSettings
from modules.preprocessing.settings import TransformSettings
from modules.training.settings import TrainSettings
from schema.settings import Settings


class ReporterSettings(Settings):
    """The settings of the run that is reported on."""

    pipeline: str
    """Its name."""
    transform: TransformSettings
    model: ModelSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    policy: Policy
    """That made the copies."""
