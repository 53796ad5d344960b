"""What was probably meant by an unknown name."""

import pytest

from schema.suggestions import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "known", "similarity", "expected"),
    [
        ("foldr", ["csv", "folder"], 0.6, "folder"),
        ("xyz", ["csv", "folder"], 0.6, None),
        ("xyz", ["folder"], 0.0, "folder"),
        ("folder", [], 0.0, None),
    ],
)
def test_nearest(name: str, known: list[str], similarity: float, expected: str | None) -> None:
    assert nearest(name, iter(known), similarity) == expected


def test_did_you_mean() -> None:
    assert did_you_mean("foldr", {"folder": 1, "csv": 2}) == "; did you mean 'folder'?"
    assert did_you_mean("xyz", ["folder"]) == ""
