"""Uploads, runs and schedules: what is sent, what is left alone, and what a crash leaves."""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.kubeflow.client import Client, Job
from pipeline.kubeflow.package import read_package
from pipeline.kubeflow.schedule import Schedule
from pipeline.kubeflow.transport import Access

Kubeflow = Any
WritePipeline = Callable[..., Path]

CRON = "0 0 2 * * 1"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def job(path: Path, root: str | None = None, experiment: str = "lungseg", **parameters: Any) -> Job:
    return Job(read_package(path), parameters, experiment, root)


@pytest.fixture
def client(kubeflow: Kubeflow) -> Client:
    return Client(Access(kubeflow.host))


def test_the_first_run_uploads_and_creates_everything(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    path = write_pipeline()
    run = client.submit(job(path, root="minio://bucket/lungseg", epochs=3, data_root="s3://data"))
    assert kubeflow.writes() == ["POST /pipelines", "POST /pipelines/upload_version", "POST /experiments", "POST /runs"]
    assert kubeflow.sent("/pipelines") == {"display_name": "lungseg"}
    assert kubeflow.sent("/pipelines/upload_version") == path.read_text()
    assert kubeflow.versions[0]["name"] == digest(path)
    assert kubeflow.sent("/experiments") == {"display_name": "lungseg"}
    sent = kubeflow.sent("/runs")
    assert re.fullmatch(r"lungseg \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", sent.pop("display_name"))
    assert sent == {
        "experiment_id": "experiment-3",
        "pipeline_version_reference": {"pipeline_id": "pipeline-1", "pipeline_version_id": "pipeline_version-2"},
        "runtime_config": {
            "parameters": {"epochs": 3, "data_root": "s3://data"},
            "pipeline_root": "minio://bucket/lungseg",
        },
    }
    assert (run.run_id, run.url) == ("run-4", f"{kubeflow.host}/#/runs/details/run-4")


def test_the_same_file_is_one_version_and_another_a_new_one(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    first = digest(write_pipeline())
    client.submit(job(write_pipeline()))
    client.submit(job(write_pipeline()))
    assert kubeflow.writes()[4:] == ["POST /runs"]
    second = digest(write_pipeline(image="lungseg:2"))
    client.submit(job(write_pipeline(image="lungseg:2")))
    assert kubeflow.writes()[5:] == ["POST /pipelines/upload_version", "POST /runs"]
    assert [version["name"] for version in kubeflow.versions] == [first, second]
    versions = [run["pipeline_version_reference"]["pipeline_version_id"] for run in kubeflow.runs]
    assert versions == ["pipeline_version-2", "pipeline_version-2", "pipeline_version-6"]
    assert len(kubeflow.pipelines) == len(kubeflow.experiments) == 1


def test_a_pipeline_that_a_crash_left_empty_gets_its_version(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    kubeflow.intercept = lambda request: (
        kubeflow.refuse(500, "down") if request.path == "/pipelines/upload_version" else None
    )
    with pytest.raises(UserError):
        client.submit(job(write_pipeline()))
    kubeflow.intercept = lambda _: None
    client.submit(job(write_pipeline()))
    assert (len(kubeflow.pipelines), len(kubeflow.versions), len(kubeflow.runs)) == (1, 1, 1)


def test_a_namespace_is_part_of_what_is_looked_for_and_created(
    kubeflow: Kubeflow, write_pipeline: WritePipeline
) -> None:
    client = Client(Access(kubeflow.host, namespace="clinic"))
    client.submit(job(write_pipeline()))
    client.submit(job(write_pipeline()))
    assert [resource["namespace"] for resource in kubeflow.pipelines + kubeflow.experiments] == ["clinic", "clinic"]
    lists = [
        request for request in kubeflow.requests if request.method == "GET" and not request.path.endswith("/versions")
    ]
    assert {request.query["namespace"] for request in lists} == {"clinic"}


def test_a_schedule_starts_one_run_at_a_time_of_one_version(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    path = write_pipeline()
    assert client.set_schedule("weekly", CRON, job(path, root="minio://bucket/x", epochs=3)) == "created"
    assert kubeflow.sent("/recurringruns") == {
        "display_name": "weekly",
        "description": "Set by lungseg, active",
        "experiment_id": "experiment-3",
        "pipeline_version_reference": {"pipeline_id": "pipeline-1", "pipeline_version_id": "pipeline_version-2"},
        "runtime_config": {"parameters": {"epochs": 3}, "pipeline_root": "minio://bucket/x"},
        "trigger": {"cron_schedule": {"cron": CRON}},
        "max_concurrency": "1",
        "no_catchup": True,
        "mode": "ENABLE",
    }
    assert kubeflow.states() == [(digest(path), "ENABLED")]


@pytest.mark.parametrize("again", [{}, {"epochs": 10}, {"push": True, "data_root": ""}])
def test_the_same_schedule_again_changes_nothing(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline, again: dict[str, Any]
) -> None:
    """A default given by hand is the same schedule too."""
    client.set_schedule("weekly", CRON, job(write_pipeline()))
    before = kubeflow.writes()
    assert client.set_schedule("weekly", CRON, job(write_pipeline(), **again)) == "unchanged"
    assert kubeflow.writes() == before


CHANGES: dict[str, dict[str, Any]] = {
    "image": {"image": "lungseg:2"},
    "parameter": {"epochs": 11},
    "cron": {"cron": "0 0 3 * * 1"},
    "root": {"root": "minio://other/x"},
    "experiment": {"experiment": "trials"},
}


def changed(write: WritePipeline, image: str = "lungseg:1", cron: str = CRON, **rest: Any) -> tuple[str, str, Job]:
    return "weekly", cron, job(write(image=image), **rest)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_anything_different_takes_over(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline, change: dict[str, Any]
) -> None:
    client.set_schedule(*changed(write_pipeline))
    before = len(kubeflow.writes())
    assert client.set_schedule(*changed(write_pipeline, **change)) == "replaced"
    old, new = "recurring_run-4", kubeflow.recurring[0]["recurring_run_id"]
    assert [write for write in kubeflow.writes()[before:] if "recurringruns" in write] == [
        "POST /recurringruns",
        f"POST /recurringruns/{old}:disable",
        f"POST /recurringruns/{new}:enable",
        f"DELETE /recurringruns/{old}",
    ]
    assert kubeflow.states() == [(digest(write_pipeline(image=change.get("image", "lungseg:1"))), "ENABLED")]
    assert kubeflow.most_active == 1


def test_what_was_paused_stays_paused(kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline) -> None:
    client.set_schedule(*changed(write_pipeline))
    client.pause("weekly")
    assert client.set_schedule(*changed(write_pipeline)) == "unchanged"
    assert client.set_schedule(*changed(write_pipeline, image="lungseg:2")) == "replaced"
    second = digest(write_pipeline(image="lungseg:2"))
    assert kubeflow.states() == [(second, "DISABLED")]
    client.resume("weekly")
    assert kubeflow.states() == [(second, "ENABLED")]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("crash_at", range(1, 6))
@pytest.mark.parametrize("then", ["the same", "another", "pause", "resume"])
def test_a_crash_anywhere_is_mended(
    kubeflow: Kubeflow,
    client: Client,
    write_pipeline: WritePipeline,
    paused: bool,
    served: bool,
    crash_at: int,
    then: str,
) -> None:
    """The connection breaks at a request that writes, before or after the server has done it."""
    client.set_schedule(*changed(write_pipeline))
    if paused:
        client.pause("weekly")
    start = len(kubeflow.writes())

    def crash(_: Any) -> None:
        if len(kubeflow.writes()) == start + crash_at:
            raise ConnectionAbortedError

    setattr(kubeflow, "after" if served else "intercept", crash)
    last = 3 if paused else 5
    if crash_at <= last:
        with pytest.raises(UserError, match="cannot be reached"):
            client.set_schedule(*changed(write_pipeline, image="lungseg:2"))
    else:
        client.set_schedule(*changed(write_pipeline, image="lungseg:2"))
    kubeflow.after = kubeflow.intercept = lambda _: None

    image = "lungseg:3" if then == "another" else "lungseg:2"
    if then in {"pause", "resume"}:
        getattr(client, then)("weekly")
    client.set_schedule(*changed(write_pipeline, image=image))
    state = {"pause": "DISABLED", "resume": "ENABLED"}.get(then, "DISABLED" if paused else "ENABLED")
    assert kubeflow.states() == [(digest(write_pipeline(image=image)), state)]
    assert kubeflow.most_active == 1


def test_what_a_crash_left_ready_is_not_made_again(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    client.set_schedule(*changed(write_pipeline))
    kubeflow.intercept = lambda request: kubeflow.refuse(500) if request.path.endswith(":disable") else None
    with pytest.raises(UserError):
        client.set_schedule(*changed(write_pipeline, epochs=11))
    kubeflow.intercept = lambda _: None
    before = len(kubeflow.writes())
    assert client.set_schedule(*changed(write_pipeline, epochs=11)) == "replaced"
    assert kubeflow.writes()[before:] == [
        "POST /recurringruns/recurring_run-4:disable",
        "POST /recurringruns/recurring_run-5:enable",
        "DELETE /recurringruns/recurring_run-4",
    ]


def test_another_pipelines_schedule_is_left_alone(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    client.set_schedule("weekly", CRON, job(write_pipeline("other")))
    before = kubeflow.writes()
    expected = f"{kubeflow.host}: the schedule 'weekly' is one of another pipeline: choose another --name"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        client.set_schedule("weekly", CRON, job(write_pipeline()))
    assert kubeflow.writes() == before
    kubeflow.recurring.append({**kubeflow.recurring[0], "recurring_run_id": "x", "pipeline_version_reference": {}})
    expected = f"{kubeflow.host}: several pipelines have a schedule 'weekly': use Kubeflow's own user interface"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        client.delete("weekly")
    assert len(kubeflow.recurring) == 2


def test_schedules_are_listed_page_by_page(kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline) -> None:
    kubeflow.page = 2
    path = write_pipeline()
    for name in ("e", "d", "c", "b", "a"):
        client.set_schedule(name, CRON, job(path, epochs=3))
    client.pause("b")
    listed = client.schedules()
    assert [schedule.name for schedule in listed] == ["a", "b", "c", "d", "e"]
    assert [schedule.active for schedule in listed] == [True, False, True, True, True]
    created = datetime(2026, 11, 30, 2, 0, 4, tzinfo=timezone.utc)
    assert listed[4] == Schedule("e", CRON, True, digest(path), {"epochs": 3}, created)


def test_schedules_that_others_made_are_listed(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    client.set_schedule("weekly", CRON, job(write_pipeline()))
    kubeflow.versions.clear()
    kubeflow.recurring.append(
        {
            "recurring_run_id": "hand",
            "display_name": "by hand",
            "status": "DISABLED",
            "trigger": {"periodic_schedule": {"interval_second": "3600"}},
            "pipeline_version_reference": {"pipeline_id": "pipeline-1"},
        }
    )
    kubeflow.recurring.append({"recurring_run_id": "inline", "display_name": "inline", "status": "ENABLED"})
    by_hand, inline, weekly = client.schedules()
    assert by_hand == Schedule("by hand", None, False, "the latest", {}, None)
    assert inline == Schedule("inline", None, True, "-", {}, None)
    assert weekly.version == "pipeline_version-2 (deleted)"


@pytest.mark.parametrize("action", ["pause", "resume", "delete"])
def test_a_schedule_that_is_not_there(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline, action: str
) -> None:
    with pytest.raises(UserError, match=f"^{kubeflow.host}: has no schedule 'daily'; there: none$"):
        getattr(client, action)("daily")
    client.set_schedule("weekly", CRON, job(write_pipeline()))
    with pytest.raises(UserError, match=f"^{kubeflow.host}: has no schedule 'daily'; there: weekly$"):
        getattr(client, action)("daily")
    assert len(kubeflow.recurring) == 1


def test_delete_leaves_runs_under_way(kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline) -> None:
    client.set_schedule("weekly", CRON, job(write_pipeline()))
    client.delete("weekly")
    assert kubeflow.recurring == []
    assert kubeflow.requests[-1].query == {"propagation_policy": "ORPHAN"}


@pytest.mark.parametrize("behind_ui", [False, True])
def test_several_users_need_a_namespace(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline, behind_ui: bool
) -> None:
    """Or a pipeline for all to see would be left behind."""
    kubeflow.multi_user, kubeflow.behind_ui = True, behind_ui
    expected = f"{kubeflow.host}: several users share it: name your namespace with --namespace"
    for start in (lambda: client.submit(job(write_pipeline())), lambda: client.set_schedule(*changed(write_pipeline))):
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            start()
    assert kubeflow.writes() == []
    Client(Access(kubeflow.host, namespace="clinic")).submit(job(write_pipeline()))
    assert len(kubeflow.runs) == 1


def test_a_gateway_that_keeps_the_servers_health_to_itself(
    kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline
) -> None:
    kubeflow.intercept = lambda request: kubeflow.refuse(403) if request.path == "/healthz" else None
    client.submit(job(write_pipeline()))
    assert len(kubeflow.runs) == 1


class TestRunsUnderWay:
    """Before 2.16 they end with the schedule that started them."""

    @pytest.fixture(autouse=True)
    def started(self, kubeflow: Kubeflow, client: Client, write_pipeline: WritePipeline) -> None:
        client.set_schedule(*changed(write_pipeline))
        run = {"display_name": "weekly 1", "experiment_id": "experiment-3", "recurring_run_id": "recurring_run-4"}
        kubeflow.runs.append({**run, "run_id": "over", "state": "SUCCEEDED"})
        kubeflow.runs.append({**run, "run_id": "new"})
        kubeflow.runs.append({**run, "run_id": "another", "state": "RUNNING", "recurring_run_id": "another"})

    def change(self, client: Client, write: WritePipeline, how: str, *, end_runs: bool = False) -> None:
        if how == "set":
            client.set_schedule(*changed(write, image="lungseg:2"), end_runs=end_runs)
        else:
            client.delete("weekly", end_runs=end_runs)

    @pytest.mark.parametrize("how", ["set", "delete"])
    @pytest.mark.parametrize(("tag", "behind_ui"), [("2.14.0", False), ("2.15.2", True), ("", False)])
    @pytest.mark.parametrize("state", ["RUNNING", "PENDING", None])
    def test_keep_an_older_server_from_deleting(
        self,
        kubeflow: Kubeflow,
        client: Client,
        write_pipeline: WritePipeline,
        how: str,
        tag: str,
        behind_ui: bool,
        state: str | None,
    ) -> None:
        kubeflow.tag, kubeflow.behind_ui = tag, behind_ui
        if state:
            kubeflow.runs[1]["state"] = state
        client = Client(Access(kubeflow.host))
        expected = (
            f"{kubeflow.host}: a run of the schedule 'weekly' is under way, and would end with it, as before Kubeflow "
            f"Pipelines 2.16 (here: {tag or 'unknown'}): wait for it, or use `schedule set` or `delete` with --end-runs"
        )
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            self.change(client, write_pipeline, how)
        assert kubeflow.states() == [(digest(write_pipeline()), "ENABLED")]
        assert len(kubeflow.runs) == 3
        assert client.set_schedule(*changed(write_pipeline)) == "unchanged"
        self.change(client, write_pipeline, how, end_runs=True)
        assert [run["run_id"] for run in kubeflow.runs] == (["another"] if tag else ["over", "new", "another"])

    @pytest.mark.parametrize("how", ["set", "delete"])
    @pytest.mark.parametrize(("tag", "state"), [("2.14.0", "FAILED"), ("2.16.0", "RUNNING"), ("v3.0.1", "RUNNING")])
    def test_are_no_obstacle(
        self, kubeflow: Kubeflow, write_pipeline: WritePipeline, how: str, tag: str, state: str
    ) -> None:
        kubeflow.tag, kubeflow.runs[1]["state"] = tag, state
        self.change(Client(Access(kubeflow.host)), write_pipeline, how)
        assert "recurring_run-4" not in [recurring["recurring_run_id"] for recurring in kubeflow.recurring]

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_of_a_change_that_broke_off_are_not_ended_in_passing(
        self, kubeflow: Kubeflow, write_pipeline: WritePipeline, action: str
    ) -> None:
        kubeflow.intercept = lambda request: kubeflow.refuse(500) if request.path.endswith(":disable") else None
        client = Client(Access(kubeflow.host))
        with pytest.raises(UserError):
            self.change(client, write_pipeline, "set")
        kubeflow.intercept, kubeflow.tag = (lambda _: None), "2.15.0"
        with pytest.raises(UserError, match=r"is under way, and would end with it"):
            getattr(Client(Access(kubeflow.host)), action)("weekly")
        assert len(kubeflow.recurring) == 2


class TestDryRun:
    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    @pytest.fixture
    def dry(self, kubeflow: Kubeflow, lines: list[str]) -> Client:
        return Client(Access(kubeflow.host), tell=lines.append)

    def test_tells_every_request_and_sends_none_that_writes(
        self, kubeflow: Kubeflow, dry: Client, lines: list[str], write_pipeline: WritePipeline
    ) -> None:
        path = write_pipeline()
        dry.set_schedule("weekly", CRON, job(path, epochs=3))
        assert kubeflow.writes() == []
        assert [line.partition("\n")[0] for line in lines] == [
            "POST /apis/v2beta1/pipelines",
            f"POST /apis/v2beta1/pipelines/upload_version?name={digest(path)}&pipelineid=<pipeline_id>",
            "POST /apis/v2beta1/experiments",
            "POST /apis/v2beta1/recurringruns",
        ]
        assert yaml.safe_load(lines[1].partition("\n")[2]) == {"uploadfile": "lungseg.yaml"}
        body = yaml.safe_load(lines[3].partition("\n")[2])
        assert body["trigger"] == {"cron_schedule": {"cron": CRON}}
        assert body["pipeline_version_reference"]["pipeline_version_id"] == "<pipeline_version_id>"
        assert body["runtime_config"] == {"parameters": {"epochs": 3}}

    def test_knows_what_is_there_already(
        self, kubeflow: Kubeflow, client: Client, dry: Client, lines: list[str], write_pipeline: WritePipeline
    ) -> None:
        client.set_schedule(*changed(write_pipeline))
        before = kubeflow.writes()
        assert dry.set_schedule(*changed(write_pipeline)) == "unchanged"
        assert lines == []
        assert dry.set_schedule(*changed(write_pipeline, epochs=11)) == "replaced"
        assert [line.partition("\n")[0] for line in lines] == [
            "POST /apis/v2beta1/recurringruns",
            "POST /apis/v2beta1/recurringruns/recurring_run-4:disable",
            "POST /apis/v2beta1/recurringruns/<recurring_run_id>:enable",
            "DELETE /apis/v2beta1/recurringruns/recurring_run-4?propagation_policy=ORPHAN",
        ]
        assert kubeflow.writes() == before

    def test_without_a_server_takes_it_as_empty(
        self, unreachable: str, lines: list[str], write_pipeline: WritePipeline
    ) -> None:
        Client(Access(unreachable), tell=lines.append).submit(job(write_pipeline()))
        assert lines[0] == f"{unreachable} cannot be reached: taken as empty"
        assert [line.partition("\n")[0].partition("?")[0] for line in lines[1:]] == [
            "POST /apis/v2beta1/pipelines",
            "POST /apis/v2beta1/pipelines/upload_version",
            "POST /apis/v2beta1/experiments",
            "POST /apis/v2beta1/runs",
        ]
