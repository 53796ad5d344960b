"""What a report is made from, small enough to work its figures out by hand.

>>> from report_evidence import EVIDENCE, slice_of, with_slices
>>> with_slices(slice_of("overall", 0.9)).evaluation.slices[0].metrics["dice_mean"]
Estimate(value=0.9, low=0.89, high=0.91)
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from components.augmenter.policy import Policy, Transform
from components.reporter.evidence import Data, Evidence
from components.reporter.settings import ReporterSettings
from modules.evaluation.settings import EvaluateSettings
from modules.network.settings import ModelSettings
from modules.preprocessing.settings import TransformSettings
from modules.training.settings import TrainSettings
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation, Slice
from schema.reports.probe import Latency, ProbeCheck, ProbeResult
from schema.reports.run_report import SplitCounts
from schema.reports.statistics import Anomaly, AnomalyReport, Distribution, DriftReport, FeatureDrift
from schema.reports.training import TrainingHistory
from schema.reports.validation import (
    LeakReport,
    Leaks,
    RecordReference,
    SetSummary,
    SourceSummary,
    ValidationReport,
)


def around(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value=value, low=round(value - half, 6), high=round(value + half, 6))


def slice_of(
    name: str,
    dice: float,
    examples: int = 60,
    patients: int = 50,
    half: float = 0.01,
    metrics: dict[str, Estimate] | None = None,
    change: Estimate | None = None,
) -> Slice:
    """A slice by its name; with a change, of the mean Dice, it is compared with a baseline."""
    keys: dict[Any, str] = dict(pair.split(":", 1) for pair in name.split(",") if name != "overall")
    return Slice(
        slice=name,
        set=keys.pop("set", "test"),
        keys=keys,
        examples=examples,
        patients=patients,
        enough=patients >= 10,
        metrics={"dice_mean": around(dice, half), "hd95": around(0.02, 0.005), **(metrics or {})},
        baseline={"dice_mean": around(0.94)} if change else None,
        difference={"dice_mean": change} if change else None,
    )


def compared(name: str, change: float, half: float = 0.001) -> Slice:
    return slice_of(name, 0.95, change=around(change, half))


def evaluation(*slices: Slice, baseline: str | None = None) -> Evaluation:
    return Evaluation(baseline=baseline, tolerance=0.01, min_patients=10, confidence=0.95, slices=list(slices))


def with_slices(*slices: Slice, baseline: str | None = None) -> Evidence:
    return replace(EVIDENCE, evaluation=evaluation(*slices, baseline=baseline))


def rule(passed: bool = True, **changes: Any) -> RuleResult:
    return RuleResult(
        metric="dice_mean", slice="overall", set="test", keys={}, kind="at_least", bound=0.9,
        measured=Estimate(value=0.95), baseline=None, passed=passed, reason="is 0.9500, must be at least 0.9",
    ).model_copy(update=changes)  # fmt: skip


def decision(*passed: bool) -> BlessingDecision:
    return BlessingDecision(blessed=all(passed), baseline=None, rules=[rule(holds) for holds in passed])


def probe(*passed: bool) -> ProbeResult:
    checks = [ProbeCheck(check=f"check {number}", passed=fine, detail="fine") for number, fine in enumerate(passed)]
    return ProbeResult(blessed=all(passed), checks=checks, latency=[Latency(images=1, median_ms=41.2, p95_ms=55.9)])


IMAGE: dict[str, Any] = {
    "set": "test", "image_id": "a", "original_id": "a", "patient_id": "p1", "source": "clinic", "finding": "normal",
    "view": "PA", "sex": "female", "age": 40.0, "is_augmented": 0, "augmentation": "none", "dice": 0.95,
    "expected_dice": 0.93, "review": 0.0,
}  # fmt: skip
"""A row of the table of images."""

SLICES = (
    slice_of("overall", 0.945, examples=61),
    slice_of("is_augmented:0", 0.95),
    slice_of("is_augmented:1", 0.94, examples=1, patients=1),
)

EVIDENCE = Evidence(
    settings=ReporterSettings(
        pipeline="lungseg",
        transform=TransformSettings(normalization="image"),
        model=ModelSettings(),
        train=TrainSettings(warm_start=True),
        evaluate=EvaluateSettings(),
        policy=Policy(
            name="chest", copies={"train": 2}, transforms=(Transform(name="Rotate", arguments={"limit": [-9, 9]}),)
        ),
    ),
    code_version="c0de",
    images=pd.DataFrame([IMAGE, {**IMAGE, "image_id": "b", "patient_id": "p2"}]),
    evaluation=evaluation(*SLICES),
    history=TrainingHistory(
        figures={"loss": [0.5, 0.3, 0.2], "val_loss": [0.6, 0.4, 0.5], "val_dice": [0.7, 0.9, 0.88]}
    ),
    data=Data(
        spans=(3,),
        counts={"train": SplitCounts(originals=80, copies=160), "test": SplitCounts(originals=60, copies=None)},
        policy="chest",
        policy_hash="ha5h",
        albumentations="2.0.8",
    ),
    decision=decision(True, True, True),
    schema_hash="5chema",
    libraries={"tensorflow": "2.21.0"},
)
"""Of a model that may serve, and nothing but what must be."""


def moved(
    feature: str, distance: float, threshold: float, edges: tuple[float, ...] = (), values: tuple[str, ...] = ()
) -> FeatureDrift:
    both = Distribution(shares=(0.25, 0.75), edges=edges, values=values)
    return FeatureDrift(
        feature=feature,
        kind="infinity_norm" if values else "jensen_shannon_divergence",
        distance=distance,
        threshold=threshold,
        noise=0.05,
        drifted=distance > threshold,
        baseline=both,
        new=both,
    )


DRIFT = DriftReport(
    baseline=3,
    severity="warning",
    new_examples=42,
    baseline_examples=350,
    features=(moved("mean_intensity", 0.3, 0.1, edges=(0, 0.5, 1)), moved("sex", 0.1, 0.2, values=("female", "male"))),
)
ANOMALIES = AnomalyReport(
    anomalies=[
        Anomaly(split="train", feature="mean_intensity", severity="warning", is_drift=True, text="High divergence"),
        Anomaly(split="eval", feature="sex", severity="error", is_drift=False, text="Unexpected string values"),
    ]
)


def leak(text: str, remedy: str) -> LeakReport:
    record = RecordReference(kind="split", name="train", image_id="a", patient_id="p1", source="clinic")
    dropped = record.model_copy(update={"name": "test"})
    return LeakReport(reason="exact_duplicate", text=text, remedy=remedy, kept=record, dropped=dropped)


def set_summary(name: str, read: int = 9, quarantined: int = 0, **changes: Any) -> SetSummary:
    """A split whose bad records have too small a mask."""
    counts: dict[str, Any] = {
        "read": read, "quarantined": quarantined, "reasons": {"mask_area": quarantined} if quarantined else {}
    }  # fmt: skip
    sources = {"clinic": SourceSummary(**counts)} if quarantined else {}
    return SetSummary(
        kind="split", name=name, validated=read - quarantined, patients=6, leaked=0, sources=sources, sizes={}, **counts
    ).model_copy(update=changes)


VALIDATION = ValidationReport(
    limits={},
    sets=[set_summary("train", quarantined=2)],
    leaks=Leaks(total=1, named=[leak("split 'train': image 'a' is in split 'test' too", "remove it")]),
    left_out=0,
)
CHECKED = replace(EVIDENCE, drift=DRIFT, anomalies=ANOMALIES, validation=VALIDATION, quarantined=(b"PNG",))
"""The same of data with drift, an anomaly, a leak and records that were refused."""
