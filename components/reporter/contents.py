"""What the report says: every number of the page, and more, as the dictionary that `report.json` holds.

>>> contents(evidence)["decision"]["headline"]
'May serve: version 4'
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from components.reporter.evidence import Evidence, History, finite
from components.reporter.figures import as_numbers, glossary, label, lower_is_better
from components.reporter.limits import limits
from components.reporter.verdict import (
    COPIES,
    DICE,
    ORIGINALS,
    describe_place,
    describe_slice,
    external_sets,
    judge,
    tell_difference,
    test_sets,
)
from schema import features
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET, Evaluation, Slice, SliceKey

Section = dict[str, Any]

SUBGROUPS: Final[tuple[SliceKey, ...]] = ("source", "finding", "view", "sex", "age", "lungs")
"""Keys that tell for whom the model is worse."""
COMPARED: Final = (DICE, "dice_p5", "hd95", "nsd")
"""Statistics that two models are compared by."""
_POPULATIONS: Final[tuple[dict[SliceKey, str], ...]] = ({}, ORIGINALS, COPIES)
_KEYS = {"source": "Source", "finding": "Finding", "view": "View", "sex": "Sex", "age": "Age", "lungs": "Lungs"}
_RULES = {
    "at_least": "at least",
    "at_most": "at most",
    "max_drop": "worse on copies by at most",
    "max_regression": "worse than the model blessed last by at most",
}


def contents(evidence: Evidence) -> Section:
    """Puts the report together; numbers that are not finite become None."""
    verdict = judge(evidence)
    report = {
        "kind": evidence.kind,
        "pipeline": evidence.settings["pipeline"],
        "decision": {
            **asdict(verdict),
            "version": evidence.version,
            "key_figures": _key_figures(evidence),
            "rules": [_rule(one) for one in evidence.decision.rules] if evidence.decision else [],
        },
        "probe": evidence.probe,
        "training": _training(evidence),
        "slices": _slices(evidence.evaluation),
        "robustness": _robustness(evidence.evaluation),
        "external": _external(evidence.evaluation),
        "comparison": _comparison(evidence.evaluation),
        "data": _data(evidence),
        "lineage": _lineage(evidence),
        "limits": limits(evidence),
        "glossary": glossary(evidence.evaluation.tolerance),
        "settings": evidence.settings,
        "statistics": {name: asdict(of_split) for name, of_split in evidence.statistics.items()},
        "confidence": evidence.evaluation.confidence,
        "min_patients": evidence.evaluation.min_patients,
    }
    result: Section = finite(report)
    return result


def _key_figures(evidence: Evidence) -> list[Section]:
    copies = evidence.evaluation.find(TEST_SET, COPIES)
    of_sets = test_sets(evidence)
    named = [*of_sets[:1], *([("augmented copies", copies)] if copies else []), *of_sets[1:]]
    return [
        {
            "name": name[0].upper() + name[1:],
            "examples": of.examples,
            "patients": of.patients,
            **{statistic: as_numbers(of.metrics.get(statistic)) for statistic in (DICE, "hd95")},
        }
        for name, of in named
    ]


def _rule(of: RuleResult) -> Section:
    stated = {"label": label(of.metric), "words": _RULES[of.kind], "where": describe_place(of.set, of.keys)}
    return {**stated, **of.model_dump()}


def _training(evidence: Evidence) -> Section:
    other = evidence.other_history
    return {
        "history": evidence.history,
        "best_epoch": best_epoch(evidence.history),
        "other_history": other,
        "other_best_epoch": best_epoch(other) if other else None,
    }


def best_epoch(history: History) -> int | None:
    """The number, from 1, of the epoch with the highest validation Dice, whose weights are kept."""
    dice = [(value, -epoch) for epoch, value in enumerate(history.get("val_dice", []), 1) if value is not None]
    return -max(dice)[1] if dice else None


def _slices(evaluation: Evaluation) -> Section:
    rows = [_slice(one) for one in evaluation.slices]
    whole = evaluation.find(TEST_SET, {})
    reference = whole.metrics.get(DICE) if whole else None
    subgroups = _subgroups(evaluation)
    worse = [one for one in subgroups if one.enough and _lies_below(one, reference)]
    few = [one for one in subgroups if not one.enough]
    return {
        "rows": rows,
        "subgroups": [_slice(one) for one in subgroups],
        "reference": as_numbers(reference),
        "worse": [_slice(one) for one in sorted(worse, key=lambda one: _dice(one) or 0.0)],
        "too_few": [{"label": describe_slice(one.keys), "patients": one.patients} for one in few],
    }


def _subgroups(evaluation: Evaluation) -> list[Slice]:
    """The slices of the test split by one kind of patient, view or source, the youngest first."""
    found = [one for one in evaluation.slices if one.set == TEST_SET and len(one.keys) == 1]
    by_key = {key: [one for one in found if key in one.keys] for key in SUBGROUPS}
    by_key["age"].sort(key=lambda one: (not one.keys["age"].startswith("under"), one.keys["age"]))
    return [one for of_key in by_key.values() for one in of_key]


def _lies_below(of: Slice, reference: Estimate | None) -> bool:
    high = of.metrics[DICE].high if DICE in of.metrics else None
    return high is not None and reference is not None and reference.value is not None and high < reference.value


def _dice(of: Slice) -> float | None:
    return of.metrics[DICE].value if DICE in of.metrics else None


def _slice(of: Slice) -> Section:
    return {
        "name": of.slice,
        "label": describe_slice(of.keys),
        "group": _group(of),
        "set": of.set,
        "keys": dict(of.keys),
        "examples": of.examples,
        "patients": of.patients,
        "enough": of.enough,
        "metrics": _all_numbers(of.metrics),
        "baseline": _all_numbers(of.baseline) if of.baseline else None,
        "difference": _all_numbers(of.difference) if of.difference else None,
    }


def _group(of: Slice) -> str:
    """The heading under which the slice stands."""
    if len(of.keys) > 1:
        return "Crossed"
    key = next(iter(of.keys), "")
    return _KEYS.get(key, "All")


def _all_numbers(metrics: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: as_numbers(one) for name, one in metrics.items()}


def _robustness(evaluation: Evaluation) -> list[Section]:
    """Copies, and those that each transform had a part in, the largest loss first."""
    copies = evaluation.find(TEST_SET, COPIES)
    fired = [one for one in evaluation.slices if one.set == TEST_SET and set(one.keys) == {"transform"}]
    fired.sort(key=lambda one: (-_drop(one), one.slice))
    return [_slice(one) for one in ([copies] if copies else []) + fired]


def _drop(of: Slice) -> float:
    drop = of.metrics.get("dice_drop")
    return drop.value if drop and drop.value is not None else float("-inf")


def _external(evaluation: Evaluation) -> list[Section]:
    return [
        {"set": name, "slices": [_slice(one) for one in _populations(evaluation, name)]}
        for name in external_sets(evaluation)
    ]


def _populations(evaluation: Evaluation, of_set: str) -> list[Slice]:
    """All images, originals and copies of a set; the first alone where there are no copies."""
    found = [evaluation.find(of_set, keys) for keys in _POPULATIONS]
    if found[2] is None:
        found = found[:1] if found[0] else found[1:2]
    return [one for one in found if one is not None]


def _comparison(evaluation: Evaluation) -> Section | None:
    """This model and the one it is compared with, on the same images."""
    if evaluation.baseline is None:
        return None
    sets: Sequence[str] = [TEST_SET, *external_sets(evaluation)]
    populations = [one for name in sets for one in _populations(evaluation, name) if one.difference]
    subgroups = [one for one in _subgroups(evaluation) if one.difference]
    return {
        "with": evaluation.baseline,
        "statistics": [
            {"name": name, "label": label(name), "lower_is_better": lower_is_better(name)} for name in COMPARED
        ],
        "populations": [_compared(one) for one in populations],
        "subgroups": [_compared(one) for one in subgroups],
    }


def _compared(of: Slice) -> Section:
    told = {name: tell_difference(name, (of.difference or {}).get(name)) for name in COMPARED}
    return {**_slice(of), "told": told}


def _data(evidence: Evidence) -> Section:
    images = evidence.images
    sets = [
        {
            "set": name,
            "originals": int((of_set[features.IS_AUGMENTED] == 0).sum()),
            "copies": int((of_set[features.IS_AUGMENTED] == 1).sum()),
            "patients": int(of_set[features.PATIENT_ID].nunique()),
        }
        for name, of_set in sorted(images.groupby("set"), key=lambda one: (one[0] != TEST_SET, one[0]))
    ]
    test = images[(images["set"] == TEST_SET) & (images[features.IS_AUGMENTED] == 0)]
    known = test[features.AGE][test[features.AGE] >= 0]
    age: dict[str, float] = {"known": len(known), "of": len(test)}
    if len(known):
        age |= {"lowest": float(known.min()), "median": float(known.median()), "highest": float(known.max())}
    return {
        "span": evidence.data.spans[-1],
        "spans": list(evidence.data.spans),
        "splits": evidence.data.counts,
        "test_sets": sets,
        "age": age,
        "categories": _categories(evidence),
        "validation": evidence.validation,
        "drift": evidence.drift.model_dump() if evidence.drift else None,
        "anomalies": None if evidence.anomalies is None else [one.model_dump() for one in evidence.anomalies],
    }


def _categories(evidence: Evidence) -> list[Section]:
    """How often each value of each category occurs in each split, the most frequent of each category first."""
    splits = evidence.statistics.values()
    rows = []
    for name in (features.SOURCE, features.FINDING, features.VIEW, features.SEX):
        counted = [of_split.categories.get(name, {}) for of_split in splits]
        values = {value: [counts.get(value, 0) for counts in counted] for counts in counted for value in counts}
        ordered = sorted(values.items(), key=lambda one: (-sum(one[1]), one[0]))
        rows += [{"feature": name, "value": value, "counts": counts} for value, counts in ordered]
    return rows


def _lineage(evidence: Evidence) -> Section:
    parent = None if evidence.parent is None else f"version {evidence.parent}"
    return {
        "data_span": evidence.data.spans[-1],
        "data_spans": list(evidence.data.spans),
        "policy": evidence.data.policy,
        "policy_hash": evidence.data.policy_hash,
        "transforms": [
            {"name": one["name"], "p": one.get("p"), "arguments": one.get("arguments", {})}
            for one in evidence.settings.get("augment", {}).get("transforms", [])
        ],
        "schema": evidence.schema,
        "code_version": evidence.code_version,
        "parent": parent,
        "warm_started": bool(parent and evidence.settings.get("train", {}).get("warm_start")),
        "libraries": {**evidence.libraries, "albumentations": evidence.data.albumentations},
        "stages": [asdict(one) for one in evidence.stages],
    }
