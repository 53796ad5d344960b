"""What a recurring run of Kubeflow Pipelines is, and what of it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import kfp_server_api as api

from pipeline.kubeflow.package import Package
from pipeline.kubeflow.server import list_all

_OVER: Final = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
"""States of a run that is no longer under way."""


@dataclass(frozen=True)
class Schedule:
    """A recurring run, as the server tells it."""

    name: str
    cron: str | None
    """None where it has another kind of trigger."""
    active: bool
    version: str
    parameters: Mapping[str, Any]
    created: datetime | None


def is_active(recurring: Any) -> bool:
    """Tell whether it starts runs."""
    return bool(recurring.status == "ENABLED")


def pipeline_of(recurring: Any) -> str | None:
    """Return the id of its pipeline, if it has one."""
    return recurring.pipeline_version_reference and recurring.pipeline_version_reference.pipeline_id


def cron_of(recurring: Any) -> str | None:
    """Return its six fields; None where it has another kind of trigger."""
    schedule = recurring.trigger and recurring.trigger.cron_schedule
    return schedule.cron if schedule else None


def content_of(recurring: Any, package: Package) -> tuple[Any, ...]:
    """Return all that tells two of one name apart; a default counts like the same value given."""
    reference, config = recurring.pipeline_version_reference, recurring.runtime_config or api.V2beta1RuntimeConfig()
    return (
        reference.pipeline_version_id,
        recurring.experiment_id,
        {**package.defaults, **(config.parameters or {})},
        config.pipeline_root or None,
        cron_of(recurring),
        str(recurring.max_concurrency),
        bool(recurring.no_catchup),
    )


def has_run_under_way(recurring: Any, runs: api.RunServiceApi) -> bool:
    """Ask whether it has started a run that has not ended yet.

    Raises:
        UserError: The server is away or refuses.
    """
    started_by = ("recurring_run_id", recurring.recurring_run_id)
    found = list_all(runs.run_service_list_runs, "runs", started_by, experiment_id=recurring.experiment_id)
    return any(run.state not in _OVER for run in found)
