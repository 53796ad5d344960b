"""Runs the command line as a user does, in processes of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


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


def compile_for(volume: Path, settings: dict[str, str], *options: object) -> list[dict[str, Any]]:
    """Compile the demonstration for Kubeflow, with data and root on a volume; returns the documents."""
    assignments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    output = volume / "pipeline.yaml"
    places = ("--data", volume / "data", "--root", volume, "--image", "lungseg:1", "--output", output)
    assignments += ["--set", f"kubeflow.volumes={{{volume}: lungseg}}"]
    done = lungseg("kubeflow", "compile", "--config", "demo", *places, *assignments, *options)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(output.read_text()))
