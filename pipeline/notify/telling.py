"""Tells a webhook what becomes of a run, from its start to its end.

>>> with telling(config, open_webhook(config.notify), print) as tell:
...     result = run_pipeline()
...     tell(decision(result))
"""

import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from components.data_gate.errors import DataError
from pipeline.config import Config
from pipeline.errors import WORKER_DEATH, ComponentError, UserError
from pipeline.notify.webhook import Webhook
from schema.reports.events import (
    DataRefused,
    RunBlessed,
    RunEvent,
    RunFailed,
    RunInterrupted,
    RunNotBlessed,
    RunStarted,
    RunUnchanged,
)
from schema.reports.result import RunResult

Tell = Callable[[RunEvent], None]


@contextmanager
def telling(config: Config, webhook: Webhook | None, warn: Callable[[str], None]) -> Iterator[Tell]:
    """Tell that a run starts, and if it ends without a result, why.

    Args:
        config: Of the run.
        webhook: Who is told; None for nobody.
        warn: Gets a line for each event that the webhook has not taken.

    Yields:
        What tells of anything else; it raises nothing.
    """
    if webhook is None:
        yield _tell_nobody
        return
    source = f"file://{quote(socket.gethostname())}{quote(str(config.root))}"
    subject = f"{config.name}/{uuid.uuid4()}"

    def tell(event: RunEvent) -> None:
        if problem := send(webhook, event, source, subject, str(uuid.uuid4())):
            warn(problem)

    with _before_termination(lambda: tell(RunInterrupted(pipeline=config.name, by="SIGTERM"))):
        try:
            tell(RunStarted(pipeline=config.name))
            yield tell
        except (Exception, KeyboardInterrupt) as error:
            tell(describe(config.name, error))
            raise


def _tell_nobody(_: RunEvent) -> None:
    """Do nothing."""


def decision(result: RunResult) -> RunEvent:
    """Return the event that tells of a result."""
    if result.status == "blessed":
        return RunBlessed(pipeline=result.pipeline, version=result.pushed_version)
    if result.status == "unchanged":
        return RunUnchanged(pipeline=result.pipeline, version=result.pushed_version)
    return RunNotBlessed(pipeline=result.pipeline, failures=result.failures)


def send(webhook: Webhook, event: RunEvent, source: str, subject: str, event_id: str) -> str | None:
    """Send an event, and say in a line what is wrong where the webhook has not taken it.

    Args:
        webhook: Who is told.
        event: Of a run.
        source: A URI of where the run takes place.
        subject: Names the run.
        event_id: Of this event, and of none beside it from this source.
    """
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": source,
        "ce-type": event.TYPE,
        "ce-subject": subject,
        "ce-time": datetime.now(tz=timezone.utc).isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    problem = webhook.send(headers, event.model_dump_json().encode())
    return problem and f"the webhook at {webhook.host} {problem}: it may not know of {event.TYPE}"


def describe(pipeline: str, error: BaseException) -> RunEvent:
    """Return what is told of an error: nothing of its text, unless it is ours and names neither image nor patient."""
    cause = error.__cause__ or error if isinstance(error, ComponentError) else error
    # Beam hands an interrupt on as an error, of which the text alone tells.
    if isinstance(cause, KeyboardInterrupt) or str(cause).startswith(KeyboardInterrupt.__name__):
        return RunInterrupted(pipeline=pipeline, by="Ctrl-C")
    if isinstance(cause, DataError):
        return DataRefused(pipeline=pipeline, case=cause.case)
    kind = type(cause).__name__
    if isinstance(cause, OSError) and cause.strerror:
        kind = f"{kind}: {cause.strerror}"
    component = error.component_id if isinstance(error, ComponentError) else None
    return RunFailed(pipeline=pipeline, component=component, cause=str(cause) if isinstance(cause, UserError) else kind)


@contextmanager
def _before_termination(tell: Callable[[], None]) -> Iterator[None]:
    """Tell before SIGTERM ends the process, which it does without any clearing up, as it would otherwise.

    Python hears of a signal between its own steps: a library's call that takes seconds delays it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers are for the main thread alone
        return
    owner = os.getpid()

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        signal.signal(WORKER_DEATH, signal.SIG_IGN)  # a whole group may have been told to stop
        if os.getpid() == owner:  # no fork of it, of which Python's pools have some
            tell()
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
