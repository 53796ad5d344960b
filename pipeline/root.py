"""What lies under the root of a run or a study."""

from pathlib import Path
from typing import Final

from pipeline.errors import UserError

CONFIG_FILE: Final = "config.yaml"
"""The configuration that the last run or study had."""
LOG_FILE: Final = "log.txt"
METADATA_FILE: Final = "metadata.sqlite"
REPORT_DIR: Final = "report"
STUDY_SUFFIX: Final = "-study"
"""Behind the name of a pipeline that is a study."""


def check_root(root: Path) -> None:
    """Make the root; raise UserError where it cannot be made or written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"root '{root}' cannot be written: {error.strerror}") from error
