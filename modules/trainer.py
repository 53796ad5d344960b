"""What TFX's Trainer calls: reads transformed examples, trains the U-Net, exports it."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import tensorflow as tf

from modules import losses
from modules.distribution import strategy_for
from modules.export import export_model
from modules.preprocessing import parse_pixels
from modules.settings import ModelSettings, TrainSettings
from modules.unet import unet
from schema import features

HISTORY_FILE = "history.json"
"""In the model-run artifact: `{"loss": [per epoch], "accuracy", "dice", "val_loss", ...}`."""

_LOG = logging.getLogger("lungseg.trainer")


class FnArgs(Protocol):
    """What `run_fn` uses of TFX's FnArgs."""

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_graph_path: str
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, Any]


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports.

    Args:
        fn_args: files, folders, and `custom_config` with `model` and `train` settings as dictionaries.

    Raises:
        ValueError: no examples, or the loss became NaN.
    """
    model_settings = ModelSettings.model_validate(fn_args.custom_config["model"])
    settings = TrainSettings.model_validate(fn_args.custom_config["train"])

    keras.utils.set_random_seed(settings.seed)
    strategy = strategy_for(settings.devices)
    batch_size = settings.batch_size * strategy.num_replicas_in_sync
    train = read_examples(fn_args.train_files, model_settings.image_size)
    validation = read_examples(fn_args.eval_files, model_settings.image_size)
    examples = len(train)
    _LOG.info("training on %d examples with %d replica(s)", examples, strategy.num_replicas_in_sync)

    with strategy.scope():
        model = build_model(model_settings, settings, steps=settings.epochs * math.ceil(examples / batch_size))
    history = model.fit(
        train.shuffle(examples, seed=settings.seed).batch(batch_size).prefetch(tf.data.AUTOTUNE),
        validation_data=validation.batch(batch_size).prefetch(tf.data.AUTOTUNE),
        epochs=settings.epochs,
        callbacks=_callbacks(settings, fn_args.model_run_dir),
        verbose=0,
    ).history

    run_dir = Path(fn_args.model_run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / HISTORY_FILE).write_text(json.dumps(history, indent=1))
    export_model(model, f"{fn_args.transform_graph_path}/transform_fn", fn_args.serving_model_dir)


def read_examples(patterns: Sequence[str], size: int) -> tf.data.Dataset:
    """Reads transformed examples, kept in memory after the first pass.

    Args:
        patterns: gzipped TFRecord files, or patterns of them.
        size: side of the images, pixels.

    Returns:
        Pairs of image and share of lung (0-1), both float32 [size, size, 1]; `len` tells how many.

    Raises:
        ValueError: there are none.
    """
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.IMAGE, features.MASK)}

    def parse(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_single_example(example, spec)
        image = parse_pixels(parsed[features.IMAGE], tf.float16, size)
        lung = parse_pixels(parsed[features.MASK], tf.uint8, size)
        return tf.cast(image, tf.float32), tf.cast(lung, tf.float32) / 255

    files = tf.data.Dataset.list_files(list(patterns), shuffle=False)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").cache()
    total = int(records.reduce(0, lambda count, _: count + 1))
    if total == 0:
        msg = f"no examples in {', '.join(patterns)}"
        raise ValueError(msg)
    # Known to Keras, the number of steps serves the progress; otherwise it warns that the data ran out.
    return records.apply(tf.data.experimental.assert_cardinality(total)).map(
        parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def build_model(model_settings: ModelSettings, settings: TrainSettings, steps: int) -> keras.Model:
    """The compiled U-Net; its learning rate falls to zero along a cosine in `steps` steps."""
    model = unet(model_settings)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)),
        loss=losses.DiceCrossEntropy(settings.dice_weight),
        metrics=[losses.accuracy, losses.dice],
    )
    return model


class ProgressLog(keras.callbacks.Callback):
    """Logs each step's place in the training and each epoch's figures to the logger `lungseg.trainer`.

    The records bear `step`, `steps` and `epoch`, so that a console can draw a bar from them.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Tells how far the epoch is."""
        place = {"step": batch + 1, "steps": self.params["steps"], "epoch": self._epoch}
        _LOG.debug("step %d, loss %.4f", batch + 1, (logs or {})["loss"], extra=place)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Remembers the epoch."""
        self._epoch = epoch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tells the figures of the epoch."""
        figures = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        _LOG.info("epoch %d of %d: %s", epoch + 1, self.params["epochs"], figures)


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training that has diverged, with an error instead of a useless model."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the loss."""
        if math.isnan((logs or {})["loss"]):
            msg = f"the loss became NaN in step {batch + 1}: try a lower train.learning_rate"
            raise ValueError(msg)


def _callbacks(settings: TrainSettings, run_dir: str) -> list[keras.callbacks.Callback]:
    best = keras.callbacks.EarlyStopping(
        monitor="val_dice", mode="max", patience=settings.patience, restore_best_weights=True
    )
    return [StopOnNaN(), ProgressLog(), best, keras.callbacks.TensorBoard(run_dir, write_graph=False)]
