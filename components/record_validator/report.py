"""What the RecordValidator tells: three files.

`validation.json`: `limits`, the settings; `sets`, for each split and external set how many records were `read`,
`validated` and `quarantined`, how many of these `leaked`, its `patients`, and the quarantined by `reasons`, all by
`sources`, and the sound records by `sizes`; `leaks`, their `total` and the gravest `named`, with `text`, `remedy` and
both records; `left_out`, comparisons that were not made as too many images look alike.

`quarantined.jsonl`: a line for each record in quarantine: where it is, its names, hash, reason and detail.

`thumbnails.png`: the first of them, where there are any.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from apache_beam.runners.runner import PipelineResult
from tfx.utils import io_utils

from components.counters import read_counters
from components.record_validator.checks.check_records import QUARANTINED, READ, VALIDATED, Refused, by_size, by_source
from components.record_validator.leaks.duplicate_keys import PATIENTS
from components.record_validator.leaks.find_leaks import COMPARED, KEPT, LEAKS, LEFT_OUT
from components.record_validator.leaks.partitions import NAMED, Leak, Member, Place
from components.record_validator.settings import RecordValidationSettings

VALIDATION: Final = "validation.json"
LISTING: Final = "quarantined.jsonl"
SHEET: Final = "thumbnails.png"

Json = dict[str, Any]


class Told(NamedTuple):
    """What the pipeline wrote: lines of `line` and of `lines_of_leaks`."""

    quarantined: list[Json]
    leaks: list[Json]


def line(refused: Refused) -> str:
    """A line of the listing."""
    finding, member = refused.finding, refused.member
    entry = {
        **_whereabouts(refused.place, member),
        "record": member.at.removeprefix(f"{refused.place}: "),
        "sha256": member.sha256,
        "reason": finding.reason,
        "detail": finding.detail,
        "leaked": finding.leaked,
    }
    return json.dumps(entry)


def lines_of_leaks(leaks: list[Leak]) -> Iterator[str]:
    """A line for each leak."""
    for leak in leaks:
        yield json.dumps(
            {
                "reason": leak.reason,
                "text": str(leak),
                "remedy": leak.remedy(),
                "kept": _whereabouts(leak.kept, leak.kept_member),
                "dropped": _whereabouts(leak.dropped, leak.dropped_member),
            }
        )


def write(
    folder: str, places: Sequence[Place], result: PipelineResult, settings: RecordValidationSettings, told: Told
) -> Json:
    """Writes the report, but for the sheet, and gives `validation.json`.

    Raises:
        RuntimeError: a split or a set is empty, or records or leaks got lost on the way.
    """
    of_leaks = read_counters(result, LEAKS)
    if len(told.leaks) != min(of_leaks[LEAKS], NAMED):
        msg = f"leaks got lost: {of_leaks[LEAKS]} found, {len(told.leaks)} of at most {NAMED} listed"
        raise RuntimeError(msg)
    if of_leaks[COMPARED] != of_leaks[KEPT]:
        msg = f"facts got lost: {of_leaks[KEPT]} records were to be compared, {of_leaks[COMPARED]} were"
        raise RuntimeError(msg)
    listed = sorted(told.quarantined, key=lambda one: (one["kind"], one["name"], one["image_id"], one["record"]))
    validation = {
        "limits": settings.model_dump(mode="json"),
        "sets": [_summarise(place, result, listed) for place in places],
        "leaks": {"total": of_leaks[LEAKS], "named": told.leaks},
        "left_out": of_leaks[LEFT_OUT],
    }
    lines = "".join(json.dumps(one) + "\n" for one in listed)
    io_utils.write_string_file(os.path.join(folder, LISTING), lines)
    io_utils.write_string_file(os.path.join(folder, VALIDATION), json.dumps(validation, indent=1))
    return validation


def _whereabouts(place: Place, member: Member) -> Json:
    names = {name: getattr(member, name) for name in ("image_id", "patient_id", "source")}
    return {"kind": place.kind, "name": place.name, **names}


def _summarise(place: Place, result: PipelineResult, listed: Sequence[Json]) -> Json:
    counts = read_counters(result, str(place))
    mine = [one for one in listed if (one["kind"], one["name"]) == place]
    _reconcile(place, counts, len(mine))
    return {
        "kind": place.kind,
        "name": place.name,
        **{name: counts[name] for name in (READ, VALIDATED, QUARANTINED, PATIENTS)},
        "leaked": sum(one["leaked"] for one in mine),
        "reasons": _by_reason(mine),
        "sources": {
            source: {READ: read, **_refused([one for one in mine if one["source"] == source])}
            for source, read in sorted(read_counters(result, by_source(place)).items())
        },
        "sizes": dict(sorted(read_counters(result, by_size(place)).items())),
    }


def _refused(listed: Sequence[Json]) -> Json:
    return {QUARANTINED: len(listed), "reasons": _by_reason(listed)}


def _by_reason(listed: Sequence[Json]) -> dict[str, int]:
    return dict(sorted(Counter(one["reason"] for one in listed).items()))


def _reconcile(place: Place, counts: Mapping[str, int], listed: int) -> None:
    """What was read must have come out: runners have been seen to lose records without an error."""
    read, validated, quarantined = (counts[name] for name in (READ, VALIDATED, QUARANTINED))
    if read == 0:
        msg = f"{place} has no records: each of train, eval, test and external sets needs patients, so add more of them"
        raise RuntimeError(msg)
    if read != validated + quarantined or quarantined != listed:
        msg = f"{place} lost records: {read} read, {validated} validated, {quarantined} in quarantine, {listed} listed"
        raise RuntimeError(msg)
