"""What the report says, put together from the evidence.

>>> contents(evidence).decision.headline
'May serve: version 4'
"""

from typing import Final

from components.reporter.evidence import Evidence
from components.reporter.figures import label, lower_is_better
from components.reporter.quality import judge_estimates
from components.reporter.slices import (
    COPIES,
    DICE,
    copies_by_transform,
    describe,
    describe_place,
    external_sets,
    group,
    named_originals,
    populations,
    subgroups,
)
from components.reporter.wording import NORMALIZATIONS, glossary, headline, limits
from modules.evaluation.bootstrap import tell_effect
from schema import features
from schema.reports.blessing import Bound, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET, Evaluation, Region, Slice, in_part
from schema.reports.run_report import (
    AgeSummary,
    CategoryCounts,
    ComparedSlice,
    ComparedStatistic,
    Comparison,
    DataSummary,
    Decision,
    DescribedSlice,
    EvaluatedSet,
    ExternalSet,
    KeyFigure,
    Lineage,
    PolicyTransform,
    RunReport,
    Slices,
    SmallSlice,
    StatedRule,
    Training,
)

COMPARED: Final = (DICE, "dice_p5", "hd95", "nsd")
"""Statistics that two models are compared by."""
_BOUNDS: Final[dict[Bound, str]] = {
    "at_least": "at least",
    "at_most": "at most",
    "max_drop": "worse on copies by at most",
    "max_regression": "worse than the model blessed last by at most",
}


def contents(evidence: Evidence) -> RunReport:
    """Put the report together; numbers that are not finite become None."""
    evaluation = evidence.evaluation
    report = RunReport(
        pipeline=evidence.settings.pipeline,
        decision=_decision(evidence),
        probe=evidence.probe,
        training=Training(history=evidence.history, best_epoch=evidence.history.best_epoch),
        slices=_slices(evaluation),
        robustness=[_describe(slice_) for slice_ in copies_by_transform(evaluation)],
        external=[_external(evaluation, name) for name in external_sets(evaluation)],
        comparison=_comparison(evaluation),
        quality=judge_estimates(evidence.images, evaluation.confidence),
        data=_data(evidence),
        lineage=_lineage(evidence),
        limits=limits(evidence),
        glossary=glossary(evaluation.tolerance),
        settings=evidence.settings.model_dump(mode="json"),
        statistics=evidence.statistics,
        confidence=evaluation.confidence,
        min_patients=evaluation.min_patients,
    )
    # As whoever reads the file gets it, and JSON knows no other numbers.
    return RunReport.model_validate_json(report.model_dump_json())


def _decision(evidence: Evidence) -> Decision:
    verdict, settings = headline(evidence), evidence.settings.evaluate
    copies = evidence.evaluation.find(TEST_SET, COPIES)
    of_sets = named_originals(evidence.evaluation)
    named = [*of_sets[:1], *([("augmented copies", copies)] if copies else []), *of_sets[1:]]
    return Decision(
        outcome=verdict.outcome,
        headline=verdict.title,
        sentence=verdict.sentence,
        version=evidence.version,
        key_figures=[_key_figure(name, slice_) for name, slice_ in named],
        rules=[_state(rule, settings.region_of(rule.set)) for rule in evidence.decision.rules]
        if evidence.decision
        else [],
    )


def _key_figure(name: str, slice_: Slice) -> KeyFigure:
    return KeyFigure(
        name=name[0].upper() + name[1:],
        examples=slice_.examples,
        patients=slice_.patients,
        dice_mean=slice_.metrics.get(DICE, Estimate()),
        hd95=slice_.metrics.get("hd95", Estimate()),
    )


def _state(rule: RuleResult, region: Region) -> StatedRule:
    return StatedRule(
        **rule.model_dump(),
        label=label(rule.metric),
        words=_BOUNDS[rule.kind],
        where=describe_place(rule.set, rule.keys, region),
    )


def _slices(evaluation: Evaluation) -> Slices:
    whole = evaluation.find(TEST_SET, {})
    reference = _dice(whole) if whole else Estimate()
    shown = subgroups(evaluation)
    worse = [slice_ for slice_ in shown if slice_.enough and _lies_below(_dice(slice_), reference)]
    return Slices(
        rows=[_describe(slice_) for slice_ in evaluation.slices],
        subgroups=[_describe(slice_) for slice_ in shown],
        reference=reference,
        worse=[_describe(slice_) for slice_ in sorted(worse, key=lambda slice_: _dice(slice_).value or 0.0)],
        too_few=[
            SmallSlice(label=describe(slice_.keys), patients=slice_.patients) for slice_ in shown if not slice_.enough
        ],
    )


def _dice(slice_: Slice) -> Estimate:
    return slice_.metrics.get(DICE, Estimate())


def _lies_below(dice: Estimate, reference: Estimate) -> bool:
    return dice.high is not None and reference.value is not None and dice.high < reference.value


def _describe(slice_: Slice) -> DescribedSlice:
    return DescribedSlice(
        **slice_.model_dump(), label=in_part(describe(slice_.keys), slice_.region), group=group(slice_.keys)
    )


def _external(evaluation: Evaluation, set_: str) -> ExternalSet:
    return ExternalSet(set=set_, slices=[_describe(slice_) for slice_ in populations(evaluation, set_)])


def _comparison(evaluation: Evaluation) -> Comparison | None:
    if evaluation.baseline is None:
        return None
    sets = [TEST_SET, *external_sets(evaluation)]
    whole = [slice_ for set_ in sets for slice_ in populations(evaluation, set_)]
    return Comparison(
        baseline=evaluation.baseline,
        statistics=[
            ComparedStatistic(name=name, label=label(name), lower_is_better=lower_is_better(name)) for name in COMPARED
        ],
        populations=[_compare(slice_) for slice_ in whole if slice_.difference],
        subgroups=[_compare(slice_) for slice_ in subgroups(evaluation) if slice_.difference],
    )


def _compare(slice_: Slice) -> ComparedSlice:
    difference = slice_.difference or {}
    return ComparedSlice(
        **_describe(slice_).model_dump(), told={name: tell_effect(name, difference.get(name)) for name in COMPARED}
    )


def _data(evidence: Evidence) -> DataSummary:
    images = evidence.images
    by_set = sorted(images.groupby("set"), key=lambda item: (item[0] != TEST_SET, item[0]))
    return DataSummary(
        span=evidence.data.spans[-1],
        spans=list(evidence.data.spans),
        splits=evidence.data.counts,
        test_sets=[
            EvaluatedSet(
                set=set_,
                originals=int((of_set[features.IS_AUGMENTED] == 0).sum()),
                copies=int((of_set[features.IS_AUGMENTED] == 1).sum()),
                patients=len(of_set[[features.SOURCE, features.PATIENT_ID]].drop_duplicates()),
            )
            for set_, of_set in by_set
        ],
        age=_age(evidence),
        categories=_categories(evidence),
        validation=evidence.validation,
        drift=evidence.drift,
        anomalies=evidence.anomalies.anomalies if evidence.anomalies else None,
    )


def _age(evidence: Evidence) -> AgeSummary:
    images = evidence.images
    ages = images[features.AGE][(images["set"] == TEST_SET) & (images[features.IS_AUGMENTED] == 0)]
    known = ages[ages >= 0]
    if known.empty:
        return AgeSummary(known=0, of=len(ages))
    return AgeSummary(
        known=len(known),
        of=len(ages),
        lowest=float(known.min()),
        median=float(known.median()),
        highest=float(known.max()),
    )


def _categories(evidence: Evidence) -> list[CategoryCounts]:
    """Count how often each value of each category occurs in each split, the most frequent of each category first."""
    rows = []
    for name in (features.SOURCE, features.FINDING, features.VIEW, features.SEX):
        counted = [statistics.categories.get(name, {}) for statistics in evidence.statistics.values()]
        values = {value: [counts.get(value, 0) for counts in counted] for counts in counted for value in counts}
        ordered = sorted(values.items(), key=lambda item: (-sum(item[1]), item[0]))
        rows += [CategoryCounts(feature=name, value=value, counts=counts) for value, counts in ordered]
    return rows


def _lineage(evidence: Evidence) -> Lineage:
    data, settings = evidence.data, evidence.settings
    return Lineage(
        data_span=data.spans[-1],
        data_spans=list(data.spans),
        policy=data.policy,
        policy_hash=data.policy_hash,
        transforms=[
            PolicyTransform(name=transform.name, p=transform.p, arguments=transform.arguments)
            for transform in settings.policy.transforms
        ],
        normalization=NORMALIZATIONS[settings.transform.normalization],
        schema_hash=evidence.schema_hash,
        code_version=evidence.code_version,
        parent=None if evidence.parent is None else f"version {evidence.parent}",
        warm_started=evidence.parent is not None and settings.train.warm_start,
        libraries={**evidence.libraries, "albumentations": data.albumentations},
        stages=list(evidence.stages),
    )
