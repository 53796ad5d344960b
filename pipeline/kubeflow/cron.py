"""Cron expressions as Kubeflow reads them: checked before they are sent, and in words."""

import re

from pipeline.errors import UserError

CRON_EXAMPLE = "0 0 2 * * 1"
"""Mondays at two."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)


def check_cron(cron: str) -> str:
    """Check a cron expression as Kubeflow reads it (the dialect of robfig/cron, version 1).

    Kubeflow itself would take five fields too, but as seconds to months.

    Returns:
        The six fields, a space between them.

    Raises:
        UserError: Their number is wrong, or one holds what it cannot.
    """
    fields = cron.split()
    if len(fields) == 5:
        raise UserError(
            f"--cron: cron has five fields; Kubeflow's has six, seconds first: write '0 {' '.join(fields)}'"
        )
    if len(fields) != len(_FIELDS):
        all_names = ", ".join(name for name, *_ in _FIELDS)
        raise UserError(
            f"--cron '{cron}': must have six fields ({all_names}), such as '{CRON_EXAMPLE}', but has {len(fields)}"
        )
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        if not all(_fits(part, low, high, names) for part in field.split(",")):
            named = f" or {names[0]}-{names[-1]}" if names else ""
            raise UserError(
                f"--cron '{cron}': the {name} is '{field}', must be made of {low}-{high}{named}, *, ?, ',', '-', '/'"
            )
    return " ".join(fields)


def _fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Return whether it is `*`, `?`, a value or a range of them, with or without a step."""
    match = re.fullmatch(r"(?:[*?]|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]+))?", part)
    if match is None or (match[3] or "1").strip("0") == "":
        return False
    ends = [
        names.index(end.upper()) + low if end.upper() in names else int(end) if end.isdigit() else -1
        for end in match.groups()[:2]
        if end is not None
    ]
    return ends == sorted(ends) and all(low <= end <= high for end in ends)


def cron_in_words(cron: str) -> str:
    """Say when a checked cron expression fires, such as `At 02:00, only on Monday`."""
    from cron_descriptor import Options, get_description  # type: ignore[import-untyped, unused-ignore]

    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"
    return str(get_description(cron, options))


def when(cron: str | None) -> str:
    """Say when a schedule of the cluster fires; what this product cannot have set is given as it stands."""
    if cron is None:
        return "not by cron"
    try:
        return cron_in_words(check_cron(cron))
    except UserError:
        return cron
