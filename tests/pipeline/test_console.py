"""The terminal: where output goes, and what a run shows."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from rich.console import Console
from rich.status import Status
from tfx.types import standard_artifacts

from pipeline.console import RunView, bar, show_result, show_study, terminal
from pipeline.runners import ComponentRun
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Slice
from schema.reports.result import RunResult
from schema.reports.study import Arm, ArmComparison, ArmDifference, ArmSlice, StudyResult, StudySlice

HEAD = r"==== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}, process \d+"
"""What tells the runs in a log apart."""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, where descriptors 1 and 2 are pipes and nothing captures them."""
    head = "import os, sys\nfrom pathlib import Path\nfrom pipeline.console import bar, terminal\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SPEAK = """
    import subprocess
    def speak(where):
        print(f"python {where}")
        print(f"python error {where}", file=sys.stderr)
        os.write(1, f"native {where}\\n".encode())
        os.write(2, f"native error {where}\\n".encode())
        subprocess.run(["echo", f"child {where}"])
"""
KINDS = ("python", "python error", "native", "native error", "child")


def lines(where: str) -> set[str]:
    return {f"{kind} {where}" for kind in KINDS}


def test_all_output_goes_to_the_log_and_back_again(tmp_path: Path) -> None:
    log = tmp_path / "new" / "log.txt"
    code = f"""{SPEAK}
    speak("before")
    with terminal(Path(sys.argv[1])) as console:
        speak("within")
        console.print("shown")
    speak("after")
    """
    done = python(code, log)
    assert done.returncode == 0, done.stderr
    head, *rest = log.read_text().splitlines()
    assert re.fullmatch(HEAD, head)
    assert set(rest) == lines("within")
    assert set((done.stdout + done.stderr).splitlines()) == lines("before") | lines("after") | {"shown"}
    assert "shown" in done.stdout


def test_an_exception_gives_the_terminal_back(tmp_path: Path) -> None:
    code = f"""{SPEAK}
    before = set(os.listdir("/proc/self/fd"))
    try:
        with terminal(Path(sys.argv[1])) as console:
            console.print("shown")
            print("within", end="")
            raise ValueError("oops")
    except ValueError as error:
        print(error)
    speak("after")
    assert set(os.listdir("/proc/self/fd")) == before, "descriptors leak"
    """
    done = python(code, tmp_path / "log.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log.txt").read_text().splitlines()[1:] == ["within"]
    assert set((done.stdout + done.stderr).splitlines()) == lines("after") | {"shown", "oops"}


def test_the_log_is_appended_to_behind_a_line_that_tells_the_runs_apart(tmp_path: Path) -> None:
    for _ in range(2):
        python("with terminal(Path(sys.argv[1])): print('line')", tmp_path / "log.txt")
    assert re.fullmatch(f"({HEAD}\nline\n){{2}}", (tmp_path / "log.txt").read_text())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_keeps_no_terminal() -> None:
    """What was printed cannot be written, but what follows is seen."""
    done = python(
        """
    with terminal(Path(os.devnull)) as console:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)  # buffered, whatever the environment says
        print("within")
        console.print("shown")
    sys.stderr.write("after\\n")
    """
    )
    assert "shown" in done.stdout
    assert "after" in done.stderr


def test_without_a_log_everything_stays() -> None:
    done = python("with terminal(None) as console: print('python'); console.print('shown')")
    assert done.stdout == "python\nshown\n"


def test_a_pipe_is_not_taken_for_a_narrow_terminal() -> None:
    line = "x" * 115
    done = python("with terminal(Path(os.devnull)) as console: console.print(sys.argv[1])", line)
    assert done.stdout == line + "\n"


def test_a_bar_shows_its_end() -> None:
    code = """
    with terminal(Path(os.devnull)) as console, bar(console, "Reading") as advance_to:
        for done in range(1, 4):
            advance_to(done, 3)
    """
    done = python(code)
    assert "Reading" in done.stdout
    assert "3/3" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(screen: io.StringIO) -> Console:
    return Console(file=screen, width=100, markup=False, highlight=False)


def examples(*splits: str, spans: str = "") -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.split_names = json.dumps(splits)
    if spans:
        artifact.set_string_custom_property("spans", spans)
    return artifact


def test_a_bar_that_never_moves_does_not_fail(console: Console) -> None:
    with bar(console, "Reading"):
        pass


def test_a_failure_ends_the_bar(console: Console, screen: io.StringIO) -> None:
    def fail() -> None:
        with bar(console, "Reading", total=3) as advance_to:
            advance_to(1)
            raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        fail()
    assert "1/3" in screen.getvalue()


def test_a_run_line_by_line(console: Console, screen: io.StringIO) -> None:
    logger = logging.getLogger("lungseg.trainer")
    with RunView(console) as view:
        view.started("ExampleGen")
        view.ended(ComponentRun("ExampleGen", 2, True, {"examples": [examples("train", "test", spans="3,4,12")]}))
        view.ended(ComponentRun("ExampleGen", 2, False, {"examples": [examples("train", spans="3")]}))
        view.started("Augmenter")
        view.ended(ComponentRun("Augmenter", 1.26, False, {"augmented_examples": [examples("train", "test")]}))
        view.started("Trainer")
        logger.info("2 [red]replicas[/red]")
        logger.debug("not for the user")
        logger.debug("step", extra={"step": 1, "steps": 2, "epoch": 1})
        outputs = {"model_run": [standard_artifacts.ModelRun()], "model": [standard_artifacts.Model()]}
        view.ended(ComponentRun("Trainer", 61.0, True, outputs))
        view.started("BaselineResolver")
        view.ended(ComponentRun("BaselineResolver", 0.04, False, {"model": []}))
    assert screen.getvalue().splitlines() == [
        "ExampleGen",
        "  done, from the cache: examples (train, test; spans 3, 4, 12)",
        "  done, 2.0 s: examples (train; span 3)",
        "Augmenter",
        "  done, 1.3 s: augmented_examples (train, test)",
        "Trainer",
        "  2 [red]replicas[/red]",
        "  done, from the cache: model, model_run",
        "BaselineResolver",
        "  done, 0.0 s: nothing",
    ]


def test_it_stops_listening(console: Console, screen: io.StringIO) -> None:
    logger = logging.getLogger("lungseg")
    before = list(logger.handlers)
    with pytest.raises(ValueError, match="oops"), RunView(console):
        raise ValueError("oops")
    logger.info("after")
    assert logger.handlers == before
    assert screen.getvalue() == ""


def test_on_a_terminal_steps_move_a_bar(screen: io.StringIO) -> None:
    console = Console(file=screen, width=100, force_terminal=True)
    place = {"step": 3, "steps": 4, "epoch": 2, "epochs": 5, "seconds_left": 65.2}
    with RunView(console) as view:
        view.started("Trainer")
        assert view._status is not None
        logging.getLogger("lungseg").debug("", extra={**place, "seconds_left": None})
        assert _shown(view._status)[-2:] == ["step", "3/4"]
        logging.getLogger("lungseg").debug("", extra=place)
        assert _shown(view._status) == ["epoch", "2/5", "━" * 22 + "╸", "step", "3/4", "0:01:05", "left"]
        view.ended(ComponentRun("Trainer", 1, False, {}))
        assert view._status is None


def _shown(status: Status) -> list[str]:
    plain = Console(file=io.StringIO(), width=100)
    with plain.capture() as capture:
        plain.print(status.status)
    return capture.get().split()


def test_a_failure_ends_the_status(screen: io.StringIO) -> None:
    with RunView(Console(file=screen, force_terminal=True)) as view:
        view.started("Trainer")
    assert view._status is None


def result_of(*slices: str, failures: tuple[str, ...] = ()) -> RunResult:
    dice = {"value": 0.98765, "low": 0.97, "high": 0.99}
    others = {name: Estimate(value=value) for name, value in {"iou_mean": 0.9, "hd95": 0.02, "nsd": 1}.items()}
    measured = [
        Slice(
            slice=name,
            set="test",
            keys={"source": "A", "is_augmented": "1"} if "," in name else {},
            examples=12 + index,
            patients=6,
            enough=False,
            metrics={"dice_mean": Estimate(**dice) if index == 0 else Estimate(value=0.98765), **others},
            baseline=None,
            difference=None,
        )
        for index, name in enumerate(slices)
    ]
    rule = {
        "metric": "dice_mean",
        "slice": "overall",
        "set": "test",
        "keys": {},
        "kind": "at_least",
        "bound": 0.9,
        "baseline": None,
        "reason": "is what it is",
    }
    return RunResult(
        status="not_blessed",
        pushed_version=None,
        pipeline="lungseg",
        data_span=1,
        data_spans=[1],
        policy="chest",
        failures=list(failures),
        rules=[
            RuleResult.model_validate({**rule, "passed": True}),
            RuleResult.model_validate({**rule, "passed": False}),
        ],
        slices=measured,
        confidence=0.9,
        components=[],
    )


@pytest.fixture
def wide(screen: io.StringIO) -> Console:
    return Console(file=screen, width=140, markup=False, highlight=False)


def test_the_table(wide: Console, screen: io.StringIO) -> None:
    failures = ("dice_mean on overall: is 0.5000, must be at least 0.9",)
    show_result(wide, result_of("overall", "is_augmented:0", "is_augmented:1,source:A", failures=failures))
    title, _, head, _, *rows, _, hidden, passed, failed = screen.getvalue().splitlines()
    assert title.strip() == "Unseen patients, means over images with 90 % intervals"
    assert [cell.strip() for cell in head.split("┃")[1:-1]] == [
        "slice", "images", "Dice", "HD95 / width", "drop to copies",
    ]  # fmt: skip
    assert [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows] == [
        ["overall", "12", "0.9877 (0.9700 to 0.9900)", "0.0200", "-"],
        ["is_augmented:0", "13", "0.9877", "0.0200", "-"],
    ]
    assert hidden == "slices of two keys, in the report: 1"
    assert passed == "passed: dice_mean on overall: is what it is"
    assert failed == f"failed: {failures[0]}"


def test_the_table_leaves_intervals_out_where_there_is_no_room(screen: io.StringIO) -> None:
    name = "transform:RandomBrightnessContrast"
    show_result(Console(file=screen, width=80, markup=False, highlight=False), result_of("overall", name))
    title, _, head, _, *rows = screen.getvalue().splitlines()
    assert title.strip() == "Unseen patients, means over images"
    assert [cell.strip() for cell in head.split("┃")[1:-1]] == [
        "slice", "images", "Dice", "HD95 / width", "drop to copies",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if "│" in row]
    assert cells[0] == ["overall", "12", "0.9877", "0.0200", "-"]
    assert "".join(first for first, *_ in cells[1:]) == name
    assert cells[1][1:] == ["13", "0.9877", "0.0200", "-"]


def test_the_table_of_a_run_without_crosses(wide: Console, screen: io.StringIO) -> None:
    show_result(wide, result_of("overall"))
    assert "in the report" not in screen.getvalue()
    assert "failed" not in screen.getvalue()


def test_a_part_of_the_images_is_named(wide: Console, screen: io.StringIO) -> None:
    result = result_of("set:north")
    slices = [slice_.model_copy(update={"set": "north", "region": "right_lung"}) for slice_ in result.slices]
    show_result(wide, result.model_copy(update={"slices": slices}))
    assert "│ set:north, right lung │" in screen.getvalue()


def test_a_study(wide: Console, screen: io.StringIO) -> None:
    gain = ArmDifference(
        estimate=Estimate(value=0.01, low=0.002, high=0.018), effect="better", variances=None,
        needed=[],
    )  # fmt: skip

    def compared(name: str, enough: bool, **keys: str) -> StudySlice:
        metrics = {"dice_mean": Estimate(value=0.95, low=0.9, high=1)}
        arms = [
            ArmSlice(arm="plain", metrics=metrics, by_seed={}, differences={}),
            ArmSlice(arm="wide", metrics=metrics, by_seed={}, differences={"dice_mean": gain}),
        ]
        return StudySlice(slice=name, set="x", keys=keys, examples=12, patients=12, enough=enough, arms=arms)

    comparison = ArmComparison(
        arms=[Arm(name="plain", settings={}), Arm(name="wide", settings={})], seeds=[7, 8], folds=None, confidence=0.9,
        min_patients=10, tolerance=0.01, headline="Better than 'plain': 'wide'", shown=["It is.", "Somewhat."],
        slices=[
            compared("set:x,is_augmented:0", True, is_augmented="0"), compared("set:x,sex:male", True, sex="male"),
            compared("set:y", False),
        ],
    )  # fmt: skip
    show_study(wide, StudyResult(pipeline="a", policy="chest", comparison=comparison, components=[]))
    title, *tables, headline, first, second = screen.getvalue().splitlines()
    assert title == "Unseen patients, with 90 % intervals over patients and seeds"
    drawn = iter([line for line in tables if line.strip("┏━┳┓┡╇┩└─┴┘ ")])
    for place in ("Dice on set:x,is_augmented:0: 12 images", "Dice on set:y: 12 images, too few patients"):
        assert next(drawn).strip() == place
        assert [[cell.strip() for cell in next(drawn).replace("┃", "│").split("│")[1:-1]] for _ in range(3)] == [
            ["arm", "value", "minus plain", ""],
            ["plain", "0.9500", "", ""],
            ["wide", "0.9500", "0.0100 (0.0020 to 0.0180)", "better"],
        ]
    assert list(drawn) == []
    assert [headline, first, second] == ["Better than 'plain': 'wide'", "It is.", "Somewhat."]


@pytest.mark.parametrize("name", ["source:clinic [a]", "source:[/b]"])
def test_a_slice_name_is_no_markup(wide: Console, screen: io.StringIO, name: str) -> None:
    show_result(wide, result_of("overall", name, failures=(f"dice_mean on {name} is low",)))
    assert screen.getvalue().count(name) == 2


def test_a_log_that_cannot_be_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IsADirectoryError), terminal(tmp_path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before
