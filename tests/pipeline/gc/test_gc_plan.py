"""What stays and what goes, as a pure function: of pictures made by hand, and of any that hypothesis thinks of."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gc.picture import Leftover, PastRun, Picture, Step
from pipeline.gc.plan import Decision, Limits, plan
from schema.reports.serving import Standing

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)
SIZE = 10


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=timezone.utc)


def step(execution: int, *takes: int, pushed: int | None = None, baseline: int | None = None) -> Step:
    return Step(
        name=f"Step {execution}",
        paths=(Path(f"artifacts/Step/made/{execution}"),),
        bytes=SIZE,
        changed=day(1),
        artifacts=(execution,),
        execution=execution,
        takes=frozenset(takes),
        pushed=pushed,
        baseline=baseline,
    )


def run(on: int, *uses: int, complete: bool = True, pipeline: str = "lungs") -> PastRun:
    outcome = "not blessed" if complete else "which was cut off"
    return PastRun(started=day(on), pipeline=pipeline, outcome=outcome, complete=complete, uses=frozenset(uses))


def leftover(changed: int, *, resumes: bool = False) -> Leftover:
    return Leftover(name="x", paths=(), bytes=SIZE, changed=day(changed), reason="left", resumes=resumes)


def picture(steps: Iterable[Step], runs: Iterable[PastRun], versions: dict[int, Standing] | None = None) -> Picture:
    return Picture(steps={each.execution: each for each in steps}, runs=tuple(runs), versions=versions or {})


def reasons(decisions: Iterable[Decision], *, keep: bool) -> dict[int, str]:
    return {
        decision.item.execution: decision.reason
        for decision in decisions
        if decision.keep == keep and isinstance(decision.item, Step)
    }


def kept(picture_: Picture, limits: Limits) -> set[int]:
    return set(reasons(plan(picture_, limits, NOW), keep=True))


def test_the_last_runs_stay_with_what_they_took_from_the_cache() -> None:
    steps = [step(1), step(2, 1), step(3, 1), step(4, 1)]
    runs = [run(1, 1, 2), run(2, 1, 3), run(3, 1, 4)]
    decisions = plan(picture(steps, runs), Limits(keep=2), NOW)
    assert reasons(decisions, keep=True) == {
        4: "used by the run of 2026-11-03 00:00, not blessed",
        3: "used by the run of 2026-11-02 00:00, not blessed",
        1: "used by the run of 2026-11-03 00:00, not blessed",
    }
    assert reasons(decisions, keep=False) == {2: "of the run of 2026-11-01 00:00, not blessed, and of no later one"}


def test_runs_that_were_cut_off_do_not_count_and_stay_as_long_as_the_complete_ones_before() -> None:
    steps = [step(number) for number in range(1, 6)]
    runs = [
        run(1, 1, complete=False),
        run(2, 2),
        run(3, 3, complete=False),
        run(4, 4),
        run(5, 5, complete=False),
    ]
    assert kept(picture(steps, runs), Limits(keep=1)) == {4, 5}
    assert kept(picture(steps, runs), Limits(keep=2)) == {2, 3, 4, 5}
    assert kept(picture(steps, runs), Limits(keep=3)) == {1, 2, 3, 4, 5}, "there are no three"


def test_each_pipeline_has_its_own_last_runs() -> None:
    steps = [step(number) for number in range(1, 5)]
    runs = [run(1, 1, pipeline="lungs-study"), run(2, 2), run(3, 3), run(4, 4)]
    assert kept(picture(steps, runs), Limits(keep=1)) == {1, 4}


VERSIONS = [
    # Version 1, then 2, which was compared with it, and 3, with that; 30 belongs to no model.
    *(step(10), step(11, 10), step(12, 11, pushed=1), step(13, 12)),
    *(step(20), step(21, baseline=1), step(22, 20, 21), step(23, 22, pushed=2), step(24, 23)),
    *(step(31, baseline=2), step(32, 20, 31), step(33, 32, pushed=3), step(34, 33)),
    step(40),
]
RUNS = [run(1, 10, 11, 12, 13), run(2, 20, 21, 22, 23, 24), run(3, 20, 31, 32, 33, 34), run(4, 40)]
OF_1, OF_2, OF_3 = {10, 11, 12, 13}, {20, 21, 22, 23, 24}, {20, 31, 32, 33, 34}


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({1: "serves"}, OF_1),
        ({1: "earlier", 2: "serves"}, OF_1 | OF_2),
        ({1: "earlier", 2: "earlier", 3: "serves"}, {11, 12, 13} | OF_2 | OF_3),
        ({1: "serves", 2: "withdrawn", 3: "withdrawn"}, OF_1 | OF_2 | OF_3),
        ({3: "serves"}, OF_2 | OF_3),
        ({7: "serves"}, set()),
    ],
)
def test_what_versions_need_stays(versions: dict[int, Standing], expected: set[int]) -> None:
    """Whole, of what serves, was withdrawn, or either was compared with; of others their judgement."""
    assert kept(picture(VERSIONS, RUNS, versions), Limits(keep=1, max_bytes=0)) == expected | {40}


def test_it_is_said_what_for() -> None:
    versions: dict[int, Standing] = {1: "earlier", 2: "earlier", 3: "serves"}
    said = reasons(plan(picture(VERSIONS, RUNS, versions), Limits(keep=1), NOW), keep=True)
    assert (said[20], said[33]) == ("version 3 serves", "version 3 serves")
    assert said[23] == "version 2 is what version 3 was compared with"
    assert said[12] == "judgement of version 1"


def test_of_two_that_pushed_one_version_the_last_counts() -> None:
    steps = [step(1), step(2, 1, pushed=1), step(3), step(4, 3, pushed=1), step(5)]
    assert kept(picture(steps, [run(1, 1, 2), run(2, 3, 4), run(3, 5)], {1: "serves"}), Limits(keep=1)) == {3, 4, 5}


def test_younger_runs_stay() -> None:
    steps = [step(number) for number in range(1, 5)]
    runs = [run(number, number) for number in range(1, 5)]
    limits = Limits(keep=1, older_than=timedelta(days=28))
    assert kept(picture(steps, runs), limits) == {2, 3, 4}
    assert kept(picture(steps, runs), Limits(keep=1, older_than=timedelta(0))) == {4}


@pytest.mark.parametrize(("most", "expected"), [(40, {1, 2, 3, 4}), (39, {2, 3, 4}), (20, {3, 4}), (0, {4})])
def test_further_runs_go_until_the_size_is_reached(most: int, expected: set[int]) -> None:
    steps = [step(number) for number in range(1, 5)]
    runs = [run(number, number) for number in range(1, 5)]
    assert kept(picture(steps, runs), Limits(keep=9, max_bytes=most)) == expected


def test_the_size_takes_no_younger_runs() -> None:
    steps = [step(number) for number in range(1, 5)]
    runs = [run(number, number) for number in range(1, 5)]
    limits = Limits(keep=9, older_than=timedelta(days=28), max_bytes=0)
    assert kept(picture(steps, runs), limits) == {2, 3, 4}


def decide(found: Leftover, limits: Limits, *runs: PastRun) -> tuple[bool, str]:
    (decision,) = plan(Picture(runs=runs, leftovers=(found,)), limits, NOW)
    return decision.keep, decision.reason


def test_leftovers() -> None:
    assert decide(leftover(29), Limits(keep=1), run(28)) == (False, "left")
    young = Limits(keep=1, older_than=timedelta(days=2))
    assert decide(leftover(29), young, run(20)) == (True, "left, lately")
    assert decide(leftover(27), young, run(20)) == (False, "left")


def test_a_checkpoint_stays_as_long_as_the_run_that_wrote_it() -> None:
    runs = (run(10, complete=False), run(20))
    first, second = leftover(11, resumes=True), leftover(21, resumes=True)
    assert decide(first, Limits(keep=1), *runs) == (False, "left in the run of 2026-11-10 00:00, which was cut off")
    assert decide(first, Limits(keep=2), *runs)[0]
    assert decide(second, Limits(keep=1), *runs)[0]


def test_without_runs_a_checkpoint_stays_for_a_week() -> None:
    assert decide(leftover(24, resumes=True), Limits(keep=3)) == (True, "left, lately")
    assert decide(leftover(22, resumes=True), Limits(keep=3)) == (False, "left, which nobody went on with")
    assert decide(leftover(24, resumes=True), Limits(keep=3, older_than=timedelta(days=1)))[0] is False


def test_what_a_clean_up_has_begun_with_it_ends() -> None:
    """Whoever needs it; and what is made of it does not hold it."""
    begun = Picture(
        steps={2: step(2, 1, pushed=1)}, half_removed=(step(1),), runs=(run(1, 1, 2),), versions={1: "serves"}
    )
    decisions = plan(begun, Limits(keep=3, older_than=timedelta(days=99)), NOW)
    assert reasons(decisions, keep=False) == {1: "half removed by a clean-up that was cut off"}
    assert set(reasons(decisions, keep=True)) == {2}


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Runs of up to five steps, some from earlier runs; some push a version, some are compared with one."""
    steps: dict[int, Step] = {}
    runs: list[PastRun] = []
    versions: dict[int, Standing] = {}
    for number in range(1, draw(st.integers(1, 7)) + 1):
        uses: list[int] = draw(st.lists(st.sampled_from(sorted(steps)), max_size=3)) if steps else []
        for _ in range(draw(st.integers(1, 4))):
            execution = len(steps) + 1
            baseline = draw(st.sampled_from([None, *versions]))
            steps[execution] = step(execution, *draw(st.lists(st.sampled_from(uses), max_size=2)) if uses else [],
                                    baseline=baseline)  # fmt: skip
            uses.append(execution)
        if draw(st.booleans()):
            execution, version = len(steps) + 1, len(versions) + 1
            steps[execution] = step(execution, *uses, pushed=version)
            uses.append(execution)
            versions[version] = draw(st.sampled_from(["serves", "earlier", "withdrawn"]))
        runs.append(run(number, *uses, complete=draw(st.booleans())))
    return picture(steps.values(), runs, versions)


LIMITS = st.builds(
    Limits,
    keep=st.integers(1, 8),
    older_than=st.none() | st.integers(0, 40).map(lambda days: timedelta(days=days)),
    max_bytes=st.none() | st.integers(0, 300),
)


def above(execution: int, steps: dict[int, Step]) -> set[int]:
    return {execution}.union(*(above(taken, steps) for taken in steps[execution].takes))


@given(pictures(), LIMITS)
def test_what_always_holds(root: Picture, limits: Limits) -> None:
    decisions = plan(root, limits, NOW)
    assert sorted(decision.item.name for decision in decisions) == sorted(each.name for each in root.steps.values())
    stays = set(reasons(decisions, keep=True))
    for each in root.steps.values():
        if each.pushed and root.versions[each.pushed] in ("serves", "withdrawn"):
            lineage = above(each.execution, root.steps)
            assert lineage <= stays
            compared = {root.steps[execution].baseline for execution in lineage} - {None}
            pushes = [other.execution for other in root.steps.values() if other.pushed in compared]
            assert all(above(execution, root.steps) <= stays for execution in pushes)
    assert root.runs[-1].uses <= stays, "what the next run begins with"
    for old in root.runs:
        if limits.older_than is not None and NOW - old.started <= limits.older_than:
            assert old.uses <= stays
    # A higher limit takes nothing away, and a clean-up repeated finds nothing more to do.
    assert stays <= kept(root, Limits(limits.keep + 1, limits.older_than, None))
    rest = picture((root.steps[execution] for execution in sorted(stays)), root.runs, root.versions)
    assert kept(rest, limits) == stays
