"""The graph of a study: what arms share, what each has alone, and what stays in the cache where one is added."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from tfx.dsl.compiler import compiler
from tfx.proto.orchestration import pipeline_pb2

from pipeline.config import Config, load_config
from pipeline.study.arms import load_arms
from pipeline.study.graph import create_study
from pipeline.study.plan import StudyPlan

Nodes = dict[str, pipeline_pb2.PipelineNode]

ARMS: dict[str, dict[str, JsonValue]] = {
    "originals": {"train.copies": False},
    "chest": {},
    "strong": {"augment.policy": "strong"},
    "strong, slow": {"augment.policy": "strong", "train.learning_rate": 0.001},
    "small": {"model.image_size": 64},
}


def config_of(*external: str) -> Config:
    folders = {name: Path("/sets", name) for name in external}
    return load_config("demo", {}, data=Path("/data"), root=Path("/runs"), external=folders)


def plan_of(tmp_path: Path, *names: str, seeds: int = 1, folds: int | None = None) -> StudyPlan:
    file = tmp_path / "arms.yaml"
    file.write_text(json.dumps({name.replace(",", ""): ARMS[name] for name in names}))
    config = config_of("north")
    return StudyPlan(config, load_arms(str(file), config), seeds, folds)


def nodes_of(plan: StudyPlan) -> Nodes:
    ir = compiler.Compiler().compile(create_study(plan))
    assert ir.pipeline_info.id == "lungseg-study"
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def inputs(nodes: Nodes, component_id: str) -> dict[str, list[str]]:
    """Input key -> Component.output_key of each channel."""
    specs = nodes[component_id].inputs.inputs
    return {
        key: sorted(
            f"{channel.producer_node_query.id}.{channel.output_key}"
            for part in [spec, *(specs[part] for part in spec.mixed_inputs.input_keys)]
            for channel in part.channels
        )
        for key, spec in specs.items()
        if not key.startswith("_")
    }


def producer(nodes: Nodes, component_id: str, key: str) -> str:
    (channel,) = inputs(nodes, component_id)[key]
    return channel.partition(".")[0]


def parameter(nodes: Nodes, component_id: str, name: str) -> dict[str, Any]:
    return dict(json.loads(nodes[component_id].parameters.parameters[name].field_value.string_value))


def kind(nodes: Nodes, name: str) -> list[str]:
    return sorted(id_ for id_ in nodes if id_.partition("-")[0] == name)


def trainer_of(nodes: Nodes, evaluator: str) -> str:
    return producer(nodes, evaluator, "model")


def test_the_study_of_copies() -> None:
    config = config_of("north")
    nodes = nodes_of(StudyPlan(config, load_arms("copies", config)))
    evaluators = kind(nodes, "Evaluator")
    assert evaluators == ["Evaluator-originals-only-7", "Evaluator-with-copies-7"]
    originals, copies = (trainer_of(nodes, evaluator) for evaluator in evaluators)
    assert inputs(nodes, originals) == inputs(nodes, copies)
    assert kind(nodes, "Augmenter") == ["Augmenter"]
    without, with_ = (parameter(nodes, trainer, "custom_config") for trainer in (originals, copies))
    assert (without["train"].pop("copies"), with_["train"].pop("copies")) == (False, True)
    assert without == with_
    assert with_["train"]["images_per_original"] == 2
    assert not {"BaselineResolver", "ServingProbe", "Pusher"} & set(nodes), "nothing is released"
    assert "DoubtfulMasks" not in nodes, "most masks have been trained on"


def test_what_arms_share_is_made_once(tmp_path: Path) -> None:
    nodes = nodes_of(plan_of(tmp_path, *ARMS, seeds=2))
    augmenters, transforms, trainers = (kind(nodes, name) for name in ("Augmenter", "Transform", "Trainer"))
    assert len(augmenters) == 2
    assert len(transforms) == 3
    assert len(trainers) == len(kind(nodes, "Evaluator")) == 10
    assert kind(nodes, "ExampleGen") == ["ExampleGen"]

    def made_from(arm: str) -> tuple[str, str]:
        trainer = trainer_of(nodes, f"Evaluator-{arm}-7")
        assert inputs(nodes, trainer) == inputs(nodes, trainer_of(nodes, f"Evaluator-{arm}-8"))
        transform = producer(nodes, trainer, "examples")
        return producer(nodes, transform, "examples"), transform

    assert made_from("originals") == made_from("chest")
    assert made_from("strong") == made_from("strong-slow")
    assert made_from("small")[0] == made_from("chest")[0] == "Augmenter"
    assert len({made_from(arm)[1] for arm in ("chest", "strong", "small")}) == 3
    (strong,) = set(augmenters) - {"Augmenter"}
    assert made_from("strong")[0] == strong
    assert strong.startswith("Augmenter-strong-")
    assert parameter(nodes, strong, "settings")["copies"] == {"train": 1}, "it makes no test images"
    assert "DataGate" in nodes[strong].upstream_nodes


def test_every_model_is_measured_on_the_same_images(tmp_path: Path) -> None:
    nodes = nodes_of(plan_of(tmp_path, "chest", "strong", seeds=2))
    evaluators = kind(nodes, "Evaluator")
    for evaluator in evaluators:
        assert inputs(nodes, evaluator).keys() == {"examples", "external_examples", "model"}, "without a baseline"
        assert inputs(nodes, evaluator)["examples"] == ["Augmenter.augmented_examples"]
    trainings = [parameter(nodes, evaluator, "settings")["training"] for evaluator in evaluators]
    assert trainings == [{"arm": arm, "seed": seed, "fold": None} for arm in ("chest", "strong") for seed in (7, 8)]
    evaluations = [f"{evaluator}.evaluation" for evaluator in evaluators]
    assert inputs(nodes, "StudyComparison")["evaluations"] == evaluations
    compared = parameter(nodes, "StudyComparison", "settings")
    assert [arm["name"] for arm in compared["arms"]] == ["chest", "strong"]
    assert compared["arms"][1]["settings"] == {"augment.policy": "strong"}
    assert (compared["seeds"], compared["folds"]) == ([7, 8], None)
    reported = inputs(nodes, "StudyReporter")
    assert reported["comparison"] == ["StudyComparison.comparison"]
    assert reported["evaluations"] == evaluations
    assert reported["models"] == [f"{trainer}.model" for trainer in kind(nodes, "Trainer")]


def test_seeds_rise_from_that_of_the_arm(tmp_path: Path) -> None:
    nodes = nodes_of(plan_of(tmp_path, "chest", "small", seeds=3))
    seeds = {trainer: parameter(nodes, trainer, "custom_config")["train"]["seed"] for trainer in kind(nodes, "Trainer")}
    assert sorted(seeds.values()) == [7, 7, 8, 8, 9, 9]
    assert all(trainer.startswith(f"Trainer-{seed}-") for trainer, seed in seeds.items())


@pytest.mark.parametrize(
    ("names", "seeds"),
    [(("strong", "chest", "small"), 2), (("chest", "strong"), 3), (("originals", "chest", "strong"), 2)],
)
def test_what_is_added_leaves_the_rest_as_it_was(tmp_path: Path, names: tuple[str, ...], seeds: int) -> None:
    before, after = (
        nodes_of(plan)
        for plan in (plan_of(tmp_path, "chest", "strong", seeds=2), plan_of(tmp_path, *names, seeds=seeds))
    )
    for id_ in set(before) - {"StudyComparison", "StudyReporter"}:
        assert inputs(before, id_) == inputs(after, id_)
        assert before[id_].parameters == after[id_].parameters
        assert before[id_].node_info == after[id_].node_info
    assert len(kind(after, "Trainer")) == len(names) * seeds


def test_an_arm_of_another_list_finds_its_training() -> None:
    config = config_of()
    lists = [nodes_of(StudyPlan(config, load_arms(name, config))) for name in ("copies", "numbers", "leave-one-out")]
    copies, one_copy, everything = (
        trainer_of(nodes, evaluator)
        for nodes, evaluator in zip(
            lists, ("Evaluator-with-copies-7", "Evaluator-1-copy-7", "Evaluator-all-of-chest-7"), strict=True
        )
    )
    assert copies == one_copy == everything
    assert lists[0][copies].parameters == lists[1][copies].parameters == lists[2][copies].parameters


def test_folds_turn_the_split_round(tmp_path: Path) -> None:
    nodes = nodes_of(plan_of(tmp_path, "chest", "strong", folds=3))
    gens = ["ExampleGen", "ExampleGen-fold-2", "ExampleGen-fold-3"]
    assert kind(nodes, "ExampleGen") == gens
    rotations = [parameter(nodes, gen, "custom_config")["custom_config"]["value"]["rotation"] for gen in gens]
    assert rotations == [0, 9, 18]
    for gen in gens:
        splits = parameter(nodes, gen, "output_config")["split_config"]["splits"]
        assert [(split["name"], split["hash_buckets"]) for split in splits] == [("train", 16), ("eval", 2), ("test", 9)]
    evaluators = kind(nodes, "Evaluator")
    assert evaluators == [f"Evaluator-{arm}-7-fold-{fold}" for arm in ("chest", "strong") for fold in (1, 2, 3)]
    for evaluator in evaluators:
        fold = evaluator[-1]
        end = "" if fold == "1" else f"-fold-{fold}"
        assert producer(nodes, evaluator, "examples") == f"Augmenter{end}"
        trainer = trainer_of(nodes, evaluator)
        assert trainer.endswith(f"-fold-{fold}")
        transform = producer(nodes, trainer, "examples")
        augmenter = producer(nodes, transform, "examples")
        assert producer(nodes, augmenter, "examples") == f"RecordValidator{end}"
        assert parameter(nodes, evaluator, "settings")["training"]["fold"] == int(fold)
    assert parameter(nodes, "StudyComparison", "settings")["folds"] == 3
    examples = [
        "Augmenter-fold-2.augmented_examples",
        "Augmenter-fold-3.augmented_examples",
        "Augmenter.augmented_examples",
    ]
    assert inputs(nodes, "DoubtfulMasks")["examples"] == inputs(nodes, "StudyReporter")["examples"] == examples
    assert inputs(nodes, "DoubtfulMasks")["evaluations"] == [f"{evaluator}.evaluation" for evaluator in evaluators]


def test_ids_hold_no_dot(tmp_path: Path) -> None:
    """Metadata write pipeline and node with a dot between them."""
    assert not [id_ for id_ in nodes_of(plan_of(tmp_path, *ARMS, seeds=2, folds=2)) if "." in id_ or " " in id_]
