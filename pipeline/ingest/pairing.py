"""Pairs images and masks by the stems of their names.

>>> pair_by_stem("a", "images", {"images/a.png": ["images/a.png"]}, {"masks": ["masks/a.png"]})
Pair(image='images/a.png', files=('images/a.png',), masks=('masks/a.png',))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize


@dataclass(frozen=True, order=True)
class Rejection:
    """A file that cannot be taken.

    Attributes:
        file: Path below the input folder, with forward slashes.
        reason: One line that follows the file's name: "has no mask in masks/".
    """

    file: str
    reason: str


@dataclass(frozen=True, order=True)
class Remark:
    """What a user should know of the input, though nothing is refused for it: one line."""

    text: str


@dataclass(frozen=True)
class Pair:
    """An image and its masks; names below the input folder.

    Attributes:
        image: Name of the image: of its file, or of the folder that holds its files.
        files: Of the image, in the order of their names.
        masks: Two where each lung has its own.
    """

    image: str
    files: tuple[str, ...]
    masks: tuple[str, ...]


def stem_key(stem: str) -> bytes:
    """Return a stem as a key: bytes, since names need not be UTF-8 text."""
    return stem.encode("utf-8", "surrogateescape")


def pairing_key(stem: str) -> bytes:
    """Return the key by which files pair: accents may be a part of their letters, or characters of their own."""
    return stem_key(normalize("NFC", stem))


def pair_by_stem(
    stem: str,
    image_folder: str,
    images: Mapping[str, Sequence[str]],
    masks: Mapping[str, Sequence[str]],
    passed_over: Mapping[str, Sequence[str]] | None = None,
) -> Pair | list[Rejection]:
    """Pair what has one stem: one image with one mask of each folder.

    Args:
        stem: That the files share.
        image_folder: Where images are looked for.
        images: Files by the name of their image, below the input folder.
        masks: Names of the masks, likewise, by the folder in which they are looked for.
        passed_over: Names of files that have the stem and an extension that is not looked for, likewise.

    Returns:
        The pair, or why there is none: a rejection for each image, or, where there is no image, for each mask.
    """
    passed_over = passed_over or {}
    found = [file for files in masks.values() for file in sorted(files)]
    if not images:
        others = _name_others(passed_over, image_folder)
        return [Rejection(file, f"is a mask without an image in {image_folder}/{others}") for file in found]
    names = sorted(images)
    reason = _image_problem(stem, names) or _mask_problem(masks, passed_over)
    if reason:
        return [Rejection(name, reason) for name in names]
    return Pair(names[0], tuple(sorted(images[names[0]])), tuple(found))


def _image_problem(stem: str, images: Sequence[str]) -> str | None:
    """Return what is wrong where several images have one stem."""
    return None if len(images) == 1 else f"is one of {len(images)} images named '{stem}': {', '.join(images)}"


def _mask_problem(masks: Mapping[str, Sequence[str]], passed_over: Mapping[str, Sequence[str]]) -> str | None:
    """Return what is wrong where a folder has no mask of an image, or several."""
    for folder, files in masks.items():
        if not files:
            return f"has no mask in {folder}/{_name_others(passed_over, folder)}"
        if len(files) > 1:
            names = ", ".join(sorted(file.rpartition("/")[2] for file in files))
            return f"has {len(files)} masks in {folder}/: {names}"
    return None


def _name_others(passed_over: Mapping[str, Sequence[str]], folder: str) -> str:
    """Return the end of a reason that says which files may have been meant; "" where there are none."""
    names = ", ".join(sorted(passed_over.get(folder, ())))
    return f" (passed over for the ending of its name: {names})" if names else ""
