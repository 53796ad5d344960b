"""The graph: what stands in it, what feeds what, and that TFX takes it."""

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from pydantic import JsonValue
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.proto.orchestration import pipeline_pb2

from components import code_version
from components.augmenter.policy import Policy
from components.change_detector.settings import ChangeDetectorSettings
from components.evaluator.settings import EvaluatorSettings
from components.serving_folder import ServingFolderSettings
from modules.preprocessing.settings import PreprocessingSettings
from modules.serving.serving_dir import push
from modules.training.settings import TrainerSettings
from pipeline.config import PRESETS, Config, load_config
from pipeline.graph import candidate_key, create_pipeline
from schema import features

Nodes = dict[str, pipeline_pb2.PipelineNode]


def load(preset: str = "demo", /, **overrides: JsonValue) -> Config:
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(preset, values, data=Path("/data"), root=Path("/runs"))


def compiled(config: Config) -> pipeline_pb2.Pipeline:
    return compiler.Compiler().compile(create_pipeline(config))


def nodes_of(config: Config) -> Nodes:
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled(config).nodes}


@pytest.fixture(scope="module")
def nodes() -> Nodes:
    return nodes_of(load())


def parameter(nodes: Nodes, component_id: str, name: str) -> str:
    return str(nodes[component_id].parameters.parameters[name].field_value.string_value)


def settings(nodes: Nodes, component_id: str) -> dict[str, Any]:
    return dict(json.loads(parameter(nodes, component_id, "settings")))


def serving(nodes: Nodes) -> ServingFolderSettings:
    """What the BaselineResolver is told of the serving folder, which is the same that the Pusher is told."""
    assert settings(nodes, "Pusher") == settings(nodes, "BaselineResolver")
    return ServingFolderSettings.model_validate_json(parameter(nodes, "BaselineResolver", "settings"))


def inputs(nodes: Nodes, component_id: str) -> dict[str, str]:
    """Input key -> Component.output_key."""
    return {
        key: f"{channel.producer_node_query.id}.{channel.output_key}"
        for key, spec in nodes[component_id].inputs.inputs.items()
        for channel in spec.channels
    }


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_compiles(preset: str) -> None:
    ir = compiled(load(preset, name="a-clinic"))
    assert ir.pipeline_info.id == "a-clinic"
    assert len({node.pipeline_node.node_info.id for node in ir.nodes}) == len(ir.nodes) >= 10


def test_component_ids_suit_kubeflow(nodes: Nodes) -> None:
    assert all(component_id.isalnum() for component_id in nodes)


def test_edges(nodes: Nodes) -> None:
    validated = "RecordValidator.validated_examples"
    augmented = "Augmenter.augmented_examples"
    schema = "ImportSchemaGen.schema"
    assert {component_id: inputs(nodes, component_id) for component_id in nodes} == {
        "ChangeDetector": {},
        "ExampleGen": {},
        "ImportSchemaGen": {},
        "RecordValidator": {"examples": "ExampleGen.examples"},
        "StatisticsGen": {"examples": validated},
        "ExampleValidator": {
            "statistics": "StatisticsGen.statistics",
            "schema": schema,
            "baseline_model": "BaselineResolver.model",
        },
        "DataGate": {"validation": "RecordValidator.report", "anomalies": "ExampleValidator.anomalies"},
        "Augmenter": {"examples": validated},
        "Transform": {"examples": augmented, "schema": schema},
        "Trainer": {
            "examples": "Transform.transformed_examples",
            "transform_graph": "Transform.transform_graph",
            "schema": schema,
        },
        "BaselineResolver": {"examples": validated},
        "Evaluator": {"examples": augmented, "model": "Trainer.model", "baseline_model": "BaselineResolver.model"},
        "ServingProbe": {"examples": augmented, "model": "Trainer.model"},
        "Pusher": {
            "model": "Trainer.model",
            "blessing": "Evaluator.blessing",
            "infra_blessing": "ServingProbe.infra_blessing",
            "statistics": "StatisticsGen.statistics",
            "changes": "ChangeDetector.changes",
        },
        "Reporter": {
            "examples": augmented,
            "statistics": "StatisticsGen.statistics",
            "validation": "RecordValidator.report",
            "anomalies": "ExampleValidator.anomalies",
            "model": "Trainer.model",
            "model_run": "Trainer.model_run",
            "evaluation": "Evaluator.evaluation",
            "blessing": "Evaluator.blessing",
            "infra_blessing": "ServingProbe.infra_blessing",
            "pushed_model": "Pusher.pushed_model",
            "baseline_model": "BaselineResolver.model",
        },
    }


def test_nothing_is_read_before_it_is_known_that_something_has_changed() -> None:
    nodes = nodes_of(with_external("north"))
    first = {"ChangeDetector"}
    assert {name for name in nodes if not inputs(nodes, name)} - first == {
        "ExampleGen", "ExternalExampleGen", "ImportSchemaGen"
    }  # fmt: skip
    for name in set(nodes) - first:
        assert inputs(nodes, name) or set(nodes[name].upstream_nodes) == first
    assert not any(node.inputs.conditionals for node in nodes.values()), "their artifacts would be in the cache's keys"


EXTERNAL = {"north": Path("/sets/north"), "south": Path("/sets/old/south")}
FOLDERS: dict[str, Any] = {
    "data": Path("/data"), "root": Path("/runs"), "external": {"north": EXTERNAL["north"]}
}  # fmt: skip


def with_external(*names: str) -> Config:
    external = {name: EXTERNAL[name] for name in names}
    return load_config("demo", {}, data=Path("/data"), root=Path("/runs"), external=external)


def test_external_sets_are_only_tested_on() -> None:
    nodes = nodes_of(with_external("north", "south"))
    assert inputs(nodes, "ExternalRecordValidator") == {
        "examples": "ExternalExampleGen.examples",
        "reference_examples": "RecordValidator.validated_examples",
    }
    assert inputs(nodes, "DataGate")["external_validation"] == "ExternalRecordValidator.report"
    assert inputs(nodes, "ExternalAugmenter") == {"examples": "ExternalRecordValidator.validated_examples"}
    for name in ("Augmenter", "ExternalAugmenter"):
        assert "DataGate" in nodes[name].upstream_nodes, "nothing is made of data that are not fit"
    takers = {name for name in nodes if "ExternalAugmenter.augmented_examples" in inputs(nodes, name).values()}
    assert takers == {"Evaluator", "Reporter"}


def test_an_external_set_leaves_the_training_in_the_cache() -> None:
    with_one, without = nodes_of(with_external("north")), nodes_of(with_external())
    for name in ("RecordValidator", "StatisticsGen", "Augmenter", "Transform", "Trainer"):
        assert inputs(with_one, name) == inputs(without, name)
        assert with_one[name].parameters == without[name].parameters


def test_external_sets_are_read_whole_and_a_split_each() -> None:
    nodes = nodes_of(with_external("north", "south"))
    assert parameter(nodes, "ExternalExampleGen", "input_base") == "/sets"
    assert json.loads(parameter(nodes, "ExternalExampleGen", "input_config"))["splits"] == [
        {"name": "north", "pattern": "north/span-*/records-*"},
        {"name": "south", "pattern": "old/south/span-*/records-*"},
    ]
    assert json.loads(parameter(nodes, "ExternalExampleGen", "output_config")) == {}


def test_a_single_external_set_is_not_split() -> None:
    nodes = nodes_of(with_external("north"))
    (split,) = json.loads(parameter(nodes, "ExternalExampleGen", "input_config"))["splits"]
    assert split == {"name": "north", "pattern": "span-*/records-*"}
    assert json.loads(parameter(nodes, "ExternalExampleGen", "output_config")) == {
        "split_config": {"splits": [{"name": "north", "hash_buckets": 1}]}
    }


def test_a_warm_start_takes_the_baseline() -> None:
    warm = nodes_of(load(train__warm_start=True))
    assert inputs(warm, "Trainer")["base_model"] == "BaselineResolver.model"
    assert warm["Trainer"].inputs.inputs["base_model"].min_count == 0


def test_a_search_comes_before_the_training() -> None:
    tuned = nodes_of(load(tune__trials=2))
    assert inputs(tuned, "Tuner") == {
        "examples": "Transform.transformed_examples",
        "transform_graph": "Transform.transform_graph",
        "schema": "ImportSchemaGen.schema",
    }
    assert inputs(tuned, "Trainer")["hyperparameters"] == "Tuner.best_hyperparameters"
    assert json.loads(parameter(tuned, "Tuner", "custom_config"))["tune"]["trials"] == 2
    assert parameter(tuned, "Tuner", "tuner_fn") == "modules.training.tuner.tuner_fn"


def test_a_search_is_part_of_what_makes_the_candidate() -> None:
    assert candidate_key(load()) != candidate_key(load(tune__trials=2))


def test_a_search_leaves_a_training_without_one_in_the_cache() -> None:
    trained = [parameter(nodes_of(load(tune__trial_epochs=epochs)), "Trainer", "custom_config") for epochs in (2, 3)]
    assert trained[0] == trained[1]


def test_everything_lies_under_the_root() -> None:
    pipeline = create_pipeline(load())
    assert pipeline.pipeline_info.pipeline_root == "/runs/artifacts"
    assert pipeline.enable_cache


def test_metadata_and_beam_arguments(tmp_path: Path) -> None:
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    pipeline = create_pipeline(load(beam__mode="multi_processing", beam__workers=3), connection)
    assert pipeline.metadata_connection_config == connection
    assert pipeline.beam_pipeline_args == [
        "--runner=pipeline.beam.direct.DirectRunner",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=3",
        "--sdk_container_image=none",
        "--beam_plugins=tfx",
    ]


def test_examples_are_split_by_patient(nodes: Nodes) -> None:
    assert parameter(nodes, "ExampleGen", "input_base") == "/data"
    (split,) = json.loads(parameter(nodes, "ExampleGen", "input_config"))["splits"]
    assert split["pattern"] == "span-{SPAN}/records-*"
    config = json.loads(parameter(nodes_of(load(data__train_buckets=6)), "ExampleGen", "output_config"))
    assert config["split_config"] == {
        "partition_feature_name": "patient_id",
        "splits": [
            {"name": "train", "hash_buckets": 6},
            {"name": "eval", "hash_buckets": 1},
            {"name": "test", "hash_buckets": 1},
        ],
    }


def test_the_spans_arrive(nodes: Nodes) -> None:
    def spans_of(nodes: Nodes) -> tuple[int, str]:
        custom = json.loads(parameter(nodes, "ExampleGen", "custom_config"))["custom_config"]
        return custom["value"]["spans"], parameter(nodes, "ExampleGen", "range_config")

    assert spans_of(nodes) == (1, "")
    spans, newest = spans_of(nodes_of(load(data__spans=3, data__span=5)))
    assert spans == 3
    assert json.loads(newest)["static_range"] == {"start_span_number": 5, "end_span_number": 5}


def test_statistics_leave_out_pixels_and_names(nodes: Nodes) -> None:
    options = json.loads(parameter(nodes, "StatisticsGen", "stats_options_json"))
    assert options["_experimental_filter_read_paths"], "pixels are not even read"
    read = [feature["name"] for feature in json.loads(options["schema_json"])["feature"]]
    assert sorted(read) == sorted(features.STATISTICS)
    assert not {"image", "mask", "image_id", "patient_id"} & set(read)


def test_the_schema_is_the_contract(nodes: Nodes) -> None:
    path = Path(parameter(nodes, "ImportSchemaGen", "schema_file"))
    assert path == features.SCHEMA_FILE
    assert path.is_file()


def test_the_augmenter_gets_the_policy_with_the_copies_asked_for() -> None:
    config = load(augment__copies__train=5)
    policy = Policy.model_validate_json(parameter(nodes_of(config), "Augmenter", "settings"))
    assert policy == config.augment.effective_policy
    assert policy.copies_of("train") == 5


def test_transform_learns_from_training_data_and_leaves_the_test_split_alone(nodes: Nodes) -> None:
    splits = json.loads(parameter(nodes, "Transform", "splits_config"))
    assert splits == {"analyze": ["train"], "transform": ["train", "eval"]}
    assert json.loads(parameter(nodes, "Trainer", "train_args")) == {"splits": ["train"]}
    assert json.loads(parameter(nodes, "Trainer", "eval_args")) == {"splits": ["eval"]}


def test_settings_arrive() -> None:
    config = load(train__epochs=3, transform__normalization="image")
    nodes = nodes_of(config)
    assert TrainerSettings.model_validate_json(parameter(nodes, "Trainer", "custom_config")) == TrainerSettings(
        model=config.model,
        transform=config.transform,
        train=config.train,
        checkpoint_dir=config.root / "checkpoints",
        code_version=code_version.code_version("modules.training.trainer"),
    )
    reported = settings(nodes, "Reporter")
    transform = PreprocessingSettings.model_validate_json(parameter(nodes, "Transform", "custom_config"))
    assert transform.image_size == config.model.image_size
    assert transform.transform.normalization == reported["transform"]["normalization"] == "image"
    assert transform.code_version == code_version.code_version(
        "components.transform.executor", "modules.preprocessing.transform"
    )
    assert settings(nodes, "Evaluator") == EvaluatorSettings(evaluate=config.evaluate).model_dump(mode="json")
    assert settings(nodes, "RecordValidator") == config.record_validation.model_dump(mode="json")
    assert settings(nodes, "ExampleValidator") == config.drift.model_dump(mode="json")
    assert settings(nodes, "DataGate") == config.gate.model_dump(mode="json")
    assert reported["policy"] == config.augment.effective_policy.model_dump(mode="json")
    assert (reported["pipeline"], reported["train"]["epochs"]) == ("lungseg", 3)


@pytest.mark.parametrize(("component_id", "name"), [("Transform", "preprocessing_fn"), ("Trainer", "run_fn")])
def test_dotted_paths_import(nodes: Nodes, component_id: str, name: str) -> None:
    module, _, function = parameter(nodes, component_id, name).rpartition(".")
    assert module.startswith("modules.")
    assert function == name
    assert callable(getattr(importlib.import_module(module), function))


def test_baseline_and_pusher_share_the_serving_folder(nodes: Nodes) -> None:
    assert serving(nodes).serving_dir == Path("/runs/serving")


def test_on_a_cluster_the_serving_folder_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "current.json").write_text("{")
    config = load_config("demo", {}, data=Path("/data"), root=tmp_path)
    ir = compiler.Compiler().compile(create_pipeline(config, on_cluster=True))
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}
    assert serving(nodes).baseline_key == ""


@pytest.mark.parametrize(
    ("overrides", "other"),
    [
        ({"train__epochs": 3}, True),
        ({"model__filters": 4}, True),
        ({"transform__normalization": "percentile"}, True),
        ({"evaluate__min_patients": 5}, True),
        ({"augment__copies__train": 3}, True),
        ({"gate__max_leaks": 3}, False),
        ({"beam__mode": "multi_processing"}, False),
        ({"name": "other"}, False),
    ],
)
def test_what_makes_another_candidate(nodes: Nodes, overrides: dict[str, JsonValue], other: bool) -> None:
    candidate = candidate_key(load(**overrides))
    assert (candidate != serving(nodes).candidate_key) == other


def detector_settings(config: Config, **options: Any) -> ChangeDetectorSettings:
    ir = compiler.Compiler().compile(create_pipeline(config, **options))
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}
    return ChangeDetectorSettings.model_validate_json(parameter(nodes, "ChangeDetector", "settings"))


@pytest.mark.parametrize(
    ("overrides", "other"),
    [
        ({"train__seed": 3}, True),
        ({"train__warm_start": True}, True),
        ({"model__filters": 4}, True),
        ({"tune__trials": 2}, True),
        ({"evaluate__min_patients": 5}, True),
        ({"augment__copies__train": 3}, True),
        ({"data__train_buckets": 6}, True),
        ({"record_validation__max_lung_fraction": 0.6}, True),
        ({"gate__max_leaks": 3}, True),
        ({"data__spans": 3}, False),
        ({"beam__mode": "multi_processing"}, False),
        ({"kubeflow__retries": 1}, False),
        ({"notify__url": "https://ops.example"}, False),
        ({"name": "other"}, False),
    ],
)
def test_which_settings_are_a_change(nodes: Nodes, overrides: dict[str, JsonValue], other: bool) -> None:
    before = settings(nodes, "ChangeDetector")["run"]
    assert (settings(nodes_of(load(**overrides)), "ChangeDetector")["run"] != before) == other


def test_the_detector_looks_where_the_run_reads() -> None:
    found = detector_settings(load_config("demo", {"data.span": 5, "data.spans": 3}, **FOLDERS))
    assert (found.data_root, found.span, found.spans) == (Path("/data"), 5, 3)
    assert (found.external, found.serving_dir) == ({"north": Path("/sets/north")}, Path("/runs/serving"))
    assert found.regardless is None
    assert found.cache_key
    assert detector_settings(load(), on_cluster=True).cache_key == "", "its folders cannot be seen here"


def test_a_forced_run_takes_nothing_from_the_cache() -> None:
    assert detector_settings(load(), regardless="forced").regardless == "forced"
    assert not create_pipeline(load(), regardless="forced").enable_cache
    assert create_pipeline(load(), regardless="resumed").enable_cache


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the code, by whose versions artifacts are made."""
    for package in ("schema", "modules", "components"):
        shutil.copytree(code_version._ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "_ROOT", tmp_path)
    code_version.code_version.cache_clear()
    yield tmp_path
    code_version.code_version.cache_clear()


def change(file: Path) -> None:
    with file.open("a") as opened:
        opened.write("# a comment\n")
    code_version.code_version.cache_clear()


@pytest.mark.parametrize(
    ("file", "other"),
    [
        ("modules/network/unet.py", True),
        ("modules/preprocessing/normalization.py", True),
        ("modules/evaluation/rules.py", True),
        ("components/augmenter/augment.py", True),
        ("components/reporter/page.py", False),
        ("components/pusher/executor.py", False),
    ],
)
def test_which_code_makes_another_candidate(tree: Path, file: str, other: bool) -> None:
    before = candidate_key(load())
    change(tree / file)
    assert (candidate_key(load()) != before) == other


def changed_nodes(tree: Path, file: str) -> set[str]:
    before = nodes_of(load())
    change(tree / file)
    after = nodes_of(load())
    return {
        component_id for component_id in before if before[component_id].parameters != after[component_id].parameters
    }


def test_a_record_that_is_stored_otherwise_is_read_and_judged_anew(tree: Path) -> None:
    changed = changed_nodes(tree, "schema/record.py")
    assert changed >= {"RecordValidator", "Augmenter", "Evaluator", "ServingProbe"}
    assert not changed & {"StatisticsGen", "ImportSchemaGen"}, "TFX's own know nothing of it"


def test_another_page_makes_nothing_anew_but_itself(tree: Path) -> None:
    assert changed_nodes(tree, "components/reporter/page.py") == {"Reporter"}


def test_the_model_that_serves_is_part_of_the_comparisons_key(tmp_path: Path) -> None:
    def keys() -> tuple[str, str]:
        settings = serving(nodes_of(load_config("demo", {}, data=Path("/data"), root=tmp_path)))
        return settings.baseline_key, settings.candidate_key

    baseline, _ = keys()
    assert baseline == "none"
    (tmp_path / "serving" / "1").mkdir(parents=True)
    tf.saved_model.save(tf.Module(), str(tmp_path / "serving" / "1"))
    baseline, candidate = keys()
    assert baseline.startswith("1:")
    push(tmp_path / "serving" / "1", tmp_path / "serving", candidate, "none")
    assert keys() == ("none", candidate), "an unchanged run finds its own result again"
