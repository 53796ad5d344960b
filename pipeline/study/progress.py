"""Says how much a study has to train, before and while it does."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from pipeline.console import RunView
from pipeline.study.plan import PlannedTraining, StudyPlan

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.runners import ComponentRun


def announce(plan: StudyPlan, known: Mapping[str, float]) -> str:
    """Say how many trainings there will be, and about how long they take.

    Args:
        plan: What is trained.
        known: The seconds that trainings of before have taken, by the id of their Trainer.
    """
    trainings = plan.trainings()
    done = [planned for planned in trainings if planned.trainer_id in known]
    said = [count(plan)]
    if done:
        said.append(f"{len(done)} of them were done before and are not done again unless data or code have changed")
    said.append(_time_left(len(trainings) - len(done), [known[planned.trainer_id] for planned in done]))
    return "; ".join(said)


def count(plan: StudyPlan) -> str:
    """Say how many trainings a study has, such as `4 trainings (2 arms x 2 seeds)`."""
    factors = [f"{len(plan.arms)} arms", f"{plan.seeds} {'seed' if plan.seeds == 1 else 'seeds'}"]
    if plan.folds:
        factors.append(f"{plan.folds} folds")
    return f"{len(plan.trainings())} trainings ({' x '.join(factors)})"


def _time_left(remaining: int, seconds: Sequence[float]) -> str:
    """Say how long the remaining trainings take if they take as long as those that were measured."""
    if not remaining:
        return "none is left to train"
    if not seconds:
        return "how long they take will be known after the first"
    return f"about {_duration(remaining * mean(seconds))} of training left"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


class StudyView(RunView):
    """Show a study: of each training also which it is, how many there are, and about how long the rest takes."""

    def __init__(self, console: "Console", trainings: Sequence[PlannedTraining], known: Mapping[str, float]) -> None:
        """Take the terminal, all trainings, and the seconds that trainings of before have taken."""
        super().__init__(console)
        self._trainings = {planned.trainer_id: planned.training for planned in trainings}
        self._known = {id_: seconds for id_, seconds in known.items() if id_ in self._trainings}
        self._begun: list[str] = []

    def started(self, component_id: str) -> None:
        """Say that a component starts, and which training it is."""
        if training := self._trainings.get(component_id):
            self._begun.append(component_id)
            fold = "" if training.fold is None else f", fold {training.fold}"
            self._console.print(
                f"Training {len(self._begun)} of {len(self._trainings)}: {training.arm}, seed {training.seed}{fold}",
                style="bold",
                soft_wrap=True,
            )
        super().started(component_id)

    def ended(self, run: "ComponentRun") -> None:
        """Say how long it took, and of a training, how long the others will take."""
        super().ended(run)
        if run.id not in self._trainings:
            return
        if not run.cached:
            self._known[run.id] = run.seconds
        remaining = [id_ for id_ in self._trainings if id_ not in self._begun and id_ not in self._known]
        if remaining and self._known:
            self._console.print(f"  {_time_left(len(remaining), list(self._known.values()))}", style="dim")
