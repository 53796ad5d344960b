"""Holds reports against limits; pure functions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from components.data_gate.settings import GateSettings
from components.example_validator.anomalies import Anomaly

Json = Mapping[str, Any]

_STOPPING: Final = {"error": ("error",), "warning": ("error", "warning"), "never": ()}


def object_to_records(validation: Json, settings: GateSettings) -> Iterator[str]:
    """What of `validation.json` is over a limit, the gravest first, a line each."""
    yield from _leaks(validation["leaks"], settings.max_leaks)
    splits = [one for one in validation["sets"] if one["kind"] == "split"]
    external = [one for one in validation["sets"] if one["kind"] != "split"]
    for one in validation["sets"]:
        if not one["validated"]:
            yield f"{one['kind']} '{one['name']}' has none of {one['read']} records left{_why([one])}: add sound ones"
    for name, sets in [("the splits", splits), *((f"external set '{one['name']}'", [one]) for one in external)]:
        yield from _bad(name, sets, settings.max_bad_share)


def object_to_anomalies(anomalies: Sequence[Anomaly], settings: GateSettings) -> Iterator[str]:
    """The first anomaly that stops a run, if there is one, in a line."""
    stopping = [one for one in anomalies if one.severity in _STOPPING[settings.severity]]
    if stopping:
        first = stopping[0]
        where = f"feature '{first.feature}' of split '{first.split}'" if first.feature else f"split '{first.split}'"
        yield (
            f"{where}: {first.text.rstrip('.')}{_more(len(stopping))}: mend the data, or the schema, or set severity "
            f"to {'error or ' if first.severity == 'warning' else ''}never"
        )


def _leaks(leaks: Json, limit: int) -> Iterator[str]:
    if leaks["total"] > limit:
        first = leaks["named"][0]
        yield f"{first['text']}{_more(leaks['total'])} (max_leaks is {limit}): {first['remedy']}"


def _bad(name: str, sets: Sequence[Json], limit: float) -> Iterator[str]:
    read = sum(one["read"] for one in sets)
    bad = sum(one["quarantined"] - one["leaked"] for one in sets)
    if bad > limit * read:
        yield (
            f"{bad} of {read} records of {name} are refused (max_bad_share is {limit:g}){_why(sets)}: "
            "mend them, or leave them out, and ingest the set again"
        )


def _why(sets: Sequence[Json]) -> str:
    reasons = sum((Counter(one["reasons"]) for one in sets), Counter[str]())
    return ": " + ", ".join(f"{reason} {number}" for reason, number in reasons.most_common()) if reasons else ""


def _more(total: int) -> str:
    return f", and {total - 1} more" if total > 1 else ""
