"""Hints for names that Albumentations does not know, and its errors in one line.

>>> hint_argument("limits", ["limit", "fill"])
"; did you mean 'limit'?"
"""

from collections.abc import Iterable, Sequence

from schema.suggestions import did_you_mean

_LIKE = 0.5
_FILL, _FILL_MASK, _BORDER = "fill", "fill_mask", "border_mode"
_FORMER = {
    **dict.fromkeys(("value", "cval", "pad_val", "pad_cval", "fill_value"), _FILL),
    **dict.fromkeys(("mask_value", "cval_mask", "mask_pad_val", "pad_cval_mask", "mask_fill_value"), _FILL_MASK),
    **dict.fromkeys(("mode", "pad_mode"), _BORDER),
}
"""What arguments of former versions of Albumentations are called now."""
_GONE = {
    "always_apply": "write `p: 1` beside `name` where it is to fire always",
    "alpha_affine": "list an Affine transform of its own",
}
"""What to do in place of arguments that only former versions had."""


def hint_nearest(name: str, known: Iterable[str]) -> str:
    """Name what a name most likely means; nothing where none is like it."""
    return did_you_mean(name, known, _LIKE)


def hint_argument(argument: str, known: Sequence[str]) -> str:
    """Say what to write in place of an argument that a transform does not have."""
    if argument in _GONE:
        return f"; {_GONE[argument]}"
    if _FORMER.get(argument) in known:
        return f"; did you mean '{_FORMER[argument]}'?"
    return hint_nearest(argument, known) or (f"; known are {', '.join(known)}" if known else "; it takes none")


def one_line(error: BaseException) -> str:
    """Return an error's message without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
