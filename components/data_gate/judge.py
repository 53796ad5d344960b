"""Holds reports against limits; pure functions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from components.data_gate.settings import GateSettings
from schema.reports.statistics import Anomaly
from schema.reports.validation import Leaks, SetSummary, ValidationReport

_STOPPING: Final = {"error": ("error",), "warning": ("error", "warning"), "never": ()}


class Objection(NamedTuple):
    """What is over a limit; its text is one line."""

    case: str
    """Without names of images or patients, and values of theirs."""
    named: str
    """The same with them."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.named}: {self.remedy}"


def object_to_records(validation: ValidationReport, settings: GateSettings) -> Iterator[Objection]:
    """Tell what of a report is over a limit, the gravest first."""
    yield from _leaks(validation.leaks, settings.max_leaks)
    splits = [set_ for set_ in validation.sets if set_.kind == "split"]
    external = [set_ for set_ in validation.sets if set_.kind != "split"]
    for set_ in validation.sets:
        if not set_.validated:
            case = f"{set_.kind} '{set_.name}' has none of {set_.read} records left{_why([set_])}"
            yield Objection(case, case, "add sound ones")
    for name, sets in [("the splits", splits), *((f"external set '{set_.name}'", [set_]) for set_ in external)]:
        yield from _bad(name, sets, settings.max_bad_share)


def object_to_anomalies(anomalies: Sequence[Anomaly], settings: GateSettings) -> Iterator[Objection]:
    """Tell the first anomaly that stops a run, if there is one."""
    stopping = [anomaly for anomaly in anomalies if anomaly.severity in _STOPPING[settings.severity]]
    if stopping:
        first = stopping[0]
        where = f"feature '{first.feature}' of split '{first.split}'" if first.feature else f"split '{first.split}'"
        more = _more(len(stopping))
        yield Objection(
            f"{where}: an anomaly ({first.severity}){more}",
            f"{where}: {first.text.rstrip('.')}{more}",
            "mend the data, or the schema, or set severity to "
            f"{'error or ' if first.severity == 'warning' else ''}never",
        )


def _leaks(leaks: Leaks, limit: int) -> Iterator[Objection]:
    if leaks.total > limit:
        first, over = leaks.named[0], f"{_more(leaks.total)} (max_leaks is {limit})"
        sets = f"{first.kept.kind} '{first.kept.name}' and {first.dropped.kind} '{first.dropped.name}'"
        yield Objection(f"a leak between {sets}, {first.reason}{over}", f"{first.text}{over}", first.remedy)


def _bad(name: str, sets: Sequence[SetSummary], limit: float) -> Iterator[Objection]:
    read = sum(set_.read for set_ in sets)
    bad = sum(set_.quarantined - set_.leaked for set_ in sets)
    if bad > limit * read:
        case = f"{bad} of {read} records of {name} are refused (max_bad_share is {limit:g}){_why(sets)}"
        yield Objection(case, case, "mend them, or leave them out, and ingest the set again")


def _why(sets: Sequence[SetSummary]) -> str:
    reasons = sum((Counter(set_.reasons) for set_ in sets), Counter[str]())
    return ": " + ", ".join(f"{reason} {number}" for reason, number in reasons.most_common()) if reasons else ""


def _more(total: int) -> str:
    return f", and {total - 1} more" if total > 1 else ""
