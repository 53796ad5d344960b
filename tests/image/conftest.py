"""Runs commands in containers of the image that LUNGSEG_IMAGE names; without it, what needs one is skipped."""

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

USER = "1000:1000"


class RunInContainer(Protocol):
    """Runs a command in a new container and gives what it printed."""

    def __call__(
        self,
        command: list[str],
        mounts: Mapping[Path, str] | None = None,
        env: Mapping[str, str] | None = None,
        user: str = USER,
    ) -> subprocess.CompletedProcess[str]:
        """The container has no network, a read-only file system and a tmpfs on /tmp, and is removed at the end.

        Args:
            command: program and arguments; none for the image's own.
            mounts: folders of this machine and where they are in the container; any user may write into them.
            env: environment variables to set.
            user: numbers of user and group, `UID:GID`.
        """


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
