"""The Pusher: what both blessings allow is pushed, once, and everything else is not."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tfx import types
from tfx.types import channel, standard_artifacts

from components.pusher import executor
from components.pusher.component import Pusher

Push = Callable[..., types.Artifact]


class Constant(tf.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = tf.Variable(value)

    @tf.function(input_signature=[])
    def __call__(self) -> tf.Tensor:
        return self.value


def blessing_of(kind: type[types.Artifact], blessed: int) -> types.Artifact:
    blessing = kind()
    blessing.set_int_custom_property("blessed", blessed)
    return blessing


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def push(tmp_path: Path, serving: Path, caplog: pytest.LogCaptureFixture) -> Push:
    """Calls the executor with a model that gives `value`."""
    caplog.set_level(logging.INFO, "lungseg.pusher")

    def do(value: float = 0, blessed: int = 1, served: int = 1) -> types.Artifact:
        number = len(list(tmp_path.glob("model*")))
        model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
        model.uri, pushed.uri = str(tmp_path / f"model{number}"), str(tmp_path / f"pushed{number}")
        tf.saved_model.save(Constant(float(value)), f"{model.uri}/Format-Serving")
        inputs: dict[str, list[types.Artifact]] = {
            "model": [model],
            "blessing": [blessing_of(standard_artifacts.ModelBlessing, blessed)],
            "infra_blessing": [blessing_of(standard_artifacts.InfraBlessing, served)],
        }
        executor.Executor().Do(
            inputs, {"pushed_model": [pushed]}, {"serving_dir": str(serving), "candidate": "c", "rival": "none"}
        )
        return pushed

    return do


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
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
    assert json.loads(Path(pushed.uri, "pushed.json").read_text()) == {"version": 2, "destination": f"{serving}/2"}
    assert told(caplog) == ["version 1", "version 2"]


def test_an_equal_model_is_not_pushed_again(push: Push, serving: Path, caplog: pytest.LogCaptureFixture) -> None:
    push(1)
    again = push(1)
    assert again.get_int_custom_property("pushed") == 1
    assert again.get_string_custom_property("pushed_version") == "1"
    assert again.get_string_custom_property("pushed_destination") == f"{serving}/1"
    assert names(serving) == ["1", "current.json"]
    assert caplog.records[-1].getMessage() == "equal to version 1, which is current: not pushed again"


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
    assert told(caplog) == [f"not pushed: {why}"]


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
    pusher = Pusher(
        model=model, blessing=blessing, infra_blessing=infra, serving_dir="/serving", candidate="c", rival="none"
    )
    assert pusher.id == "Pusher"
    assert pusher.inputs == {"model": model, "blessing": blessing, "infra_blessing": infra}
    outputs = {key: output.type for key, output in pusher.outputs.items()}
    assert outputs == {"pushed_model": standard_artifacts.PushedModel}
    assert pusher.exec_properties == {"serving_dir": "/serving", "candidate": "c", "rival": "none"}
