"""The command line in this process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import cli

Lungseg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lungseg(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Lungseg:
    """Calls the command line in this process, in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lungseg", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return call
