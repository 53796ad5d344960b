"""Damaged files by the thousand: each is refused in one line or decoded to what the contract says.

Nothing else may be raised, and nothing may crash, hang or take memory without bounds: the decoders run in processes of
their own under limits (see `fuzz_worker`), and what breaks is saved.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from fuzz_inputs import FORMATS, make_input

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("fuzz_worker.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/support"), *sys.path])}
MOST_CRASHES = 5


@dataclass
class Outcome:
    """How many inputs were taken, refused and broken, and what broke, by number."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)


def fuzz(folder: Path, kind: str, inputs: range) -> Outcome:
    """Decodes inputs in worker processes; after one has died, the next goes on behind the input that killed it."""
    outcome, progress = Outcome(), folder / f"{kind}-{inputs.start}"
    first = inputs.start
    while first < inputs.stop and len(outcome.problems) < MOST_CRASHES:
        command = [sys.executable, str(WORKER), kind, str(first), str(inputs.stop - first), str(progress)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, errors="replace", check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outcome.problems.update({line["number"]: line["problem"] for line in lines if "number" in line})
        if done.returncode == 0:
            outcome.counts.update(lines[-1])
            break
        died_at = int.from_bytes(progress.read_bytes(), "little")
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"code {done.returncode}"
        outcome.problems[died_at] = f"ended the process by {how}: {done.stderr.strip()[-200:]}"
        first = died_at + 1
    for number in outcome.problems:
        (folder / f"broken-{kind}-{number}").write_bytes(make_input(kind, number))
    return outcome


def check(folder: Path, kind: str, inputs: range) -> None:
    outcome = fuzz(folder, kind, inputs)
    assert not outcome.problems, f"inputs saved in {folder}: {outcome.problems}"
    assert sum(outcome.counts.values()) == len(inputs)
    # Were all refused for one reason, nothing would be tried.
    assert outcome.counts["taken"] > 0.05 * len(inputs)
    assert outcome.counts["refused"] > 0.2 * len(inputs)


@pytest.mark.parametrize("kind", FORMATS)
def test_400_damaged_files(tmp_path: Path, kind: str) -> None:
    check(tmp_path, kind, range(400))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FORMATS)
def test_10_000_damaged_files(tmp_path: Path, kind: str) -> None:
    parts = [range(start, start + 5000) for start in (1000, 6000)]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(partial(check, tmp_path, kind), parts))


def test_what_breaks_is_found_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, signal, sys\n"
        "first, count = int(sys.argv[2]), int(sys.argv[3])\n"
        "for number in range(first, first + count):\n"
        "    open(sys.argv[4], 'wb').write(number.to_bytes(8, 'little'))\n"
        "    if number == 12: print(json.dumps({'number': 12, 'problem': 'KeyError: 1'}), flush=True)\n"
        "    if number == 17: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "print(json.dumps({'taken': count}))\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "WORKER", worker)
    outcome = fuzz(tmp_path, "png", range(10, 20))
    assert outcome.problems == {12: "KeyError: 1", 17: "ended the process by SIGSEGV: "}
    assert outcome.counts == {"taken": 2}
    assert (tmp_path / "broken-png-17").read_bytes() == make_input("png", 17)
