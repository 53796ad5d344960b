"""The StudyReporter: a page that stands alone, with the arms' figures and the images on which they differ most."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import threshold_model
from report_artifacts import Inputs, artifact, examples, image_row
from tfx.types import channel, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.augmenter.policy import load_policy
from components.reporter.evidence import ReportError
from components.study_comparison import executor as study_comparison
from components.study_comparison.settings import StudyComparisonSettings
from components.study_reporter.component import StudyReporter
from components.study_reporter.executor import Executor
from components.study_reporter.settings import StudyReporterSettings
from modules.evaluation.settings import EvaluateSettings
from schema.record import Record
from schema.reports.evaluation import Evaluation
from schema.reports.study import Arm
from schema.reports.training import Training, TrainingHistory

MakeRecord = Callable[..., Record]

SETTINGS = StudyReporterSettings(pipeline="lungs & more", policy=load_policy("chest"))
ARMS = (Arm(name="<plain>", settings={}), Arm(name="slow", settings={"train.epochs": 9}))
PATIENTS = 6


@pytest.fixture(params=["Trainer/{key}/{number}", "Trainer/{number}/{key}"], ids=["here", "on Kubeflow"])
def inputs(tmp_path: Path, make_record: MakeRecord, request: pytest.FixtureRequest) -> Inputs:
    """Of two arms, two seeds and two folds; on image 4 the arms differ most, on image 1 next."""

    def output(key: str, number: int) -> Path:
        return tmp_path / request.param.format(key=key, number=number)

    records = [make_record(f"image {number}", patient_id=f"p{number}") for number in range(PATIENTS)]
    foreign = make_record("image 0", source="north", patient_id="p0")
    made: Inputs = {"evaluations": [], "models": [], "model_runs": [], "examples": []}
    threshold_model.save(tmp_path / "saved")
    for number, (arm, seed, fold) in enumerate(itertools.product((0, 1), (7, 8), (1, 2))):
        training = Training(arm=ARMS[arm].name, seed=seed, fold=fold)
        folder = tmp_path / f"{arm}-{seed}-{fold}"
        dice = {record.image_id: 0.9 + 0.001 * index for index, record in enumerate(records)}
        if arm:
            dice |= {"image 4": 0.5, "image 1": 0.7}
        rows = [image_row(record, dice=dice[record.image_id]) for record in records[fold - 1 :: 2]]
        rows.append(image_row(foreign, "north", 0.8 - 0.1 * arm))
        evaluation = Evaluation(
            baseline=None, tolerance=0.01, min_patients=3, confidence=0.95, slices=[], training=training,
            model=str(output("model", number)),
        )  # fmt: skip
        made["evaluations"].append(artifact(standard_artifacts.ModelEvaluation, folder / "evaluation", evaluation))
        pd.DataFrame(rows).to_csv(folder / "evaluation/images.csv", index=False)
        history = TrainingHistory(figures={"val_dice": [0.5, 0.8 + 0.01 * arm], "loss": [1, 0.5]})
        made["model_runs"].append(artifact(standard_artifacts.ModelRun, output("model_run", number), history))
        made["models"].append(artifact(standard_artifacts.Model, output("model", number)))
        (output("model", number) / "Format-Serving").symlink_to(tmp_path / "saved")
    for fold in (1, 2):
        made["examples"].append(examples(tmp_path / f"examples {fold}", {"test": records[fold - 1 :: 2]}))
    made["external_examples"] = [examples(tmp_path / "external", {"north": [foreign]})]
    compared = artifact(standard_artifacts.ModelEvaluation, tmp_path / "comparison")
    settings = StudyComparisonSettings(
        arms=ARMS, seeds=(7, 8), folds=2, evaluate=EvaluateSettings(resamples=100, min_patients=3)
    )
    properties = {"settings": settings.model_dump_json(), "code_version": ""}
    study_comparison.Executor().Do({"evaluations": made["evaluations"]}, {"comparison": [compared]}, properties)
    for key in ("models", "model_runs"):
        made[key].reverse()  # TFX promises no order
    return {**made, "comparison": [compared]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Inputs], str]:
    def do(inputs: Inputs) -> str:
        report = artifact(simple_artifacts.File, tmp_path / "report")
        Executor().Do(inputs, {"report": [report]}, {"settings": SETTINGS.model_dump_json(), "code_version": ""})
        assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
        return (tmp_path / "report/index.html").read_text()

    return do


def test_the_page_stands_alone(inputs: Inputs, write: Callable[[Inputs], str]) -> None:
    html = write(inputs)
    assert not re.findall(r"""(?:src|srcset|href)=["'](?!data:|#)""", html)
    assert "<script" not in html
    assert "lungs &amp; more" in html
    assert "<plain>" not in html
    assert "&#39;&lt;plain&gt;&#39;" in html
    assert "train.epochs: 9" in html
    anchors = set(re.findall(r'href="#([\w-]+)"', html))
    assert anchors <= set(re.findall(r'id="([\w-]+)"', html))


def test_the_images_on_which_arms_differ_most(inputs: Inputs, write: Callable[[Inputs], str]) -> None:
    html = write(inputs)
    shown = re.findall(r'<span class="id">(.*?)</span> · (.*?) · Dice of .*? ([\d.]+), of .*? ([\d.]+)</figcap', html)
    assert shown[:2] == [("image 4", "test", "0.904", "0.500"), ("image 1", "test", "0.901", "0.700")]
    assert shown[-1] == ("image 0", "external set north", "0.800", "0.700")


def test_the_curves_of_all_trainings(inputs: Inputs, write: Callable[[Inputs], str]) -> None:
    assert (
        "Highest validation Dice of each training: &lt;plain&gt; 0.800, 0.800, 0.800, 0.800; "
        "slow 0.810, 0.810, 0.810, 0.810"
    ) in write(inputs)


def test_an_image_that_is_in_no_examples(inputs: Inputs, write: Callable[[Inputs], str], tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        write(inputs | {"examples": inputs["examples"][:1]})
    assert str(error.value).startswith("image 'image 1' was evaluated but is not among the examples")
    assert not list((tmp_path / "report").iterdir())


def test_wiring() -> None:
    def of(kind: Any, name: str = "made") -> channel.OutputChannel:
        return channel.OutputChannel(kind, None, name)

    reporter = StudyReporter(
        comparison=of(standard_artifacts.ModelEvaluation),
        evaluations=[of(standard_artifacts.ModelEvaluation), of(standard_artifacts.ModelEvaluation, "other")],
        models=[of(standard_artifacts.Model)],
        model_runs=[of(standard_artifacts.ModelRun)],
        examples=[of(standard_artifacts.Examples)],
        settings=SETTINGS,
    )
    assert {key: output.type for key, output in reporter.outputs.items()} == {"report": simple_artifacts.File}
    assert "external_examples" not in reporter.inputs
    assert StudyReporterSettings.model_validate_json(reporter.exec_properties["settings"]) == SETTINGS
