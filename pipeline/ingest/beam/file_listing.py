"""Beam transforms that list input folders: files to samples and rejections. Nothing is listed outside the workers.

>>> images, masks = FileRole.in_folder("images"), FileRole.in_folder("masks")
>>> listed = pipeline | PairByName("gs://clinic", images, [masks], describe)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any, Final, NamedTuple, TypeAlias

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from pipeline.errors import UserError
from pipeline.ingest.beam.pickling import pack, unpack
from pipeline.ingest.beam.remarks import (
    DANGLING,
    DEEPER,
    PASSED_OVER,
    UNDESCRIBED,
    UNMATCHED,
    Observation,
    SumUpRemarks,
    observe,
)
from pipeline.ingest.columns import IMAGE
from pipeline.ingest.formats.extensions import (
    DICOM_EXTENSIONS,
    IMAGE_EXTENSIONS,
    MASK_EXTENSIONS,
    is_bare_dicom,
    strip_extension,
)
from pipeline.ingest.metadata import CellError, Description, Metadata, image_stem, read_metadata
from pipeline.ingest.pairing import Pair, Rejection, Remark, pair_by_stem, pairing_key
from pipeline.ingest.samples import ImageSample, Sample
from pipeline.ingest.storage.errors import error_reason
from pipeline.ingest.storage.files import is_local, join, list_dangling_links, list_files, read_head
from pipeline.ingest.table import Row

Listed: TypeAlias = Sample | Rejection | Remark | UserError
"""What a layout lists. A UserError is what stops the run; it travels as an element, so that no runner wraps it."""

DescribeImage: TypeAlias = Callable[[str, Row | None], Description]
"""What is known of the image of a stem, given its row of the metadata file; raises CellError. Must be picklable."""

MakeSample: TypeAlias = Callable[[str, Pair, str, Description], Sample]
"""Makes a sample, given the input folder, names, stem and description. Must be picklable."""

_FILES, _LISTED, _ERRORS, _COUNTS, _ROWS = "files", "listed", "errors", "counts", "rows of the metadata"
_OBSERVED: Final = "observed"
_PASSED_OVER_SILENTLY: Final = ("thumbs.db", "desktop.ini")

_SERIES_LEVELS = 5  # of folders, down to which a series may lie: NAME/patient/study/series/ in an export


class PairCounts(NamedTuple):
    """Numbers of images, of rows of the metadata, of pairs, and of pairs that a row describes."""

    images: int = 0
    rows: int = 0
    pairs: int = 0
    described: int = 0


@dataclass(frozen=True)
class FileRole:
    """What some files of the input are, such as images or masks of the left lung, and where they lie.

    Attributes:
        name: In messages: "has no mask in `name`/".
        folders: Below the input folder.
        extensions: Of the files, in lower case; others are passed over with a remark, hidden files without.
        suffix: What a stem may carry at its end beside what pairs it.
        series: Extensions of files that are one image with all others in a folder and the folders in it; the folder's
            name is the stem. "" stands for all files.
    """

    name: str
    folders: tuple[str, ...]
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    suffix: str = ""
    series: tuple[str, ...] = ()

    @classmethod
    def in_folder(cls, folder: str) -> "FileRole":
        """Make the role of the image files of one folder."""
        return cls(folder, (folder,))

    @classmethod
    def of_masks(cls, name: str, folders: Sequence[str] = (), suffix: str = "") -> "FileRole":
        """Make the role of the mask files of some folders, by default of the one that has the role's name."""
        return cls(name, tuple(folders) or (name,), MASK_EXTENSIONS, suffix)

    def stem_of(self, name: str) -> str | None:
        """Return by what a file is paired, given its name below its folder; None where it is passed over."""
        subfolder, slash, _ = name.partition("/")
        if slash:
            return subfolder if name.lower().endswith(self.series) else None
        stem = strip_extension(name, self.extensions)
        return None if stem is None else stem.removesuffix(self.suffix)

    def stem_of_image(self, pair: Pair) -> str:
        """Return the stem of a pair's image as its own name has it."""
        name = pair.image.rpartition("/")[2]
        return self.stem_of(name) or name if pair.files == (pair.image,) else name

    def probable_stem_of(self, name: str) -> str:
        """Return by what a file that is passed over would be paired, if its name ended otherwise."""
        subfolder, slash, _ = name.partition("/")
        return subfolder if slash else (name.rpartition(".")[0] or name).removesuffix(self.suffix)


class ListFiles(beam.PTransform):
    """Begins a pipeline with the files of a role by the key of their stem, UserErrors as `errors`, and `observed`.

    A file is two packed names below the input folder: of its image, which is its own or that of the folder whose files
    are one image, and its own. Where it is passed over, the first is empty.

    Args:
        root: The input folder.
        role: What to list in it.
    """

    def __init__(self, root: str, role: FileRole) -> None:
        super().__init__()
        self._root, self._role = root, role

    @no_annotations  # Beam knows no such types
    def expand(self, begin: beam.pvalue.PBegin) -> beam.pvalue.DoOutputsTuple:
        """List on workers."""
        list_ = beam.ParDo(_ListFolder(self._root, self._role)).with_outputs(_ERRORS, _OBSERVED, main=_FILES)
        return begin | beam.Create(self._role.folders) | list_


class _ListFolder(beam.DoFn):
    def __init__(self, root: str, role: FileRole) -> None:
        self._root, self._role = root, role

    def process(self, folder: str) -> Iterator[Any]:
        path = join(self._root, folder)
        try:
            for name in filterfalse(_is_hidden, list_dangling_links(path)):
                yield _overlooked(DANGLING, folder, name)
            # A store is searched for series only: to list its folders takes long.
            levels = _SERIES_LEVELS if self._role.series or is_local(path) else 1
            for name in filterfalse(_is_hidden, list_files(path, levels)):
                if "/" in name and not self._role.series:
                    if self._role.stem_of(name.rpartition("/")[2]) is not None:
                        yield _overlooked(DEEPER, folder, name)
                    continue
                stem = self._stem_of(path, name)
                image = "" if stem is None else f"{folder}/{stem if '/' in name else name}"
                key = pairing_key(self._role.probable_stem_of(name) if stem is None else stem)
                yield key, pack((image, f"{folder}/{name}"))
        except OSError as error:
            yield beam.pvalue.TaggedOutput(_ERRORS, UserError(f"cannot read {path}: {error_reason(error)}"))

    def _stem_of(self, path: str, name: str) -> str | None:
        stem = self._role.stem_of(name)
        takes_dicom = set(DICOM_EXTENSIONS) <= set(self._role.extensions) and "/" not in name
        if stem is None and takes_dicom and is_bare_dicom(name, lambda: read_head(join(path, name))):
            return name
        return stem


def _is_hidden(name: str) -> bool:
    """Tell whether a file, given its name below a folder, is hidden, or what desktops leave in folders."""
    return any(part.startswith(".") for part in name.split("/")) or name.lower().endswith(_PASSED_OVER_SILENTLY)


def _overlooked(kind: str, folder: str, name: str) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput(_OBSERVED, observe(f"{kind}{folder}", f"{folder}/{name}"))


class _ReadMetadata(beam.DoFn):
    """A metadata file to its rows, packed, by the key of their image's stem."""

    def process(self, path: str) -> Iterator[Any]:
        try:
            for row in read_metadata(path):
                yield pairing_key(image_stem(row)), pack(row)
        except UserError as error:
            yield beam.pvalue.TaggedOutput(_ERRORS, error)


class PairByName(beam.PTransform):
    """Begins a pipeline with the samples of images and masks in folders, paired by the stems of their names.

    Args:
        root: The input folder.
        images: Where images lie.
        masks: Where masks lie; an image needs one of each role.
        describe: Gives the description of an image.
        metadata: A metadata file, of whose rows one at least must be of a sample.
        make_sample: Makes a sample of a pair.
    """

    def __init__(
        self,
        root: str,
        images: FileRole,
        masks: Sequence[FileRole],
        describe: DescribeImage,
        *,
        metadata: Metadata | None = None,
        make_sample: MakeSample = ImageSample.from_pair,
    ) -> None:
        super().__init__()
        self._root, self._images, self._masks = root, images, tuple(masks)
        self._metadata = metadata.path if metadata else None
        self._pair = _Pair(root, images, tuple(role.name for role in masks), describe, make_sample)

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Make a collection of `Listed`."""
        listed = {
            role.name: begin | f"List {role.name}" >> ListFiles(self._root, role)
            for role in (self._images, *self._masks)
        }
        if self._metadata:
            read = beam.ParDo(_ReadMetadata()).with_outputs(_ERRORS, main=_FILES)
            listed[_ROWS] = begin | "Name metadata" >> beam.Create([self._metadata]) | "Read metadata" >> read
        paired = (
            {name: outputs[_FILES] for name, outputs in listed.items()}
            | "Group by stem" >> beam.CoGroupByKey()
            | "Pair" >> beam.ParDo(self._pair).with_outputs(_COUNTS, _OBSERVED, main=_LISTED)
        )
        errors = [outputs[_ERRORS] for outputs in listed.values()] | "Errors" >> beam.Flatten()
        absent = (
            paired[_COUNTS]
            | "Add counts" >> beam.CombineGlobally(_add_counts)
            | "Find absent"
            >> beam.FlatMap(_find_absent, self._root, self._images, self._metadata, beam.pvalue.AsIter(errors))
        )
        extensions = {role.name: role.extensions for role in (self._images, *self._masks)}
        seen = [listed[role.name][_OBSERVED] for role in (self._images, *self._masks)]
        remarks = (
            (paired[_OBSERVED], *seen)
            | "Join observations" >> beam.Flatten()
            | "Sum up remarks" >> SumUpRemarks(self._images.name, self._metadata, extensions)
        )
        return (paired[_LISTED], absent, remarks, errors) | "Join" >> beam.Flatten()


class _Pair(beam.DoFn):
    """What has one stem to a sample or rejections, with what there is to remark."""

    def __init__(
        self, root: str, images: FileRole, masks: tuple[str, ...], describe: DescribeImage, make_sample: MakeSample
    ) -> None:
        self._root, self._images, self._masks = root, images, masks
        self._describe, self._make_sample = describe, make_sample

    def process(self, grouped: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        key, group = grouped
        stem = key.decode("utf-8", "surrogateescape")
        rows: list[Row] = sorted(map(unpack, group.get(_ROWS, ())), key=lambda row: row.line)
        if len(rows) > 1:
            yield UserError(f"{rows[1].path}, line {rows[1].line}: image '{stem}' is listed twice")
        files = {role: list(map(unpack, group[role])) for role in (self._images.name, *self._masks)}
        images: dict[str, list[str]] = {}
        for image, name in files[self._images.name]:
            if image:
                images.setdefault(image, []).append(name)
        masks = {role: [name for image, name in files[role] if image] for role in self._masks}
        passed_over = {role: [name for image, name in found if not image] for role, found in files.items()}
        for observation in _observe(images, rows, passed_over, by_row=_ROWS in group):
            yield beam.pvalue.TaggedOutput(_OBSERVED, observation)
        paired = pair_by_stem(stem, self._images.name, images, masks, passed_over)
        pairs = int(isinstance(paired, Pair))
        yield beam.pvalue.TaggedOutput(_COUNTS, PairCounts(len(images), len(rows), pairs, pairs * len(rows)))
        if isinstance(paired, Pair):
            yield self._describe_pair(paired, rows[0] if rows else None)
        else:
            yield from paired

    def _describe_pair(self, pair: Pair, row: Row | None) -> Sample | Rejection:
        stem = self._images.stem_of_image(pair)
        try:
            description = self._describe(stem, row)
        except CellError as error:
            return Rejection(pair.image, str(error))
        return self._make_sample(self._root, pair, stem, description)


def _observe(
    images: Iterable[str], rows: Sequence[Row], passed_over: Mapping[str, Sequence[str]], *, by_row: bool
) -> Iterator[Observation]:
    """Yield what there is to remark on the files and rows of one stem, each with its example."""
    for row in rows if not images else ():
        yield observe(UNMATCHED, f"line {row.line} ('{row.cells[IMAGE]}')")
    for image in images if by_row and not rows else ():
        yield observe(UNDESCRIBED, image)
    for role, names in passed_over.items():
        for name in names:
            yield observe(f"{PASSED_OVER}{role}", name)


def _add_counts(counts: Iterable[PairCounts]) -> PairCounts:
    return PairCounts(*(sum(column) for column in zip(PairCounts(), *counts, strict=True)))


def _find_absent(
    counts: PairCounts, root: str, images: FileRole, metadata: str | None, errors: Iterable[UserError]
) -> Iterator[UserError]:
    """Yield what is missing altogether, unless it could not be read, which is an error already."""
    if any(True for _ in errors):
        return
    folder = join(root, images.folders[0])
    if not counts.images:
        endings = ", ".join(filter(None, dict.fromkeys((*images.extensions, *images.series))))
        yield UserError(f"{folder} holds no images ({endings})")
    # Without its patients, a data set would be split by image, and one patient land on both sides.
    if counts.rows and counts.pairs and not counts.described:
        yield UserError(f"{metadata} lists {counts.rows} images, none of which is in {folder} with a mask")
