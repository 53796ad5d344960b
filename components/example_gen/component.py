"""ExampleGen: the last spans of records in, Examples split by patient out."""

from google.protobuf import struct_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.example_gen import driver, executor
from components.example_gen.spans import RECORDS, SPANS


class ExampleGen(FileBasedExampleGen):
    """TFX's ImportExampleGen of several spans at once: the newest, which it finds or is told, and those before it."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.Driver

    def __init__(
        self,
        input_base: str,
        output_config: example_gen_pb2.Output,
        code_version: str,
        spans: int = 1,
        span: int | None = None,
    ) -> None:
        """Wires the component.

        Args:
            input_base: folder with `span-N/records-*`, TFRecord files in the record's contract (see `schema`).
            output_config: how to split the records.
            code_version: identifies the code that reads them, so that the cache does not outlive it.
            spans: how many spans to read, 1 or more; fewer if there are not so many.
            span: the newest one to read; None: the latest there is.
        """
        settings = struct_pb2.Struct()
        settings.update({SPANS: spans, executor.CODE_VERSION: code_version})
        custom = example_gen_pb2.CustomConfig()
        custom.custom_config.Pack(settings)
        super().__init__(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="records", pattern=RECORDS)]),
            output_config=output_config,
            custom_config=custom,
            range_config=None if span is None else _only(span),
        )


def _only(span: int) -> range_config_pb2.RangeConfig:
    return range_config_pb2.RangeConfig(
        static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
    )
