"""What the lock is told to hold, and which of it is known to be vulnerable, by a database of this test's own."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements.txt"
IMAGE = {**default_environment(), "python_version": "3.11", "python_full_version": "3.11.14", "sys_platform": "linux"}


class Database(BaseHTTPRequestHandler):
    """OSV, which knows one vulnerability of one library, and is out of order at /broken."""

    def do_POST(self) -> None:
        if self.path == "/broken":
            self.send_error(503)
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        flaw = {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-1"], "affected": []}
        answer = json.dumps({"vulns": [flaw]} if asked["package"]["name"] == "pillow" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def locked(name: str) -> str:
    """What the lock says of a library."""
    return f"{name}=={LOCK.read_text().split(f'{chr(10)}{name}==')[1].split(f'{chr(10)}    # via')[0]}\n"


def audit(requirements: Path, url: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, str(REPOSITORY / "scripts/audit"), str(requirements), "--osv-url", url, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_vulnerability_is_listed(tmp_path: Path, url: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(locked("pillow") + locked("pyyaml"))
    version = locked("pillow").split()[0].removeprefix("pillow==")
    code, said = audit(lock, url)
    first, last = said.splitlines()
    assert (code, first) == (1, f"pillow {version}: CVE-2026-1 GHSA-1, not mended yet")
    assert last == f"2 libraries of {lock} audited, vulnerabilities known: 1"


def test_nothing_known_and_nothing_asked(tmp_path: Path, url: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(locked("pyyaml"))
    assert audit(lock, url) == (0, f"1 libraries of {lock} audited, vulnerabilities known: 0\n")
    code, said = audit(lock, "http://127.0.0.1:9/v1/query")
    assert code == 0
    assert said.startswith(f"{lock} was not audited: requests.exceptions.ConnectionError: ")
    code, said = audit(lock, f"{url.removesuffix('/v1/query')}/broken")
    assert code == 0
    assert said.startswith(f"{lock} was not audited: requests.exceptions.HTTPError: 503 ")
    assert audit(tmp_path / "missing.txt", url)[0] == 2


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(locked("pyyaml"))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        code, said = audit(lock, f"http://127.0.0.1:{full.getsockname()[1]}", "--timeout=1")
    assert code == 0
    assert said.endswith("Could not connect to OSV's vulnerability feed\n")


def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    done = subprocess.run(
        # The environment is there, whatever make thinks of its age.
        ["make", "--silent", "--assume-old=.venv/.ready", "sbom", f"SBOM={tmp_path / 'sbom.json'}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(part["name"], part["version"]) for part in bill["components"]}
    lines = [line.split(" \\")[0] for line in LOCK.read_text().splitlines() if line[:1].isalpha()]
    required = [Requirement(line) for line in lines]
    assert listed == {
        (part.name, str(part.specifier).removeprefix("=="))
        for part in required
        if part.marker is None or part.marker.evaluate({key: str(value) for key, value in IMAGE.items()})
    }
