"""The first half of the graph: from spans of records to examples that are fit to train on, with their copies."""

from dataclasses import dataclass

from tfx.components import StatisticsGen
from tensorflow_data_validation import StatsOptions, load_schema_text
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import example_gen_pb2
from tfx.types import BaseChannel

from components.augmenter.component import Augmenter
from components.augmenter.policy import Policy
from components.baseline_resolver.component import BaselineResolver
from components.data_gate.component import DataGate
from components.example_gen.component import ExampleGen, ExternalExampleGen
from components.example_validator.component import ExampleValidator
from components.record_validator.component import RecordValidator
from pipeline.config import Config, DataSettings
from schema import features


@dataclass(frozen=True)
class ValidatedNodes:
    """What has been read and validated.

    Attributes:
        nodes: Those that did it.
        originals: Sound records.
        report: Of the RecordValidator.
        external: Sound records of external test sets, a split each; None where there are none.
        external_report: Of the RecordValidator that looked at those.
    """

    nodes: list[BaseComponent]
    originals: BaseChannel
    report: BaseChannel
    external: BaseChannel | None = None
    external_report: BaseChannel | None = None


@dataclass(frozen=True)
class DataNodes:
    """What the nodes before the training give.

    Attributes:
        nodes: Those that make it.
        originals: Sound records.
        gate: Lets through what is fit to train on.
        examples: Originals and copies.
        schema: Of the records.
        statistics: Of the originals.
        anomalies: Of the statistics.
        validation: Of the records.
        external: Originals and copies of external test sets, a split each; None where there are none.
        external_validation: Of their records.
    """

    nodes: list[BaseComponent]
    originals: BaseChannel
    gate: DataGate
    examples: BaseChannel
    schema: BaseChannel
    statistics: BaseChannel
    anomalies: BaseChannel
    validation: BaseChannel
    external: BaseChannel | None
    external_validation: BaseChannel | None


def validate(config: Config) -> ValidatedNodes:
    """Read records and put what is not sound into quarantine."""
    example_gen = ExampleGen(
        data_root=config.data.root,
        output_config=split_by_patient(config.data),
        spans=config.data.spans,
        span=config.data.span,
        rotation=config.data.rotation,
    )
    validator = RecordValidator(examples=example_gen.outputs["examples"], settings=config.record_validation)
    originals, report = validator.outputs["validated_examples"], validator.outputs["report"]
    if not config.data.external:
        return ValidatedNodes([example_gen, validator], originals, report)
    external_gen = ExternalExampleGen(config.data.external)
    # By itself, so that a set that is added later leaves the training in the cache.
    external_validator = RecordValidator(
        examples=external_gen.outputs["examples"],
        reference_examples=originals,
        settings=config.record_validation,
    ).with_id("ExternalRecordValidator")
    return ValidatedNodes(
        [example_gen, validator, external_gen, external_validator],
        originals,
        report,
        external_validator.outputs["validated_examples"],
        external_validator.outputs["report"],
    )


def prepare(config: Config, validated: ValidatedNodes, resolver: BaselineResolver | None = None) -> DataNodes:
    """Take statistics, judge the data, also by those of the model that serves, and add copies."""
    statistics_gen = StatisticsGen(examples=validated.originals, stats_options=_of_scalars())
    schema_gen = ImportSchemaGen(schema_file=str(features.SCHEMA_FILE))
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        settings=config.drift,
        baseline_model=resolver.outputs["model"] if resolver else None,
    )
    gate = DataGate(
        validation=validated.report,
        anomalies=example_validator.outputs["anomalies"],
        external_validation=validated.external_report,
        settings=config.gate,
    )
    policy = config.augment.effective_policy
    augmenter = make_augmenter(policy, validated.originals, gate)
    external_augmenter = (
        make_augmenter(policy, validated.external, gate).with_id("ExternalAugmenter") if validated.external else None
    )
    nodes = [
        *validated.nodes,
        statistics_gen,
        schema_gen,
        *([resolver] if resolver else []),
        example_validator,
        gate,
        augmenter,
        *([external_augmenter] if external_augmenter else []),
    ]
    return DataNodes(
        nodes=nodes,
        originals=validated.originals,
        gate=gate,
        examples=augmenter.outputs["augmented_examples"],
        schema=schema_gen.outputs["schema"],
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        validation=validated.report,
        external=external_augmenter.outputs["augmented_examples"] if external_augmenter else None,
        external_validation=validated.external_report,
    )


def _of_scalars() -> StatsOptions:
    """Read the features of the statistics alone; with an allowlist all pixels would be decoded and held in batches."""
    schema = load_schema_text(str(features.SCHEMA_FILE))
    scalars = [feature for feature in schema.feature if feature.name in features.STATISTICS]
    return StatsOptions(schema=schema_pb2.Schema(feature=scalars), experimental_filter_read_paths=True)


def make_augmenter(policy: Policy, examples: BaseChannel, gate: DataGate) -> Augmenter:
    """Wait for the gate, whose verdict is no input: the same data give the same copies, whatever the limits."""
    augmenter = Augmenter(examples=examples, policy=policy)
    augmenter.add_upstream_node(gate)
    return augmenter


def split_by_patient(settings: DataSettings) -> example_gen_pb2.Output:
    """Describe the splits as ExampleGen takes them."""
    buckets = {"train": settings.train_buckets, "eval": settings.eval_buckets, "test": settings.test_buckets}
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets.items()
            ],
            partition_feature_name=features.PATIENT_ID,
        )
    )
