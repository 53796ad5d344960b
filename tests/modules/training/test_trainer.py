"""run_fn on a few tiny examples: what it writes, what it restores, and how it fails."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from logging.handlers import BufferingHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from break_off import BreakOff

from modules.network.weights import read_settings
from modules.training import trainer
from modules.training.callbacks import StopOnNaN
from modules.training.dataset import read_examples
from modules.training.loop import Loop
from modules.training.losses import DiceCrossEntropy
from modules.training.settings import TrainSettings
from modules.training.trainer import read_job, run_fn, train
from schema.reports.training import TrainingHistory

SIZE = 16
FIGURES = {"loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice"}

MakeArgs = Callable[..., Any]
History = dict[str, list[Any]]


def history_of(args: Any) -> History:
    return TrainingHistory.read(args.model_run_dir).figures


@contextlib.contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """Collects what trainings log; fixtures of modules have no `caplog`."""
    handler = BufferingHandler(capacity=10_000)
    log = logging.getLogger("lungseg.trainer")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler.buffer
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture(scope="module")
def run(fn_args: MakeArgs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of two epochs: 6 examples in batches of 3."""
    args = fn_args(tmp_path_factory.mktemp("run"))
    with logged() as records:
        run_fn(args)
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
    assert set(signatures) == {"serving_default", "rest", "evaluate", "transform_features"}


def test_the_weights_say_how_many_parts_of_a_mask_are_kept(run: Any) -> None:
    settings = read_settings(Path(run.args.serving_model_dir))
    assert settings
    assert settings.largest_parts == 1


def test_progress_is_logged(run: Any) -> None:
    steps = [record for record in run.records if record.levelno == logging.DEBUG]
    assert [(record.epoch, record.epochs, record.step, record.steps) for record in steps] == [
        (1, 2, 1, 2),
        (1, 2, 2, 2),
        (2, 2, 1, 2),
        (2, 2, 2, 2),
    ]
    assert steps[0].seconds_left is None
    assert all(record.seconds_left > 0 for record in steps[1:-1])
    assert steps[-1].seconds_left == 0
    assert steps[0].getMessage().startswith("step 1, loss 0.")
    messages = [record.getMessage() for record in run.records if record.levelno == logging.INFO]
    assert messages[:2] == ["6 examples of 1 kB", "4 examples of 1 kB"]
    assert messages[2] == "learning rate 0.00075 (0.002 for 8 images a step, here 3), reached in 0 steps, then cosine"
    assert messages[3] == "training on 6 examples with 1 replica(s), 2 steps an epoch, float32"
    assert messages[-2] == "of a mask, the exported model keeps the 1 largest parts, as masks of the training have"
    assert messages[-1] == "quality: fitted on 4 originals and 48 copies of them under stress"
    epochs = messages[4:-2]
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


class Spoil(keras.callbacks.Callback):
    """Forgets what was learned as the last epoch begins."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.params["epochs"] - 1:
            for weight in self.model.trainable_variables:
                weight.assign(keras.ops.zeros_like(weight))


def test_the_best_weights_are_restored(fn_args: MakeArgs, tmp_path: Path) -> None:
    args = fn_args(tmp_path, epochs=4, learning_rate=0.05)
    trained = train(read_job(args), Spoil())
    watched = trained.history["val_dice"]
    assert watched[-1] < max(watched)
    trained.model.compile(optimizer="sgd")
    loop = Loop(tf.distribute.get_strategy(), trained.model, DiceCrossEntropy(), 3)
    assert loop.evaluate(read_examples(args.eval_files, SIZE))["dice"] == pytest.approx(max(watched))


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
    with pytest.raises(ValueError, match=r"^the loss became NaN or infinite in step 1 of epoch 1: try a lower train\."):
        run_fn(args)
    assert not keep_model


def test_nan_is_told_from_numbers() -> None:
    watch = StopOnNaN()
    watch.on_epoch_begin(1)
    watch.on_train_batch_end(0, {"loss": 0.5})
    for value in ("nan", "inf"):
        with pytest.raises(ValueError, match=r"in step 4 of epoch 2: try .* train\.precision=float32$"):
            watch.on_train_batch_end(3, {"loss": float(value)})


def test_settings_are_checked(fn_args: MakeArgs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epochs\n  Input should be greater than or equal to 1"):
        run_fn(fn_args(tmp_path, epochs=0))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ({"architecture": "resunet", "normalization": "group"}, {"weight_decay": 0.01, "precision": "bfloat16"}),
        (
            {"normalization": "batch", "dropout": 0.5},
            {"schedule": "constant", "warmup": 0.5, "precision": "float16"},
        ),
        ({"deep_supervision": True, "levels": 2}, {"average_weights": 0.5}),
        ({}, {"xla": True}),
    ],
    ids="-".join,
)
def test_every_option_trains(
    fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path, model: dict[str, Any], settings: dict[str, Any]
) -> None:
    before = keras.config.dtype_policy().name
    args = fn_args(tmp_path, model=model, epochs=3, learning_rate=0.02, **settings)
    run_fn(args)
    history = history_of(args)
    assert set(history) == FIGURES
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    (made,) = keep_model
    assert {weight.dtype for weight in made.weights} == {"float32"}
    assert made.dtype_policy.name == "float32"
    assert made.output_shape == (None, SIZE, SIZE, 1)
    assert keras.config.dtype_policy().name == before


def test_averaged_weights_are_what_is_validated_and_exported(
    fn_args: MakeArgs, keep_model: list[keras.Model], tmp_path: Path
) -> None:
    args = fn_args(tmp_path, epochs=3, learning_rate=0.05, average_weights=0.9)
    run_fn(args)
    model = keep_model[0]
    model.compile(optimizer="sgd")
    loop = Loop(tf.distribute.get_strategy(), model, DiceCrossEntropy(), 3)
    figures = loop.evaluate(read_examples(args.eval_files, SIZE))
    history = history_of(args)
    best = int(np.argmax(history["val_dice"]))
    assert figures["loss"] == pytest.approx(history["val_loss"][best], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "first", "peak", "last"),
    [
        ({"batch_size": 8}, 0.01, 0.01, 0.0),
        ({"batch_size": 4}, 0.005, 0.005, 0.0),
        ({"batch_size": 16, "warmup": 0.5}, 0.02 / 3, 0.02, 0.0),
        ({"batch_size": 8, "schedule": "constant"}, 0.01, 0.01, 0.01),
    ],
)
def test_the_learning_rate_follows_the_images_of_a_step(
    settings: dict[str, Any], first: float, peak: float, last: float
) -> None:
    batch = settings["batch_size"]
    all_settings = TrainSettings(**{"warmup": 0.0, "learning_rate": 0.01, "epochs": 2, **settings})
    optimizer = trainer._optimizer(all_settings, total=2 * batch, replicas=1)
    rates = [float(optimizer._learning_rate(step)) for step in range(5)]
    assert rates[0] == pytest.approx(first)
    assert max(rates) == pytest.approx(peak)
    assert rates[4] == pytest.approx(last, abs=1e-9)


@pytest.fixture(scope="module")
def mixed_args(fn_args: MakeArgs, transform_graph: Path) -> MakeArgs:
    """Makes arguments of a training on, and validation by, what Transform wrote of six originals and three copies."""

    def make(folder: Path, **settings: Any) -> Any:
        args = fn_args(folder, learning_rate=0.02, epochs=3, patience=3, **settings)
        args.train_files = args.eval_files = [str(transform_graph / "examples*.gz")]
        return args

    return make


@pytest.fixture(scope="module")
def mixed_trainings(mixed_args: MakeArgs, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Any]:
    """A training with copies, and one on originals alone: what came of them, and what they logged."""
    trainings = {}
    for copies in (True, False):
        args = mixed_args(tmp_path_factory.mktemp("mixed"), copies=copies)
        with logged() as records:
            trainings[copies] = SimpleNamespace(args=args, trained=train(read_job(args)), records=records)
    return trainings


@pytest.mark.parametrize("copies", [True, False])
def test_a_training_on_originals_has_as_many_steps(mixed_trainings: dict[bool, Any], copies: bool) -> None:
    mixed = mixed_trainings[copies]
    details = [vars(record) for record in mixed.records if record.levelno == logging.DEBUG]
    steps = [(detail["epoch"], detail["step"], detail["steps"]) for detail in details]
    assert steps == [(epoch, step, 3) for epoch in (1, 2, 3) for step in (1, 2, 3)]
    assert {len(values) for values in mixed.trained.history.values()} == {3}
    messages = [record.getMessage() for record in mixed.records]
    assert "training on 9 examples with 1 replica(s), 3 steps an epoch, float32" in messages
    assert messages[:2] == (["9 examples of 1 kB"] * 2 if copies else ["6 originals of 1 kB"] * 2)


@pytest.mark.parametrize("copies", [True, False])
def test_trainings_of_as_many_images_for_an_original_have_as_many_steps(
    mixed_args: MakeArgs, tmp_path: Path, copies: bool
) -> None:
    with logged() as records:
        train(read_job(mixed_args(tmp_path, copies=copies, images_per_original=2)))
    messages = [record.getMessage() for record in records]
    assert "training on 12 examples with 1 replica(s), 4 steps an epoch, float32" in messages


def test_a_training_on_originals_can_be_repeated_to_the_bit(
    mixed_trainings: dict[bool, Any], mixed_args: MakeArgs, tmp_path: Path
) -> None:
    first, again = mixed_trainings[False].trained, train(read_job(mixed_args(tmp_path, copies=False)))
    assert first.history == again.history
    assert all(np.array_equal(a, b) for a, b in zip(first.model.get_weights(), again.model.get_weights(), strict=True))
    assert first.history["loss"] != mixed_trainings[True].trained.history["loss"]


def test_a_training_on_originals_is_validated_by_originals(mixed_trainings: dict[bool, Any]) -> None:
    args, trained = mixed_trainings[False].args, mixed_trainings[False].trained
    trained.model.compile(optimizer="sgd")
    loop = Loop(tf.distribute.get_strategy(), trained.model, DiceCrossEntropy(), 3)
    best = int(np.argmax(trained.history["val_dice"]))
    by_originals = loop.evaluate(read_examples(args.eval_files, SIZE, "drop"))
    assert by_originals["loss"] == pytest.approx(trained.history["val_loss"][best], abs=1e-6)
    by_all = loop.evaluate(read_examples(args.eval_files, SIZE))
    assert by_all["loss"] != pytest.approx(trained.history["val_loss"][best], abs=1e-4)


def test_a_training_on_originals_goes_on_from_its_own_checkpoint_alone(
    mixed_trainings: dict[bool, Any], mixed_args: MakeArgs, tmp_path: Path
) -> None:
    args = mixed_args(tmp_path, copies=False)
    with pytest.raises(KeyboardInterrupt):
        train(read_job(args), BreakOff(1))
    with pytest.raises(KeyboardInterrupt):
        train(read_job(mixed_args(tmp_path, copies=True)), with_copies := BreakOff(0))
    assert with_copies.first == 0
    going_on = BreakOff(3)
    assert train(read_job(args), going_on).history == mixed_trainings[False].trained.history
    assert going_on.first == 1


def test_tuned_values_replace_settings(fn_args: MakeArgs, tmp_path: Path) -> None:
    args = fn_args(tmp_path)
    args.hyperparameters = {"space": [], "values": {"train.learning_rate": 0.5, "model.filters": 3}}
    settings = read_job(args).settings
    assert (settings.train.learning_rate, settings.model.filters, settings.train.batch_size) == (0.5, 3, 3)


def test_a_warm_start_begins_where_the_other_model_is(fn_args: MakeArgs, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    run_fn(first := fn_args(tmp_path / "first", epochs=6, learning_rate=0.05))
    (tmp_path / "cold").mkdir()
    (tmp_path / "warm").mkdir()
    settings = {"epochs": 1, "learning_rate": 1e-6}
    cold = train(read_job(args := fn_args(tmp_path / "cold", **settings)))
    args = fn_args(tmp_path / "warm", warm_start=True, model={"normalization": "batch", "dropout": 0.1}, **settings)
    args.base_model = first.serving_model_dir
    warm = train(read_job(args))
    assert warm.history["val_loss"][0] == pytest.approx(min(history_of(first)["val_loss"]), abs=0.02)
    assert warm.history["val_loss"][0] < cold.history["val_loss"][0] - 0.1


def test_a_warm_start_needs_the_same_architecture(fn_args: MakeArgs, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    run_fn(first := fn_args(tmp_path / "first", epochs=1))
    (tmp_path / "second").mkdir()
    args = fn_args(tmp_path / "second", warm_start=True, model={"filters": 3})
    args.base_model = first.serving_model_dir
    message = (
        r"^the model blessed last has model\.filters 2, this one 3: "
        r"set it to that, or train\.warm_start to false$"
    )
    with pytest.raises(ValueError, match=message):
        run_fn(args)
    args.base_model = str(tmp_path)
    with pytest.raises(
        ValueError, match=r"^the model blessed last keeps no weights .*: set train\.warm_start to false$"
    ):
        run_fn(args)


def test_without_a_model_a_warm_start_is_a_cold_one(fn_args: MakeArgs, tmp_path: Path) -> None:
    assert read_job(fn_args(tmp_path, warm_start=True)).base_model is None
    args = fn_args(tmp_path)
    args.base_model = "anything"
    assert read_job(args).base_model is None
