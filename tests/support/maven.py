"""Jars of Maven Central, by way of Maven's cache.

>>> jars = fetch_jars(Path("pom.xml"), folder)
"""

import shutil
import subprocess
from pathlib import Path


class UnavailableError(Exception):
    """What is needed cannot be had on this machine; the message says what."""


def fetch_jars(pom: Path, folder: Path) -> Path:
    """Copies the jars that a project names, with all that they need, into a folder.

    Raises:
        UnavailableError: Java or Maven is not installed, or Maven cannot download a jar.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise UnavailableError(f"no {program} on PATH: `make system-packages` installs Java and Maven")
    command = ["mvn", "--batch-mode", f"--file={pom}", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line.removeprefix("[ERROR] ") for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        raise UnavailableError(
            f"Maven cannot fetch what {pom.parent.name}/pom.xml names: {(errors or [done.stdout])[0]}"
        )
    return folder
