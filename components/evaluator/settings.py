"""What the Evaluator is given beside its inputs."""

from modules.evaluation.settings import EvaluateSettings
from schema.reports.training import Training
from schema.settings import Settings


class EvaluatorSettings(Settings):
    """How a model is judged, and what it is compared with."""

    evaluate: EvaluateSettings = EvaluateSettings()
    baseline_name: str = ""
    """What the baseline is, in words; empty: the version that its artifact tells."""
    training: Training | None = None
    """Which training of a study made the candidate; None in a run."""
