"""A step that fails and a pod that vanishes, as compiled, on installations of either policy."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_cluster import Cluster, Done, Moments, Policy, StepError, processes

Json = dict[str, Any]

STEP = "ChangeDetector"
"""It takes nothing of other steps, which all wait for it."""
GOLDEN = Path(__file__).with_name("demo.yaml")

POLICIES = pytest.mark.parametrize("policy", ["OnFailure", "OnError"])


@pytest.fixture(scope="module")
def compiled() -> Json:
    """The compiled pipeline, of one step."""
    spec: Json = next(yaml.safe_load_all(GOLDEN.read_text()))
    tasks = spec["root"]["dag"]["tasks"]
    spec["root"]["dag"]["tasks"] = {STEP: tasks[STEP]}
    return spec


def run(folder: Path, spec: Json, policy: Policy, do: str, vanish: Moments | None = None) -> Done:
    """Runs the step as its pod would, but for the work: it executes `do`, in which `start` counts from 1."""
    work = (
        "import json, pathlib, sys, time\n"
        f"starts = pathlib.Path({str(folder)!r}, 'starts')\n"
        "with starts.open('a') as file: print('start', file=file)\n"
        "start = len(starts.read_text().splitlines())\n"
        f"{do}\n"
        "(invocation,) = [json.loads(value) for value in sys.argv if value.startswith('{\"inputs\"')]\n"
        "artifacts = invocation['outputs']['artifacts']\n"
        "pathlib.Path(invocation['outputs']['outputFile']).write_text(json.dumps({'artifacts': artifacts}))\n"
    )
    cluster = Cluster(folder, processes(folder, vanish=vanish, step=work), policy=policy)
    return cluster.run([spec], {})[STEP]


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


@POLICIES
def test_a_step_that_fails_is_started_again_in_its_pod(tmp_path: Path, compiled: Json, policy: Policy) -> None:
    done = run(tmp_path, compiled, policy, "if start < 3: sys.exit(1)")
    assert (done.pods, starts(tmp_path)) == (1, 3)
    assert done.log.count("starts again") == 2


@pytest.mark.parametrize(("policy", "expected"), [("OnError", 3), ("OnFailure", 9)])
def test_the_number_of_attempts_is_bounded(tmp_path: Path, compiled: Json, policy: Policy, expected: int) -> None:
    """Where the installation replaces pods that failed, it does so as often as the pod starts its step again."""
    with pytest.raises(StepError):
        run(tmp_path, compiled, policy, "sys.exit(1)")
    assert starts(tmp_path) == expected


@pytest.mark.parametrize(("policy", "expected"), [("OnError", 1), ("OnFailure", 3)])
def test_what_would_fail_again_is_not_started_again(
    tmp_path: Path, compiled: Json, policy: Policy, expected: int
) -> None:
    with pytest.raises(StepError, match="is not started again"):
        run(tmp_path, compiled, policy, "sys.exit(3)")
    assert starts(tmp_path) == expected


def vanishing(folder: Path) -> Moments:
    """The pod vanishes as the step works."""
    return {STEP: (folder / "starts").exists}


def test_a_pod_that_vanishes_is_replaced_where_the_installation_does_so(tmp_path: Path, compiled: Json) -> None:
    done = run(tmp_path, compiled, "OnError", "if start == 1: time.sleep(60)", vanishing(tmp_path))
    assert (done.pods, starts(tmp_path)) == (2, 2)


def test_a_pod_that_vanishes_ends_the_run_on_other_installations(tmp_path: Path, compiled: Json) -> None:
    with pytest.raises(StepError, match="its pod vanished"):
        run(tmp_path, compiled, "OnFailure", "if start == 1: time.sleep(60)", vanishing(tmp_path))


def test_without_a_deadline_no_pod_is_replaced(tmp_path: Path, compiled: Json) -> None:
    """What the number in the compiled file is for."""
    spec = copy.deepcopy(compiled)
    del spec["root"]["dag"]["tasks"][STEP]["retryPolicy"]["backoffMaxDuration"]
    with pytest.raises(StepError, match="its pod vanished"):
        run(tmp_path, spec, "OnError", "if start == 1: time.sleep(60)", vanishing(tmp_path))


def test_a_path_in_the_place_of_a_uri_stops_the_step_that_takes_it(tmp_path: Path) -> None:
    """As Kubeflow's launcher does, before the step's own process begins."""
    model = {"artifacts": [{"name": "1", "uri": "/lungseg/serving/1", "type": {"instanceSchema": ""}, "metadata": {}}]}
    cluster = Cluster(tmp_path, processes(tmp_path))
    with pytest.raises(StepError, match="unrecognized uri format: /lungseg/serving/1"):
        cluster._run_pod(STEP, {}, {"artifacts": {"model": model}}, {})
