"""Settings: defaults that hold together, and refusals word for word."""

import json
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from modules import metrics
from modules.settings import EvaluateSettings, Metric, ModelSettings, Settings, SliceKey, Threshold, TrainSettings
from schema import features


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
        (EvaluateSettings, "max_regression", -0.01, "Input should be greater than or equal to 0"),
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


def test_a_bound_on_all_images_is_demanded() -> None:
    message = "Value error, thresholds must hold one for all images (without `slice`)"
    on_a_slice = {"metric": "dice_mean", "at_least": 0.9, "slice": {"is_augmented": 0}}
    assert problems(EvaluateSettings, thresholds=[]) == [("", message)]
    assert problems(EvaluateSettings, thresholds=[on_a_slice]) == [("", message)]
    both = EvaluateSettings(thresholds=(on_a_slice, {"metric": "recall", "at_least": 0.5}))
    assert both.thresholds[0].slice == {"is_augmented": 0}
    assert both.thresholds[1].slice == {}


@pytest.mark.parametrize("at_least", [-0.1, 1.1, float("nan")])
def test_a_bound_is_a_share(at_least: float) -> None:
    assert [key for key, _ in problems(Threshold, metric="recall", at_least=at_least)] == ["at_least"]


def test_unknown_metrics_and_slices_are_refused() -> None:
    metric = "Input should be 'dice_mean', 'iou_mean', 'pixel_accuracy', 'precision' or 'recall'"
    key = "Input should be 'is_augmented', 'augmentation', 'source', 'finding', 'view' or 'sex'"
    assert problems(Threshold, metric="dice", at_least=0.5) == [("metric", metric)]
    assert problems(EvaluateSettings, slices=[["age"]]) == [("slices.0.0", key)]


def test_names_agree_with_code() -> None:
    assert get_args(Metric) == tuple(metrics.PER_IMAGE)
    assert set(get_args(SliceKey)) <= set(features.STATISTICS)
