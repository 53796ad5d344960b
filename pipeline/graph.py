"""The pipeline graph: one function from a configuration to a TFX pipeline, the same for every runner.

ChangeDetector, and where something has changed:
ExampleGen - RecordValidator - StatisticsGen - ImportSchemaGen - BaselineResolver - ExampleValidator - DataGate
|- (ExternalExampleGen - ExternalRecordValidator - - - - - ExternalAugmenter) - - - -.
`- Augmenter - Transform - (Tuner) - Trainer - Evaluator, ServingProbe - Pusher - Reporter

`pipeline.study.graph` puts the same nodes together for a study.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Final

from tfx.components import Trainer, Tuner
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel

from components.baseline_resolver.component import BaselineResolver
from components.change_detector import detect
from components.change_detector.component import ChangeDetector
from components.change_detector.executor import UNCHANGED
from components.change_detector.settings import ChangeDetectorSettings
from components.code_version import MODEL_CODE, code_version
from components.evaluator.component import Evaluator
from components.evaluator.settings import EvaluatorSettings
from components.pusher.component import Pusher
from components.reporter.component import Reporter
from components.reporter.settings import ReporterSettings
from components.serving_folder import ServingFolderSettings
from components.serving_probe.component import ServingProbe
from components.transform.component import Transform
from modules.serving.serving_dir import baseline_key
from modules.training.settings import TrainerSettings, TuneSettings
from pipeline.config import Config
from pipeline.data_graph import DataNodes, prepare, validate
from pipeline.root import ARTIFACTS_DIR, CHECKPOINTS_DIR
from schema.reports.serving import Regardless

_TRAINER: Final = "modules.training.trainer"
_TUNER: Final = "modules.training.tuner"

ROOT_ON_CLUSTER: Final = "minio://artifacts"
"""TFX asks for a root when it compiles; what counts is told to Kubeflow when a run starts."""

_ONLY_WHERE: Final[Mapping[str, bool | set[str]]] = {
    **dict.fromkeys(("name", "root", "beam", "kubeflow", "notify"), True),
    "data": {"root", "span", "spans", "external"},
}
"""Of the configuration, what says where and on what a run takes place; the data themselves are looked at."""


def create_pipeline(
    config: Config,
    connection: metadata_store_pb2.ConnectionConfig | None = None,
    *,
    on_cluster: bool = False,
    regardless: Regardless | None = None,
) -> Pipeline:
    """Build the graph of a run.

    Args:
        config: All that determines the run.
        connection: Where the runner keeps metadata, if it is told so by the pipeline.
        on_cluster: Whether the graph is built for Kubeflow, where folders can be seen only by the steps themselves.
        regardless: Why to train even where nothing has changed; what is forced takes nothing from the cache.
    """
    detector = ChangeDetector(_change_settings(config, on_cluster=on_cluster, regardless=regardless))
    # On one machine the runner ends the run: a condition's artifact would be in the key of all that is cached.
    changed = detector.outputs["changes"].future()[0].custom_property(UNCHANGED) == 0
    with Cond(changed) if on_cluster else nullcontext():
        nodes = _run_nodes(config, detector, on_cluster=on_cluster)
    for node in nodes:
        if not node.inputs:
            node.add_upstream_node(detector)
    artifacts = ROOT_ON_CLUSTER if on_cluster else None
    return make_pipeline(config, config.name, [detector, *nodes], connection, artifacts, cache=regardless != "forced")


def _run_nodes(config: Config, detector: ChangeDetector, *, on_cluster: bool) -> list[BaseComponent]:
    """Make all nodes of a run that are only needed where something has changed."""
    candidate = candidate_key(config)
    serving = ServingFolderSettings(
        serving_dir=config.serving_dir,
        candidate_key=candidate,
        baseline_key="" if on_cluster else baseline_key(candidate, config.serving_dir),
    )
    validated = validate(config)
    resolver = BaselineResolver(examples=validated.originals, settings=serving)
    baseline = resolver.outputs["model"]
    data = prepare(config, validated, resolver)
    transform = make_transform(config, data.examples, data.schema)
    tuner = _tuner(config, data, transform, baseline) if config.tune.trials else None
    trainer = make_trainer(config, transform, data.schema, baseline=baseline, tuner=tuner)
    evaluator = Evaluator(
        examples=data.examples,
        external_examples=data.external,
        model=trainer.outputs["model"],
        baseline_model=baseline,
        settings=EvaluatorSettings(evaluate=config.evaluate),
    )
    probe = ServingProbe(model=trainer.outputs["model"], examples=data.examples)
    pusher = Pusher(
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=probe.outputs["infra_blessing"],
        settings=serving,
        statistics=data.statistics,
        changes=detector.outputs["changes"],
    )
    reporter = _reporter(
        config,
        data,
        trainer,
        evaluator,
        blessing=evaluator.outputs["blessing"],
        infra_blessing=probe.outputs["infra_blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        baseline_model=baseline,
    )
    trainers = [tuner, trainer] if tuner else [trainer]
    return [*data.nodes, transform, *trainers, evaluator, probe, pusher, reporter]


def candidate_key(config: Config) -> str:
    """Identify all that makes and judges the candidate, beside the examples; 16 hexadecimal digits."""
    made_by = config.model_dump(mode="json", include={"transform", "model", "train", "tune", "evaluate"})
    made_by["policy"] = config.augment.effective_policy.model_dump(mode="json")
    made_by["external"] = {name: str(folder) for name, folder in config.data.external.items()}
    made_by["code_version"] = code_version(*MODEL_CODE)
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]


def _change_settings(config: Config, *, on_cluster: bool, regardless: Regardless | None) -> ChangeDetectorSettings:
    settings = ChangeDetectorSettings(
        serving_dir=config.serving_dir,
        data_root=config.data.root,
        span=config.data.span,
        spans=config.data.spans,
        external=config.data.external,
        run=config.model_dump(mode="json", exclude=_ONLY_WHERE),
        regardless=regardless,
    )
    return settings if on_cluster else settings.model_copy(update={"cache_key": detect.cache_key(settings)})


def make_pipeline(
    config: Config,
    name: str,
    nodes: list[BaseComponent],
    connection: metadata_store_pb2.ConnectionConfig | None,
    artifacts: str | None = None,
    *,
    cache: bool = True,
) -> Pipeline:
    """Make a pipeline of nodes.

    Args:
        config: Where they write, and how Beam runs.
        name: What metadata call the pipeline.
        nodes: In any order.
        connection: As of `create_pipeline`.
        artifacts: Where they write, if elsewhere.
        cache: Whether what the cache holds is taken from it.
    """
    return Pipeline(
        pipeline_name=name,
        pipeline_root=artifacts or str(config.root / ARTIFACTS_DIR),
        components=nodes,
        enable_cache=cache,
        metadata_connection_config=connection,
        beam_pipeline_args=config.beam.arguments(),
    )


def make_transform(config: Config, examples: BaseChannel, schema: BaseChannel) -> Transform:
    """Make what brings originals and copies into the network's form."""
    return Transform(examples=examples, schema=schema, image_size=config.model.image_size, settings=config.transform)


def _tuner(config: Config, data: DataNodes, transform: Transform, baseline: BaseChannel) -> Tuner:
    return Tuner(
        tuner_fn=f"{_TUNER}.tuner_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=data.schema,
        base_model=baseline if config.train.warm_start else None,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config=_trainer_settings(config, _TUNER, config.tune).model_dump(mode="json"),
    )


def make_trainer(
    config: Config,
    transform: Transform,
    schema: BaseChannel,
    *,
    baseline: BaseChannel | None = None,
    tuner: Tuner | None = None,
) -> Trainer:
    """Make what trains on all that a Transform wrote.

    Args:
        config: Of the network and its training.
        transform: That wrote the examples.
        schema: Of the records.
        baseline: The model that a warm start begins with.
        tuner: Whose choice replaces settings.
    """
    return Trainer(
        run_fn=f"{_TRAINER}.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        base_model=baseline if config.train.warm_start else None,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config=_trainer_settings(config, _TRAINER).model_dump(mode="json"),
    )


def _trainer_settings(config: Config, module: str, tune: TuneSettings | None = None) -> TrainerSettings:
    return TrainerSettings(
        model=config.model,
        transform=config.transform,
        train=config.train,
        tune=tune or TuneSettings(),
        checkpoint_dir=config.root / CHECKPOINTS_DIR,
        code_version=code_version(module),
    )


def _reporter(
    config: Config, data: DataNodes, trainer: Trainer, evaluator: Evaluator, **others: BaseChannel | None
) -> Reporter:
    """Make the Reporter; `others` are its inputs of what became of the model."""
    return Reporter(
        examples=data.examples,
        external_examples=data.external,
        statistics=data.statistics,
        anomalies=data.anomalies,
        validation=data.validation,
        external_validation=data.external_validation,
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        settings=ReporterSettings(
            pipeline=config.name,
            transform=config.transform,
            model=config.model,
            train=config.train,
            evaluate=config.evaluate,
            policy=config.augment.effective_policy,
        ),
        **others,
    )
