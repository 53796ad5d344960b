"""What those components are given that read or write the serving folder."""

from pathlib import Path

from schema.settings import Settings


class ServingFolderSettings(Settings):
    """The serving folder, and what a model of it is compared with."""

    serving_dir: Path
    """Holds a numbered folder a model (see `modules.serving.serving_dir`)."""
    candidate_key: str
    """Identifies everything beside the examples that makes and judges the candidate."""
    baseline_key: str
    """Identifies the model that it has to stand comparison with (`serving_dir.baseline_key`); empty on Kubeflow, where
    only the steps see the folder."""
