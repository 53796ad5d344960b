"""What the benchmarks share."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modules.network.settings import ModelSettings
from pipeline.beam.settings import BeamSettings

if TYPE_CHECKING:
    import keras

DISTINCT = 50
"""Different images among the records of a benchmark; the rest repeats them under other names."""


def seconds(run: Callable[[], object]) -> float:
    """Time that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_megabytes() -> float:
    """Peak resident memory of this program; getrusage would count that of the process that started it as well."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def peak_of(script: str, *arguments: object) -> float:
    """Peak megabytes that a script, run in a fresh process, prints last."""
    command = [sys.executable, script, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def write_phantoms(folder: Path, split: str, count: int) -> None:
    """Writes records of 512-pixel phantoms as a split of an Examples artifact's folder."""
    import tensorflow as tf

    from pipeline.commands.phantoms import phantom
    from schema.record import Record, encode

    images = [phantom(seed=0, patient=number, image=1, size=512) for number in range(1, min(count, DISTINCT) + 1)]
    target = folder / f"Split-{split}"
    target.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(target / "data_tfrecord-00000-of-00001")) as writer:
        for number in range(count):
            image, mask = images[number % len(images)]
            name = f"phantom-{number}"
            writer.write(encode(Record(image, mask, name, name, source="phantom", width=512, height=512)))


def export_network(folder: Path, examples: Path, settings: ModelSettings, network: "keras.Model | None" = None) -> Path:
    """Exports a U-Net as the Trainer does, where none is given an untrained one; returns where."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.public.tfxio import TFExampleRecord

    from modules.network.unet import unet
    from modules.preprocessing.transform import preprocessing_fn
    from modules.serving.export import export_model
    from schema import features

    schema = text_format.Parse(features.SCHEMA_FILE.read_text(), schema_pb2.Schema())
    source = TFExampleRecord(str(examples / "Split-test" / "*"), schema=schema, telemetry_descriptors=["bench"])
    with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline, tft_beam.Context(temp_dir=str(folder / "tmp")):
        batches = pipeline | source.BeamSource()
        transform_fn = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, {"image_size": settings.image_size})
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))
    exported = folder / "Format-Serving"
    export_model(
        network or unet(settings),
        str(folder / "transform" / "transform_fn"),
        str(exported),
        average_mirrored=settings.average_mirrored,
    )
    return exported
