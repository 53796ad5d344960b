"""What the Reporter reads, as the components before it write it, made from records and an exported model.

What the model measures is real; intervals are rough, and the baseline is the model with noise.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
from tfx import types
from tensorflow_data_validation import generate_statistics_from_dataframe
from tfx.types import artifact_utils, standard_artifacts

from components.augmenter.policy import load_policy
from components.example_validator.executor import Executor as ExampleValidator
from components.reporter.pictures import load_model
from modules.evaluation.measures import LOWER_IS_BETTER, MEASURES
from modules.evaluation.settings import EvaluateSettings
from modules.evaluation.surface_distance import average_surface_distance, hausdorff_95, surface_dice, surface_distances
from modules.network.settings import ModelSettings
from modules.serving.saved_model import STATISTICS_FILE
from modules.training.settings import TrainSettings
from schema import features
from schema.record import Record, encode

Inputs = dict[str, list[types.Artifact]]
Row = dict[str, Any]

SUBGROUPS = ("source", "finding", "view", "sex", "age", "lungs")
MIN_PATIENTS = 10
SETTINGS = {
    "pipeline": "lungseg",
    "model": ModelSettings().model_dump(mode="json"),
    "train": TrainSettings().model_dump(mode="json"),
    "augment": load_policy("chest").model_dump(mode="json"),
    "evaluate": EvaluateSettings().model_dump(mode="json"),
}


def write_run(
    folder: Path, splits: Mapping[str, Sequence[Record]], external: Mapping[str, Sequence[Record]], model: Path
) -> Inputs:
    """Everything of a run that was blessed, pushed as version 4 and compared with version 3."""
    inputs = _write_common(folder, splits, external, model, "version 3")
    decision = _artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    evaluation = json.loads((folder / "evaluation/evaluation.json").read_text())
    _write(decision, "decision.json", _decision(evaluation))
    probe = _artifact(standard_artifacts.InfraBlessing, folder / "infra_blessing")
    _write(probe, "probe.json", _PROBE)
    pushed = _artifact(standard_artifacts.PushedModel, folder / "pushed_model")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "4")
    baseline = _artifact(standard_artifacts.Model, folder / "baseline_model")
    baseline.set_int_custom_property("version", 3)
    return inputs | {
        "anomalies": [_anomalies(folder, inputs["statistics"], baseline)],
        "blessing": [decision], "infra_blessing": [probe], "pushed_model": [pushed], "baseline_model": [baseline]
    }  # fmt: skip


def write_study(
    folder: Path, splits: Mapping[str, Sequence[Record]], external: Mapping[str, Sequence[Record]], model: Path
) -> Inputs:
    """Everything of a study."""
    inputs = _write_common(folder, splits, external, model, "originals only")
    return inputs | {"baseline_model_run": [_model_run(folder / "baseline_model_run", 2, worse=0.012)]}


def properties(kind: str) -> dict[str, Any]:
    """The execution's."""
    return {"settings": json.dumps(SETTINGS), "code_version": "9d2c40aa17be5310", "kind": kind}


def _write_common(
    folder: Path,
    splits: Mapping[str, Sequence[Record]],
    external: Mapping[str, Sequence[Record]],
    model_dir: Path,
    baseline: str,
) -> Inputs:
    examples = write_examples(folder / "examples", splits)
    policy = load_policy("chest")
    examples.set_string_custom_property("policy", policy.name)
    examples.set_string_custom_property("policy_hash", policy.content_hash())
    examples.set_string_custom_property("albumentations_version", "2.0.8")
    examples.set_float_custom_property("seconds", 71.3)
    model = _artifact(standard_artifacts.Model, folder / "model")
    (folder / "model/Format-Serving").symlink_to(model_dir, target_is_directory=True)
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    rows = _measure({"test": splits["test"], **external}, model_dir)
    pd.DataFrame(rows).to_csv(folder / "evaluation/images.csv", index=False)
    _write(evaluation, "evaluation.json", _evaluation(rows, baseline))
    inputs = {
        "examples": [examples],
        "validation": [_validation(folder / "validation", splits, external)],
        "statistics": [_statistics(folder / "statistics", splits)],
        "model": [model],
        "model_run": [_model_run(folder / "model_run", 1)],
        "evaluation": [evaluation],
    }
    if external:
        inputs["external_examples"] = [write_examples(folder / "external", external)]
    return inputs


def write_examples(folder: Path, splits: Mapping[str, Sequence[Record]]) -> types.Artifact:
    """An Examples artifact as the Augmenter writes it, without what it tells of the policy."""
    artifact = _artifact(standard_artifacts.Examples, folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    artifact.set_int_custom_property("span", 2)
    for split, records in splits.items():
        (folder / f"Split-{split}").mkdir()
        with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "data_tfrecord-00000-of-00001")) as writer:
            for record in records:
                writer.write(encode(record))
        artifact.set_int_custom_property(f"{split}_originals", sum(not one.is_augmented for one in records))
        artifact.set_int_custom_property(f"{split}_copies", sum(one.is_augmented for one in records))
    return artifact


def _artifact(kind: type[types.Artifact], folder: Path) -> types.Artifact:
    folder.mkdir(parents=True)
    artifact = kind()
    artifact.uri = str(folder)
    artifact.mlmd_artifact.create_time_since_epoch = 1_790_000_000_000
    artifact.mlmd_artifact.last_update_time_since_epoch = 1_790_000_064_500
    return artifact


def _write(artifact: types.Artifact, name: str, content: Any) -> None:
    Path(artifact.uri, name).write_text(json.dumps(content))


def _model_run(folder: Path, seed: int, worse: float = 0.0) -> types.Artifact:
    draw = np.random.default_rng(seed)
    epochs = np.arange(1, 16)
    rise = 1 - np.exp(-epochs / 2.6)
    history = {}
    for prefix, best, noise in (("", 0.972, 0.001), ("val_", 0.958 - worse, 0.004)):
        dice = 0.55 + (best - 0.55) * rise + draw.normal(0, noise, len(epochs))
        history |= {
            f"{prefix}loss": (0.9 * (1 - dice) + 0.02).tolist(),
            f"{prefix}accuracy": (1 - 0.45 * (1 - dice)).tolist(),
            f"{prefix}dice": dice.tolist(),
        }
    run = _artifact(standard_artifacts.ModelRun, folder)
    _write(run, "history.json", history | {"learning_rate": (2e-3 * np.cos(epochs / 10) ** 2).tolist()})
    return run


def _statistics(folder: Path, splits: Mapping[str, Sequence[Record]]) -> types.Artifact:
    artifact = _artifact(standard_artifacts.ExampleStatistics, folder)
    described = [name for name in features.STATISTICS if name not in features.FINGERPRINT]
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, records in splits.items():
        originals = [one for one in records if not one.is_augmented]
        table = pd.DataFrame(
            [{name: getattr(one, name) for name in described} | one.fingerprint() for one in originals]
        )
        (folder / f"Split-{split}").mkdir()
        statistics = generate_statistics_from_dataframe(table)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
    return artifact


def _anomalies(folder: Path, statistics: list[types.Artifact], baseline: types.Artifact) -> types.Artifact:
    """What the ExampleValidator finds where version 3 learned from brighter images of one of the sources."""
    found = generate_statistics_from_dataframe(
        pd.DataFrame(
            {"source": ["phantom-a"] * 40, "finding": ["normal", "tuberculosis"] * 20, "view": ["PA"] * 40,
             "sex": ["female", "male"] * 20, "age": np.linspace(10.0, 80, 40),
             **{name: np.linspace(0.6, 0.8, 40) for name in ("mean_intensity", "std_intensity", "lung_fraction")}}
        )
    )  # fmt: skip
    path = Path(baseline.uri, "Format-Serving", STATISTICS_FILE)
    path.parent.mkdir(parents=True)
    path.write_bytes(found.SerializeToString())
    schema = _artifact(standard_artifacts.Schema, folder / "schema")
    shutil.copy(features.SCHEMA_FILE, folder / "schema")
    anomalies = _artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    ExampleValidator().Do(
        {"statistics": statistics, "schema": [schema], "baseline_model": [baseline]},
        {"anomalies": [anomalies]},
        {"settings": "{}"},
    )
    return anomalies


def _validation(
    folder: Path, splits: Mapping[str, Sequence[Record]], external: Mapping[str, Sequence[Record]]
) -> types.Artifact:
    """The report of the RecordValidator where each set had one record more, with too small a mask."""
    report = _artifact(standard_artifacts.ExampleAnomalies, folder)
    sets = []
    for kind, places in (("split", splits), ("external set", external)):
        for name, records in places.items():
            originals = [one for one in records if not one.is_augmented]
            of_source = {"read": len(originals) + 1, "quarantined": 1, "reasons": {"mask_area": 1}}
            sets.append({
                "kind": kind, "name": name, "validated": len(originals), "leaked": 0, **of_source,
                "patients": len({one.patient_id for one in originals}), "sizes": {}, "sources": {"clinic": of_source},
            })  # fmt: skip
    named = [{"reason": "near_duplicate", "text": "split 'train': image 'a' is in split 'test' as 'b' too",
              "remedy": "remove one of them"}]  # fmt: skip
    _write(
        report, "validation.json", {"limits": {}, "sets": sets, "leaks": {"total": 1, "named": named}, "left_out": 0}
    )
    cv2.imwrite(str(folder / "thumbnails.png"), np.full((200, 800), 127, np.uint8))
    return report


def _measure(sets: Mapping[str, Sequence[Record]], model_dir: Path) -> list[Row]:
    segment = load_model(str(model_dir))
    draw = np.random.default_rng(4)
    rows = []
    for name, records in sets.items():
        masks = segment([one.image for one in records])
        for record, mask in zip(records, masks, strict=True):
            found = _measure_image(record, mask)
            noise = draw.normal(0.006, 0.008)
            baseline = {
                f"baseline_{measure}": value * (1 + 4 * noise) if measure in LOWER_IS_BETTER else min(1, value - noise)
                for measure, value in found.items()
            }
            rows.append({"set": name, **_describe(record), **found, **baseline})
    return rows


def _describe(record: Record) -> Row:
    return {
        "image_id": record.image_id,
        "original_id": record.original_id,
        "patient_id": record.patient_id,
        "source": record.source,
        "finding": record.finding,
        "view": record.view,
        "sex": record.sex,
        "age": record.age,
        "is_augmented": int(record.is_augmented),
        "augmentation": record.augmentation,
        "lung_fraction": record.fingerprint()["lung_fraction"],
    }


def _measure_image(record: Record, mask: np.ndarray) -> dict[str, float]:
    truth, found, width = record.mask > 0, mask > 0, record.mask.shape[1]
    both, areas = (truth & found).sum(), truth.sum() + found.sum()
    distances = surface_distances(record.mask, mask)
    values = {
        "dice": 2 * both / areas,
        "iou": both / (areas - both),
        "pixel_accuracy": (truth == found).mean(),
        "precision": both / max(1, found.sum()),
        "recall": both / truth.sum(),
        "lung_area_error": abs(int(truth.sum()) - int(found.sum())) / max(truth.sum(), found.sum()),
        "hd95_px": hausdorff_95(distances),
        "asd_px": average_surface_distance(distances),
        "nsd": surface_dice(distances, 0.01 * width),
        "brier": (truth != found).mean() * 0.8,
    }
    values |= {"hd95": values["hd95_px"] / width, "asd": values["asd_px"] / width}
    return {name: float(values[name]) for name in MEASURES}


def _evaluation(rows: Sequence[Row], baseline: str) -> dict[str, Any]:
    originals = {(row["set"], row["image_id"]): row for row in rows if not row["is_augmented"]}
    slices = []
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        for keys in _keys_of(of_set):
            members = [row for row in of_set if set(keys.items()) <= set(_pairs(row))]
            slices.append(_slice(name, keys, members, originals))
    return {"baseline": baseline, "tolerance": 0.01, "min_patients": MIN_PATIENTS, "confidence": 0.95, "slices": slices}


def _pairs(row: Row) -> list[tuple[str, str]]:
    age = row["age"]
    band = "under-18" if age < 18 else "18-39" if age < 40 else "40-64" if age < 65 else "65-and-over"
    texts = {**{key: row[key] for key in ("source", "finding", "view", "sex")}, "age": band if age >= 0 else "unknown"}
    texts["lungs"] = "small" if row["lung_fraction"] < 0.2 else "large"
    fired = row["augmentation"].split("+") if row["is_augmented"] else []
    known = [(key, text) for key, text in texts.items() if text != "unknown"]
    return [("is_augmented", str(row["is_augmented"])), *known, *(("transform", one) for one in fired)]


def _keys_of(rows: Iterable[Row]) -> list[dict[str, str]]:
    found: dict[tuple[tuple[str, str], ...], None] = {(): None}
    for row in rows:
        pairs = _pairs(row)
        found |= {(pair,): None for pair in pairs}
        crossed = [two for two in combinations(pairs, 2) if two[0][0] == "is_augmented" and two[1][0] in SUBGROUPS]
        found |= dict.fromkeys(crossed)
    return [dict(keys) for keys in sorted(found, key=lambda keys: (len(keys), keys))]


def _slice(name: str, keys: dict[str, str], members: Sequence[Row], originals: Mapping[Any, Row]) -> dict[str, Any]:
    patients = len({row["patient_id"] for row in members})
    metrics = _statistics_of(members, lambda row, measure: row[measure])
    if keys.get("is_augmented") == "1" or "transform" in keys:
        for measure in MEASURES:
            sign = 1 if measure in LOWER_IS_BETTER else -1
            drops = [sign * (row[measure] - originals[name, row["original_id"]][measure]) for row in members]
            metrics[f"{measure}_drop"] = _estimate(drops)
    pairs = [f"{key}:{value}" for key, value in keys.items()]
    baseline = _statistics_of(members, lambda row, measure: row[f"baseline_{measure}"])
    change = _statistics_of(members, lambda row, measure: row[measure] - row[f"baseline_{measure}"])
    return {
        "slice": ",".join(pairs if name == "test" else [f"set:{name}", *pairs]) or "overall",
        "set": name,
        "keys": keys,
        "examples": len(members),
        "patients": patients,
        "enough": patients >= MIN_PATIENTS,
        "metrics": metrics,
        "baseline": baseline,
        "difference": {one: _move(change[one], metrics[one]["value"] - baseline[one]["value"]) for one in change},
    }


def _statistics_of(members: Sequence[Row], of: Callable[[Row, str], float]) -> dict[str, Any]:
    found = {}
    for measure in MEASURES:
        values = [of(row, measure) for row in members]
        spread = measure in ("dice", "iou")
        found[f"{measure}_mean" if spread else measure] = _estimate(values)
        if spread:
            for suffix, quantile in (("median", 0.5), ("p5", 0.05), ("worst", 0.0)):
                found[f"{measure}_{suffix}"] = _around(float(np.quantile(values, quantile)), values)
    return found | {"dice_pooled": found["dice_mean"]}


def _estimate(values: Sequence[float]) -> dict[str, float | None]:
    return _around(float(np.mean(values)), values)


def _move(estimate: dict[str, Any], value: float) -> dict[str, float | None]:
    """The same interval around another value."""
    if estimate["low"] is None:
        return {**estimate, "value": value}
    by = value - estimate["value"]
    return {"value": value, "low": estimate["low"] + by, "high": estimate["high"] + by}


def _around(value: float, values: Sequence[float]) -> dict[str, float | None]:
    if len(values) < 2:
        return {"value": value, "low": None, "high": None}
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return {"value": value, "low": value - half, "high": value + half}


def _decision(evaluation: dict[str, Any]) -> dict[str, Any]:
    slices = {one["slice"]: one for one in evaluation["slices"]}
    asked = [
        ("dice_mean", "overall", "at_least", 0.7),
        ("dice_mean", "is_augmented:0", "at_least", 0.7),
        ("dice_p5", "is_augmented:0", "at_least", 0.6),
        ("hd95", "is_augmented:0", "at_most", 0.3),
        ("dice_mean", "is_augmented:1", "max_drop", 0.05),
        ("dice_mean", "overall", "max_regression", 0.01),
    ]
    rules = []
    for metric, name, kind, bound in asked:
        of = slices[name]
        estimate = of["metrics"]["dice_drop" if kind == "max_drop" else metric]
        if kind == "max_regression":
            change = of["difference"][metric]
            estimate = {"value": -change["value"], "low": -change["high"], "high": -change["low"]}
        words = {"at_least": f"is {estimate['value']:.4f}, must be at least {bound:g}"}
        reason = words.get(kind, f"is {estimate['value']:.4f}, may be at most {bound:g}")
        baseline = of["baseline"][metric]["value"]
        rules.append({"metric": metric, "slice": name, "set": of["set"], "keys": of["keys"], "kind": kind,
                      "bound": bound, **estimate, "baseline": baseline, "passed": True, "reason": reason})  # fmt: skip
    return {"blessed": True, "baseline": "version 3", "rules": rules}


_PROBE = {
    "blessed": True,
    "checks": [
        {"check": "loads", "passed": True, "detail": "in 2.1 s, without this project"},
        {"check": "signature serving_default", "passed": True, "detail": "image_bytes string [N] to mask_png"},
        {"check": "raw images", "passed": True, "detail": "PNG and JPEG of 6 sizes, grey, RGB and 16-bit"},
        {"check": "corrupt files", "passed": True, "detail": "3 refused with an error; the next request was answered"},
        {"check": "equals the training graph", "passed": True, "detail": "0.002 % of the pixels differ, 0.1 % may"},
    ],
    "latency_ms": {"1": {"median": 41.2, "p95": 55.9}, "8": {"median": 230.4, "p95": 262.0}},
}
