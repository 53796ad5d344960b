"""The compiled file: what is read from it, and values for its parameters."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.kubeflow.package import parse_parameters, read_package

WritePipeline = Callable[..., Path]


class TestPackage:
    def test_is_read(self, write_pipeline: WritePipeline) -> None:
        path = write_pipeline(name="mine", platform=False)
        package = read_package(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (package.path, package.name, package.version) == (path, "mine", digest[:12])
        assert set(package.parameters) == {"epochs", "learning_rate", "data_root", "push"}
        assert package.defaults == {"epochs": 10, "learning_rate": 0.001, "data_root": "", "push": True}

    def test_without_parameters(self, write_pipeline: WritePipeline) -> None:
        path = write_pipeline(platform=False)
        spec = yaml.safe_load(path.read_text())
        del spec["root"]["inputDefinitions"]
        path.write_text(yaml.safe_dump(spec))
        package = read_package(path)
        assert package.parameters == {}
        expected = f"--param epochs: {path} has no such parameter: it has no parameters"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            parse_parameters(package, {"epochs": "3"})

    @pytest.mark.parametrize("content", ["", "a: [", "- 1", "pipelineInfo: {}", "{pipelineInfo: 1}", "\x00"])
    def test_another_file_is_refused(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "p.yaml"
        path.write_text(content)
        expected = f"{path}: is no compiled pipeline: make one with `lungseg kubeflow compile`"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            read_package(path)

    def test_a_missing_file_and_another_ending(self, tmp_path: Path) -> None:
        expected = f"{tmp_path}/p.yaml: cannot be read: No such file or directory"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            read_package(tmp_path / "p.yaml")
        expected = f"{tmp_path}/p.json: must be a compiled pipeline named *.yaml"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            read_package(tmp_path / "p.json")

    def test_an_older_schema(self, write_pipeline: WritePipeline) -> None:
        path = write_pipeline()
        path.write_text(path.read_text().replace("2.1.0", "2.0.0"))
        expected = f"{path}: has schema version 2.0.0, Kubeflow Pipelines takes 2.1.0: compile it again"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            read_package(path)


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("epochs", "3", 3),
            ("epochs", "-3", -3),
            ("learning_rate", "1e-3", 0.001),
            ("learning_rate", "2", 2.0),
            ("data_root", "3", "3"),
            ("data_root", "", ""),
            ("push", "false", False),
            ("push", "True", True),
        ],
    )
    def test_have_the_declared_type(self, write_pipeline: WritePipeline, name: str, text: str, value: object) -> None:
        parsed = parse_parameters(read_package(write_pipeline()), {name: text})
        assert parsed == {name: value}
        assert type(parsed[name]) is type(value)

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("epochs", "3.0", "must be a whole number"),
            ("epochs", "1_0", "must be a whole number"),
            ("learning_rate", "fast", "must be a number"),
            ("learning_rate", "nan", "must be a number"),
            ("push", "yes", "must be true or false"),
            ("sizes", "[1]", "of type LIST cannot be given on the command line"),
        ],
    )
    def test_of_another_type(self, write_pipeline: WritePipeline, name: str, text: str, expected: str) -> None:
        package = read_package(write_pipeline(sizes={"parameterType": "LIST", "isOptional": True}))
        with pytest.raises(UserError, match=f"^{re.escape(f'--param {name}={text}: {expected}')}$"):
            parse_parameters(package, {name: text})

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("force", "is a study, which has no such parameter: it always trains"),
            ("thresholds", "is a study, which has no such parameter: it compares arms and judges none by rules"),
            ("epochs", "is a study, which has no such parameter: an arm sets train.epochs itself"),
            ("spam", "has no such parameter: did you mean span?"),
        ],
    )
    def test_of_runs_alone(self, write_pipeline: WritePipeline, name: str, expected: str) -> None:
        path = write_pipeline(platform=False)
        spec = yaml.safe_load(path.read_text())
        spec["components"]["StudyComparison"] = {"executorLabel": "StudyComparison_executor"}
        spec["root"]["inputDefinitions"]["parameters"] = {"span": {"parameterType": "NUMBER_INTEGER"}}
        path.write_text(yaml.safe_dump(spec))
        with pytest.raises(UserError, match=f"^{re.escape(f'--param {name}: {path} {expected}')}$"):
            parse_parameters(read_package(path), {name: "1"})

    def test_unknown(self, write_pipeline: WritePipeline) -> None:
        path = write_pipeline()
        expected = f"--param epoch: {path} has no such parameter: did you mean epochs?"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            parse_parameters(read_package(path), {"epoch": "3"})

    def test_without_a_default_must_be_given(self, write_pipeline: WritePipeline) -> None:
        path = write_pipeline(site={"parameterType": "STRING"})
        expected = f"{path}: parameters without a default must be given: --param site=VALUE"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            parse_parameters(read_package(path), {"epochs": "3"})
        assert parse_parameters(read_package(path), {"site": "x"}) == {"site": "x"}
