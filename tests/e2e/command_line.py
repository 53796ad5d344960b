"""Runs the command line as a user does, in processes of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str
    result: dict[str, Any]


def lungseg(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )


def started(*arguments: object) -> subprocess.Popen[str]:
    """Start the command line, and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )


def run_pipeline(root: Path, data: Path, *arguments: object) -> Outcome:
    done = lungseg("run", "--data", data, "--root", root, *arguments)
    result = root / "result.json"
    return Outcome(
        done.returncode, done.stdout + done.stderr, json.loads(result.read_text()) if result.exists() else {}
    )
