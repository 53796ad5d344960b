"""One study on this machine: checks its arms, trains and measures them all, compares, reports."""

import time

from pipeline import console
from pipeline.commands.history import read_training_seconds
from pipeline.commands.run import prepared, publish
from pipeline.config import Config
from pipeline.root import DOUBTFUL_DIR, REPORT_DIR
from pipeline.study.arms import checked_arms
from schema.reports.study import StudyResult


def study(
    config: Config, *, arms: str = "copies", seeds: int = 3, folds: int | None = None, verbose: bool = False
) -> None:
    """Train all arms and compare them; everything that the study writes is under the configuration's root.

    Args:
        config: What holds where an arm sets nothing.
        arms: A list of arms that ships with the project, by name, or a YAML file.
        seeds: How often each arm is trained, 1 or more.
        folds: In how many parts the patients are tested, 2 or more; None: the test split alone.
        verbose: Leaves the libraries' output on the terminal.

    Raises:
        UserError: There is no data, the root cannot be written, arms cannot be compared, or there are too many folds.
        ComponentError: A component failed.
    """
    checked = checked_arms(arms, config, seeds)
    start = time.monotonic()
    with prepared(config, verbose) as shown:
        from pipeline.commands.run_result import collect_study, doubtful_of, report_of
        from pipeline.runners import LocalRunner
        from pipeline.study.folds import check_folds
        from pipeline.study.graph import create_study
        from pipeline.study.plan import StudyPlan
        from pipeline.study.progress import StudyView, announce

        if folds is not None:
            check_folds(config, folds)
        plan, known = StudyPlan(config, checked, seeds, folds), read_training_seconds(config.root)
        shown.print(announce(plan, known), soft_wrap=True)
        with StudyView(shown, plan.trainings(), known) as view:
            runner = LocalRunner(config.root, view)
            runner.run(create_study(plan, runner.connection))
        outcome = collect_study(config, runner.runs)
        outcome.write(config.root)
        publish(report_of(runner.runs), config.root)
        masks = doubtful_of(runner.runs)
        if masks:
            publish(masks, config.root, DOUBTFUL_DIR)
        console.show_study(shown, outcome)
        shown.print(f"Studied in {(time.monotonic() - start) / 60:.1f} minutes", style="bold", soft_wrap=True)
        shown.print(f"Report: {config.root / REPORT_DIR / 'index.html'}", soft_wrap=True)
        if masks:
            shown.print(f"Masks to look at: {config.root / DOUBTFUL_DIR / 'index.html'}", soft_wrap=True)
        shown.print(f"All figures: {config.root / StudyResult.FILE}", soft_wrap=True)
