"""A fixture that tests of several folders import into their conftest.

No conftest of them all: beside it, pytest would take `tests/modules` for the package `modules`.
"""

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tf_example_record import TFExampleBeamRecord

from modules.preprocessing import transform as preprocessing  # whose functions TFX's Transform makes anew
from modules.preprocessing.settings import Normalization, PreprocessingSettings, TransformSettings
from pipeline.beam.settings import BeamSettings
from schema import features

Transform = Callable[..., Path]


@pytest.fixture(scope="session")
def transform() -> Transform:
    """Runs Transform on serialized records as TFX does: the graph and `examples-*.gz` into a new folder."""
    schema = text_format.Parse(features.SCHEMA_FILE.read_text(), schema_pb2.Schema())

    def run(serialized: list[bytes], output: Path, size: int = 16, normalization: Normalization = "dataset") -> Path:
        settings = PreprocessingSettings(
            image_size=size, transform=TransformSettings(normalization=normalization)
        ).model_dump()
        source = TFExampleBeamRecord(physical_format="inmem", schema=schema, telemetry_descriptors=["test"])
        with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline, tft_beam.Context(temp_dir=str(output / "tmp")):
            batches = pipeline | beam.Create(serialized, reshuffle=False) | source.BeamSource()
            (transformed, metadata), transform_fn = (
                batches,
                source.TensorAdapterConfig(),
            ) | tft_beam.AnalyzeAndTransformDataset(
                lambda inputs: preprocessing.preprocessing_fn(inputs, settings), output_record_batches=True
            )
            _ = transform_fn | tft_beam.WriteTransformFn(str(output))
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            _ = (
                transformed
                | beam.FlatMapTuple(lambda batch, _: encoder.encode(batch))
                | beam.io.WriteToTFRecord(str(output / "examples"), file_name_suffix=".gz")
            )
        return output

    return run
