"""Settings: defaults that hold together, and refusals word for word."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from modules.evaluation.settings import EvaluateSettings
from modules.network.settings import ModelSettings
from modules.training.settings import TrainSettings
from schema.settings import Settings


def problems(kind: type[Settings], **values: Any) -> list[tuple[str, str]]:
    """Where and why `values` are refused."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


@pytest.mark.parametrize("kind", [ModelSettings, TrainSettings, EvaluateSettings])
def test_defaults_survive_the_way_through_tfx(kind: type[Settings]) -> None:
    assert kind.model_validate(json.loads(json.dumps(kind().model_dump()))) == kind()


@pytest.mark.parametrize("kind", [ModelSettings, TrainSettings, EvaluateSettings])
def test_unknown_keys_are_refused(kind: type[Settings]) -> None:
    assert problems(kind, epoch=3) == [("epoch", "Extra inputs are not permitted")]


def test_copies_are_trained_on_unless_they_are_switched_off() -> None:
    assert TrainSettings().copies
    assert not TrainSettings.model_validate({"copies": False}).copies


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        TrainSettings().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("image_size", "levels", "multiple"), [(100, 4, 16), (36, 3, 8), (17, 1, 2), (128, 8, 256)], ids=str
)
def test_images_must_be_halvable(image_size: int, levels: int, multiple: int) -> None:
    message = f"Value error, image_size {image_size} must be a multiple of {multiple} (2 to the power of levels)"
    assert problems(ModelSettings, image_size=image_size, levels=levels) == [("", message)]


@pytest.mark.parametrize(("image_size", "levels"), [(16, 4), (2048, 8), (48, 4), (18, 1)], ids=str)
def test_halvable_sizes(image_size: int, levels: int) -> None:
    assert ModelSettings(image_size=image_size, levels=levels).image_size == image_size


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        (ModelSettings, "image_size", 15, "Input should be greater than or equal to 16"),
        (ModelSettings, "image_size", 4096, "Input should be less than or equal to 2048"),
        (ModelSettings, "filters", 0, "Input should be greater than or equal to 1"),
        (ModelSettings, "filters", 513, "Input should be less than or equal to 512"),
        (ModelSettings, "levels", 0, "Input should be greater than or equal to 1"),
        (ModelSettings, "levels", 9, "Input should be less than or equal to 8"),
        (TrainSettings, "epochs", 0, "Input should be greater than or equal to 1"),
        (TrainSettings, "batch_size", 0, "Input should be greater than or equal to 1"),
        (TrainSettings, "learning_rate", 0, "Input should be greater than 0"),
        (TrainSettings, "learning_rate", 1.5, "Input should be less than or equal to 1"),
        (TrainSettings, "dice_weight", -0.1, "Input should be greater than or equal to 0"),
        (TrainSettings, "dice_weight", 1.1, "Input should be less than or equal to 1"),
        (TrainSettings, "patience", 0, "Input should be greater than or equal to 1"),
        (TrainSettings, "seed", -1, "Input should be greater than or equal to 0"),
        (TrainSettings, "seed", 2**32, "Input should be less than 4294967296"),
        (EvaluateSettings, "tolerance", 0, "Input should be greater than 0"),
        (EvaluateSettings, "small_lungs", 1.1, "Input should be less than or equal to 1"),
        (EvaluateSettings, "min_patients", 0, "Input should be greater than or equal to 1"),
        (EvaluateSettings, "resamples", 99, "Input should be greater than or equal to 100"),
        (EvaluateSettings, "confidence", 0.5, "Input should be greater than 0.5"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_ranges(kind: type[Settings], key: str, value: float, message: str) -> None:
    assert problems(kind, **{key: value}) == [(key, message)]


@pytest.mark.parametrize("learning_rate", [float("nan"), float("inf")])
def test_a_learning_rate_is_a_number(learning_rate: float) -> None:
    assert [key for key, _ in problems(TrainSettings, learning_rate=learning_rate)] == ["learning_rate"]


@pytest.mark.parametrize("devices", ["auto", "cpu:1", "cpu:2", "cpu:16", "gpu:1", "gpu:8"])
def test_devices(devices: str) -> None:
    assert TrainSettings(devices=devices).devices == devices


@pytest.mark.parametrize(
    "devices", ["", "cpu", "cpu:0", "cpu:-1", "cpu:01", "gpu", "gpu:0", "gpu:-1", "auto ", "cpu:2x"]
)
def test_other_devices_are_refused(devices: str) -> None:
    message = "String should match pattern '^(auto|cpu:[1-9][0-9]*|gpu:[1-9][0-9]*)$'"
    assert problems(TrainSettings, devices=devices) == [("devices", message)]


def test_unknown_slices_are_refused() -> None:
    keys = "'is_augmented', 'transform', 'source', 'finding', 'view', 'sex', 'age' or 'lungs'"
    assert problems(EvaluateSettings, slices=[["scanner"]]) == [("slices.0.0", f"Input should be {keys}")]
