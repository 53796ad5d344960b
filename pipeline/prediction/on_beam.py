"""Runs a step on Beam: batches of inputs are its elements, and files bring the rows back.

>>> predict(model_dir, output, inputs, where=partial(on_beam, beam_args=settings.arguments()))

A pipeline hands nothing back but files, whatever it runs on. Each call has a folder of its own in the output folder,
which holds the list of batches, and the rows of each that is done. They appear whole; a batch that is tried
again, since its machine has died, makes the same file or finds it there.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from pipeline.errors import ComponentError, UserError, causes_raised, worker_deaths_raised
from pipeline.ingest.beam.pickling import pack, unpack
from pipeline.ingest.beam.progress import repeated
from pipeline.ingest.storage.files import absolute
from pipeline.ingest.storage.tfrecord import write_record
from pipeline.prediction.inputs import Input
from pipeline.prediction.step import Done, Run, Step, WriteError, batches, writing
from schema.files import write_whole
from schema.reports.base import Part
from schema.reports.prediction import Measurement

_BATCHES: Final = "batches.tfrecord"


class _Rows(Part):
    """What became of a batch."""

    rows: tuple[Measurement, ...]
    """A row for each input, in their order."""


def on_beam(step: Step, beam_args: Sequence[str]) -> Run:
    """Return what runs a step on Beam, whose workers see model, inputs and output under the paths they have here.

    Args:
        step: What to do with each input.
        beam_args: What Beam runs on, as its command line has it.
    """
    model = replace(step.model, folder=step.model.folder.absolute())
    return partial(_run, replace(step, model=model, output=step.output.absolute()), beam_args)


def _run(step: Step, beam_args: Sequence[str], inputs: Sequence[Input], done: Done) -> None:
    """Run a step on inputs, and tell of each.

    Raises:
        UserError: The model cannot be loaded, or Beam's job server does not answer.
        WriteError: A result cannot be written.
        ComponentError: The pipeline failed otherwise.
    """
    with _own_folder(step.output) as folder:
        left = {f"rows-{number}.json": batch for number, batch in enumerate(batches(inputs))}
        with writing(step.output), (folder / _BATCHES).open("xb") as file:
            for name, batch in left.items():
                write_record(file, pack((name, [_absolute(input_) for input_ in batch])))
        collect = partial(_collect, folder, left, done)
        try:
            with repeated(collect), causes_raised(UserError, WriteError), worker_deaths_raised():
                _run_pipeline(step, folder, beam_args)
        except (UserError, WriteError):
            raise
        except Exception as error:
            raise ComponentError("predict", error) from error
        finally:
            collect()


def _run_pipeline(step: Step, folder: Path, beam_args: Sequence[str]) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_args)))
    _ = (
        pipeline
        | "Begin" >> beam.Impulse()
        | "List" >> beam.FlatMap(_list_batches, folder)
        | "Spread" >> beam.Reshuffle()
        | "Segment" >> beam.ParDo(_Segment(step, folder))
    )
    result = pipeline.run()
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        result.cancel()
        raise


def _list_batches(_: bytes, folder: Path) -> Iterator[bytes]:
    """Yield the batches; the job itself stays small, however many they are."""
    import tensorflow as tf

    yield from tf.data.TFRecordDataset(str(folder / _BATCHES)).as_numpy_iterator()


class _Segment(beam.DoFn):
    """Runs a step on a batch and writes its rows; the workers of a process share the model."""

    def __init__(self, step: Step, folder: Path) -> None:
        self._step, self._folder, self._shared = step, folder, Shared()

    def setup(self) -> None:
        self._segmenter = self._shared.acquire(self._step.model.load)

    def process(self, packed: bytes) -> None:
        name, batch = unpack(packed)
        if (self._folder / name).exists():  # a runner tries more again than what was under way
            return
        rows = _Rows(rows=tuple(self._step.run(self._segmenter, batch)))
        with writing(self._step.output):
            write_whole(self._folder / name, rows.model_dump_json())


def _collect(folder: Path, left: dict[str, list[Input]], done: Done) -> None:
    """Tell of the batches that are done, and take them out of what is left."""
    for name in sorted(left.keys() & os.listdir(folder)):
        rows = _Rows.model_validate_json((folder / name).read_bytes()).rows
        for input_, row in zip(left.pop(name), rows, strict=True):
            done(input_, row)


@contextmanager
def _own_folder(output: Path) -> Iterator[Path]:
    """Make the folder of a call in its output folder, and remove it at the end."""
    folder = output / f".call-{uuid4().hex}"
    with writing(output):
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _absolute(input_: Input) -> Input:
    return replace(input_, files=tuple(map(absolute, input_.files)))
