"""The pipeline graph: one function from a configuration to a TFX pipeline, the same for every runner.

ExampleGen - RecordValidator - StatisticsGen - ImportSchemaGen - BaselineResolver - ExampleValidator - DataGate
|- (ExternalExampleGen - ExternalRecordValidator - - - - - ExternalAugmenter) - - - -.
`- Augmenter - Transform - (Tuner) - Trainer - Evaluator, ServingProbe - Pusher - Reporter

`create_study` trains twice, with copies and without, and compares.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tfx.components import ImportExampleGen, StatisticsGen, Trainer, Tuner
from ml_metadata.proto import metadata_store_pb2
from tensorflow_data_validation import StatsOptions, load_schema_text
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, trainer_pb2, transform_pb2
from tfx.types import BaseChannel

from components.augmenter.component import Augmenter
from components.baseline_resolver.component import BaselineResolver
from components.data_gate.component import DataGate
from components.evaluator.component import Evaluator
from components.example_gen.component import ExampleGen
from components.example_gen.spans import RECORDS
from components.example_validator.component import ExampleValidator
from components.pusher.component import Pusher
from components.record_validator.component import RecordValidator
from components.reporter.component import Reporter
from components.serving_probe.component import ServingProbe
from components.transform.component import Transform
from modules.serving.serving_dir import rival_of
from pipeline.config import Config, DataSettings
from schema import features

_SOURCES = (".py", ".pbtxt", ".j2", ".css")
_LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "albumentations", "opencv-python-headless")

_ROOT_ON_CLUSTER = "minio://artifacts"
"""TFX asks for a root when it compiles; what counts is told to Kubeflow when a run starts."""

ORIGINALS_ONLY = "originals only"
"""Names the arm of a study that a training with copies is compared with."""


def create_pipeline(
    config: Config, connection: metadata_store_pb2.ConnectionConfig | None = None, *, on_cluster: bool = False
) -> Pipeline:
    """Builds the graph of a run.

    Args:
        config: all that determines the run.
        connection: where the runner keeps metadata, if it is told so by the pipeline.
        on_cluster: whether the graph is built for Kubeflow, where folders can be seen only by the steps themselves.
    """
    serving_dir, candidate = str(config.serving_dir), _candidate(config)
    rival = "" if on_cluster else rival_of(candidate, serving_dir)
    validated = _validate(config)
    resolver = BaselineResolver(examples=validated.originals, serving_dir=serving_dir, candidate=candidate, rival=rival)
    baseline = resolver.outputs["model"]
    data = _prepare(config, validated, resolver)
    transform = _transform(config, data)
    tuners = [_tuner(config, data, transform, baseline)] if config.tune.trials else []
    trainer = _trainer(config, data, transform, baseline, *tuners)
    model = trainer.outputs["model"]
    evaluator = _evaluator(config, data, model, baseline_model=baseline)
    probe = ServingProbe(model=model, examples=data.examples)
    pusher = Pusher(
        model=model,
        blessing=evaluator.outputs["blessing"],
        infra_blessing=probe.outputs["infra_blessing"],
        serving_dir=serving_dir,
        candidate=candidate,
        rival=rival,
        statistics=data.statistics,
    )
    reporter = _reporter(
        config,
        data,
        trainer,
        evaluator,
        kind="run",
        blessing=evaluator.outputs["blessing"],
        infra_blessing=probe.outputs["infra_blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        baseline_model=baseline,
    )
    nodes = [*data.nodes, transform, *tuners, trainer, evaluator, probe, pusher, reporter]
    artifacts = _ROOT_ON_CLUSTER if on_cluster else None
    return _pipeline(config, config.name, nodes, connection, artifacts)


def create_study(config: Config, connection: metadata_store_pb2.ConnectionConfig | None = None) -> Pipeline:
    """Builds the graph of a study: one network trained with copies and one without, in as many steps.

    Args:
        config: of the run that is studied.
        connection: as of `create_pipeline`.
    """
    data = _prepare(config, _validate(config))
    transform = _transform(config, data)
    without = config.model_copy(update={"train": config.train.model_copy(update={"copies": False})})
    trainer = _trainer(config, data, transform)
    originals_trainer = _trainer(without, data, transform).with_id("OriginalsTrainer")
    evaluator = _evaluator(
        config,
        data,
        trainer.outputs["model"],
        baseline_model=originals_trainer.outputs["model"],
        baseline_name=ORIGINALS_ONLY,
    )
    reporter = _reporter(
        config, data, trainer, evaluator, kind="study", baseline_model_run=originals_trainer.outputs["model_run"]
    )
    nodes = [*data.nodes, transform, trainer, originals_trainer, evaluator, reporter]
    return _pipeline(config, f"{config.name}-study", nodes, connection)


def _pipeline(
    config: Config,
    name: str,
    nodes: list[BaseComponent],
    connection: metadata_store_pb2.ConnectionConfig | None,
    artifacts: str | None = None,
) -> Pipeline:
    return Pipeline(
        pipeline_name=name,
        pipeline_root=artifacts or str(config.root / "artifacts"),
        components=nodes,
        enable_cache=True,
        metadata_connection_config=connection,
        beam_pipeline_args=config.beam.arguments(),
    )


@dataclass(frozen=True)
class _Validated:
    """What has been read and validated.

    Attributes:
        nodes: those that did it.
        originals: sound records.
        report: of the RecordValidator.
        external: sound records of external test sets, a split each; None where there are none.
        external_report: of the RecordValidator that looked at those.
    """

    nodes: list[BaseComponent]
    originals: BaseChannel
    report: BaseChannel
    external: BaseChannel | None = None
    external_report: BaseChannel | None = None


@dataclass(frozen=True)
class _Data:
    """What the nodes before the training give.

    Attributes:
        nodes: those that make it.
        examples: originals and copies.
        schema: of the records.
        statistics: of the originals.
        checks: the reports of the validators, as the Reporter takes them.
        external: originals and copies of external test sets, a split each; None where there are none.
    """

    nodes: list[BaseComponent]
    examples: BaseChannel
    schema: BaseChannel
    statistics: BaseChannel
    checks: dict[str, BaseChannel]
    external: BaseChannel | None


def _validate(config: Config) -> _Validated:
    example_gen = ExampleGen(
        input_base=str(config.data.root),
        output_config=_split_by_patient(config.data),
        code_version=code_version(),
        spans=config.data.spans,
        span=config.data.span,
    )
    validator = RecordValidator(
        examples=example_gen.outputs["examples"], settings=config.records, code_version=code_version()
    )
    originals, report = validator.outputs["validated_examples"], validator.outputs["report"]
    if not config.data.external:
        return _Validated([example_gen, validator], originals, report)
    external_gen = _external_example_gen(config.data.external)
    # By itself, so that a set that is added later leaves the training in the cache.
    external_validator = RecordValidator(
        examples=external_gen.outputs["examples"],
        reference_examples=originals,
        settings=config.records,
        code_version=code_version(),
    ).with_id("ExternalRecordValidator")
    return _Validated(
        [example_gen, validator, external_gen, external_validator],
        originals,
        report,
        external_validator.outputs["validated_examples"],
        external_validator.outputs["report"],
    )


def _prepare(config: Config, validated: _Validated, resolver: BaselineResolver | None = None) -> _Data:
    """Takes statistics, judges the data, also by those of the model that serves, and adds copies."""
    statistics_gen = StatisticsGen(examples=validated.originals, stats_options=_of_scalars())
    schema_gen = ImportSchemaGen(schema_file=str(features.SCHEMA_FILE))
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        settings=config.statistics,
        code_version=code_version(),
        baseline_model=resolver.outputs["model"] if resolver else None,
    )
    checks = {"validation": validated.report, "anomalies": example_validator.outputs["anomalies"]}
    if validated.external_report:
        checks["external_validation"] = validated.external_report
    gate = DataGate(**checks, settings=config.gate, code_version=code_version())
    augmenter = _augmenter(config, validated.originals, gate)
    nodes = [
        *validated.nodes,
        statistics_gen,
        schema_gen,
        *([resolver] if resolver else []),
        example_validator,
        gate,
        augmenter,
    ]
    external = None
    if validated.external:
        nodes.append(_augmenter(config, validated.external, gate).with_id("ExternalAugmenter"))
        external = nodes[-1].outputs["augmented_examples"]
    return _Data(
        nodes=nodes,
        examples=augmenter.outputs["augmented_examples"],
        schema=schema_gen.outputs["schema"],
        statistics=statistics_gen.outputs["statistics"],
        checks=checks,
        external=external,
    )


def _of_scalars() -> StatsOptions:
    """Reads the features of the statistics alone; with an allowlist all pixels would be decoded and held in batches."""
    schema = load_schema_text(str(features.SCHEMA_FILE))
    scalars = [feature for feature in schema.feature if feature.name in features.STATISTICS]
    return StatsOptions(schema=schema_pb2.Schema(feature=scalars), experimental_filter_read_paths=True)


def _augmenter(config: Config, examples: BaseChannel, gate: DataGate) -> Augmenter:
    """Waits for the gate, whose verdict is no input: the same data give the same copies, whatever the limits."""
    augmenter = Augmenter(examples=examples, policy=config.augment.resolve(), code_version=code_version())
    augmenter.add_upstream_node(gate)
    return augmenter


def _external_example_gen(folders: dict[str, Path]) -> ImportExampleGen:
    """Reads external test sets, a split each."""
    base = os.path.commonpath([str(folder) for folder in folders.values()])
    records = RECORDS.format(SPAN="*")
    return ImportExampleGen(
        input_base=base,
        input_config=example_gen_pb2.Input(
            splits=[
                example_gen_pb2.Input.Split(
                    name=name, pattern=os.path.normpath(os.path.join(os.path.relpath(folder, base), records))
                )
                for name, folder in folders.items()
            ]
        ),
        output_config=_one_split(*folders) if len(folders) == 1 else None,
    ).with_id("ExternalExampleGen")


def _split_by_patient(settings: DataSettings) -> example_gen_pb2.Output:
    buckets = {"train": settings.train_buckets, "eval": settings.eval_buckets, "test": settings.test_buckets}
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets.items()
            ],
            partition_feature_name=features.PATIENT_ID,
        )
    )


def _candidate(config: Config) -> str:
    """Identifies all that makes and judges the candidate, beside the examples."""
    made_by = config.model_dump(mode="json", include={"model", "train", "tune", "evaluate"})
    made_by["augment"] = config.augment.resolve().model_dump(mode="json")
    judged_on = {name: str(folder) for name, folder in config.data.external.items()}
    everything = json.dumps({**made_by, "external": judged_on, "code_version": code_version()}, sort_keys=True)
    return hashlib.sha256(everything.encode()).hexdigest()[:16]


def _one_split(name: str) -> example_gen_pb2.Output:
    """Keeps a single input split whole; ExampleGen would make `train` and `eval` of it, and leaves several alone."""
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1)]
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))


def _transform(config: Config, data: _Data) -> Transform:
    return Transform(
        examples=data.examples,
        schema=data.schema,
        preprocessing_fn="modules.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"image_size": config.model.image_size, "code_version": code_version()},
        disable_statistics=True,
    )


def _tuner(config: Config, data: _Data, transform: Transform, baseline: BaseChannel) -> Tuner:
    settings = {**_training_settings(config), "tune": config.tune.model_dump()}
    inputs = _training_inputs(config, data, transform, baseline)
    return Tuner(tuner_fn="modules.training.tuner.tuner_fn", custom_config=settings, **inputs)


def _trainer(
    config: Config, data: _Data, transform: Transform, baseline: BaseChannel | None = None, *tuners: Tuner
) -> Trainer:
    return Trainer(
        run_fn="modules.training.trainer.run_fn",
        custom_config=_training_settings(config),
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        **_training_inputs(config, data, transform, baseline),
    )


def _training_settings(config: Config) -> dict[str, Any]:
    return {
        "model": config.model.model_dump(),
        "train": config.train.model_dump(),
        # Outside the execution's own folder, so that the next execution finds what a killed one leaves.
        "checkpoint_dir": str(config.root / "checkpoints"),
        "code_version": code_version(),
    }


def _training_inputs(config: Config, data: _Data, transform: Transform, baseline: BaseChannel | None) -> dict[str, Any]:
    return {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": data.schema,
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
        "base_model": baseline if config.train.warm_start else None,
    }


def _evaluator(config: Config, data: _Data, model: BaseChannel, **baseline: Any) -> Evaluator:
    return Evaluator(
        examples=data.examples,
        external_examples=data.external,
        model=model,
        settings=config.evaluate,
        code_version=code_version(),
        **baseline,
    )


def _reporter(
    config: Config, data: _Data, trainer: Trainer, evaluator: Evaluator, *, kind: str, **of_kind: BaseChannel
) -> Reporter:
    settings = config.model_dump(mode="json", include={"model", "train", "evaluate"})
    return Reporter(
        examples=data.examples,
        external_examples=data.external,
        statistics=data.statistics,
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        settings=json.dumps(
            {**settings, "pipeline": config.name, "augment": config.augment.resolve().model_dump(mode="json")}
        ),
        code_version=_report_version(),
        kind=kind,
        **data.checks,
        **of_kind,
    )


def code_version() -> str:
    """Hash of what makes copies, models and judgements: our code, the record's schema, and the libraries' versions.

    Part of the cache's key, so that nothing made before an upgrade is taken for new.
    """
    return _hash_of(path for path in _sources() if "components/reporter" not in path.as_posix())


def _report_version() -> str:
    """Hash of all code, with that of the report."""
    return _hash_of(_sources())


def _sources() -> list[Path]:
    root = Path(__file__).parent.parent
    found = [path for folder in ("schema", "modules", "components") for path in root.glob(f"{folder}/**/*")]
    return sorted(path for path in found if path.suffix in _SOURCES)


def _hash_of(paths: Iterable[Path]) -> str:
    versions = "".join(metadata.version(name) for name in _LIBRARIES)
    return hashlib.sha256(b"".join([versions.encode(), *(path.read_bytes() for path in paths)])).hexdigest()[:16]
