"""A server that acts as Kubeflow Pipelines' API v2beta1, and compiled pipelines to send it."""

import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

PREFIX = "/pipeline"
API = "/apis/v2beta1"

WritePipeline = Callable[..., Path]
Item = dict[str, Any]

ANSWERS = {
    "pipelines": "V2beta1ListPipelinesResponse",
    "pipeline_versions": "V2beta1ListPipelineVersionsResponse",
    "experiments": "V2beta1ListExperimentsResponse",
    "recurringRuns": "V2beta1ListRecurringRunsResponse",
    "runs": "V2beta1ListRunsResponse",
}
"""Model by what it lists."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


class RefusalError(Exception):
    """What the server answers instead of a result."""

    def __init__(self, status: int, message: str, kind: str = "application/json") -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind


def check(data: Any, kind: str) -> None:
    """Fails where the API's model of that kind knows no such key or refuses a value."""
    if kind.startswith("list["):
        for item in data:
            check(item, kind[5:-1])
        return
    model = getattr(kfp_server_api.models, kind, None)
    if model is None or not model.openapi_types:
        return
    unknown = set(data) - set(model.attribute_map.values())
    assert not unknown, f"{kind} has no {unknown}"
    for name, key in model.attribute_map.items():
        if key in data:
            check(data[key], model.openapi_types[name])
    kfp_server_api.ApiClient().deserialize(SimpleNamespace(data=json.dumps(data)), kind)


@dataclass
class Kubeflow:
    """The server's state, and what it was asked."""

    host: str
    requests: list[Request] = field(default_factory=list)
    pipelines: list[Item] = field(default_factory=list)
    versions: list[Item] = field(default_factory=list)
    experiments: list[Item] = field(default_factory=list)
    runs: list[Item] = field(default_factory=list)
    recurring: list[Item] = field(default_factory=list)
    tag: str = "2.17.0"
    """Of its release; empty: it does not say."""
    multi_user: bool = False
    behind_ui: bool = False
    """Whether Kubeflow's user interface tells of the server's health."""
    page: int = 100
    """The most that one answer lists."""
    most_active: int = 0
    """Recurring runs that were enabled at once."""
    intercept: Callable[[Request], None] = lambda _: None
    """Called with each request before it is served."""
    after: Callable[[Request], None] = lambda _: None
    """Called with each request after it was served, before its answer."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @staticmethod
    def refuse(status: int, message: str = "no", kind: str = "application/json") -> None:
        """For `intercept` and `after`."""
        raise RefusalError(status, message, kind)

    def states(self) -> list[tuple[str, str]]:
        """Version and status of each recurring run, the oldest first."""
        names = {version["pipeline_version_id"]: version["name"] for version in self.versions}
        return [
            (names[recurring["pipeline_version_reference"]["pipeline_version_id"]], recurring["status"])
            for recurring in self.recurring
        ]

    def writes(self) -> list[str]:
        """What was asked for but reading, such as `POST /runs`."""
        return [f"{request.method} {request.path}" for request in self.requests if request.method != "GET"]

    def sent(self, path: str) -> Any:
        """The body of the last request to a path."""
        return next(
            request.body for request in reversed(self.requests) if request.path == path and request.method == "POST"
        )

    def serve(self, request: Request) -> Item:
        self.requests.append(request)
        self.intercept(request)
        answer = self._route(request)
        self.most_active = max(self.most_active, sum(recurring["status"] == "ENABLED" for recurring in self.recurring))
        self.after(request)
        return answer

    def _route(self, request: Request) -> Item:
        for method, path, serve in ROUTES:
            match = re.fullmatch(path, request.path)
            if match and method == request.method:
                return serve(self, request, *match.groups())
        raise RefusalError(404, "Not Found")

    def _health(self, _: Request) -> Item:
        tag = {"apiServerTagName" if self.behind_ui else "tag_name": self.tag} if self.tag else {}
        return {**tag, "multi_user": self.multi_user}

    def _list_pipelines(self, request: Request) -> Item:
        return self._list("pipelines", self.pipelines, request)

    def _create_pipeline(self, request: Request) -> Item:
        assert not self._find(self.pipelines, "display_name", request.body["display_name"]), "names are unique"
        return self._add(self.pipelines, "V2beta1Pipeline", "pipeline_id", request.body)

    def _list_versions(self, request: Request, pipeline: str) -> Item:
        return self._list("pipeline_versions", self._find(self.versions, "pipeline_id", pipeline), request)

    def _get_version(self, _: Request, pipeline: str, version: str) -> Item:
        return self._get(self._find(self.versions, "pipeline_id", pipeline), "pipeline_version_id", version)

    def _list_experiments(self, request: Request) -> Item:
        return self._list("experiments", self.experiments, request)

    def _create_experiment(self, request: Request) -> Item:
        if self.multi_user and not request.body.get("namespace"):
            raise RefusalError(400, "Invalid input error: Namespace cannot be empty")
        return self._add(self.experiments, "V2beta1Experiment", "experiment_id", request.body)

    def _create_run(self, request: Request) -> Item:
        self._check_job(request.body)
        return self._add(self.runs, "V2beta1Run", "run_id", request.body)

    def _list_runs(self, request: Request) -> Item:
        runs = [run for run in self.runs if run["experiment_id"] == request.query["experiment_id"]]
        return self._list("runs", runs, request)

    def _list_recurring(self, request: Request) -> Item:
        return self._list("recurringRuns", self.recurring, request)

    def _change_recurring(self, _: Request, run_id: str, action: str) -> Item:
        self._get(self.recurring, "recurring_run_id", run_id)["status"] = f"{action.upper()}D"
        return {}

    def _delete_recurring(self, _: Request, run_id: str) -> Item:
        self.recurring.remove(self._get(self.recurring, "recurring_run_id", run_id))
        if self.tag.startswith(("2.14", "2.15")):  # with the Kubernetes object goes what it owns
            self.runs = [run for run in self.runs if run.get("recurring_run_id") != run_id]
        return {}

    def _create_recurring(self, request: Request) -> Item:
        body = request.body
        self._check_job(body)
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise RefusalError(400, "The max concurrency of the recurring run is out of range. Support 1-10.")
        assert re.fullmatch(r"(\S+ ){4,5}\S+", body["trigger"]["cron_schedule"]["cron"])
        new = self._add(self.recurring, "V2beta1RecurringRun", "recurring_run_id", body)
        assert body["mode"] in {"ENABLE", "DISABLE"}
        new["status"] = f"{body['mode']}D"
        return new

    def _check_job(self, body: Item) -> None:
        self._get(self.experiments, "experiment_id", body["experiment_id"])
        reference = body["pipeline_version_reference"]
        version = self._get(self.versions, "pipeline_version_id", reference["pipeline_version_id"])
        assert version["pipeline_id"] == reference["pipeline_id"]
        declared = version["spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, parameter in declared.items():
            if "defaultValue" not in parameter and name not in body["runtime_config"]["parameters"]:
                raise RefusalError(400, f"Invalid input error: parameter {name} is missing")

    def _upload(self, request: Request) -> Item:
        self._get(self.pipelines, "pipeline_id", request.query["pipelineid"])
        names = [version["name"] for version in self.versions if version["pipeline_id"] == request.query["pipelineid"]]
        assert request.query["name"] not in names, "names of versions are unique"
        spec = next(yaml.safe_load_all(request.body))
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        version = {"display_name": request.query["name"], "pipeline_id": request.query["pipelineid"]}
        new = self._add(self.versions, "V2beta1PipelineVersion", "pipeline_version_id", version)
        new.update(name=request.query["name"], spec=spec)
        return new

    def _add(self, items: list[Item], kind: str, key: str, body: Item) -> Item:
        check(body, kind)
        number = next(self.numbers)
        new = {**body, key: f"{key.removesuffix('_id')}-{number}", "created_at": f"2026-11-30T02:00:{number:02d}Z"}
        items.append(new)
        return new

    def _list(self, kind: str, items: list[Item], request: Request) -> Item:
        for predicate in json.loads(request.query.get("filter") or "{}").get("predicates", []):
            check(predicate, "V2beta1Predicate")
            assert predicate["operation"] == "EQUALS"
            items = [item for item in items if item.get(predicate["key"]) == predicate["string_value"]]
        if request.query.get("namespace"):
            items = [item for item in items if item.get("namespace", "team") == request.query["namespace"]]
        start = int(request.query["page_token"] or 0)
        size = min(self.page, int(request.query["page_size"]))
        more = {"next_page_token": str(start + size)} if start + size < len(items) else {}
        shown = [{key: value for key, value in item.items() if key != "spec"} for item in items[start : start + size]]
        answer = {kind: shown, **more} if items else {}  # as Go writes it: what is empty is left out
        check(answer, ANSWERS[kind])
        return answer

    def _get(self, items: list[Item], key: str, value: str) -> Item:
        matching = self._find(items, key, value)
        if not matching:
            raise RefusalError(404, f"ResourceNotFoundError: {key} {value} not found.")
        return matching[0]

    @staticmethod
    def _find(items: list[Item], key: str, value: str) -> list[Item]:
        return [item for item in items if item[key] == value]


ROUTES: tuple[tuple[str, str, Callable[..., Item]], ...] = (
    ("GET", "/healthz", Kubeflow._health),
    ("GET", "/pipelines", Kubeflow._list_pipelines),
    ("POST", "/pipelines", Kubeflow._create_pipeline),
    ("POST", "/pipelines/upload_version", Kubeflow._upload),
    ("GET", "/pipelines/([^/]+)/versions", Kubeflow._list_versions),
    ("GET", "/pipelines/([^/]+)/versions/([^/]+)", Kubeflow._get_version),
    ("GET", "/experiments", Kubeflow._list_experiments),
    ("POST", "/experiments", Kubeflow._create_experiment),
    ("GET", "/runs", Kubeflow._list_runs),
    ("POST", "/runs", Kubeflow._create_run),
    ("GET", "/recurringruns", Kubeflow._list_recurring),
    ("POST", "/recurringruns", Kubeflow._create_recurring),
    ("POST", "/recurringruns/([^/:]+):(enable|disable)", Kubeflow._change_recurring),
    ("DELETE", "/recurringruns/([^/]+)", Kubeflow._delete_recurring),
)


class Handler(BaseHTTPRequestHandler):
    kubeflow: Kubeflow

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.headers.get("Content-Type") or "").startswith("multipart/"):
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            (part,) = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
            assert part.get_param("name", header="content-disposition") == "uploadfile"
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            content: Any = payload.decode()
        else:
            content = json.loads(body) if body else None
        try:
            if not url.path.startswith(PREFIX + API):
                raise RefusalError(404, "404 page not found", "text/plain")
            path = url.path.removeprefix(PREFIX + API)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            self.answer(200, self.kubeflow.serve(Request(self.command, path, query, content, dict(self.headers))))
        except RefusalError as refusal:
            said = {"code": 5, "message": refusal.message, "details": []}
            self.answer(refusal.status, said if "json" in refusal.kind else refusal.message, refusal.kind)
        except ConnectionAbortedError:
            self.close_connection = True

    do_POST = do_DELETE = do_GET  # noqa: N815

    def answer(self, status: int, content: Any, kind: str = "application/json") -> None:
        data = (json.dumps(content) if "json" in kind else content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if 300 <= status < 400:
            self.send_header("Location", "/login")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Kubeflow(f"http://127.0.0.1:{server.server_port}{PREFIX}")
    server.RequestHandlerClass = type("Bound", (Handler,), {"kubeflow": state})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def unreachable() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


PARAMETERS = {
    "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 10},
    "learning_rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.001},
    "data_root": {"parameterType": "STRING", "defaultValue": ""},
    "push": {"parameterType": "BOOLEAN", "defaultValue": True},
}


@pytest.fixture
def write_pipeline(tmp_path: Path) -> WritePipeline:
    """Writes a compiled pipeline of one step: write_pipeline(image="lungseg:2", data_root={"parameterType": ...})."""

    def write(name: str = "lungseg", image: str = "lungseg:1", platform: bool = True, **parameters: Any) -> Path:
        executor = {"container": {"image": image, "command": ["true"]}}
        spec = {
            "pipelineInfo": {"name": name},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.16.1",
            "root": {
                "inputDefinitions": {"parameters": {**PARAMETERS, **parameters}},
                "dag": {"tasks": {"step": {"taskInfo": {"name": "step"}, "componentRef": {"name": "comp-step"}}}},
            },
            "components": {"comp-step": {"executorLabel": "exec-step"}},
            "deploymentSpec": {"executors": {"exec-step": executor}},
        }
        documents = [spec, {"platforms": {"kubernetes": {"deploymentSpec": {}}}}] if platform else [spec]
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return path

    return write
