"""Cleans up what runs leave behind; says first, or instead, what goes and what stays, and why."""

import datetime
import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from pipeline.console import bar
from pipeline.errors import UserError
from pipeline.gc.plan import Decision, Limits, plan
from pipeline.root import occupied


def read_limits(keep: int, older_than: float | None, max_size: str | None) -> Limits:
    """Read the options of the command.

    Args:
        keep: How many runs.
        older_than: Days.
        max_size: Such as `20GB` or `500 MiB`.

    Raises:
        UserError: One of them is out of its range.
    """
    if keep < 1:
        raise UserError(f"--keep {keep}: must be 1 or more, since the last run is what the next one begins with")
    if older_than is not None and not 0 <= older_than <= datetime.timedelta.max.days:
        raise UserError(f"--older-than {older_than:g}: must be a number of days, 0 or more")
    try:
        size = None if max_size is None else TypeAdapter(ByteSize).validate_python(max_size)
    except ValidationError as error:
        raise UserError(f"--max-size '{max_size}': must be a size, such as 20GB or 500MiB") from error
    return Limits(keep, None if older_than is None else datetime.timedelta(days=older_than), size)


def clean_up(root: Path, limits: Limits, console: Console, *, dry_run: bool, as_json: bool) -> None:
    """Remove what nothing needs under a root, and say what.

    Args:
        root: Of runs or studies.
        limits: What stays beyond what the models of the serving folder need.
        console: Where to say it.
        dry_run: Whether to say it alone.
        as_json: Whether to say it of each item, as JSON.

    Raises:
        UserError: It is no root, a run is under way there, or its store or its serving folder's pointer is damaged.
    """
    from pipeline.gc.read import check_is_root, read_picture  # takes seconds, and what is wrong should be said at once
    from pipeline.gc.remove import remove
    from pipeline.store import has_store

    check_is_root(root)
    # Steps on a cluster hold no lock: what lies on its volume is left alone until it is old.
    with occupied(root, certainly=True) if has_store(root) else nullcontext():
        decisions = plan(read_picture(root), limits, datetime.datetime.now().astimezone())
        items = [decision.item for decision in decisions if not decision.keep]
        if as_json:
            console.print(_to_json(decisions), soft_wrap=True, emoji=False)
        else:
            console.print(_table(decisions, limits))
        if not dry_run:
            with nullcontext(_silent) if as_json else bar(console, "Removing", total=len(items)) as advance_to:
                remove(root, items, advance_to)
    if not as_json:
        console.print(_summary(decisions, limits, dry_run=dry_run), soft_wrap=True)


def _silent(_: int) -> None:
    pass


def _table(decisions: Sequence[Decision], limits: Limits) -> Table:
    """Return a table of what stays and what goes, a row for each reason."""
    last = "the last complete run" if limits.keep == 1 else f"the last {limits.keep} complete runs"
    title = f"What runs have left; {last} of each pipeline and what was begun since may be needed by later ones"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("items", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    groups: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for decision in decisions:
        groups[decision.keep, decision.reason].append(decision.item.bytes)
    for (keep, reason), sizes in sorted(groups.items(), key=lambda group: (not group[0][0], -sum(group[1]))):
        table.add_row("stays" if keep else "goes", str(len(sizes)), decimal(sum(sizes)), reason)
    return table


def _summary(decisions: Sequence[Decision], limits: Limits, *, dry_run: bool) -> str:
    goes, stays = (sum(each.item.bytes for each in decisions if each.keep == keep) for keep in (False, True))
    said = f"{decimal(goes)} {'would go' if dry_run else 'removed'}, {decimal(stays)} of {decimal(goes + stays)} stay"
    if limits.max_bytes is not None and stays > limits.max_bytes:
        said += f", more than {decimal(limits.max_bytes)}: models need them, or they are of the newest or of young runs"
    return said


def _to_json(decisions: Sequence[Decision]) -> str:
    return json.dumps(
        [
            {
                "name": decision.item.name,
                "keep": decision.keep,
                "reason": decision.reason,
                "bytes": decision.item.bytes,
                "paths": [str(path) for path in decision.item.paths],
            }
            for decision in decisions
        ],
        indent=1,
    )
