"""What the Evaluator is given beside its inputs."""

from modules.evaluation.settings import EvaluateSettings
from schema.reports.training import Training
from schema.settings import Settings


class EvaluatorSettings(Settings):
    """How a model is judged, and whose it is."""

    evaluate: EvaluateSettings = EvaluateSettings()
    training: Training | None = None
    """Which training of a study made the candidate; None in a run."""
