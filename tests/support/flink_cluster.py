"""A Flink cluster on this machine: a job manager, two task managers, Beam's job server and pools of Python workers.

>>> jars = fetch_jars(POM, folder / "jars" / NOT_STAGED)
>>> with flink_cluster(jars, folder / "cluster") as cluster:
...     run(config.model_copy(update={"beam": cluster.beam}))

Each part is a process of its own, whose output is in `NAME.log` in the cluster's folder.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.beam.settings import BeamSettings

_SOURCES: Final = Path(__file__).parent.parent / "flink"
POM, _CONFIG, _LOGGING = (_SOURCES / name for name in ("pom.xml", "config.yaml", "log4j2.properties"))
_WORKER_POOL = _SOURCES / "worker_pool.py"
_WORKER: Final = Path(sys.executable).with_name("lungseg-worker")

NOT_STAGED: Final = Path("gradle", "wrapper")
"""Beam's job server sends its whole class path with each job, 150 MB, but for jars in a folder of such a name."""

_TASK_MANAGERS: Final = 2
_POOL_HOST: Final = "worker-pool"
"""What a task manager calls its own pool of workers."""

_JOB_MANAGER: Final = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER: Final = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_JOB_SERVER: Final = "org.apache.beam.runners.flink.FlinkJobServerDriver"

_STARTS_IN: Final = 180.0
"""Seconds, where other work keeps the machine busy."""

_OPENED: Final = (
    "java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.text", "java.time", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch",
)  # fmt: skip
"""Packages of `java.base` that Flink reaches into; its own configuration opens them under `env.java.opts.all`."""


@contextmanager
def flink_cluster(jars: Path, folder: Path) -> Iterator["FlinkCluster"]:
    """Starts a cluster, and stops it at the end.

    Args:
        jars: what `fetch_jars` gave, of POM, in a folder within `NOT_STAGED`.
        folder: for its configuration, logs and temporary files; is made.

    Raises:
        RuntimeError: a part ended, or was not there in time; names its log.
    """
    cluster = FlinkCluster(jars, folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class FlinkCluster:
    """A running cluster, as `flink_cluster` gives it.

    Attributes:
        beam: the section of a configuration that has the data stages run on it, on both task managers.
    """

    def __init__(self, jars: Path, folder: Path) -> None:
        """Takes what `flink_cluster` takes; starts nothing yet."""
        self._jars = jars
        self._folder = folder
        self._temporary = folder / "tmp"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rest, self._rpc, self._job, self._artifact, self._pool = _free_ports(5)
        self.beam = BeamSettings(
            runner="flink",
            job_endpoint=f"localhost:{self._job}",
            worker_pool=f"{_POOL_HOST}:{self._pool}",
            parallelism=_TASK_MANAGERS,
        )

    def start(self) -> None:
        """Starts all parts and waits for them; raises RuntimeError where one fails."""
        self._temporary.mkdir(parents=True)
        self._configure()
        self._run_java("job-manager", _JOB_MANAGER, ["--configDir", str(self._folder)])
        for index in range(_TASK_MANAGERS):
            address = f"{_loopback(index)}:{self._pool}"
            self._run(f"worker-pool-{index}", [sys.executable, str(_WORKER_POOL), address, str(_WORKER)])
            self._run_task_manager(index)
        self._run_job_server()
        pools = [(_loopback(index), self._pool) for index in range(_TASK_MANAGERS)]
        self._wait("the cluster", lambda: self._has_task_managers() and _listen(("localhost", self._job), *pools))

    def stop(self) -> None:
        """Ends all parts, with the workers that pools have started."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill_task_manager(self, index: int) -> None:
        """Kills a task manager as a kernel that is out of memory would."""
        process = self._processes.pop(_task_manager(index))
        process.kill()
        process.wait()

    def restart_task_manager(self, index: int) -> None:
        """Starts one that was killed, and waits for it."""
        self._run_task_manager(index)
        self._wait(_task_manager(index), self._has_task_managers)

    def get(self, path: str) -> Any:
        """What Flink's REST interface answers, such as `/jobs/overview`."""
        with urllib.request.urlopen(f"http://localhost:{self._rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def newest_job(self) -> dict[str, Any]:
        """The job that was sent last, as `/jobs/ID` tells of it, with `subtasks`, those of all vertices in one list."""
        overview = max(self.get("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
        job = self.get(f"/jobs/{overview['jid']}")
        details = [self.get(f"/jobs/{overview['jid']}/vertices/{vertex['id']}") for vertex in job["vertices"]]
        return {**job, "subtasks": [subtask for detail in details for subtask in detail["subtasks"]]}

    def _configure(self) -> None:
        settings = {
            **yaml.safe_load(_CONFIG.read_text()),
            "jobmanager.rpc.port": self._rpc,
            "rest.port": self._rest,
            "io.tmp.dirs": str(self._temporary),
            "web.tmpdir": str(self._temporary),
        }
        (self._folder / _CONFIG.name).write_text(yaml.safe_dump(settings))
        for index in range(_TASK_MANAGERS):
            hosts = f"127.0.0.1 localhost {socket.gethostname()}\n{_loopback(index)} {_POOL_HOST}\n"
            self._hosts_of(index).write_text(hosts)

    def _hosts_of(self, index: int) -> Path:
        return self._folder / f"{_task_manager(index)}.hosts"

    def _run_task_manager(self, index: int) -> None:
        hosts = f"-Djdk.net.hosts.file={self._hosts_of(index)}"
        self._run_java(_task_manager(index), _TASK_MANAGER, ["--configDir", str(self._folder)], hosts)

    def _run_job_server(self) -> None:
        arguments = {
            "flink-master": f"localhost:{self._rest}",
            "job-host": "localhost",
            "job-port": self._job,
            "artifact-port": self._artifact,
            "expansion-port": 0,
            "artifacts-dir": self._temporary / "artifacts",
            "flink-conf-dir": self._folder,
        }
        self._run_java("job-server", _JOB_SERVER, [f"--{name}={value}" for name, value in arguments.items()])

    def _run_java(self, name: str, main: str, arguments: list[str], *options: str) -> None:
        """Starts a main class of the jars; `options` are Java's own."""
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        logging = f"-Dlog4j2.configurationFile={_LOGGING}"
        temporary = f"-Djava.io.tmpdir={self._temporary}"
        java = ["java", "-Xmx512m", *opened, logging, temporary, *options, "-cp", f"{self._jars}/*"]
        self._run(name, [*java, main, *arguments])

    def _run(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Waits until something is ready; raises RuntimeError where that takes too long, or a part has ended."""
        deadline = time.monotonic() + _STARTS_IN
        while not ready():
            if ended := [name for name, process in self._processes.items() if process.poll() is not None]:
                raise RuntimeError(f"{ended[0]} has ended: see {self._folder / ended[0]}.log")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} was not ready in {_STARTS_IN:.0f} s: see the logs in {self._folder}")
            time.sleep(0.2)

    def _has_task_managers(self) -> bool:
        try:
            return bool(self.get("/overview")["taskmanagers"] == _TASK_MANAGERS)
        except urllib.error.URLError:
            return False


def _task_manager(index: int) -> str:
    return f"task-manager-{index}"


def _loopback(index: int) -> str:
    """The address of a task manager's own pool: all of 127.0.0.0/8 is this machine."""
    return f"127.0.0.{2 + index}"


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for bound in sockets:
            bound.bind(("localhost", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


def _listen(*addresses: tuple[str, int]) -> bool:
    try:
        for address in addresses:
            socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True
