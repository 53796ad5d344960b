"""run_fn on a few tiny examples: what it writes, what it restores, and how it fails."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules import trainer
from modules.settings import ModelSettings, TrainSettings
from modules.trainer import ProgressLog, StopOnNaN, build_model, read_examples, run_fn

SIZE = 16
FIGURES = {"loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice"}

MakeArgs = Callable[..., Any]
History = dict[str, list[float]]


def history_of(args: Any) -> History:
    return json.loads((Path(args.model_run_dir) / "history.json").read_text())


@pytest.fixture(scope="module")
def run(fn_args: MakeArgs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of two epochs: 6 examples in batches of 3."""
    args = fn_args(tmp_path_factory.mktemp("run"))
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log = logging.getLogger("lungseg.trainer")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    run_fn(args)
    log.removeHandler(handler)
    log.setLevel(before)
    return SimpleNamespace(args=args, records=records)


@pytest.fixture
def keep_model(monkeypatch: pytest.MonkeyPatch) -> list[keras.Model]:
    """Instead of the export: the list that receives the trained model."""
    models: list[keras.Model] = []
    monkeypatch.setattr(trainer, "export_model", lambda model, *_, **__: models.append(model))
    return models


def test_the_history_is_written(run: Any) -> None:
    history = history_of(run.args)
    assert set(history) == FIGURES
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())


def test_tensorboard_finds_the_run(run: Any) -> None:
    assert {path.parent.name for path in Path(run.args.model_run_dir).rglob("events.out.tfevents.*")} == {
        "train",
        "validation",
    }


def test_the_model_is_exported(run: Any) -> None:
    signatures = tf.saved_model.load(run.args.serving_model_dir).signatures
    assert set(signatures) == {"serving_default", "evaluate", "transform_features"}


def test_progress_is_logged(run: Any) -> None:
    steps = [record for record in run.records if record.levelno == logging.DEBUG]
    assert [(record.epoch, record.step, record.steps) for record in steps] == [
        (1, 1, 2),
        (1, 2, 2),
        (2, 1, 2),
        (2, 2, 2),
    ]
    assert steps[0].getMessage().startswith("step 1, loss 0.")
    first, *epochs = [record.getMessage() for record in run.records if record.levelno == logging.INFO]
    assert first == "training on 6 examples with 1 replica(s), 2 steps an epoch"
    history = history_of(run.args)
    for index, message in enumerate(epochs):
        assert message.startswith(f"epoch {index + 1} of 2: ")
        assert {part.split()[0] for part in message.split(": ")[1].split(", ")} == FIGURES
        assert f"val_dice {history['val_dice'][index]:.4f}" in message
    assert len(epochs) == 2


def test_the_same_seed_gives_the_same_history(
    run: Any, fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path
) -> None:
    run_fn(again := fn_args(tmp_path))
    assert history_of(again) == history_of(run.args)
    run_fn(other := fn_args(tmp_path, seed=8))
    assert history_of(other) != history_of(run.args)


def test_the_best_weights_are_restored(fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path) -> None:
    for seed in range(1, 6):  # until a training at this absurd rate ends worse than it once was
        run_fn(args := fn_args(tmp_path, epochs=5, learning_rate=1.0, seed=seed))
        watched = history_of(args)["val_dice"]
        if watched[-1] < max(watched):
            break
    else:
        pytest.fail("the last epoch is always the best: choose other settings")
    validation = read_examples(args.eval_files, SIZE).batch(3)
    assert keep_model[-1].evaluate(validation, verbose=0, return_dict=True)["dice"] == pytest.approx(max(watched))


def test_training_stops_when_it_no_longer_helps(
    fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path
) -> None:
    args = fn_args(tmp_path, epochs=9, patience=1, learning_rate=1.0)
    run_fn(args)
    watched = history_of(args)["val_dice"]
    assert len(watched) < 9
    assert watched[-1] <= max(watched[:-1])


def test_nan_stops_the_training(fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path) -> None:
    args = fn_args(tmp_path, nan=True, batch_size=8)
    with pytest.raises(ValueError, match=r"^the loss became NaN in step 1: try a lower train\.learning_rate$"):
        run_fn(args)
    assert not keep_model


def test_nan_is_told_from_numbers() -> None:
    StopOnNaN().on_train_batch_end(0, {"loss": 0.5})
    with pytest.raises(ValueError, match="in step 4:"):
        StopOnNaN().on_train_batch_end(3, {"loss": float("nan")})


def test_steps_are_known_to_the_progress(write_examples: Callable[..., str], tmp_path: Path) -> None:
    seen: list[int | None] = []

    class Look(ProgressLog):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            seen.append(self.params["steps"])

    model = build_model(ModelSettings(image_size=SIZE, filters=1, levels=1), TrainSettings(), steps=3)
    model.fit(read_examples([write_examples(tmp_path / "a.gz", 5)], SIZE).batch(2), verbose=0, callbacks=[Look()])
    assert seen == [3, 3, 3]


def test_settings_are_checked(fn_args: MakeArgs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epochs\n  Input should be greater than or equal to 1"):
        run_fn(fn_args(tmp_path, epochs=0))


def test_examples_are_read(write_examples: Callable[..., str], tmp_path: Path) -> None:
    write_examples(tmp_path / "a-0.gz", 2)
    write_examples(tmp_path / "a-1.gz", 3, seed=1)
    data = read_examples([f"{tmp_path}/a-*"], SIZE)
    assert len(data) == 5
    assert data.element_spec == (tf.TensorSpec([SIZE, SIZE, 1], tf.float32), tf.TensorSpec([SIZE, SIZE, 1], tf.float32))
    first, second = (list(data.as_numpy_iterator()) for _ in range(2))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert all(set(np.unique(mask)) == {0, 1} for _, mask in first)


def test_examples_of_another_size_are_refused(write_examples: Callable[..., str], tmp_path: Path) -> None:
    data = read_examples([write_examples(tmp_path / "a.gz", 1)], 2 * SIZE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(data))


def test_no_examples(write_examples: Callable[..., str], tmp_path: Path) -> None:
    empty = write_examples(tmp_path / "empty.gz", 0)
    with pytest.raises(ValueError, match=f"^no examples in {empty}, {empty}$"):
        read_examples([empty, empty], SIZE)


def test_the_learning_rate_falls_to_zero_along_a_cosine() -> None:
    model = build_model(ModelSettings(image_size=SIZE, filters=1, levels=1), TrainSettings(learning_rate=0.1), steps=10)
    schedule = model.optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, 5, 10)]
    assert rates == pytest.approx([0.1, 0.05, 0], abs=1e-7)
    assert [model.loss.dice_weight, model.loss.name] == [0.5, "dice_cross_entropy"]
