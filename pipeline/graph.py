"""The pipeline graph: one function from a configuration to a TFX pipeline, the same for every runner.

ExampleGen - StatisticsGen - ImportSchemaGen - ExampleValidator
`- Augmenter - Transform - BaselineResolver - (Tuner) - Trainer - Evaluator - Pusher
"""

import hashlib
import json
from pathlib import Path

from tfx.components import (
    Evaluator,
    ExampleValidator,
    ImportExampleGen,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
    Tuner,
)
from ml_metadata.proto import metadata_store_pb2
from tensorflow_data_validation import StatsOptions
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import BaseChannel

from components.augmenter.component import Augmenter
from components.baseline_resolver.component import BaselineResolver
from modules.evaluation import eval_config
from pipeline.config import Config, DataSettings
from schema import features

RECORDS = "span-{SPAN}/records-*"
"""Pattern of record files below the data root."""


def create_pipeline(config: Config, metadata: metadata_store_pb2.ConnectionConfig | None = None) -> Pipeline:
    """Builds the graph.

    Args:
        config: all that determines the run.
        metadata: where the runner keeps metadata, if it is told so by the pipeline.
    """
    data, examples, schema = _data(config)
    baseline_resolver = BaselineResolver(
        examples=examples, serving_dir=str(config.serving_dir), candidate=_candidate(config)
    )
    baseline = baseline_resolver.outputs["model"]
    training, model = _training(config, examples, schema, baseline)
    release = _release(config, examples, schema, model, baseline)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.root / "artifacts"),
        components=[*data, baseline_resolver, *training, *release],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=[
            f"--direct_running_mode={config.beam.mode}",
            f"--direct_num_workers={config.beam.workers}",
            # In a fresh worker process TFDV fails unless tfx was imported first.
            "--beam_plugins=tfx",
        ],
    )


def _data(config: Config) -> tuple[list[BaseComponent], BaseChannel, BaseChannel]:
    example_gen = ImportExampleGen(
        input_base=str(config.data.root),
        input_config=example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name="records", pattern=RECORDS)],
        ),
        output_config=_split_by_patient(config.data),
    )
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"],
        stats_options=StatsOptions(feature_allowlist=list(features.STATISTICS)),
    )
    schema_gen = ImportSchemaGen(schema_file=str(features.SCHEMA_FILE))
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    augmenter = Augmenter(
        examples=example_gen.outputs["examples"], policy=config.augment.resolve(), code_version=code_version()
    )
    return (
        [example_gen, statistics_gen, schema_gen, example_validator, augmenter],
        augmenter.outputs["augmented_examples"],
        schema_gen.outputs["schema"],
    )


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
    """All that makes and judges the candidate, beside the examples."""
    made_by = config.model_dump(mode="json", include={"model", "train", "tune", "evaluate"})
    return json.dumps({**made_by, "code_version": code_version()}, sort_keys=True)


def _training(
    config: Config, examples: BaseChannel, schema: BaseChannel, baseline: BaseChannel
) -> tuple[list[BaseComponent], BaseChannel]:
    code = {"code_version": code_version()}
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="modules.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"image_size": config.model.image_size, **code},
        disable_statistics=True,
    )
    inputs = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema,
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
        "base_model": baseline if config.train.warm_start else None,
    }
    settings = {
        "model": config.model.model_dump(),
        "train": config.train.model_dump(),
        # Outside the execution's own folder, so that the next execution finds what a killed one leaves.
        "checkpoint_dir": str(config.root / "checkpoints"),
        **code,
    }
    tuners = []
    if config.tune.trials:
        tuned = {**settings, "tune": config.tune.model_dump()}
        tuners.append(Tuner(tuner_fn="modules.tuner.tuner_fn", custom_config=tuned, **inputs))
    trainer = Trainer(
        run_fn="modules.trainer.run_fn",
        custom_config=settings,
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        **inputs,
    )
    return [transform, *tuners, trainer], trainer.outputs["model"]


def _release(
    config: Config, examples: BaseChannel, schema: BaseChannel, model: BaseChannel, baseline: BaseChannel
) -> list[BaseComponent]:
    evaluator = Evaluator(
        examples=examples,
        model=model,
        baseline_model=baseline,
        example_splits=["test"],
        eval_config=eval_config(config.evaluate),
        schema=schema,
    )
    pusher = Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(config.serving_dir))
        ),
    )
    return [evaluator, pusher]


def code_version() -> str:
    """Hash of the code that makes copies and models.

    Part of the cache's key, so that nothing made before an upgrade is taken for new.
    """
    root = Path(__file__).parent.parent
    sources = sorted(path for folder in ("schema", "modules", "components") for path in root.glob(f"{folder}/**/*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
