"""What the ChangeDetector is given."""

from pathlib import Path

from pydantic import Field, JsonValue

from schema.reports.serving import Regardless
from schema.settings import Settings


class ChangeDetectorSettings(Settings):
    """Where the data and the model that serves are, and by what a new model would be made."""

    serving_dir: Path
    """Holds a numbered folder a model (see `modules.serving.serving_dir`)."""
    data_root: Path
    """Folder with `span-N/`."""
    span: int | None = None
    """The newest span that is read; None: the latest there is."""
    spans: int = 1
    """How many spans are read, back from the newest."""
    external: dict[str, Path] = Field(default={})
    """External test sets by name."""
    run: dict[str, JsonValue]
    """All of the configuration that makes and judges a model, beside what the data are."""
    regardless: Regardless | None = None
    """Why to train even where nothing has changed."""
    cache_key: str = ""
    """Identifies what is found (`detect.cache_key`), for caches: folders change without them knowing; empty on
    Kubeflow, where only the steps see the folders."""
