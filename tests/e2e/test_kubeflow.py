"""The compiled pipeline, each step a process of its own, as open-source Kubeflow would run them."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from command_line import Outcome, compile_for, lungseg, run_pipeline
from kubeflow_cluster import Cluster, Done, Json, Moments, StepError, processes

from schema import record
from schema.reports.study import ArmComparison, StudyResult

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RULES = "[{metric: dice_mean, at_least: 0.5}, {metric: dice_mean, max_regression: 0.5, slice: {is_augmented: 0}}]"
SETTINGS = {"model.image_size": "64", "train.epochs": "4", "evaluate.min_patients": "3", "evaluate.rules": RULES}
STOCK = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"

Runs = dict[str, Done]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, phantom_data: Path) -> Path:
    """What the steps see of the persistent volume."""
    folder = tmp_path_factory.mktemp("volume")
    shutil.copytree(phantom_data, folder / "data")
    return folder


@pytest.fixture(scope="module")
def documents(volume: Path) -> list[Json]:
    return compile_for(volume, SETTINGS)


@pytest.fixture(scope="module")
def fail() -> Moments:
    """Of which steps to kill the process, and when."""
    return {}


@pytest.fixture(scope="module")
def vanish() -> Moments:
    """Of which steps to kill the pod, and when."""
    return {}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, fail: Moments, vanish: Moments) -> Cluster:
    folder = tmp_path_factory.mktemp("cluster")
    return Cluster(folder, processes(folder, fail, vanish), policy="OnError")


@pytest.fixture(scope="module")
def first(cluster: Cluster, documents: list[Json], volume: Path, fail: Moments, vanish: Moments) -> Runs:
    """A run in which a step fails and a pod vanishes."""
    fail["Augmenter"] = lambda: any(cluster.copies.glob("**/augmented_examples/**/*"))
    vanish["Trainer"] = lambda: any((volume / "checkpoints").glob("**/*.npz"))
    return cluster.run(documents, {})


@pytest.fixture(scope="module")
def local(first: Runs, tmp_path_factory: pytest.TempPathFactory, volume: Path) -> tuple[Path, Outcome]:
    root = tmp_path_factory.mktemp("local")
    assignments = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return root, run_pipeline(root, volume / "data", "--config", "demo", *assignments)


@pytest.fixture(scope="module")
def idle(first: Runs, cluster: Cluster, documents: list[Json]) -> Runs:
    """The same again, as a schedule has it."""
    return cluster.run(documents, {})


PARAMETERS = {"epochs": 3, "seed": 9, "spans": 2}
"""Of the later run, beside its rules."""


@pytest.fixture(scope="module")
def second(idle: Runs, local: tuple[Path, Outcome], cluster: Cluster, documents: list[Json], volume: Path) -> Runs:
    """A later run, with a new span and other parameters."""
    images = volume / "new-images"
    assert lungseg("phantoms", "--output", images, "--count", 60, "--size", 128, "--seed", 5).returncode == 0
    for path in (*images.glob("images/*"), *images.glob("masks/*")):
        path.rename(path.with_name(f"new-{path.name}"))
    table = (images / "metadata.csv").read_text()
    (images / "metadata.csv").write_text(table.replace("\nphantom-0", "\nnew-phantom-0"))
    arguments = ("--layout", "folder", "--input", images, "--output", volume / "data", "--size", 128)
    done = lungseg("ingest", *arguments, "--span", 2)
    assert done.returncode == 0, done.stderr
    (volume / "rules.yaml").write_text("rules: [{metric: dice_mean, at_least: 0.4}]\n")
    rules = str(volume / "rules.yaml")
    return cluster.run(documents, {**PARAMETERS, "thresholds": rules})


def contents(folder: Path) -> list[str]:
    """A hash of each record of each split of Examples, sorted."""
    digests = []
    for split in sorted(folder.glob("Split-*")):
        files = [str(path) for path in sorted(split.iterdir())]
        dataset = tf.data.TFRecordDataset(files)
        digests += [
            f"{split.name} {hashlib.sha256(serialized).hexdigest()}" for serialized in dataset.as_numpy_iterator()
        ]
    return sorted(digests)


def records(folder: Path) -> list[record.Record]:
    files = [str(path) for path in sorted(folder.glob("Split-*/*"))]
    dataset = tf.data.TFRecordDataset(files)
    return [record.decode(serialized) for serialized in dataset.as_numpy_iterator()]


def examples_of(run: Runs, cluster: Cluster) -> Path:
    return cluster.path(run["Augmenter"].outputs["augmented_examples"])


def read(cluster: Cluster, run: Runs, component: str, output: str, file: str) -> Json:
    content: Json = json.loads((cluster.path(run[component].outputs[output]) / file).read_text())
    return content


def test_the_whole_graph_ends_with_a_pushed_model(first: Runs, cluster: Cluster, volume: Path) -> None:
    assert first["Evaluator"].outputs["blessing"]["metadata"]["blessed"] == 1
    assert first["ServingProbe"].outputs["infra_blessing"]["metadata"]["blessed"] == 1
    assert first["Pusher"].outputs["pushed_model"]["metadata"]["pushed_version"] == "1"
    assert (volume / "serving/1/saved_model.pb").is_file()
    assert read(cluster, first, "Evaluator", "evaluation", "evaluation.json")["baseline"] is None
    report = read(cluster, first, "Reporter", "report", "report.json")
    assert report["decision"]["headline"] == "May serve: version 1"
    assert min(stage["seconds"] for stage in report["lineage"]["stages"]) > 0


def test_what_is_killed_and_started_again_leaves_nothing_behind(first: Runs, cluster: Cluster, volume: Path) -> None:
    assert {name: done.pods for name, done in first.items() if done.pods > 1} == {"Trainer": 2}
    again = "lungseg: Augmenter attempt 1 of 3 was killed (SIGKILL): starts again in 0 seconds"
    assert again in first["Augmenter"].log.splitlines()
    assert not any("starts again" in done.log for name, done in first.items() if name != "Augmenter")
    assert "going on after epoch" in first["Trainer"].log
    metadata = first["Augmenter"].outputs["augmented_examples"]["metadata"]
    written = sum(int(value) for name, value in metadata.items() if name.endswith(("_originals", "_copies")))
    image_ids = [record_.image_id for record_ in records(examples_of(first, cluster))]
    assert len(image_ids) == len(set(image_ids)) == written
    versions = sorted(path.name for path in (volume / "serving").iterdir())
    assert versions == ["1", "current.json"]


def test_the_result_is_that_of_a_local_run(first: Runs, local: tuple[Path, Outcome], cluster: Cluster) -> None:
    root, outcome = local
    assert outcome.code == 0, outcome.output
    (augmented,) = (root / "artifacts/Augmenter/augmented_examples").iterdir()
    there, here = contents(examples_of(first, cluster)), contents(augmented)
    assert len(there) > 100
    assert there == here
    slices = read(cluster, first, "Evaluator", "evaluation", "evaluation.json")["slices"]
    of_cluster, of_local = (
        {slice_["slice"]: slice_["metrics"] for slice_ in listed} for listed in (slices, outcome.result["slices"])
    )
    assert set(of_local) == set(of_cluster)
    for name, metrics in of_local.items():
        for metric in ("dice_mean", "iou_mean", "pixel_accuracy", "hd95"):
            expected = pytest.approx(of_cluster[name][metric]["value"], abs=1e-3)
            assert metrics[metric]["value"] == expected, f"{metric} on {name}"


def test_without_anything_new_nothing_runs(first: Runs, idle: Runs) -> None:
    assert first["ChangeDetector"].outputs["changes"]["metadata"]["unchanged"] == 0
    assert set(idle) == {"ChangeDetector"}
    metadata = idle["ChangeDetector"].outputs["changes"]["metadata"]
    assert (metadata["unchanged"], metadata["version"]) == (1, "1")


@pytest.mark.nightly
def test_the_trainer_trains_on_four_devices(first: Runs, cluster: Cluster, volume: Path) -> None:
    # As many images a step as on one device.
    four = compile_for(volume, {**SETTINGS, "train.devices": "cpu:4", "train.batch_size": "2"})
    rest = {name: done for name, done in first.items() if name != "Trainer"}
    trained = Cluster(cluster.store.parent, processes(cluster.store.parent)).run(four, {}, rest)
    assert "with 4 replica(s)" in trained["Trainer"].log
    several, single = (
        read(cluster, run, "Trainer", "model_run", "history.json")["figures"] for run in (trained, first)
    )
    assert several["loss"][0] == pytest.approx(single["loss"][0], abs=1e-3)


@pytest.mark.nightly
def test_a_later_run_takes_the_new_span_and_compares_with_what_serves(
    second: Runs, cluster: Cluster, volume: Path
) -> None:
    assert second["ExampleGen"].outputs["examples"]["metadata"]["spans"] == "1,2"
    evaluation = read(cluster, second, "Evaluator", "evaluation", "evaluation.json")
    assert evaluation["baseline"] == "version 1"
    new = [
        record_.image_id.startswith("new-")
        for record_ in records(examples_of(second, cluster))
        if not record_.is_augmented
    ]
    assert (new.count(True), new.count(False)) == (60, 80)
    assert json.loads((volume / "serving/current.json").read_text())["version"] == 2


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, []), ({"seed": 7}, ["settings"]), ({"spans": 1}, ["data"]), ({"force": True}, ["forced"])],
)
def test_parameters_of_a_run_are_part_of_what_it_makes(
    second: Runs, cluster: Cluster, documents: list[Json], volume: Path, changed: Json, expected: list[str]
) -> None:
    first_step = json.loads(json.dumps(documents))
    tasks = first_step[0]["root"]["dag"]["tasks"]
    first_step[0]["root"]["dag"]["tasks"] = {"ChangeDetector": tasks["ChangeDetector"]}
    rules = str(volume / "rules.yaml")
    run = cluster.run(first_step, {**PARAMETERS, "thresholds": rules, **changed})
    report = read(cluster, run, "ChangeDetector", "changes", "changes.json")
    assert (report["version"], report["changes"]) == (2, expected)


@pytest.mark.nightly
def test_parameters_of_the_run_reach_the_steps(second: Runs, cluster: Cluster) -> None:
    history = read(cluster, second, "Trainer", "model_run", "history.json")
    assert len(history["figures"]["loss"]) == 3
    rules = read(cluster, second, "Evaluator", "blessing", "decision.json")["rules"]
    assert [(rule["metric"], rule["bound"]) for rule in rules] == [("dice_mean", 0.4)]


@pytest.mark.nightly
def test_the_stock_entry_point_fails(documents: list[Json], tmp_path: Path) -> None:
    """As long as this holds, the entry point of our own is needed."""
    stock = json.loads(json.dumps(documents))
    for task in stock[0]["root"]["dag"]["tasks"].values():
        del task["retryPolicy"]
    for executor in stock[0]["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["python", "-m", STOCK]
    with pytest.raises(StepError, match=r"system\.Artifact"):
        Cluster(tmp_path, processes(tmp_path)).run(stock, {})


@pytest.mark.nightly
def test_a_study_compares_as_on_one_machine(tmp_path: Path, phantom_data: Path) -> None:
    shutil.copytree(phantom_data, tmp_path / "data")
    settings = {"model.image_size": "64", "train.epochs": "1", "evaluate.min_patients": "3"}
    compiled = compile_for(tmp_path, settings, "--study", "--seeds", 1)
    cluster = Cluster(tmp_path / "cluster", processes(tmp_path / "cluster"))
    run = cluster.run(compiled, {})
    assignments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = ("--data", tmp_path / "data", "--root", tmp_path / "local")
    done = lungseg("study", "--config", "demo", "--seeds", 1, *places, *assignments)
    assert done.returncode == 0, done.stdout + done.stderr

    there = ArmComparison.read(cluster.path(run["StudyComparison"].outputs["comparison"]))
    here = StudyResult.read(tmp_path / "local").comparison
    assert [arm.name for arm in there.arms] == ["originals only", "with copies"]
    assert [slice_.slice for slice_ in there.slices] == [slice_.slice for slice_ in here.slices]
    for ours, theirs in zip(here.slices, there.slices, strict=True):
        assert ours.examples == theirs.examples
        for local, remote in zip(ours.arms, theirs.arms, strict=True):
            for metric in ("dice_mean", "hd95"):
                expected = local.metrics[metric].value
                assert remote.metrics[metric].value == pytest.approx(expected, abs=1e-3), f"{metric} of {ours.slice}"
    page = (cluster.path(run["StudyReporter"].outputs["report"]) / "index.html").read_text()
    assert "Highest validation Dice of each training: originals only" in page
    assert not (tmp_path / "serving").exists(), "a study releases nothing"
