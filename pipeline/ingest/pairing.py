"""Finds the masks of each image by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.ingest.images import EXTENSIONS


@dataclass(frozen=True, order=True)
class Rejection:
    """A file that cannot be taken.

    Attributes:
        file: path below the input folder, with forward slashes.
        reason: one line that follows the file's name: "has no mask in masks/".
    """

    file: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """An image and its masks, of which there are two where each lung has its own."""

    image: Path
    masks: tuple[Path, ...]


def pair_by_name(
    root: Path, image_folder: str, mask_folders: Sequence[str], mask_suffix: str = ""
) -> tuple[list[Pair], list[Rejection]]:
    """Pairs the images with the masks of the same stem in each of the mask folders.

    Hidden files and those without an image extension are passed over.

    Args:
        root: the input folder.
        image_folder: below `root`.
        mask_folders: below `root`; an image needs a mask in each.
        mask_suffix: what a mask's stem may carry after the image's.

    Returns:
        The pairs and what has no partner, both in the order of their names. Each image is in one of them;
        a mask is rejected only where it has no image at all.

    Raises:
        UserError: there is no image.
    """
    images = _by_stem(root, image_folder)
    if not images:
        raise UserError(f"{root / image_folder} holds no images ({', '.join(EXTENSIONS)})")
    masks = {folder: _by_stem(root, folder, mask_suffix) for folder in mask_folders}
    pairs = []
    rejections = []
    for stem in sorted(images):
        found = {folder: masks[folder].pop(stem, []) for folder in mask_folders}
        reason = _ambiguity(root, stem, images[stem]) or _mask_problem(found)
        if reason:
            rejections += [Rejection(relative(root, file), reason) for file in images[stem]]
        else:
            pairs.append(Pair(images[stem][0], tuple(files[0] for files in found.values())))
    orphans = [file for folder in mask_folders for files in masks[folder].values() for file in files]
    rejections += [
        Rejection(relative(root, file), f"is a mask without an image in {image_folder}/") for file in orphans
    ]
    return pairs, sorted(rejections)


def relative(root: Path, file: Path) -> str:
    """The path of a file below the input folder, as rejections name it."""
    return file.relative_to(root).as_posix()


def _by_stem(root: Path, folder: str, suffix: str = "") -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in sorted((root / folder).iterdir()):
        if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".") and file.is_file():
            files.setdefault(file.stem.removesuffix(suffix), []).append(file)
    return files


def _ambiguity(root: Path, stem: str, images: Sequence[Path]) -> str | None:
    if len(images) == 1:
        return None
    names = ", ".join(relative(root, image) for image in images)
    return f"is one of {len(images)} images named '{stem}': {names}"


def _mask_problem(masks: dict[str, list[Path]]) -> str | None:
    for folder, files in masks.items():
        if not files:
            return f"has no mask in {folder}/"
        if len(files) > 1:
            return f"has {len(files)} masks in {folder}/: {', '.join(file.name for file in files)}"
    return None
