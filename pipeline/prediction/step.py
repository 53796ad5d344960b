"""The step from inputs to results, which depends on nothing but its arguments: read, segment, write, measure.

>>> step = Step(model, output, OutputFormat.AUTO, Overlays.PNG)
>>> [measurement.status for measurement in step.run(model.load(), inputs)]
['segmented', 'refused']

It is small and picklable, so that it runs the same here and on other machines.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from components.threads import OrderedPool, count_cpus
from modules.lungs import Lungs, split_lungs
from pipeline.cli_options import OutputFormat, Overlays
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.storage.errors import error_reason
from pipeline.prediction.dicom_seg import check_headers, encode_seg
from pipeline.prediction.formats import EXTENSIONS, VOLUMES, FormatError, choose_format
from pipeline.prediction.inputs import Input
from pipeline.prediction.measurements import doubts, measure, measure_grey_values
from pipeline.prediction.model import Model
from pipeline.prediction.nifti import encode_nifti
from pipeline.prediction.png import encode_mask, encode_overlay, widest_slice
from pipeline.prediction.read import Radiograph, Scan, read
from pipeline.prediction.receipts import Receipt, stamp, withdraw_receipt, write_receipt
from schema.files import write_whole
from schema.record import Pixels
from schema.reports.prediction import Cause, Measurement

if TYPE_CHECKING:
    from modules.serving.segmenter import Segmented, Segmenter

_BATCH: Final = 8
"""Images that the model is asked for at once, that are read ahead of it, and that are written behind it."""

Done: TypeAlias = Callable[[Input, Measurement], None]
"""Called with an input that is done, and its row."""
Run: TypeAlias = Callable[[Sequence[Input], Done], None]
"""Runs a step on inputs, and tells of each; raises WriteError."""


class WriteError(Exception):
    """A result that cannot be written; the message is one line that names the place and the reason."""


@dataclass(frozen=True)
class _Source:
    """An input that was read; its images are what the model is asked for.

    Attributes:
        input_: The input.
        scan: What it shows.
        stamp: What its files were before they were read.
    """

    input_: Input
    scan: Radiograph | Scan
    stamp: str

    def __len__(self) -> int:
        return self.scan.shape[0]

    def __iter__(self) -> Iterator[Pixels]:
        return map(self.scan.image, range(len(self)))


def refuse(input_: Input, error: ImageError, cause: Cause = "unreadable") -> Measurement:
    """Return the row of an input that is not segmented."""
    if isinstance(error, FormatError):
        cause = "other format"
    return Measurement(file=input_.label, status="refused", cause=cause, reason=str(error), kind=input_.kind)


@dataclass(frozen=True)
class Step:
    """Segments inputs of the kinds and formats that were found to be possible.

    Attributes:
        model: What segments them.
        output: Folder to write to.
        format_: What masks are written as.
        overlays: What outlines are drawn into.
    """

    model: Model
    output: Path
    format_: OutputFormat
    overlays: Overlays

    def run(self, segmenter: "Segmenter", inputs: Iterable[Input]) -> Iterator[Measurement]:
        """Segment inputs, and yield a row of each, in their order.

        While the model is asked for some images, the next ones are read and the last ones written. A volume is in
        memory alone.

        Args:
            segmenter: The loaded model.
            inputs: Images and volumes.

        Raises:
            WriteError: A result cannot be written.
        """
        for at_once, group in _group_by_size(inputs):
            yield from self._run(segmenter, group, at_once)

    def _run(self, segmenter: "Segmenter", inputs: Iterable[Input], at_once: int) -> Iterator[Measurement]:
        threads = count_cpus()
        with OrderedPool(threads, at_once) as readers, OrderedPool(threads, at_once) as writers:
            read_inputs = readers.map(self._read, inputs)
            while batch := list(islice(read_inputs, at_once)):
                images = (image for source in batch if isinstance(source, _Source) for image in source)
                answers = _segment(segmenter, images)
                for source in batch:
                    its_answers = list(islice(answers, len(source))) if isinstance(source, _Source) else []
                    yield from writers.submit(self._finish, source, its_answers)
            yield from writers.drain()

    def _read(self, input_: Input) -> _Source | Measurement:
        """Read an input, or return the row of one that is refused."""
        try:
            before = stamp(input_)
            scan = read(input_)
            if choose_format(input_.kind, self.format_) is OutputFormat.DICOM_SEG:
                check_headers(_headers(scan), is_series=input_.kind == "series")
        except OSError as error:
            return refuse(input_, ImageError(f"cannot be read: {error_reason(error)}"))
        except ImageError as error:
            return refuse(input_, error)
        return _Source(input_, scan, before)

    def _finish(self, source: _Source | Measurement, answers: Sequence["Segmented"]) -> Measurement:
        """Write the results of an input, unless it is refused, and return its row."""
        if isinstance(source, Measurement):
            return source
        try:
            with writing(self.output):
                return self._write(source, answers)
        except ImageError as error:
            return refuse(source.input_, error)

    def _write(self, source: _Source, answers: Sequence["Segmented"]) -> Measurement:
        """Write a mask and its overlay, then the receipt; an earlier one would vouch for what is not its own."""
        input_, scan, mask = source.input_, source.scan, np.stack([answer.mask > 0 for answer in answers])
        lungs = split_lungs(mask, right_at_left=scan.right_at_left)
        result, *further = result_files(input_, self.format_, self.overlays)
        withdraw_receipt(self.output, input_)
        write_whole(self.output / result, self._encode(input_, scan, lungs))
        for overlay in further:
            index = widest_slice(mask)
            write_whole(self.output / overlay, encode_overlay(scan.image(index), _to_pixels(mask[index])))
        measured = measure(lungs, scan.scale)
        if isinstance(scan, Radiograph):
            measured |= measure_grey_values(scan.pixels)
            [answer] = answers
            if lungs.are_told_apart and answer.expected_dice_of_sides is not None:
                names = ("right_expected_dice", "left_expected_dice")
                measured |= zip(
                    names if scan.right_at_left else names[::-1], answer.expected_dice_of_sides, strict=True
                )
        expected_dice, doubt = judge_slices(answers)
        doubted = "; ".join(filter(None, (doubt, *doubts(measured["lung_fraction"], is_volume=input_.kind in VOLUMES))))
        measurement = Measurement(
            file=input_.label,
            status="segmented",
            kind=input_.kind,
            result=result,
            expected_dice=expected_dice,
            review=bool(doubted),
            review_reason=doubted,
            model_version=self.model.label,
            **measured,
        )
        receipt = Receipt(
            model=self.model.identity.digest, source=source.stamp, files=(result, *further), measurement=measurement
        )
        write_receipt(self.output, input_, receipt)
        return measurement

    def _encode(self, input_: Input, scan: Radiograph | Scan, lungs: Lungs) -> bytes:
        format_ = choose_format(input_.kind, self.format_)
        if isinstance(scan, Radiograph):
            if format_ is OutputFormat.PNG:
                return encode_mask(_to_pixels(lungs.labels[0] > 0))
            frames = lungs.labels
        else:
            voxels = scan.to_voxels(lungs.labels)
            if format_ is OutputFormat.NIFTI:
                return encode_nifti((voxels > 0).astype(np.uint8), scan.volume.affine)
            frames = voxels.transpose(2, 1, 0)
        return encode_seg(
            frames,
            told_apart=lungs.are_told_apart,
            headers=_headers(scan),
            scale=scan.scale,
            model_version=self.model.label,
        )


def here(step: Step) -> Run:
    """Load the model, and return what runs a step in this process.

    Raises:
        UserError: The model cannot be loaded.
    """
    segmenter = step.model.load()

    def run(inputs: Sequence[Input], done: Done) -> None:
        for input_, row in zip(inputs, step.run(segmenter, inputs), strict=True):
            done(input_, row)

    return run


def batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    """Yield inputs in their order, as many together as a step holds at once: a few images, or a volume."""
    for at_once, group in _group_by_size(inputs):
        while batch := list(islice(group, at_once)):
            yield batch


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Raise WriteError where something in the output folder cannot be written."""
    try:
        yield
    except OSError as error:
        place = error.filename2 or output  # of a file that could not be put in place
        raise WriteError(f"'{place}' cannot be written: {error_reason(error)}") from error


def result_files(input_: Input, format_: OutputFormat, overlays: Overlays) -> list[str]:
    """Return the names of what is written of an input: the mask's first."""
    extension = EXTENSIONS[choose_format(input_.kind, format_)]
    files = [f"{input_.name}_mask{extension}"]
    return files if overlays is Overlays.NONE else [*files, f"{input_.name}_overlay.png"]


def judge_slices(slices: Sequence["Segmented"]) -> tuple[float | None, str]:
    """Return the expected Dice of an image or a volume, and why somebody should look at it; empty if nobody need.

    Each slice of a volume counts as much as it holds lung; what is doubted is what most of the lungs share.
    """
    if len(slices) == 1:
        return slices[0].expected_dice, slices[0].doubt
    told = [(slice_, size) for slice_ in slices if slice_.expected_dice is not None and (size := slice_.mask.sum())]
    if not told:
        return None, ""
    sizes = [size for _, size in told]
    verdicts: Counter[str] = Counter()
    for slice_, size in told:
        verdicts[slice_.doubt] += int(size)
    return float(np.average([slice_.expected_dice for slice_, _ in told], weights=sizes)), verdicts.most_common(1)[0][0]


def _group_by_size(inputs: Iterable[Input]) -> Iterator[tuple[int, Iterator[Input]]]:
    """Yield images and volumes apart, in their order, with how many of them are in memory at once."""
    for is_volume, group in groupby(inputs, lambda input_: input_.kind in VOLUMES):
        yield 1 if is_volume else _BATCH, group


def _segment(segmenter: "Segmenter", images: Iterator[Pixels]) -> Iterator["Segmented"]:
    """Yield the answer to each image; slices of one grey level, outside the scan, hold no lung."""
    from modules.serving.segmenter import Segmented

    while batch := list(islice(images, _BATCH)):
        shows = [bool(image.min() < image.max()) for image in batch]
        answers = iter(segmenter.segment(list(compress(batch, shows))))
        for image, shows_something in zip(batch, shows, strict=True):
            yield next(answers) if shows_something else Segmented(np.zeros(image.shape, np.uint8), None, "")


def _headers(scan: Radiograph | Scan) -> list[Dataset]:
    if isinstance(scan, Scan):
        return list(scan.headers)
    return [] if scan.header is None else [scan.header]


def _to_pixels(mask: NDArray[np.bool_]) -> Pixels:
    return np.where(mask, np.uint8(255), np.uint8(0))
