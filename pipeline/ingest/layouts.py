"""The folder layouts that can be ingested; a new one is an entry of `LAYOUTS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.ingest.metadata import CellError, Description, describe, read_metadata
from pipeline.ingest.pairing import Pair, Rejection, pair_by_name, relative
from schema import features

_METADATA: Final = "metadata.csv"
_LUNG_FOLDERS: Final = ("ManualMask/leftMask", "ManualMask/rightMask")
_MASK_SUFFIX: Final = "_mask"
# Both data sets of the National Library of Medicine end an image's name so.
_FINDINGS: Final = {"_0": "normal", "_1": "tuberculosis"}


@dataclass(frozen=True)
class Sample:
    """An image to be ingested, with its masks (joined by OR) and its description."""

    image: Path
    masks: tuple[Path, ...]
    description: Description

    @property
    def image_id(self) -> str:
        """Name of the record: the image's stem."""
        return self.image.stem


@dataclass(frozen=True)
class Listing:
    """What an input folder holds.

    Attributes:
        root: the input folder.
        samples: in the order of their names.
        rejections: what was refused before any image was read.
    """

    root: Path
    samples: Sequence[Sample]
    rejections: Sequence[Rejection]

    @property
    def found(self) -> int:
        """Images, and masks without one."""
        return len(self.samples) + len(self.rejections)


@dataclass(frozen=True)
class Layout:
    """One way of laying out images and masks.

    Attributes:
        looks_for: the folders that make it, in words.
        fits: whether a folder holds them.
        find: lists a folder that fits; takes the source to be named where the folder's own metadata names none.
    """

    looks_for: str
    fits: Callable[[Path], bool]
    find: Callable[[Path, str | None], Listing]


def find_samples(layout: str, root: Path, source: str | None = None) -> Listing:
    """Lists the samples of an input folder without reading images.

    Args:
        layout: a name in `LAYOUTS`.
        root: the input folder.
        source: hospital or data set, where the folder's metadata names none; by default the layout's own.

    Raises:
        UserError: the layout is unknown, the folder is missing, does not fit or holds no images, or its metadata
            cannot be read.
    """
    if layout not in LAYOUTS:
        nearest = get_close_matches(layout, LAYOUTS, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise UserError(f"unknown layout '{layout}': known are {', '.join(LAYOUTS)}{hint}")
    if not root.exists():
        raise UserError(f"{root} does not exist")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    try:
        if not LAYOUTS[layout].fits(root):
            raise UserError(_misfit(layout, root))
        return LAYOUTS[layout].find(root, source)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def _misfit(layout: str, root: Path) -> str:
    fitting = [name for name, other in LAYOUTS.items() if other.fits(root)]
    hint = f"; the layout '{fitting[0]}' would fit" if fitting else ""
    return f"{root} does not fit the layout '{layout}', which looks for {LAYOUTS[layout].looks_for}{hint}"


def _has(*folders: str) -> Callable[[Path], bool]:
    return lambda root: all((root / folder).is_dir() for folder in folders)


def _find_folder(root: Path, source: str | None) -> Listing:
    pairs, rejections = pair_by_name(root, "images", ("masks",))
    metadata = root / _METADATA
    rows = read_metadata(metadata) if metadata.exists() else {}
    # Without its patients, a data set would be split by image, and one patient land on both sides.
    if rows and pairs and not any(pair.image.stem in rows for pair in pairs):
        raise UserError(f"{metadata} lists {len(rows)} images, none of which is in {root / 'images'} with a mask")

    def description(stem: str) -> Description:
        defaults = Description(patient_id=stem, source=source or root.resolve().name or features.UNKNOWN)
        return describe(rows[stem], defaults) if stem in rows else defaults

    return _describe_pairs(root, pairs, rejections, description)


def _find_montgomery(root: Path, source: str | None) -> Listing:
    pairs, rejections = pair_by_name(root, "CXR_png", _LUNG_FOLDERS)
    return _describe_pairs(root, pairs, rejections, _described_by_name(source or "montgomery"))


def _find_shenzhen(root: Path, source: str | None) -> Listing:
    images, masks = _shenzhen_folders(root)
    pairs, rejections = pair_by_name(root, images[0], masks[:1], _MASK_SUFFIX)
    return _describe_pairs(root, pairs, rejections, _described_by_name(source or "shenzhen"))


def _shenzhen_folders(root: Path) -> tuple[list[str], list[str]]:
    """Image and mask folders that are there: copies of the data set name them in two ways."""
    images = [name for name in ("CXR_png", "images") if (root / name).is_dir()]
    masks = [name for name in ("mask", "masks") if (root / name).is_dir()]
    return images, masks


def _described_by_name(source: str) -> Callable[[str], Description]:
    """For data sets with one image a patient and the finding at the end of its name."""
    return lambda stem: Description(patient_id=stem, source=source, finding=_FINDINGS.get(stem[-2:], features.UNKNOWN))


def _describe_pairs(
    root: Path, pairs: Sequence[Pair], rejections: Sequence[Rejection], description: Callable[[str], Description]
) -> Listing:
    def sample_or_rejection(pair: Pair) -> Sample | Rejection:
        try:
            return Sample(pair.image, pair.masks, description(pair.image.stem))
        except CellError as error:
            return Rejection(relative(root, pair.image), str(error))

    listed = [sample_or_rejection(pair) for pair in pairs]
    samples = [entry for entry in listed if isinstance(entry, Sample)]
    return Listing(root, samples, [*rejections, *(entry for entry in listed if isinstance(entry, Rejection))])


LAYOUTS: Final = {
    "folder": Layout("images/ and masks/", _has("images", "masks"), _find_folder),
    "montgomery": Layout(
        f"CXR_png/, {_LUNG_FOLDERS[0]}/ and {_LUNG_FOLDERS[1]}/", _has("CXR_png", *_LUNG_FOLDERS), _find_montgomery
    ),
    "shenzhen": Layout(
        "CXR_png/ and mask/, or images/ and masks/", lambda root: all(_shenzhen_folders(root)), _find_shenzhen
    ),
}
"""The known layouts by name."""
