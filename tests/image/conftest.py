"""Runs commands in containers of the image that LUNGSEG_IMAGE names; without it, what needs one is skipped."""

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
from containers import USER, RunInContainer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is to be skipped, which reports it in one line; skipping in the fixture takes one a test."""
    if os.environ.get("LUNGSEG_IMAGE"):
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and "image" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip("LUNGSEG_IMAGE names no image; `make image-test` builds one"))


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image under test."""
    return os.environ["LUNGSEG_IMAGE"]


@pytest.fixture(scope="session")
def run_in_container(image: str) -> RunInContainer:
    def run(
        command: list[str],
        mounts: Mapping[Path, str] | None = None,
        env: Mapping[str, str] | None = None,
        user: str = USER,
    ) -> subprocess.CompletedProcess[str]:
        options = [f"--env={name}={value}" for name, value in (env or {}).items()]
        for folder, target in (mounts or {}).items():
            folder.chmod(0o777)
            options.append(f"--volume={folder}:{target}")
        name = f"lungseg-test-{uuid.uuid4().hex}"
        isolated = ["--network=none", "--read-only", "--tmpfs=/tmp", f"--user={user}"]
        try:
            return subprocess.run(
                ["docker", "run", "--rm", f"--name={name}", *isolated, *options, image, *command],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            # An interrupted client leaves its container running.
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)

    return run
