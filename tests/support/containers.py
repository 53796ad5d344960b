"""How tests run commands in containers of the image."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

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
