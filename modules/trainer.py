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
    replicas = strategy.num_replicas_in_sync
    train = read_examples(fn_args.train_files, model_settings.image_size)
    validation = read_examples(fn_args.eval_files, model_settings.image_size)
    batches = batches_of_epochs(train, settings, replicas)
    steps = len(batches) // settings.epochs
    _LOG.info("training on %d examples with %d replica(s), %d steps an epoch", len(train), replicas, steps)

    with strategy.scope():
        model = build_model(model_settings, settings, steps=len(batches), synchronized=replicas > 1)
    history = model.fit(
        batches,
        steps_per_epoch=steps,
        validation_data=batches_of_all(validation, settings.batch_size, replicas),
        epochs=settings.epochs,
        callbacks=_callbacks(settings, fn_args.model_run_dir),
        verbose=0,
    ).history

    run_dir = Path(fn_args.model_run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / HISTORY_FILE).write_text(json.dumps(history, indent=1))
    export_model(
        model,
        f"{fn_args.transform_graph_path}/transform_fn",
        fn_args.serving_model_dir,
        average_mirrored=model_settings.average_mirrored,
    )


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

    files = sorted(tf.io.gfile.glob(list(patterns)))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").cache()
    total = int(records.reduce(0, lambda count, _: count + 1))
    if total == 0:
        msg = f"no examples in {', '.join(patterns)}"
        raise ValueError(msg)
    # Known to Keras, the number of steps serves the progress; otherwise it warns that the data ran out.
    return records.apply(tf.data.experimental.assert_cardinality(total)).map(
        parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def batches_of_epochs(examples: tf.data.Dataset, settings: TrainSettings, replicas: int) -> tf.data.Dataset:
    """All epochs' training batches; each epoch's order follows from the seed and its number alone.

    (Keras takes a batch before the first epoch under some strategies: a shuffle that goes on from where it is would
    give another order there.)
    """
    total, batch_size = len(examples), settings.batch_size * replicas
    usable = count_shared_out(total, batch_size, replicas)

    def batches_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = examples.shuffle(total, seed=settings.seed + epoch, reshuffle_each_iteration=False)
        return shuffled.take(usable).batch(batch_size)

    steps = math.ceil(usable / batch_size) * settings.epochs
    batches = tf.data.Dataset.range(settings.epochs).flat_map(batches_of_epoch)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def batches_of_all(examples: tf.data.Dataset, batch_size: int, replicas: int) -> tf.data.Dataset:
    """Validation batches of `batch_size` examples a replica."""
    usable = count_shared_out(len(examples), batch_size * replicas, replicas)
    return examples.take(usable).batch(batch_size * replicas).prefetch(tf.data.AUTOTUNE)


def count_shared_out(total: int, batch_size: int, replicas: int) -> int:
    """How many of `total` examples can be used such that each replica has one in every batch.

    `tf.distribute` deals a last batch of r examples out in shares of ceil(r / replicas) until none is left; a replica
    that gets none fails. One replica uses all.

    Raises:
        ValueError: there are fewer examples than replicas.
    """
    if total < replicas:
        msg = f"{total} examples are too few for {replicas} replicas"
        raise ValueError(msg)
    rest = total % batch_size
    shared = next(r for r in range(rest, -1, -1) if r == 0 or r > (replicas - 1) * math.ceil(r / replicas))
    return total - rest + shared


def build_model(
    model_settings: ModelSettings, settings: TrainSettings, steps: int, *, synchronized: bool = False
) -> keras.Model:
    """The compiled U-Net; its learning rate falls to zero along a cosine in `steps` steps."""
    model = unet(model_settings, synchronized=synchronized)
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
