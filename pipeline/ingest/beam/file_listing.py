"""Beam transforms that list input folders: files to samples and rejections. Nothing is listed outside the workers.

>>> images, masks = FileRole.in_folder("images"), FileRole.in_folder("masks")
>>> listed = pipeline | PairByName("gs://clinic", images, [masks], describe)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from pipeline.errors import UserError
from pipeline.ingest.beam.pickling import pack, unpack
from pipeline.ingest.formats.extensions import IMAGE_EXTENSIONS
from pipeline.ingest.metadata import CellError, Description, Row, image_stem, read_rows
from pipeline.ingest.pairing import Pair, Rejection, pair_by_stem
from pipeline.ingest.samples import ImageSample, Sample
from pipeline.ingest.storage.files import error_reason, join, list_files

Listed: TypeAlias = Sample | Rejection | UserError
"""What a layout lists. A UserError is what stops the run; it travels as an element, so that no runner wraps it."""

DescribeImage: TypeAlias = Callable[[str, Row | None], Description]
"""What is known of the image of a stem, given its row of the metadata file; raises CellError. Must be picklable."""

MakeSample: TypeAlias = Callable[[str, Pair, str, Description], Sample]
"""Makes a sample, given the input folder, names, stem and description. Must be picklable."""

_FILES, _LISTED, _ERRORS, _COUNTS, _ROWS = "files", "listed", "errors", "counts", "rows of the metadata"


class PairCounts(NamedTuple):
    """Numbers of images, of rows of the metadata, of pairs, and of pairs that a row describes."""

    images: int = 0
    rows: int = 0
    pairs: int = 0
    described: int = 0


def stem_key(stem: str) -> bytes:
    """Return a stem as a key: bytes, since names need not be UTF-8 text."""
    return stem.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class FileRole:
    """What some files of the input are, such as images or masks of the left lung, and where they lie.

    Attributes:
        name: In messages: "has no mask in `name`/".
        folders: Below the input folder.
        extensions: Of the files, in lower case; others are passed over, and so are hidden files.
        suffix: What a stem may carry at its end beside what pairs it.
        series: Extensions of files that are one image with all others in their folder, whose name is the stem.
    """

    name: str
    folders: tuple[str, ...]
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    suffix: str = ""
    series: tuple[str, ...] = ()

    @classmethod
    def in_folder(cls, folder: str, suffix: str = "") -> "FileRole":
        """Make the role of the image files of one folder."""
        return cls(folder, (folder,), suffix=suffix)


class ListFiles(beam.PTransform):
    """Begins a pipeline with the files of a role by the key of their stem, and UserErrors as `errors`.

    A file is two packed names below the input folder: of its image, which is its own or that of the folder whose files
    are one image, and its own.

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
        list_ = beam.ParDo(_ListFolder(self._root, self._role)).with_outputs(_ERRORS, main=_FILES)
        return begin | beam.Create(self._role.folders) | list_


class _ListFolder(beam.DoFn):
    def __init__(self, root: str, role: FileRole) -> None:
        self._root, self._role = root, role

    def process(self, folder: str) -> Iterator[Any]:
        path = join(self._root, folder)
        try:
            for name in list_files(path, levels=2 if self._role.series else 1):
                stem = self._stem_of(name)
                if stem is not None and not name.rpartition("/")[2].startswith("."):
                    image = f"{folder}/{stem if '/' in name else name}"
                    yield stem_key(stem), pack((image, f"{folder}/{name}"))
        except OSError as error:
            yield beam.pvalue.TaggedOutput(_ERRORS, UserError(f"cannot read {path}: {error_reason(error)}"))

    def _stem_of(self, name: str) -> str | None:
        """Return by what a file is paired; None where it is passed over."""
        subfolder, slash, _ = name.rpartition("/")
        if slash:
            return subfolder if name.lower().endswith(self._role.series) else None
        for extension in self._role.extensions:
            if name.lower().endswith(extension):
                return name[: -len(extension)].removesuffix(self._role.suffix)
        return None


class _ReadMetadata(beam.DoFn):
    """A metadata file to its rows, packed, by the key of their image's stem."""

    def process(self, path: str) -> Iterator[Any]:
        try:
            for row in read_rows(path):
                yield stem_key(image_stem(row)), pack(row)
        except UserError as error:
            yield beam.pvalue.TaggedOutput(_ERRORS, error)


class PairByName(beam.PTransform):
    """Begins a pipeline with the samples of images and masks in folders, paired by the stems of their names.

    Args:
        root: The input folder.
        images: Where images lie.
        masks: Where masks lie; an image needs one of each role.
        describe: Gives the description of an image.
        metadata: Path of a metadata file, of whose rows one at least must be of a sample.
        make_sample: Makes a sample of a pair.
    """

    def __init__(
        self,
        root: str,
        images: FileRole,
        masks: Sequence[FileRole],
        describe: DescribeImage,
        *,
        metadata: str | None = None,
        make_sample: MakeSample = ImageSample.from_pair,
    ) -> None:
        super().__init__()
        self._root, self._images, self._masks, self._metadata = root, images, tuple(masks), metadata
        self._pair = _Pair(root, images.name, tuple(role.name for role in masks), describe, make_sample)

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
            | "Pair" >> beam.ParDo(self._pair).with_outputs(_COUNTS, main=_LISTED)
        )
        errors = [outputs[_ERRORS] for outputs in listed.values()] | "Errors" >> beam.Flatten()
        absent = (
            paired[_COUNTS]
            | "Add counts" >> beam.CombineGlobally(_add_counts)
            | "Find absent"
            >> beam.FlatMap(_find_absent, self._root, self._images, self._metadata, beam.pvalue.AsIter(errors))
        )
        return (paired[_LISTED], absent, errors) | "Join" >> beam.Flatten()


class _Pair(beam.DoFn):
    """What has one stem to a sample or rejections."""

    def __init__(
        self, root: str, images: str, masks: tuple[str, ...], describe: DescribeImage, make_sample: MakeSample
    ) -> None:
        self._root, self._images, self._masks = root, images, masks
        self._describe, self._make_sample = describe, make_sample

    def process(self, grouped: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        key, group = grouped
        stem = key.decode("utf-8", "surrogateescape")
        rows: list[Row] = sorted(map(unpack, group.get(_ROWS, ())), key=lambda row: row.line)
        if len(rows) > 1:
            yield UserError(f"{rows[1].path}, line {rows[1].line}: image '{stem}' is listed twice")
        images: dict[str, list[str]] = {}
        for image, name in map(unpack, group[self._images]):
            images.setdefault(image, []).append(name)
        masks = {role: [name for _, name in map(unpack, group[role])] for role in self._masks}
        paired = pair_by_stem(stem, self._images, images, masks)
        pairs = int(isinstance(paired, Pair))
        yield beam.pvalue.TaggedOutput(_COUNTS, PairCounts(len(images), len(rows), pairs, pairs * len(rows)))
        if isinstance(paired, Pair):
            yield self._describe_pair(stem, paired, rows[0] if rows else None)
        else:
            yield from paired

    def _describe_pair(self, stem: str, pair: Pair, row: Row | None) -> Sample | Rejection:
        try:
            description = self._describe(stem, row)
        except CellError as error:
            return Rejection(pair.image, str(error))
        return self._make_sample(self._root, pair, stem, description)


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
        yield UserError(f"{folder} holds no images ({', '.join(dict.fromkeys((*images.extensions, *images.series)))})")
    # Without its patients, a data set would be split by image, and one patient land on both sides.
    if counts.rows and counts.pairs and not counts.described:
        yield UserError(f"{metadata} lists {counts.rows} images, none of which is in {folder} with a mask")
