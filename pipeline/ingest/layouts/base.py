"""What a layout of the input is, and how to write one.

A layout of another package is an entry point of the group `lungseg.layouts`; its name is what `--layout` takes:

    # pyproject.toml
    [project.entry-points."lungseg.layouts"]
    flat = "clinic.layouts:FLAT"

    # clinic/layouts.py: x.png beside x-lungs.png, all in one folder
    import apache_beam as beam

    from pipeline.ingest.layouts.base import Input, Layout
    from pipeline.ingest.metadata import Description
    from pipeline.ingest.pairing import Rejection
    from pipeline.ingest.samples import ImageSample
    from pipeline.ingest.storage.files import exists, join, list_files

    def find_pairs(input_: Input):
        for name in list_files(input_.root):
            stem = name.removesuffix("-lungs.png")
            if stem != name and exists(join(input_.root, f"{stem}.png")):
                description = Description(patient_id=stem, source=input_.source or "clinic")
                yield ImageSample(input_.root, f"{stem}.png", (name,), stem, description)
            elif stem != name:
                yield Rejection(name, "is a mask without an image")

    def find(input_: Input) -> beam.PTransform:
        return beam.Create([input_]) | beam.FlatMap(find_pairs)

    FLAT = Layout(looks_for="x.png and x-lungs.png", fits=lambda root: True, find=find)

`find` gives a transform from the start of a pipeline to `file_listing.Listed`: samples (of any class that keeps the
protocol `samples.Sample`), rejections, remarks, and UserErrors, which stop the run. What runs on workers must be
installed there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.ingest.storage.files import exists, join

if TYPE_CHECKING:
    import apache_beam as beam


@dataclass(frozen=True)
class Input:
    """What is to be ingested.

    Attributes:
        root: The input folder, or the file that lists it.
        source: Hospital or data set, to be named where the input itself names none; None for the layout's own.
        mapping: Path of what names the columns of a CSV file, for the layouts that need it.
        refuses_unnamed: Whether an image whose patient is not named is refused where a table names those of others;
            else it counts as a patient of its own.
    """

    root: str
    source: str | None = None
    mapping: str | None = None
    refuses_unnamed: bool = True


@dataclass(frozen=True)
class Layout:
    """One way of laying out images and masks.

    Attributes:
        looks_for: What makes it, in words.
        fits: Tells whether an input, given its path, holds that.
        find: Gives the transform that lists an input that fits; see the module's docstring.
        is_file: Whether the input is a file, not a folder.
        records_per_sample: About how many a sample becomes.
    """

    looks_for: str
    fits: Callable[[str], bool]
    find: Callable[[Input], "beam.PTransform"]
    is_file: bool = False
    records_per_sample: int = 1


def has_subfolders(*folders: str) -> Callable[[str], bool]:
    """Return a `Layout.fits` that tells whether all of these folders are below the input folder."""
    return lambda root: all(exists(join(root, folder)) for folder in folders)
