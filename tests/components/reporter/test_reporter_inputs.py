"""What the Reporter says of inputs that are missing, broken or of another run, word for word."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from report_artifacts import Inputs, artifact, examples, image_row
from tfx.types import standard_artifacts

from modules.serving.segmenter import ModelError
from schema.record import Record
from schema.reports.base import ReportFileError

MakeRecord = Callable[..., Record]
Failure = Callable[..., str]
"""The message of the error that the executor raises; it has left nothing behind."""


def test_a_missing_file_of_the_checks_is_named(checked: Inputs, failure: Failure, tmp_path: Path) -> None:
    path = tmp_path / "anomalies/drift.json"
    path.unlink()
    assert failure(checked, ReportFileError) == f"'{path}' is missing: run the component that writes it again"


@pytest.mark.parametrize("name", ["model_run/history.json", "evaluation/images.csv"])
def test_a_missing_file_is_named(inputs: Inputs, failure: Failure, tmp_path: Path, name: str) -> None:
    (tmp_path / name).unlink()
    assert failure(inputs, ReportFileError) == f"'{tmp_path / name}' is missing: run the component that writes it again"


def test_broken_json_is_named(inputs: Inputs, failure: Failure, tmp_path: Path) -> None:
    path = tmp_path / "evaluation/evaluation.json"
    path.write_text("{")
    assert failure(inputs, ReportFileError) == f"'{path}' is no JSON: run the component that wrote it again"


def test_a_missing_field_is_named(inputs: Inputs, failure: Failure, tmp_path: Path) -> None:
    path = tmp_path / "evaluation/evaluation.json"
    path.write_text(path.read_text().replace('"patients"', '"persons"'))
    expected = f"'{path}', 'slices.0.patients': Field required: run the component that wrote it again"
    assert failure(inputs, ReportFileError) == expected


def test_a_model_that_cannot_be_loaded_is_named(inputs: Inputs, failure: Failure, tmp_path: Path) -> None:
    inputs["model"] = [artifact(standard_artifacts.Model, tmp_path / "no model")]
    path = tmp_path / "no model/Format-Serving"
    assert failure(inputs, ModelError).startswith(f"'{path}' cannot be loaded as a model: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no table"),
        ("set,image_id\ntest,a\n", "has no column 'original_id'"),
        (",".join(image_row(Record(None, None, "a", "p", "s", 1, 1))) + "\n", "holds no image"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_table_is_named(inputs: Inputs, failure: Failure, tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "evaluation/images.csv"
    path.write_text(text)
    assert failure(inputs, ReportFileError) == f"'{path}' {problem}: run the Evaluator again"


def test_an_image_of_another_run_is_named(
    inputs: Inputs, failure: Failure, tmp_path: Path, make_record: MakeRecord
) -> None:
    pd.DataFrame([image_row(make_record("stranger"))]).to_csv(tmp_path / "evaluation/images.csv", index=False)
    assert failure(inputs) == (
        "image 'stranger' was evaluated but is not among the examples: "
        "the evaluation and the examples must be those of one run"
    )


def test_a_set_without_examples_is_named(
    inputs: Inputs, failure: Failure, tmp_path: Path, make_record: MakeRecord
) -> None:
    pd.DataFrame([image_row(make_record("a"), "hannover")]).to_csv(tmp_path / "evaluation/images.csv", index=False)
    expected = "set 'hannover' was evaluated but its examples are not given: connect the input 'external_examples'"
    assert failure(inputs) == expected
    inputs["external_examples"] = [examples(tmp_path / "external", {"a": [], "b": []})]
    expected = f"set 'hannover' was evaluated but is no split of '{tmp_path / 'external'}', which has a, b"
    assert failure(inputs) == expected
