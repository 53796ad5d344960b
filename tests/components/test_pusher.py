"""The Pusher: what both blessings allow is pushed, once, and everything else is not."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from tfx import types
from constant_model import Constant
from tensorflow_data_validation import generate_statistics_from_dataframe
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import artifact_utils, channel, standard_artifacts

from components import base
from components.code_version import code_version
from components.pusher import executor
from components.pusher.component import Pusher
from components.serving_folder import ServingFolderSettings
from modules.serving import serving_dir
from schema.reports.serving import ChangeReport, Origin, PushRecord, ServingPointer

Push = Callable[..., types.Artifact]


def blessing_of(kind: type[types.Artifact], blessed: int) -> types.Artifact:
    blessing = kind()
    blessing.set_int_custom_property("blessed", blessed)
    return blessing


def statistics_of(folder: Path, age: float) -> types.Artifact:
    """As StatisticsGen writes them; the test split is older."""
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(folder)
    statistics.split_names = artifact_utils.encode_split_names(["train", "test"])
    for split, mean in {"train": age, "test": age + 30}.items():
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(generate_statistics_from_dataframe(pd.DataFrame({"age": [mean] * 3})).SerializeToString())
    return statistics


def mean_age(version: str) -> float:
    """Of what the model of a version learned from."""
    path = Path(version, "assets.extra/statistics/FeatureStats.pb")
    stored = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    return float(stored.datasets[0].features[0].num_stats.mean)


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def push(tmp_path: Path, serving: Path, caplog: pytest.LogCaptureFixture) -> Push:
    """Calls the executor with a model that gives `value`, and that learned from data of some mean age."""
    caplog.set_level(logging.INFO, "lungseg.pusher")

    settings = ServingFolderSettings(serving_dir=serving, candidate_key="c", baseline_key="none")

    def do(
        value: float = 0, blessed: int = 1, served: int = 1, age: float | None = None, data: str | None = None
    ) -> types.Artifact:
        number = len(list(tmp_path.glob("model*")))
        model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
        model.uri, pushed.uri = str(tmp_path / f"model{number}"), str(tmp_path / f"pushed{number}")
        Path(pushed.uri).mkdir()  # as TFX does
        tf.saved_model.save(Constant(float(value)), f"{model.uri}/Format-Serving")
        inputs: dict[str, list[types.Artifact]] = {
            "model": [model],
            "blessing": [blessing_of(standard_artifacts.ModelBlessing, blessed)],
            "infra_blessing": [blessing_of(standard_artifacts.InfraBlessing, served)],
        }
        if age is not None:
            inputs["statistics"] = [statistics_of(tmp_path / f"statistics{number}", age)]
        if data is not None:
            changes = standard_artifacts.ExampleAnomalies()
            changes.uri = str(tmp_path / f"changes{number}")
            origin = Origin(data=data, settings="s", code="c")
            ChangeReport(origin=origin, spans=[1], version=None, changes=["no_model"]).write(changes.uri)
            inputs["changes"] = [changes]
        executor.Executor().Do(inputs, {"pushed_model": [pushed]}, {"settings": settings.model_dump_json()})
        return pushed

    return do


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the Pusher itself logged."""
    return [record.getMessage() for record in caplog.records if record.name == "lungseg.pusher"]


def test_a_blessed_model_is_pushed(push: Push, serving: Path, caplog: pytest.LogCaptureFixture) -> None:
    push(1)
    pushed = push(2.5)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "2"
    assert pushed.get_string_custom_property("pushed_destination") == f"{serving}/2"
    assert float(tf.saved_model.load(f"{serving}/2")()) == 2.5
    assert names(serving) == ["1", "2", "current.json"]
    assert names(Path(pushed.uri)) == ["pushed.json"], "no second copy"
    assert PushRecord.read(pushed.uri) == PushRecord(version=2, destination=f"{serving}/2")
    pointer = ServingPointer.read(serving)
    assert (pointer.version, pointer.candidate_key, pointer.baseline_key) == (2, "c", "none")
    assert messages(caplog) == ["version 1", "version 2"]


def test_an_equal_model_is_not_pushed_again(push: Push, serving: Path, caplog: pytest.LogCaptureFixture) -> None:
    push(1)
    again = push(1)
    assert again.get_int_custom_property("pushed") == 1
    assert again.get_string_custom_property("pushed_version") == "1"
    assert again.get_string_custom_property("pushed_destination") == f"{serving}/1"
    assert names(serving) == ["1", "current.json"]
    assert caplog.records[-1].getMessage() == "equal to version 1, which is current: not pushed again"


def test_what_the_model_was_made_of_is_kept(push: Push, serving: Path) -> None:
    push(1, data="d1")
    assert ServingPointer.read(serving).origin == Origin(data="d1", settings="s", code="c")
    push(2, blessed=0, data="d2")
    assert ServingPointer.read(serving).origin == Origin(data="d1", settings="s", code="c")


def test_statistics_of_the_training_data_are_kept_beside_the_model(push: Push, serving: Path) -> None:
    push(1, age=40.0)
    push(2, age=50.0)
    assert mean_age(f"{serving}/1") == 40
    assert mean_age(f"{serving}/2") == 50
    assert float(tf.saved_model.load(f"{serving}/2")()) == 2


def test_no_model_appears_without_its_statistics(push: Push, serving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there before the model gets its number: a push that is killed then leaves no model."""
    seen: list[float] = []

    def die(partial: Path, _: Path) -> None:
        seen.append(mean_age(str(partial)))
        raise OSError("killed")

    monkeypatch.setattr(serving_dir, "_rename_to_next", die)
    with pytest.raises(OSError, match="killed"):
        push(age=40.0)
    assert seen == [40]
    assert names(serving) == []


@pytest.mark.parametrize("pointer", [True, False], ids=["by the pointer", "by the files"])
def test_statistics_are_no_part_of_what_makes_models_equal(push: Push, serving: Path, pointer: bool) -> None:
    push(1, age=40.0)
    if not pointer:
        (serving / "current.json").unlink()
    again = push(1, age=50.0)
    assert again.get_string_custom_property("pushed_version") == "1"
    assert mean_age(f"{serving}/1") == 40


@pytest.mark.parametrize(
    ("blessed", "served", "why"),
    [
        (0, 1, "the model is not blessed"),
        (1, 0, "the exported model did not pass the serving probe"),
        (0, 0, "the model is not blessed"),
    ],
)
def test_without_both_blessings_nothing_is_pushed(
    push: Push, serving: Path, caplog: pytest.LogCaptureFixture, blessed: int, served: int, why: str
) -> None:
    pushed = push(blessed=blessed, served=served)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")
    assert names(Path(pushed.uri)) == []
    assert not serving.exists()
    assert messages(caplog) == [f"not pushed: {why}"]


def test_a_failure_leaves_no_output(push: Push, serving: Path, tmp_path: Path) -> None:
    serving.mkdir()
    (serving / "current.json").write_text("{")
    expected = f"'{serving}/current.json' is damaged: write it anew with `lungseg promote --to VERSION`"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        push()
    assert names(serving) == ["current.json"]
    assert names(tmp_path / "pushed0") == []


def test_the_component_is_wired() -> None:
    model = channel.OutputChannel(standard_artifacts.Model, None, "model")
    blessing = channel.OutputChannel(standard_artifacts.ModelBlessing, None, "blessing")
    infra = channel.OutputChannel(standard_artifacts.InfraBlessing, None, "infra_blessing")
    statistics = channel.OutputChannel(standard_artifacts.ExampleStatistics, None, "statistics")
    needed = {"model": model, "blessing": blessing, "infra_blessing": infra}
    settings = ServingFolderSettings(serving_dir=Path("/serving"), candidate_key="c", baseline_key="none")
    changes = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "changes")
    pusher = Pusher(**needed, statistics=statistics, changes=changes, settings=settings)
    assert pusher.id == "Pusher"
    assert pusher.inputs == {**needed, "statistics": statistics, "changes": changes}
    assert Pusher(**needed, settings=settings).inputs == needed
    outputs = {key: output.type for key, output in pusher.outputs.items()}
    assert outputs == {"pushed_model": standard_artifacts.PushedModel}
    version = code_version("components.pusher.executor")
    assert pusher.exec_properties == {"settings": base.write_settings(settings), "code_version": version}
