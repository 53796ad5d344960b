"""Compares what a run would make a model of with what the model that serves was made of.

Files of records are told apart by name, size and time of change, as ExampleGen's cache tells them apart: it costs as
little for a terabyte as for a megabyte, and after a copy without the times a run trains once more.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from components.change_detector.settings import ChangeDetectorSettings
from components.code_version import RUN_CODE, code_version
from components.example_gen.spans import RECORDS, Span, choose
from modules.serving.serving_dir import current_origin, current_version
from schema.reports.serving import Change, ChangeReport, Origin

_ORDER: Final[tuple[Change, ...]] = ("data", "settings", "code")


def detect(settings: ChangeDetectorSettings) -> ChangeReport:
    """Tell what a model would be made of, and in what that differs from the one that serves.

    Raises:
        ValueError: The serving folder's pointer is damaged, or names what is no model or no longer the model that was
            put there.
    """
    version = current_version(settings.serving_dir)
    spans = _spans(settings)
    origin = Origin(
        data=_digest(_describe_files(settings, spans)),
        settings=_digest([json.dumps(settings.run, sort_keys=True)]),
        code=code_version(*RUN_CODE),
    )
    return ChangeReport(
        origin=origin,
        spans=[span.span for span in spans],
        version=version,
        changes=[settings.regardless]
        if settings.regardless
        else _compare(origin, version, current_origin(settings.serving_dir)),
    )


def cache_key(settings: ChangeDetectorSettings) -> str:
    """Identify what is found: all runs that train with the same have one key, whatever serves meanwhile.

    Raises:
        ValueError: As of `detect`.
    """
    found = detect(settings)
    return _digest([found.origin.model_dump_json(), str(found.version) if found.unchanged else ""])


def _compare(origin: Origin, version: int | None, served: Origin | None) -> list[Change]:
    if version is None:
        return ["no_model"]
    if served is None:
        return ["unknown"]
    return [kind for kind in _ORDER if getattr(origin, kind) != getattr(served, kind)]


def _spans(settings: ChangeDetectorSettings) -> list[Span]:
    return choose(str(settings.data_root), settings.span, settings.spans)


def _describe_files(settings: ChangeDetectorSettings, spans: list[Span]) -> Iterable[str]:
    sets = {f"span {span.span}": (settings.data_root, RECORDS.format(SPAN=span.span)) for span in spans}
    sets |= {f"external {name}": (folder, RECORDS.format(SPAN="*")) for name, folder in settings.external.items()}
    for name, (folder, pattern) in sorted(sets.items()):
        for file in sorted(folder.glob(pattern)):
            status = file.stat()
            yield f"{name} {file.relative_to(folder)} {status.st_size} {status.st_mtime_ns}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
