"""The graph: what stands in it, what feeds what, and that TFX takes it."""

import importlib
import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.proto.orchestration import pipeline_pb2

from components.augmenter.policy import Policy
from modules.evaluation.settings import EvaluateSettings
from modules.serving.serving_dir import push
from pipeline import graph
from pipeline.config import PRESETS, Config, load_config
from pipeline.graph import code_version, create_pipeline, create_study
from schema import features

Nodes = dict[str, pipeline_pb2.PipelineNode]


def load(preset: str = "demo", /, **overrides: str) -> Config:
    values = {key.replace("__", "."): text for key, text in overrides.items()}
    return load_config(preset, values, data=Path("/data"), root=Path("/root"))


def compiled(config: Config) -> pipeline_pb2.Pipeline:
    return compiler.Compiler().compile(create_pipeline(config))


def nodes_of(config: Config) -> Nodes:
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled(config).nodes}


@pytest.fixture(scope="module")
def nodes() -> Nodes:
    return nodes_of(load())


def parameter(nodes: Nodes, component_id: str, name: str) -> str:
    return str(nodes[component_id].parameters.parameters[name].field_value.string_value)


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


EXTERNAL = {"north": Path("/sets/north"), "south": Path("/sets/old/south")}


def with_external(*names: str) -> Config:
    external = {name: EXTERNAL[name] for name in names}
    return load_config("demo", {}, data=Path("/data"), root=Path("/root"), external=external)


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


@pytest.fixture(scope="module")
def study() -> Nodes:
    ir = compiler.Compiler().compile(create_study(with_external("north")))
    assert ir.pipeline_info.id == "lungseg-study"
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def test_a_study_compares_two_trainings(study: Nodes) -> None:
    assert inputs(study, "Evaluator") == {
        "examples": "Augmenter.augmented_examples",
        "external_examples": "ExternalAugmenter.augmented_examples",
        "model": "Trainer.model",
        "baseline_model": "OriginalsTrainer.model",
    }
    assert parameter(study, "Evaluator", "baseline_name") == "originals only"
    assert inputs(study, "Reporter")["baseline_model_run"] == "OriginalsTrainer.model_run"
    assert parameter(study, "Reporter", "kind") == "study"
    assert not {"BaselineResolver", "ServingProbe", "Pusher"} & set(study), "nothing is released"


def test_a_study_trains_alike_but_for_the_copies(study: Nodes) -> None:
    plain, originals = (json.loads(parameter(study, name, "custom_config")) for name in ("Trainer", "OriginalsTrainer"))
    assert plain["train"].pop("copies") is True
    assert originals["train"].pop("copies") is False
    assert plain == originals
    assert inputs(study, "Trainer") == inputs(study, "OriginalsTrainer")


def test_a_warm_start_takes_the_baseline() -> None:
    warm = nodes_of(load(train__warm_start="true"))
    assert inputs(warm, "Trainer")["base_model"] == "BaselineResolver.model"
    assert warm["Trainer"].inputs.inputs["base_model"].min_count == 0


def test_a_search_comes_before_the_training() -> None:
    tuned = nodes_of(load(tune__trials="2"))
    assert inputs(tuned, "Tuner") == {
        "examples": "Transform.transformed_examples",
        "transform_graph": "Transform.transform_graph",
        "schema": "ImportSchemaGen.schema",
    }
    assert inputs(tuned, "Trainer")["hyperparameters"] == "Tuner.best_hyperparameters"
    assert json.loads(parameter(tuned, "Tuner", "custom_config"))["tune"]["trials"] == 2
    assert parameter(tuned, "Tuner", "tuner_fn") == "modules.training.tuner.tuner_fn"


def test_a_search_is_part_of_what_makes_the_candidate() -> None:
    plain, tuned = (parameter(nodes_of(config), "BaselineResolver", "candidate") for config in (
        load(), load(tune__trials="2"),
    ))  # fmt: skip
    assert plain != tuned


def test_everything_lies_under_the_root() -> None:
    pipeline = create_pipeline(load())
    assert pipeline.pipeline_info.pipeline_root == "/root/artifacts"
    assert pipeline.enable_cache


def test_metadata_and_beam_arguments() -> None:
    connection = metadata.sqlite_metadata_connection_config("/root/metadata.sqlite")
    pipeline = create_pipeline(load(beam__mode="multi_processing", beam__workers="3"), connection)
    assert pipeline.metadata_connection_config == connection
    assert pipeline.beam_pipeline_args == [
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=3",
        "--beam_plugins=tfx",
    ]


def test_examples_are_split_by_patient(nodes: Nodes) -> None:
    assert parameter(nodes, "ExampleGen", "input_base") == "/data"
    (split,) = json.loads(parameter(nodes, "ExampleGen", "input_config"))["splits"]
    assert split["pattern"] == "span-{SPAN}/records-*"
    config = json.loads(parameter(nodes_of(load(data__train_buckets="6")), "ExampleGen", "output_config"))
    assert config["split_config"] == {
        "partition_feature_name": "patient_id",
        "splits": [
            {"name": "train", "hash_buckets": 6},
            {"name": "eval", "hash_buckets": 1},
            {"name": "test", "hash_buckets": 1},
        ],
    }


def test_the_spans_arrive(nodes: Nodes) -> None:
    def told(nodes: Nodes) -> tuple[int, str]:
        custom = json.loads(parameter(nodes, "ExampleGen", "custom_config"))["custom_config"]
        return custom["value"]["spans"], parameter(nodes, "ExampleGen", "range_config")

    assert told(nodes) == (1, "")
    spans, newest = told(nodes_of(load(data__spans="3", data__span="5")))
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
    nodes = nodes_of(load(augment__copies__train="5"))
    policy = Policy.model_validate_json(parameter(nodes, "Augmenter", "policy"))
    assert policy == load(augment__copies__train="5").augment.resolve()
    assert policy.copies_of("train") == 5


def test_transform_learns_from_training_data_and_leaves_the_test_split_alone(nodes: Nodes) -> None:
    splits = json.loads(parameter(nodes, "Transform", "splits_config"))
    assert splits == {"analyze": ["train"], "transform": ["train", "eval"]}
    assert json.loads(parameter(nodes, "Trainer", "train_args")) == {"splits": ["train"]}
    assert json.loads(parameter(nodes, "Trainer", "eval_args")) == {"splits": ["eval"]}


def test_settings_arrive() -> None:
    config = load(train__epochs="3")
    nodes = nodes_of(config)
    assert json.loads(parameter(nodes, "Trainer", "custom_config")) == {
        "model": config.model.model_dump(),
        "train": config.train.model_dump(),
        "checkpoint_dir": f"{config.root}/checkpoints",
        "code_version": code_version(),
    }
    assert json.loads(parameter(nodes, "Transform", "custom_config")) == {
        "image_size": config.model.image_size,
        "code_version": code_version(),
    }
    assert EvaluateSettings.model_validate_json(parameter(nodes, "Evaluator", "settings")) == config.evaluate
    reported = json.loads(parameter(nodes, "Reporter", "settings"))
    assert reported["augment"] == config.augment.resolve().model_dump(mode="json")
    assert (reported["pipeline"], reported["train"]["epochs"]) == ("lungseg", 3)


@pytest.mark.parametrize(("component_id", "name"), [("Transform", "preprocessing_fn"), ("Trainer", "run_fn")])
def test_dotted_paths_import(nodes: Nodes, component_id: str, name: str) -> None:
    module, _, function = parameter(nodes, component_id, name).rpartition(".")
    assert module.startswith("modules.")
    assert function == name
    assert callable(getattr(importlib.import_module(module), function))


def test_baseline_and_pusher_share_the_serving_folder(nodes: Nodes) -> None:
    assert parameter(nodes, "Pusher", "serving_dir") == "/root/serving"
    assert parameter(nodes, "BaselineResolver", "serving_dir") == "/root/serving"


@pytest.mark.parametrize(
    ("overrides", "other"),
    [
        ({"train__epochs": "3"}, True),
        ({"model__filters": "4"}, True),
        ({"evaluate__min_patients": "5"}, True),
        ({"augment__copies__train": "3"}, True),
        ({"gate__max_leaks": "3"}, False),
        ({"beam__mode": "multi_processing"}, False),
        ({"name": "other"}, False),
    ],
)
def test_what_makes_another_candidate(nodes: Nodes, overrides: dict[str, str], other: bool) -> None:
    candidate = parameter(nodes_of(load(**overrides)), "BaselineResolver", "candidate")
    assert (candidate != parameter(nodes, "BaselineResolver", "candidate")) == other


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two modules, as code_version sees it."""
    for name, text in {"modules/a.py": "a = 1\n", "modules/b.py": "b = 2\n", "pipeline/graph.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(graph, "__file__", str(tmp_path / "pipeline" / "graph.py"))
    return tmp_path


def test_code_version_is_the_same_for_the_same_code(project: Path) -> None:
    before = code_version()
    assert len(before) == 16
    int(before, 16)
    (project / "modules" / "notes.txt").write_text("not code")
    (project / "modules" / "a.py").touch()
    assert code_version() == before


@pytest.mark.parametrize("name", ["modules/a.py", "modules/b.py", "modules/new.py"])
def test_code_version_changes_with_the_code(project: Path, name: str) -> None:
    before = code_version()
    (project / name).write_text("a = 3\n")
    assert code_version() != before


def test_a_new_code_version_retrains_and_judges_anew(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "code_version", lambda: "0123456789abcdef")
    after = nodes_of(load())
    changed = {
        component_id for component_id in nodes if nodes[component_id].parameters != after[component_id].parameters
    }
    assert changed == set(nodes) - {"StatisticsGen", "ImportSchemaGen", "ServingProbe", "Reporter"}


def test_another_page_is_no_other_model(project: Path) -> None:
    before = code_version(), graph._report_version()
    page = project / "components" / "reporter" / "templates" / "index.html.j2"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>")
    assert code_version() == before[0]
    assert graph._report_version() != before[1]


def test_the_model_that_serves_is_part_of_the_comparisons_key(tmp_path: Path) -> None:
    def parameters() -> tuple[str, str]:
        nodes = nodes_of(load_config("demo", {}, data=Path("/data"), root=tmp_path))
        assert parameter(nodes, "Pusher", "rival") == parameter(nodes, "BaselineResolver", "rival")
        return parameter(nodes, "BaselineResolver", "rival"), parameter(nodes, "Pusher", "candidate")

    rival, _ = parameters()
    assert rival == "none"
    (tmp_path / "serving" / "1").mkdir(parents=True)
    tf.saved_model.save(tf.Module(), str(tmp_path / "serving" / "1"))
    rival, candidate = parameters()
    assert rival.startswith("1:")
    push(str(tmp_path / "serving" / "1"), str(tmp_path / "serving"), candidate, "none")
    assert parameters() == ("none", candidate), "an unchanged run finds its own result again"
