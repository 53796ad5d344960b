"""The StudyComparison: all trainings side by side, whatever order they come in, or one line that says what is wrong."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_artifacts import artifact, image_row
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types import channel, standard_artifacts

from components.study_comparison.component import StudyComparison
from components.study_comparison.executor import Executor
from components.study_comparison.settings import StudyComparisonSettings
from components.study_comparison.tables import StudyError
from modules.evaluation.settings import EvaluateSettings
from pipeline.runners import ComponentRun, LocalRunner
from schema.record import Record
from schema.reports.base import ReportFileError
from schema.reports.evaluation import Evaluation
from schema.reports.study import Arm, ArmComparison
from schema.reports.training import Training

MakeRecord = Callable[..., Record]
Rows = list[dict[str, Any]]

SETTINGS = StudyComparisonSettings(
    arms=(Arm(name="plain", settings={}), Arm(name="slow", settings={"train.epochs": 9})),
    seeds=(7, 8),
    evaluate=EvaluateSettings(slices=(("sex",), ("is_augmented", "sex")), resamples=200),
)
PATIENTS = 12


class Study:
    """Evaluations of trainings in a folder, and what is made of them."""

    def __init__(self, folder: Path, make_record: MakeRecord) -> None:
        self.folder = folder
        self._make_record = make_record

    def rows(self, dice: float, set_: str = "test", patients: Sequence[int] = range(PATIENTS)) -> Rows:
        """An original and a copy, which is worse by 0.1, of each patient."""
        rows = []
        for patient in patients:
            described = {"patient_id": f"p{patient}", "sex": "male" if patient % 2 else "female"}
            original = self._make_record(f"{patient}", **described)
            copy = self._make_record(f"{patient}-copy1", is_augmented=True, augmentation="Rotate", **described)
            noise = np.random.default_rng(patient).normal(0, 0.01)
            rows += [image_row(original, set_, dice + noise), image_row(copy, set_, dice + noise - 0.1)]
        return rows

    def write(self, training: Training | None, rows: Rows, name: str = "") -> Path:
        folder = self.folder / (name or f"{training}")
        evaluation = Evaluation(
            baseline=None, tolerance=0.01, min_patients=10, confidence=0.95, slices=[], training=training
        )
        artifact(standard_artifacts.ModelEvaluation, folder, evaluation)
        pd.DataFrame(rows).sample(frac=1, random_state=1).to_csv(folder / "images.csv", index=False)
        return folder

    def compare(self, settings: StudyComparisonSettings = SETTINGS) -> ArmComparison:
        evaluations = [artifact(standard_artifacts.ModelEvaluation, path) for path in sorted(self.folder.iterdir())]
        made = artifact(standard_artifacts.ModelEvaluation, self.folder.with_name("comparison"))
        properties = {"settings": settings.model_dump_json(), "code_version": ""}
        Executor().Do({"evaluations": evaluations[::-1]}, {"comparison": [made]}, properties)
        return ArmComparison.read(made.uri)


@pytest.fixture
def study(tmp_path: Path, make_record: MakeRecord) -> Study:
    (tmp_path / "evaluations").mkdir()
    return Study(tmp_path / "evaluations", make_record)


@pytest.fixture
def whole(study: Study) -> Study:
    """The second arm is better by 0.02, in the external set by 0.04."""
    for arm, seed in itertools.product((0, 1), (7, 8)):
        dice = 0.9 + 0.02 * arm + 0.001 * (seed - 7)
        rows = study.rows(dice) + study.rows(dice - 0.1 + 0.02 * arm, "north", range(4))
        study.write(Training(arm=SETTINGS.arms[arm].name, seed=seed), rows)
    return study


def refusal(study: Study, settings: StudyComparisonSettings = SETTINGS, kind: type[Exception] = StudyError) -> str:
    with pytest.raises(kind) as error:
        study.compare(settings)
    assert not list(study.folder.with_name("comparison").iterdir())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_slice_of_every_set(whole: Study) -> None:
    compared = whole.compare()
    assert [slice_.slice for slice_ in compared.slices] == [
        "overall", "is_augmented:0", "is_augmented:1", "sex:female", "sex:male",
        "is_augmented:0,sex:female", "is_augmented:0,sex:male", "is_augmented:1,sex:female", "is_augmented:1,sex:male",
        "set:north", "set:north,is_augmented:0", "set:north,is_augmented:1", "set:north,sex:female",
        "set:north,sex:male", "set:north,is_augmented:0,sex:female", "set:north,is_augmented:0,sex:male",
        "set:north,is_augmented:1,sex:female", "set:north,is_augmented:1,sex:male",
    ]  # fmt: skip
    copies = compared.find("test", {"is_augmented": "1"})
    assert copies is not None
    assert (copies.examples, copies.patients, copies.enough) == (PATIENTS, PATIENTS, True)
    plain, slow = copies.arms
    assert plain.metrics["dice_mean"].value == pytest.approx(0.8005, abs=0.01)
    assert slow.differences["dice_mean"].estimate.value == pytest.approx(0.02)
    assert slow.differences["dice_mean"].effect == "better"
    north = compared.find("north", {"is_augmented": "0"})
    assert north is not None
    assert (north.examples, north.enough) == (4, False)
    assert north.arms[1].differences["dice_mean"].estimate.value == pytest.approx(0.04)
    assert (compared.seeds, compared.folds, compared.arms) == ([7, 8], None, list(SETTINGS.arms))


def test_what_is_shown_in_words(whole: Study) -> None:
    compared = whole.compare()
    assert compared.headline == "Compared with 'plain', better on the test set: 'slow'"
    originals, copies, few, scope, needed = compared.shown
    assert originals.startswith("Originals: better than 'plain' in mean Dice: 'slow' by +0.0200 (+0.0")
    assert copies.startswith("Augmented copies: better than 'plain' in mean Dice: 'slow'")
    assert few == (
        "Too few patients to judge by (fewer than 10): External set north: originals (4), External set north: "
        "augmented copies (4)."
    )
    assert scope == "Intervals are over patients and 2 seeds of each arm."
    assert needed.startswith(
        "Originals: to tell a difference of mean Dice in 80 of 100 such studies it takes, instead of 12 patients and 2 "
        "seeds: "
    )
    assert needed.endswith(" for 0.01.")


def test_one_seed_claims_nothing_of_seeds(study: Study) -> None:
    for arm in SETTINGS.arms:
        study.write(Training(arm=arm.name, seed=7), study.rows(0.92 if arm.name == "slow" else 0.9))
    compared = study.compare(SETTINGS.model_copy(update={"seeds": (7,)}))
    assert (
        compared.headline
        == "Compared with 'plain', better on the test set: 'slow' (one seed: true of these models alone)"
    )
    assert any("one seed: intervals are over patients alone. What is shown is shown of these models" in sentence
               for sentence in compared.shown)  # fmt: skip


def test_arms_that_are_alike(study: Study) -> None:
    for arm, seed in itertools.product(SETTINGS.arms, SETTINGS.seeds):
        study.write(Training(arm=arm.name, seed=seed), study.rows(0.9))
    compared = study.compare()
    assert compared.headline == "No difference from 'plain' can be told"
    assert compared.shown[0] == "Originals: no difference from 'plain' can be told: 'slow'."


def test_too_few_patients_for_a_headline(study: Study) -> None:
    for arm, seed in itertools.product(SETTINGS.arms, SETTINGS.seeds):
        study.write(Training(arm=arm.name, seed=seed), study.rows(0.9, patients=range(3)))
    assert study.compare().headline == "Too few patients to tell any arm from 'plain'"


def test_with_folds_each_patient_is_tested_once(study: Study) -> None:
    """The models of all folds measure the external set."""
    for arm, seed, fold in itertools.product((0, 1), (7, 8), (1, 2, 3)):
        rows = study.rows(0.9 + 0.02 * arm, patients=range(fold - 1, PATIENTS, 3))
        rows += study.rows(0.8 + 0.03 * fold, "north", range(4))
        study.write(Training(arm=SETTINGS.arms[arm].name, seed=seed, fold=fold), rows)
    compared = study.compare(SETTINGS.model_copy(update={"folds": 3}))
    originals, north = (compared.find(set_, {"is_augmented": "0"}) for set_ in ("test", "north"))
    assert originals is not None
    assert (originals.examples, originals.patients) == (PATIENTS, PATIENTS)
    assert originals.arms[1].differences["dice_mean"].estimate.value == pytest.approx(0.02)
    assert north is not None
    assert north.examples == 4
    assert north.arms[0].metrics["dice_mean"].value == pytest.approx(0.86, abs=0.01), "the mean of three models"


def test_a_patient_in_two_folds(study: Study) -> None:
    for arm, fold in itertools.product(SETTINGS.arms, (1, 2)):
        rows = study.rows(0.9, patients=range(6 * fold - 6, 6 * fold))
        if fold == 2:
            rows[0]["patient_id"] = "p0"
        study.write(Training(arm=arm.name, seed=7, fold=fold), rows)
    assert refusal(study, SETTINGS.model_copy(update={"seeds": (7,), "folds": 2})) == (
        "set 'test': arm 'plain', seed 7 measured patient 'p0' of source 'clinic' in 2 folds: each must be tested once"
    )


def test_an_image_in_two_folds(study: Study) -> None:
    for arm, fold in itertools.product(SETTINGS.arms, (1, 2)):
        study.write(Training(arm=arm.name, seed=7, fold=fold), study.rows(0.9, patients=range(3)))
    assert refusal(study, SETTINGS.model_copy(update={"seeds": (7,), "folds": 2})) == (
        "set 'test': arm 'plain', seed 7 measured image '0' twice: each must be measured once"
    )


def test_other_folds(study: Study) -> None:
    for arm, fold in itertools.product((0, 1), (1, 2)):
        patients = range(fold - 1, PATIENTS, 2) if arm else range(6 * fold - 6, 6 * fold)
        study.write(Training(arm=SETTINGS.arms[arm].name, seed=7, fold=fold), study.rows(0.9, patients=patients))
    assert refusal(study, SETTINGS.model_copy(update={"seeds": (7,), "folds": 2})) == (
        "arm 'slow', seed 7 was tested in other folds than arm 'plain', seed 7: all must share them"
    )


def test_an_image_that_one_training_lacks(whole: Study) -> None:
    whole.write(Training(arm="slow", seed=7), whole.rows(0.9)[:-2] + whole.rows(0.8, "north", range(4)))
    assert refusal(whole) == (
        "set 'test': arm 'slow', seed 7 measured 22 images, arm 'plain', seed 7 24; '11' is among those of one alone: "
        "all must be tested on the same"
    )


def test_a_set_that_one_training_lacks(whole: Study) -> None:
    whole.write(Training(arm="slow", seed=8), whole.rows(0.9))
    assert refusal(whole).startswith("set 'north': arm 'slow', seed 8 measured 0 images, arm 'plain', seed 7 8; '0'")


def test_a_training_that_is_missing(whole: Study) -> None:
    settings = SETTINGS.model_copy(update={"seeds": (7, 8, 9)})
    assert refusal(whole, settings) == "arm 'plain', seed 9 was not evaluated: connect its Evaluator"


def test_a_training_that_is_there_twice(whole: Study) -> None:
    folder = whole.write(Training(arm="slow", seed=8), whole.rows(0.9), name="again")
    message = refusal(whole)
    assert message.startswith("arm 'slow', seed 8 was evaluated twice: leave out '")
    assert folder.parent.as_posix() in message


def test_an_evaluation_of_no_training(whole: Study) -> None:
    folder = whole.write(None, whole.rows(0.9), name="run")
    assert refusal(whole) == (f"'{folder}' is the evaluation of no training, which is not of this study: leave it out")


def test_a_damaged_table(whole: Study) -> None:
    path = whole.folder / f"{Training(arm='slow', seed=8)}" / "images.csv"
    path.write_text("set\ntest\n")
    assert refusal(whole, kind=ReportFileError) == f"'{path}' has no column 'original_id': run the Evaluator again"


@component
def Evaluated(  # noqa: N802  # a component
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation], folder: Parameter[str]
) -> None:
    shutil.copytree(folder, evaluation.uri, dirs_exist_ok=True)


class Unheard:
    def started(self, component_id: str) -> None:
        pass

    def ended(self, run: ComponentRun) -> None:
        pass


def test_tfx_hands_over_the_evaluations_of_all_trainings(whole: Study, tmp_path: Path) -> None:
    evaluators = [
        Evaluated(folder=str(folder)).with_id(f"Evaluator-{number}")
        for number, folder in enumerate(sorted(whole.folder.iterdir()))
    ]
    comparison = StudyComparison([evaluator.outputs["evaluation"] for evaluator in evaluators], SETTINGS)
    runner = LocalRunner(tmp_path / "root", Unheard())
    runner.run(
        Pipeline(
            pipeline_name="study",
            pipeline_root=str(tmp_path / "root/artifacts"),
            components=[*evaluators, comparison],
            metadata_connection_config=runner.connection,
        )
    )
    (made,) = runner.runs[-1].outputs["comparison"]
    assert ArmComparison.read(made.uri) == whole.compare()


def test_wiring() -> None:
    channels = [
        channel.OutputChannel(standard_artifacts.ModelEvaluation, None, f"evaluation{number}") for number in range(2)
    ]
    comparison = StudyComparison(evaluations=channels, settings=SETTINGS)
    assert isinstance(comparison.inputs["evaluations"], channel.UnionChannel)
    assert comparison.outputs["comparison"].type is standard_artifacts.ModelEvaluation
    assert StudyComparisonSettings.model_validate_json(comparison.exec_properties["settings"]) == SETTINGS
