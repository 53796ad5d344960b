"""Names of results: those of the inputs, with as much of their folders as tells them apart.

>>> distinct_names(["north/a.png", "south/a.png", "s3://clinic/b.png"])
['north-a', 'south-a', 'b']
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.ingest.formats.extensions import stem_of
from pipeline.ingest.storage.files import absolute


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each path or URL, no two alike even where capitals are not told from small letters.

    A name is what is left of the file's without its extension. Where that is not enough, the extension is kept of those
    in one folder, and folders are put before it.
    """
    # Of a URL, the bucket counts as a folder.
    whole = [Path("/", to_text(absolute(path)).rpartition("://")[2]) for path in paths]
    stems = [stem_of(path.name) or path.name for path in whole]
    places = [(path.parent, _key(stem)) for path, stem in zip(whole, stems, strict=True)]
    sharing = Counter(places)
    leaves = [path.name if sharing[place] > 1 else stem for path, stem, place in zip(whole, stems, places, strict=True)]
    depths = [0] * len(whole)
    while True:
        names = [_join(path, leaf, depth) for path, leaf, depth in zip(whole, leaves, depths, strict=True)]
        counts = Counter(map(_key, names))
        alike = [index for index, name in enumerate(names) if counts[_key(name)] > 1]
        growing = [index for index in alike if depths[index] < len(whole[index].parts) - 2]
        if not growing:
            return _number(names)
        for index in growing:
            depths[index] += 1


def to_text(path: str) -> str:
    """Return a path as text that can be written anywhere: names of files may hold bytes that are none."""
    return path.encode("utf-8", "backslashreplace").decode()


def _key(name: str) -> str:
    return name.casefold()


def _join(path: Path, leaf: str, depth: int) -> str:
    folders = path.parts[1:-1]
    return "-".join([*folders[len(folders) - depth :], leaf])


def _number(names: Sequence[str]) -> list[str]:
    """Put a number behind names that whole paths do not tell apart, as those of `a-b/c` and `a/b-c`."""
    taken: set[str] = set()
    distinct = []
    for name in names:
        candidate, number = name, 1
        while _key(candidate) in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(_key(candidate))
        distinct.append(candidate)
    return distinct
