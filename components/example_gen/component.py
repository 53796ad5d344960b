"""ExampleGen: the last spans of records in, Examples split by patient out; and the same of external test sets."""

import os
from pathlib import Path

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.code_version import code_version
from components.example_gen import driver, executor
from components.example_gen.settings import ExampleGenSettings
from components.example_gen.spans import RECORDS


class ExampleGen(FileBasedExampleGen):
    """TFX's ImportExampleGen of several spans at once: the newest, which it finds or is told, and those before it.

    ```python
    example_gen = ExampleGen(data_root=Path("data"), output_config=by_patient, spans=3)
    validator = RecordValidator(examples=example_gen.outputs["examples"], ...)
    ```
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.Driver

    def __init__(
        self,
        data_root: Path,
        output_config: example_gen_pb2.Output,
        spans: int = 1,
        span: int | None = None,
        rotation: int = 0,
    ) -> None:
        """Wire the component.

        Args:
            data_root: Folder with `span-N/records-*`, TFRecord files of records that keep the contract (see `schema`).
            output_config: How to split the records.
            spans: How many spans to read, 1 or more; fewer if there are not so many.
            span: The newest one to read; None: the latest there is.
            rotation: By how many buckets each split moves back, so that the test split holds other patients.
        """
        code = code_version(executor.__name__, driver.__name__)
        settings = ExampleGenSettings(spans=spans, rotation=rotation, code_version=code)
        super().__init__(
            input_base=str(data_root),
            input_config=example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="records", pattern=RECORDS)]),
            output_config=output_config,
            custom_config=settings.to_proto(),
            range_config=None if span is None else _only(span),
        )


class ExternalExampleGen(FileBasedExampleGen):
    """TFX's ImportExampleGen of external test sets, a split each: all their spans, of an image that of the newest."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.ExternalExecutor)

    def __init__(self, folders: dict[str, Path]) -> None:
        """Wire the component.

        Args:
            folders: Of each set by its name, with `span-N/records-*` as ExampleGen reads them.
        """
        base = os.path.commonpath([str(folder) for folder in folders.values()])
        splits = [
            example_gen_pb2.Input.Split(
                name=name,
                pattern=os.path.normpath(os.path.join(os.path.relpath(folder, base), RECORDS.format(SPAN="*"))),
            )
            for name, folder in folders.items()
        ]
        super().__init__(
            input_base=base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=_one_split(*folders) if len(folders) == 1 else None,
            custom_config=ExampleGenSettings(code_version=code_version(executor.__name__)).to_proto(),
        )


def _one_split(name: str) -> example_gen_pb2.Output:
    """Keep a single input split whole; TFX would make `train` and `eval` of it, and leaves several alone."""
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1)]
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))


def _only(span: int) -> range_config_pb2.RangeConfig:
    return range_config_pb2.RangeConfig(
        static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
    )
