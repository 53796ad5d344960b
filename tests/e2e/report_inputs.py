"""What the Reporter reads: written by the components before it where that takes seconds, else as their models.

The Evaluator judges two exported networks, and the ExampleValidator compares two sets of statistics. What the Trainer,
the ServingProbe and the RecordValidator tell is made up.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tfx import types
from report_artifacts import Inputs, artifact, examples
from tensorflow_data_validation import generate_statistics_from_dataframe
from tfx.types import artifact_utils, standard_artifacts

from components.augmenter.policy import load_policy
from components.evaluator.executor import Executor as Evaluator
from components.evaluator.settings import EvaluatorSettings
from components.example_validator.executor import Executor as ExampleValidator
from components.example_validator.settings import DriftSettings
from components.reporter.settings import ReporterSettings
from components.study_comparison.executor import Executor as StudyComparison
from components.study_comparison.settings import StudyComparisonSettings
from components.study_reporter.settings import StudyReporterSettings
from modules.evaluation.bootstrap import BASELINE
from modules.evaluation.measures import MEASURES
from modules.evaluation.settings import EvaluateSettings, Rule
from modules.network.settings import ModelSettings
from modules.preprocessing.settings import TransformSettings
from modules.serving.saved_model import STATISTICS_FILE
from modules.training.settings import TrainSettings
from schema import features
from schema.record import Record
from schema.reports.base import Report
from schema.reports.evaluation import IMAGES_FILE, Evaluation
from schema.reports.probe import Latency, ProbeCheck, ProbeResult
from schema.reports.study import Arm
from schema.reports.training import Training, TrainingHistory
from schema.reports.validation import (
    SHEET_FILE,
    LeakReport,
    Leaks,
    RecordReference,
    SetKind,
    SetSummary,
    SourceSummary,
    ValidationReport,
)

Records = Mapping[str, Sequence[Record]]

_CREATED, _UPDATED = 1_790_000_000_000, 1_790_000_064_500
_EVALUATE = EvaluateSettings(
    rules=(
        Rule(metric="dice_mean", at_least=0.4),
        Rule(metric="dice_mean", slice={"is_augmented": 0}, at_least=0.4),
        Rule(metric="dice_p5", slice={"is_augmented": 0}, at_least=0.3),
        Rule(metric="hd95", slice={"is_augmented": 0}, at_most=0.4),
        Rule(metric="dice_mean", slice={"is_augmented": 1}, max_drop=0.05),
        Rule(metric="dice_mean", max_regression=0.01),
    ),
    min_patients=5,
    resamples=200,
)


class Data(NamedTuple):
    """Records by split, and by external set."""

    splits: Records
    external: Records


class Models(NamedTuple):
    """Folders of two exported networks."""

    candidate: Path
    baseline: Path


SETTINGS = ReporterSettings(
    pipeline="lungseg",
    transform=TransformSettings(),
    model=ModelSettings(),
    train=TrainSettings(),
    evaluate=_EVALUATE,
    policy=load_policy("chest"),
)
STUDY_SETTINGS = StudyReporterSettings(pipeline="lungseg", policy=load_policy("chest"))


def write_run(folder: Path, data: Data, models: Models) -> Inputs:
    """Everything of a run that was blessed, pushed as version 4 and compared with version 3."""
    baseline = _model(folder / "baseline_model", models.baseline)
    baseline.set_int_custom_property("version", 3)
    pushed = _artifact(standard_artifacts.PushedModel, folder / "pushed_model")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "4")
    inputs: Inputs = {
        "examples": [_examples(folder / "examples", data.splits)],
        "external_examples": [_examples(folder / "external", data.external)],
        "validation": [_validation(folder / "validation", data)],
        "statistics": [_statistics(folder / "statistics", data.splits)],
        "model": [_model(folder / "model", models.candidate)],
        "model_run": [_artifact(standard_artifacts.ModelRun, folder / "model_run", _history(seed=1))],
        "baseline_model": [baseline],
        "infra_blessing": [_artifact(standard_artifacts.InfraBlessing, folder / "infra_blessing", _PROBE)],
        "pushed_model": [pushed],
    }
    inputs |= _evaluate(folder, inputs)
    return inputs | {"anomalies": [_anomalies(folder, inputs["statistics"], baseline)]}


def write_study(folder: Path, run: Inputs) -> Inputs:
    """Everything of a study with one seed, of what was written of a run: its two models are the arms."""
    (judged,) = run["evaluation"]
    images = pd.read_csv(Path(judged.uri, IMAGES_FILE), keep_default_na=False)
    reference = images.assign(**{name: images[f"{BASELINE}_{name}"] for name in MEASURES})
    arms = {"originals only": (reference, "baseline_model", 0.012), "with copies": (images, "model", 0.0)}
    made: Inputs = {"examples": run["examples"], "external_examples": run["external_examples"]}
    for number, (arm, (measured, model, worse)) in enumerate(arms.items()):
        training = Training(arm=arm, seed=7)
        trained = _model(folder / f"model/{number}", Path(run[model][0].uri, "Format-Serving"))
        evaluation = Evaluation.read(judged.uri).model_copy(update={"training": training, "model": trained.uri})
        evaluated = _artifact(standard_artifacts.ModelEvaluation, folder / f"evaluation/{number}", evaluation)
        measured.to_csv(Path(evaluated.uri, IMAGES_FILE), index=False)
        history = _artifact(standard_artifacts.ModelRun, folder / f"model_run/{number}", _history(number, worse))
        for key, artifact_ in {"evaluations": evaluated, "models": trained, "model_runs": history}.items():
            made.setdefault(key, []).append(artifact_)
    comparison = _artifact(standard_artifacts.ModelEvaluation, folder / "comparison")
    settings = StudyComparisonSettings(
        arms=tuple(Arm(name=arm, settings={"train.copies": arm == "with copies"}) for arm in arms),
        seeds=(7,),
        evaluate=_EVALUATE,
    )
    StudyComparison().Do(
        {"evaluations": made["evaluations"]}, {"comparison": [comparison]}, {"settings": settings.model_dump_json()}
    )
    return made | {"comparison": [comparison]}


def _artifact(kind: type[types.Artifact], folder: Path, *reports: Report) -> types.Artifact:
    made = artifact(kind, folder, *reports)
    made.mlmd_artifact.create_time_since_epoch, made.mlmd_artifact.last_update_time_since_epoch = _CREATED, _UPDATED
    return made


def _examples(folder: Path, splits: Records) -> types.Artifact:
    """As the Augmenter writes them."""
    made, policy = examples(folder, splits), load_policy("chest")
    made.set_int_custom_property("span", 2)
    for split, records in splits.items():
        made.set_int_custom_property(f"{split}_originals", sum(not record.is_augmented for record in records))
        made.set_int_custom_property(f"{split}_copies", sum(record.is_augmented for record in records))
    made.set_string_custom_property("policy", policy.name)
    made.set_string_custom_property("policy_hash", policy.content_hash())
    made.set_string_custom_property("albumentations_version", "2.0.8")
    made.set_float_custom_property("seconds", 71.3)
    return made


def _model(folder: Path, exported: Path) -> types.Artifact:
    model = _artifact(standard_artifacts.Model, folder)
    shutil.copytree(exported, folder / "Format-Serving")
    return model


def _evaluate(folder: Path, inputs: Inputs) -> Inputs:
    outputs: Inputs = {
        "evaluation": [_artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")],
        "blessing": [_artifact(standard_artifacts.ModelBlessing, folder / "blessing")],
    }
    evaluator_inputs = {key: inputs[key] for key in ("examples", "external_examples", "model", "baseline_model")}
    executor = Evaluator(Evaluator.Context(tmp_dir=str(folder / "tmp"), unique_id="1"))
    executor.Do(evaluator_inputs, outputs, {"settings": EvaluatorSettings(evaluate=_EVALUATE).model_dump_json()})
    return outputs


def _history(seed: int, worse: float = 0.0) -> TrainingHistory:
    draw = np.random.default_rng(seed)
    epochs = np.arange(1, 16)
    rise = 1 - np.exp(-epochs / 2.6)
    figures: dict[str, list[float | None]] = {}
    for prefix, best, noise in (("", 0.972, 0.001), ("val_", 0.958 - worse, 0.004)):
        dice = 0.55 + (best - 0.55) * rise + draw.normal(0, noise, len(epochs))
        figures |= {
            f"{prefix}loss": (0.9 * (1 - dice) + 0.02).tolist(),
            f"{prefix}accuracy": (1 - 0.45 * (1 - dice)).tolist(),
            f"{prefix}dice": dice.tolist(),
        }
    return TrainingHistory(figures=figures | {"learning_rate": (2e-3 * np.cos(epochs / 10) ** 2).tolist()})


def _statistics(folder: Path, splits: Records) -> types.Artifact:
    made = _artifact(standard_artifacts.ExampleStatistics, folder)
    made.split_names = artifact_utils.encode_split_names(list(splits))
    described = [name for name in features.STATISTICS if name not in features.FINGERPRINT]
    for split, records in splits.items():
        table = pd.DataFrame([
            {name: getattr(record, name) for name in described} | record.fingerprint()
            for record in records if not record.is_augmented
        ])  # fmt: skip
        (folder / f"Split-{split}").mkdir()
        statistics = generate_statistics_from_dataframe(table)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
    return made


def _anomalies(folder: Path, statistics: list[types.Artifact], baseline: types.Artifact) -> types.Artifact:
    """What the ExampleValidator finds where version 3 learned from brighter images of one of the sources."""
    earlier = generate_statistics_from_dataframe(
        pd.DataFrame(
            {"source": ["phantom-a"] * 40, "finding": ["normal", "tuberculosis"] * 20, "view": ["PA"] * 40,
             "sex": ["female", "male"] * 20, "age": np.linspace(10.0, 80, 40),
             **{name: np.linspace(0.6, 0.8, 40) for name in ("mean_intensity", "std_intensity", "lung_fraction")}}
        )
    )  # fmt: skip
    path = Path(baseline.uri, "Format-Serving", STATISTICS_FILE)
    path.parent.mkdir(parents=True)
    path.write_bytes(earlier.SerializeToString())
    schema = _artifact(standard_artifacts.Schema, folder / "schema")
    shutil.copy(features.SCHEMA_FILE, folder / "schema")
    anomalies = _artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    ExampleValidator().Do(
        {"statistics": statistics, "schema": [schema], "baseline_model": [baseline]},
        {"anomalies": [anomalies]},
        {"settings": DriftSettings().model_dump_json()},
    )
    return anomalies


def _validation(folder: Path, data: Data) -> types.Artifact:
    """The report of the RecordValidator where each set had one record more, with too small a mask."""
    kept, dropped = (
        RecordReference(kind="split", name=split, image_id=image_id, patient_id="p", source="clinic")
        for split, image_id in (("test", "b"), ("train", "a"))
    )
    text = "split 'train': image 'a' is in split 'test' as 'b' too"
    leak = LeakReport(reason="near_duplicate", text=text, remedy="remove one of them", kept=kept, dropped=dropped)
    report = ValidationReport(
        limits={},
        sets=[
            *(_summarize("split", name, records) for name, records in data.splits.items()),
            *(_summarize("external set", name, records) for name, records in data.external.items()),
        ],
        leaks=Leaks(total=1, named=[leak]),
        left_out=0,
    )
    made = _artifact(standard_artifacts.ExampleAnomalies, folder, report)
    cv2.imwrite(str(folder / SHEET_FILE), np.full((200, 800), 127, np.uint8))
    return made


def _summarize(kind: SetKind, name: str, records: Sequence[Record]) -> SetSummary:
    originals = [record for record in records if not record.is_augmented]
    clinic = SourceSummary(read=len(originals) + 1, quarantined=1, reasons={"mask_area": 1})
    return SetSummary(
        kind=kind,
        name=name,
        read=clinic.read,
        validated=len(originals),
        quarantined=clinic.quarantined,
        patients=len({record.patient_id for record in originals}),
        leaked=0,
        reasons=clinic.reasons,
        sources={"clinic": clinic},
        sizes={},
    )


_PROBE = ProbeResult(
    blessed=True,
    checks=[
        ProbeCheck(check="loads", passed=True, detail="in 2.1 s, without this project"),
        ProbeCheck(check="signature serving_default", passed=True, detail="image_bytes string [N] to mask_png"),
        ProbeCheck(check="raw images", passed=True, detail="PNG and JPEG of 6 sizes, grey, RGB and 16-bit"),
        ProbeCheck(check="corrupt files", passed=True, detail="3 refused with an error; the next one was answered"),
        ProbeCheck(check="training graph", passed=True, detail="0.002 % of the pixels differ, 0.1 % may"),
    ],
    latency=[Latency(images=1, median_ms=41.2, p95_ms=55.9), Latency(images=8, median_ms=230.4, p95_ms=262.0)],
)
