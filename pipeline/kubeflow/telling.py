"""Tells a webhook of a run on Kubeflow: its first step tells that it starts, its last one what became of it.

The last one, which starts however the others have ended, runs this module: `python -m pipeline.kubeflow.telling {...}`.
All that it knows is what the steps have noted under the root (`pipeline.notify.notes`).
"""

import json
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pipeline.errors import ComponentError
from pipeline.kubeflow.settings import kind_of
from pipeline.notify.notes import ENDED, STARTED, RunNotes, end_of
from pipeline.notify.settings import NotifySettings
from pipeline.notify.telling import describe, send
from pipeline.notify.webhook import Webhook, open_webhook
from schema.reports.blessing import BlessingDecision
from schema.reports.events import RunBlessed, RunEvent, RunInterrupted, RunNotBlessed, RunStarted, RunUnchanged
from schema.reports.result import find_failures
from schema.reports.serving import ChangeReport
from schema.settings import Settings

if TYPE_CHECKING:
    from tfx import types

    Artifacts = dict[str, list[types.Artifact]]

RUN_ID: Final = "run_id"
TOLD: Final = "told"
STATUS: Final = "status"
"""Parameters: the run's id, `RunTold`, and, of the last step alone, Kubeflow's state of all others."""


class RunTold(Settings):
    """Who is told of a run, as it is compiled into each step."""

    pipeline: str
    """Its name."""
    root: Path
    """Of runs."""
    notify: NotifySettings


class Run:
    """A run of which a webhook is told. What goes wrong with that costs a line on standard error, and fails no step."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Take the parameters of one of its steps."""
        told = RunTold.model_validate_json(values[TOLD])
        self.pipeline = told.pipeline
        self._root, self._notify = told.root, told.notify
        self._notes = RunNotes(told.root, values[RUN_ID])
        self._subject = f"{told.pipeline}/{values[RUN_ID]}"

    def start(self) -> None:
        """Tell that it starts, unless that was told before.

        Raises:
            UserError: A secret for the webhook cannot be read.
        """
        webhook = open_webhook(self._notify)
        if self._mark(STARTED):
            self._tell(webhook, RunStarted(pipeline=self.pipeline))

    def end(self, state: str) -> None:
        """Tell what became of it, unless that was told before.

        Args:
            state: What Kubeflow says of all steps together.

        Raises:
            UserError: A secret for the webhook cannot be read.
            ReportFileError: A step's note is damaged.
        """
        if self._notes.is_marked(ENDED):
            return
        webhook = open_webhook(self._notify)
        events = end_of(self._notes.read(), self.pipeline, state)
        for event in events:
            self._tell(webhook, event)
        if not events:
            _say("the run has ended well, but no step has noted with what: the webhook is told nothing")
        self._mark(ENDED)

    def note(self, component: str, event: RunEvent | None) -> None:
        """Note what is to be told of a step; None: it is at work."""
        try:
            self._notes.leave(component, event)
        except OSError as error:
            self._lament(error)

    def withdraw(self, component: str) -> None:
        """Leave nothing to be told of a step."""
        try:
            self._notes.withdraw(component)
        except OSError as error:
            self._lament(error)

    def _mark(self, what: str) -> bool:
        """Return whether something was not told yet, as far as can be known."""
        try:
            return self._notes.mark(what)
        except OSError as error:
            self._lament(error)
            return True

    def _tell(self, webhook: Webhook | None, event: RunEvent) -> None:
        """Tell; what is told again bears the same id."""
        source = f"kubeflow:{quote(str(self._root))}"
        event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}/{self._subject}/{event.TYPE}"))
        if webhook and (problem := send(webhook, event, source, self._subject, event_id)):
            _say(problem)

    def _lament(self, error: OSError) -> None:
        _say(f"what the webhook is to be told cannot be noted under '{self._root}': {error.strerror}")


class StepTelling:
    """What a step leaves to be told of it."""

    def __init__(self, component: str, run: Run) -> None:
        """Take the component's id, and its run."""
        self._component, self._run = component, run

    def begin(self) -> None:
        """Note that the step is at work; the first one tells that the run starts.

        Raises:
            UserError: A secret for the webhook cannot be read.
        """
        self._run.note(self._component, None)
        if kind_of(self._component) == "ChangeDetector":
            self._run.start()

    def end(self, inputs: "Artifacts", outputs: "Artifacts") -> None:
        """Note what became of the model, if the step has decided on it."""
        event = _decision(kind_of(self._component), self._run.pipeline, inputs, outputs)
        if event:
            self._run.note(self._component, event)
        else:
            self._run.withdraw(self._component)

    def fail(self, error: ComponentError) -> None:
        """Note why the step failed."""
        self._run.note(self._component, describe(self._run.pipeline, error))

    def stop(self) -> None:
        """Note that the step was told to stop."""
        self._run.note(self._component, RunInterrupted(pipeline=self._run.pipeline, by="SIGTERM"))


def telling_of(component: str, invocation: str) -> StepTelling | None:
    """Return what a step has to leave to be told; None where nobody is told of its run.

    Args:
        component: Its id.
        invocation: Kubeflow's ExecutorInput, JSON.
    """
    values = _parameters(invocation)
    return StepTelling(component, Run(values)) if TOLD in values else None


def _decision(kind: str, pipeline: str, inputs: "Artifacts", outputs: "Artifacts") -> RunEvent | None:
    if kind == "ChangeDetector":
        found = ChangeReport.read(outputs["changes"][0].uri)
        return RunUnchanged(pipeline=pipeline, version=str(found.version)) if found.unchanged else None
    if kind == "Pusher":
        probed = inputs["infra_blessing"][0].get_int_custom_property("blessed") == 1
        failures = find_failures(BlessingDecision.read(inputs["blessing"][0].uri), probed=probed)
        if failures:
            return RunNotBlessed(pipeline=pipeline, failures=failures)
        version = outputs["pushed_model"][0].get_string_custom_property("pushed_version")
        return RunBlessed(pipeline=pipeline, version=version or None)
    return None


def _parameters(invocation: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(invocation).get("inputs", {}).get("parameterValues", {})
    return values


def _say(line: str) -> None:
    print(f"lungseg: {line}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str]) -> None:
    """Tell what became of a run; whatever goes wrong with that, the run is not failed by it.

    Args:
        arguments: Kubeflow's ExecutorInput, JSON.
    """
    try:
        values = _parameters(arguments[0])
        status = values[STATUS]
        state = (json.loads(status) if isinstance(status, str) else status).get("state", "unknown")
        Run(values).end(state)
    except Exception as error:
        _say(f"nobody was told what became of the run: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
