"""Parameters of a run, put where the steps look for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.kubeflow.parameters import apply_parameters


def test_training() -> None:
    settings = {"train": {"epochs": 4, "seed": 7, "batch_size": 8}, "model": {"filters": 8}}
    properties: dict[str, Any] = {"custom_config": json.dumps(settings), "run_fn": "f", "epochs": 3.0, "seed": 9.0}
    apply_parameters("Trainer", properties)
    assert set(properties) == {"custom_config", "run_fn"}
    settings["train"] |= {"epochs": 3, "seed": 9}
    assert json.loads(properties["custom_config"]) == settings


def test_spans() -> None:
    custom = {"custom_config": {"@type": "Struct", "value": {"spans": 1, "code_version": "c"}}}
    properties: dict[str, Any] = {
        "input_base": "/old", "custom_config": json.dumps(custom), "data_root": "/new", "span": 5.0, "spans": 3.0,
    }  # fmt: skip
    apply_parameters("ExampleGen", properties)
    assert properties["input_base"] == "/new"
    assert json.loads(properties["range_config"]) == {"static_range": {"start_span_number": 5, "end_span_number": 5}}
    assert json.loads(properties["custom_config"])["custom_config"]["value"] == {"spans": 3, "code_version": "c"}


def test_the_latest_span() -> None:
    properties = {"span": 0.0}
    apply_parameters("ExampleGen", properties)
    assert properties == {}


def test_the_first_step_knows_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{metric: dice_mean, at_least: 0.97}]\n")
    run = {"train": {"epochs": 4, "seed": 7, "batch_size": 8}, "evaluate": {"rules": [], "min_patients": 3}}
    settings = {"data_root": "/old", "span": None, "spans": 1, "external": {}, "regardless": None, "run": run}
    values = {"data_root": "/new", "span": 5.0, "spans": 3.0, "epochs": 3.0, "seed": 9.0, "thresholds": str(file)}
    properties: dict[str, Any] = {"settings": json.dumps(settings), **values, "force": True}
    apply_parameters("ChangeDetector", properties)
    assert set(properties) == {"settings"}
    put = json.loads(properties["settings"])
    (rule,) = put["run"]["evaluate"].pop("rules")
    assert (rule["metric"], rule["at_least"]) == ("dice_mean", 0.97)
    train = {"epochs": 3, "seed": 9, "batch_size": 8}
    assert put == {
        "data_root": "/new", "span": 5, "spans": 3, "external": {}, "regardless": "forced",
        "run": {"train": train, "evaluate": {"min_patients": 3}},
    }  # fmt: skip


def test_other_components_keep_what_is_theirs() -> None:
    properties = {"seed": 3}
    apply_parameters("Augmenter", properties)
    assert properties == {"seed": 3}


def test_thresholds(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{metric: dice_mean, at_least: 0.97}]\n")
    before = {"evaluate": {"rules": [], "min_patients": 3}, "training": None}
    properties = {"settings": json.dumps(before), "thresholds": str(file)}
    apply_parameters("Evaluator", properties)
    settings = json.loads(properties["settings"])["evaluate"]
    assert settings["min_patients"] == 3
    assert [(rule["metric"], rule["at_least"]) for rule in settings["rules"]] == [("dice_mean", 0.97)]
    report = {"settings": json.dumps({"evaluate": {"rules": []}}), "thresholds": str(file)}
    apply_parameters("Reporter", report)
    assert json.loads(report["settings"])["evaluate"]["rules"] == settings["rules"]


def test_no_thresholds_keep_the_compiled_ones() -> None:
    properties = {"settings": '{"evaluate": {"rules": [1]}}', "thresholds": ""}
    apply_parameters("Evaluator", properties)
    assert properties == {"settings": '{"evaluate": {"rules": [1]}}'}


@pytest.mark.parametrize(("text", "problem"), [
    (None, "FileNotFoundError"),
    ("rules: [", "ParserError"),
    ("other: 1", "KeyError"),
    ("rules: [{metric: dicey, at_least: 0.9}]", None),
])  # fmt: skip
def test_thresholds_that_are_none(tmp_path: Path, text: str | None, problem: str | None) -> None:
    file = tmp_path / "rules.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as caught:
        apply_parameters("Evaluator", {"settings": '{"evaluate": {}}', "thresholds": str(file)})
    message = str(caught.value)
    assert message.startswith(f"thresholds '{file}' ({problem or ''}")
    assert message.endswith("): name a YAML file with `rules:` as under `evaluate` of a configuration")


def test_thresholds_for_a_set_that_is_not_there_are_refused_by_the_first_step(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{metric: dice_mean, at_least: 0.9}, {metric: hd95, at_most: 0.1, slice: {set: north}}]\n")
    settings = {"external": {"north": "/north"}, "run": {"evaluate": {"rules": []}}}
    apply_parameters("ChangeDetector", {"settings": json.dumps(settings), "thresholds": str(file)})
    settings["external"] = {"south": "/south"}
    with pytest.raises(UserError) as caught:
        apply_parameters("ChangeDetector", {"settings": json.dumps(settings), "thresholds": str(file)})
    assert str(caught.value) == (
        "thresholds: a rule on hd95 is for external set 'north', which is not given: add --external north=DIR, "
        "and compile the pipeline again"
    )


@pytest.mark.parametrize(("name", "value", "bound"), [
    ("span", -1.0, "0 or more"),
    ("spans", 0.0, "1 or more"),
    ("epochs", 0.0, "1 or more"),
    ("seed", -3.0, "0 or more"),
    ("seed", 2.0**32, "below 4294967296"),
])  # fmt: skip
def test_a_wrong_value_is_refused_by_the_first_step(name: str, value: float, bound: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_parameters("ChangeDetector", {name: value})
    assert str(caught.value) == f"parameter {name} is {value:.0f}: must be {bound}"
    with pytest.raises(UserError, match=r"^thresholds "):
        apply_parameters("ChangeDetector", {"thresholds": "ruels.yaml"})
