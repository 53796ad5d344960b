"""Runs the ChangeDetector."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from components import base
from components.artifacts import SPANS
from components.change_detector.detect import detect
from components.change_detector.settings import ChangeDetectorSettings
from components.example_gen.spans import check_there
from schema.reports.serving import Change, ChangeReport

UNCHANGED: Final = "unchanged"
"""Custom property: 1 where the candidate would be the model that serves once more, 0 otherwise."""
VERSION: Final = "version"
"""Custom property: the version that serves, as text; not there without one."""

_IN_WORDS: Final[Mapping[Change, Callable[[int | None], str]]] = {
    "forced": lambda _: "trains, as it is told to",
    "resumed": lambda _: "goes on, since the last run here was cut off or failed",
    "no_model": lambda _: "trains, since no model serves yet",
    "unknown": lambda version: f"trains, since it is not known what version {version} was made of",
    "data": lambda version: f"other data than those of version {version}",
    "settings": lambda version: f"other settings than those of version {version}",
    "code": lambda version: f"other code than that of version {version}",
}

_LOG = logging.getLogger("lungseg.changes")


class Executor(base.Executor[ChangeDetectorSettings]):
    """Looks at the data, the settings, its own code and the serving folder."""

    SETTINGS = ChangeDetectorSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: ChangeDetectorSettings) -> None:  # noqa: ARG002
        """Detect.

        Args:
            inputs: Nothing.
            outputs: `changes`: a `ChangeReport`; its custom properties tell whether it is `unchanged`, which `version`
                serves and which `spans` are read, such as `3,4,5`.
            settings: Where to look, and what counts.

        Raises:
            ValueError: There are no spans, or not the one that is named; or the serving folder's pointer is damaged, or
                names what is no model or no longer the model that was put there.
        """
        check_there(str(settings.data_root), settings.span)
        found = detect(settings)
        for line in _describe(found):
            _LOG.info("%s", line)
        changes = outputs["changes"]
        found.write(changes.uri)
        changes.set_int_custom_property(UNCHANGED, int(found.unchanged))
        changes.set_string_custom_property(SPANS, ",".join(map(str, found.spans)))
        if found.version is not None:
            changes.set_string_custom_property(VERSION, str(found.version))


def _describe(found: ChangeReport) -> list[str]:
    if found.unchanged:
        return [f"none: data, settings and code are those of version {found.version}, which serves"]
    return [_IN_WORDS[change](found.version) for change in found.changes]
