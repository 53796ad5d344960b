"""Uploads, runs and schedules of compiled pipelines on Kubeflow Pipelines.

client = Client(Access("https://kubeflow.example/pipeline", token_file=Path("token")))
package = read_package(Path("pipeline.yaml"))
job = Job(package, parse_parameters(package, {"epochs": "3"}), experiment="lungseg")
print(client.submit(job).url)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Literal

import kfp_server_api as api

from pipeline.errors import UserError
from pipeline.kubeflow.package import Package
from pipeline.kubeflow.schedule import (
    Schedule,
    content_of,
    cron_of,
    has_run_under_way,
    is_active,
    pipeline_of,
)
from pipeline.kubeflow.server import Server, ask_server, list_all
from pipeline.kubeflow.transport import Access, RefusedError, connect

_SET_ACTIVE, _SET_PAUSED = "Set by lungseg, active", "Set by lungseg, paused"
"""Descriptions of a recurring run: what it is to be once it stands alone under its name."""


@dataclass(frozen=True)
class Job:
    """A compiled pipeline, and how to run it."""

    package: Package
    parameters: Mapping[str, Any]
    experiment: str
    pipeline_root: str | None = None
    """Where Kubeflow keeps the artifacts; None leaves it to the server."""


@dataclass(frozen=True)
class Run:
    """A run that was started."""

    run_id: str
    url: str
    """In Kubeflow's user interface."""


Change = Literal["created", "unchanged", "replaced"]


class Client:
    """Starts runs and keeps schedules. Every method raises UserError where the server is away or refuses."""

    def __init__(self, access: Access, *, tell: Callable[[str], None] | None = None) -> None:
        """Take the address and perhaps a dry run, as `connect` does; nothing is sent yet.

        Raises:
            UserError: The address is none, or a file with the login cannot be used.
        """
        self._client = client = connect(access, tell)
        self._host, self._namespace = client.configuration.host, access.namespace
        self._pipelines, self._uploads = api.PipelineServiceApi(client), api.PipelineUploadServiceApi(client)
        self._experiments, self._runs = api.ExperimentServiceApi(client), api.RunServiceApi(client)
        self._recurring = api.RecurringRunServiceApi(client)

    def submit(self, job: Job) -> Run:
        """Upload what is new, and start a run of exactly this version in the experiment."""
        self._check_server(job.package)
        reference = self._upload(job.package, self._pipeline_id(job.package))
        now = datetime.now(timezone.utc)
        wanted = api.V2beta1Run(display_name=f"{job.package.name} {now:%Y-%m-%d %H:%M:%S}", **self._how(job, reference))
        run = self._runs.run_service_create_run(wanted)
        return Run(run.run_id, f"{self._host}/#/runs/details/{run.run_id}")

    def set_schedule(self, name: str, cron: str, job: Job, *, end_runs: bool = False) -> Change:
        """Make the schedule `name` start exactly this version, one run at a time, missed times left out.

        Kubeflow cannot edit a recurring run, so another one takes over: it is created paused, the old one is paused,
        the new one starts, the old one is deleted. So no two are ever active, and none for the time of one request. A
        paused schedule stays paused. After a crash anywhere the same command ends what was begun: what was active
        stands in the description of the newest.

        Raises:
            UserError: A schedule of another pipeline has that name; or a run of the old one is under way, which the
                server would end with it since it is older than 2.16, and `end_runs` does not allow that.
        """
        self._check_server(job.package)
        found, pipeline_id = self._named(name), self._pipeline_id(job.package)
        if any(pipeline_of(schedule) != pipeline_id for schedule in found):
            raise UserError(f"{self._host}: the schedule '{name}' is one of another pipeline: choose another --name")
        reference = self._upload(job.package, pipeline_id)
        active = not found or any(map(is_active, found)) or (len(found) > 1 and found[-1].description == _SET_ACTIVE)
        wanted = api.V2beta1RecurringRun(
            display_name=name,
            description=_SET_ACTIVE if active else _SET_PAUSED,
            mode="DISABLE" if found else "ENABLE",
            **self._when(cron),
            **self._how(job, reference),
        )
        same = [schedule for schedule in found if content_of(schedule, job.package) == content_of(wanted, job.package)]
        if same and len(found) == 1:
            return "unchanged"
        others = [schedule for schedule in found if schedule not in same[-1:]]
        self._check_runs(others, end_runs=end_runs)
        keep = same[-1] if same else self._recurring.recurring_run_service_create_recurring_run(wanted)
        if not found:
            return "created"
        self._settle(keep, others, active=active)
        return "replaced"

    def schedules(self) -> list[Schedule]:
        """Return all recurring runs, by name."""
        names: dict[tuple[str, str], str] = {}
        runs = self._recurring_runs()
        return sorted((self._describe(run, names) for run in runs), key=lambda schedule: schedule.name)

    def pause(self, name: str) -> None:
        """Start no more runs; those under way go on."""
        self._switch(name, active=False)

    def resume(self, name: str) -> None:
        """Start runs again. Kubeflow makes up for the last of the times missed, at once."""
        self._switch(name, active=True)

    def delete(self, name: str, *, end_runs: bool = False) -> None:
        """Remove the schedule; runs under way go on.

        Raises:
            UserError: One would not, since the server is older than 2.16, and `end_runs` does not allow that.
        """
        found = self._existing(name)
        self._check_runs(found, end_runs=end_runs)
        for run in found:
            self._delete(run)

    @cached_property
    def _server(self) -> Server:
        return ask_server(self._client)

    def _check_server(self, package: Package) -> None:
        """Refuse before anything is uploaded: without a namespace, a pipeline would be there for all, and no run."""
        if package.tells_its_end and self._server.refuses_last_steps:
            raise UserError(
                f"{self._host}: is Kubeflow Pipelines {self._server.version}, which before 2.14 starts no step that is "
                "told how the others have ended: upgrade it, or compile without `notify`"
            )
        if self._namespace is None and self._server.multi_user:
            raise UserError(f"{self._host}: several users share it: name your namespace with --namespace")

    def _check_runs(self, schedules: list[Any], *, end_runs: bool) -> None:
        """Refuse to delete a schedule that would take a run under way with it."""
        if not schedules or end_runs or self._server.keeps_runs:
            return
        for schedule in schedules:
            if has_run_under_way(schedule, self._runs):
                raise UserError(
                    f"{self._host}: a run of the schedule '{schedule.display_name}' is under way, and would end with "
                    f"it, as before Kubeflow Pipelines 2.16 (here: {self._server.version}): wait for it, or use "
                    "`schedule set` or `delete` with --end-runs"
                )

    def _switch(self, name: str, *, active: bool) -> None:
        *others, newest = self._existing(name)
        self._check_runs(others, end_runs=False)
        self._settle(newest, others, active=active)

    def _settle(self, keep: Any, others: list[Any], *, active: bool) -> None:
        """Leave `keep` alone under its name: the others stop before it starts, and go when it has."""
        for other in filter(is_active, others):
            self._recurring.recurring_run_service_disable_recurring_run(other.recurring_run_id)
        if active != is_active(keep):
            enable = self._recurring.recurring_run_service_enable_recurring_run
            disable = self._recurring.recurring_run_service_disable_recurring_run
            (enable if active else disable)(keep.recurring_run_id)
        for other in others:
            self._delete(other)

    def _delete(self, run: Any) -> None:
        # Otherwise Kubernetes deletes the runs under way with what started them.
        self._recurring.recurring_run_service_delete_recurring_run(run.recurring_run_id, propagation_policy="ORPHAN")

    def _named(self, name: str) -> list[Any]:
        """Recurring runs of that name, the oldest first: one, or two where a change was interrupted."""
        return sorted(self._recurring_runs(name), key=lambda run: run.created_at)

    def _recurring_runs(self, name: str | None = None) -> Iterator[Any]:
        call = self._recurring.recurring_run_service_list_recurring_runs
        called = ("display_name", name) if name else None
        return list_all(call, "recurring_runs", called, namespace=self._namespace)

    def _existing(self, name: str) -> list[Any]:
        found = self._named(name)
        if not found:
            names = ", ".join(sorted({schedule.name for schedule in self.schedules()})) or "none"
            raise UserError(f"{self._host}: has no schedule '{name}'; there: {names}")
        if len({pipeline_of(run) for run in found}) > 1:
            raise UserError(
                f"{self._host}: several pipelines have a schedule '{name}': use Kubeflow's own user interface"
            )
        return found

    def _describe(self, run: Any, names: dict[tuple[str, str], str]) -> Schedule:
        reference = run.pipeline_version_reference
        return Schedule(
            name=run.display_name,
            cron=cron_of(run),
            active=is_active(run),
            version=self._version_name(reference, names) if reference else "-",
            parameters=(run.runtime_config and run.runtime_config.parameters) or {},
            created=run.created_at,
        )

    def _version_name(self, reference: Any, names: dict[tuple[str, str], str]) -> str:
        key = (reference.pipeline_id, reference.pipeline_version_id)
        if not reference.pipeline_version_id:
            return "the latest"
        if key not in names:
            try:
                names[key] = self._pipelines.pipeline_service_get_pipeline_version(*key).display_name
            except RefusedError as error:
                if error.status != 404:
                    raise
                names[key] = f"{reference.pipeline_version_id} (deleted)"
        return names[key]

    def _pipeline_id(self, package: Package) -> str | None:
        call = self._pipelines.pipeline_service_list_pipelines
        pipeline = next(list_all(call, "pipelines", ("display_name", package.name), namespace=self._namespace), None)
        return pipeline and pipeline.pipeline_id

    def _upload(self, package: Package, pipeline_id: str | None) -> Any:
        """Return the package's version on the server, uploaded if it is new there.

        A new pipeline is created empty: where both are uploaded in one go, the version bears the pipeline's name.
        """
        if pipeline_id is None:
            new = api.V2beta1Pipeline(display_name=package.name, namespace=self._namespace)
            pipeline_id = self._pipelines.pipeline_service_create_pipeline(new).pipeline_id
            found = None
        else:
            call = self._pipelines.pipeline_service_list_pipeline_versions
            called = ("display_name", package.version)
            found = next(list_all(call, "pipeline_versions", called, pipeline_id=pipeline_id), None)
        version = found or self._uploads.upload_pipeline_version(
            str(package.path), name=package.version, pipelineid=pipeline_id
        )
        return api.V2beta1PipelineVersionReference(
            pipeline_id=pipeline_id, pipeline_version_id=version.pipeline_version_id
        )

    @staticmethod
    def _when(cron: str) -> dict[str, Any]:
        trigger = api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron))
        return {"trigger": trigger, "max_concurrency": "1", "no_catchup": True}

    def _how(self, job: Job, reference: Any) -> dict[str, Any]:
        """Return what a run and a recurring run have in common."""
        config = api.V2beta1RuntimeConfig(parameters=dict(job.parameters), pipeline_root=job.pipeline_root)
        return {
            "experiment_id": self._experiment_id(job.experiment),
            "pipeline_version_reference": reference,
            "runtime_config": config,
        }

    def _experiment_id(self, name: str) -> str:
        call = self._experiments.experiment_service_list_experiments
        found = next(list_all(call, "experiments", ("display_name", name), namespace=self._namespace), None)
        experiment = found or self._experiments.experiment_service_create_experiment(
            api.V2beta1Experiment(display_name=name, namespace=self._namespace)
        )
        return str(experiment.experiment_id)
