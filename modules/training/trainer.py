"""What TFX's Trainer calls: trains the network on what Transform wrote, and exports the best weights.

The training itself is `train`, which every worker runs; only the chief writes.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import keras
import tensorflow as tf

from modules.network.unet import copy_weights, unet
from modules.network.weights import read_weights, write_weights
from modules.serving.export import export_model
from modules.settings import REFERENCE_BATCH, ModelSettings, TrainSettings
from modules.training import checkpoint, losses
from modules.training.callbacks import KeepBest, ProgressLog, StopOnNaN
from modules.training.dataset import plan_steps, read_examples
from modules.training.distribution import compiles, dtype_policy, gpus_of, is_chief, strategy_for
from modules.training.loop import Loop

HISTORY_FILE: Final = "history.json"
"""In the model-run artifact: `{"loss": [per epoch], "accuracy", "dice", "val_loss", ...}`."""

_STEPS_A_CALL_ON_GPUS = 16

_LOG = logging.getLogger("lungseg.trainer")


class FnArgs(Protocol):
    """What `run_fn` uses of TFX's FnArgs."""

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_graph_path: str
    serving_model_dir: str
    model_run_dir: str | None
    base_model: str | None
    hyperparameters: Mapping[str, Any] | None
    custom_config: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Attributes:
        model: the network's settings.
        train: how it is trained.
        base_model: folder of a SavedModel with whose weights to begin, or None.
    """

    model: ModelSettings
    train: TrainSettings
    base_model: str | None = None


@dataclass(frozen=True)
class Trained:
    """A training that has ended.

    Attributes:
        model: with the best weights, in single precision, for one device and without coarser heads.
        history: figures by name, one an epoch.
        checkpoint: of the training; to be removed once the model is safe.
        writes: whether this process is the one that writes.
    """

    model: keras.Model
    history: dict[str, list[float]]
    checkpoint: checkpoint.Checkpoint
    writes: bool


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports.

    Args:
        fn_args: files and folders; `custom_config` with `model` and `train` settings as dictionaries, and
            `checkpoint_dir`, a folder that outlives this execution; `hyperparameters` of the Tuner, which replace
            settings of the same dotted names; `base_model`, for `train.warm_start`.

    Raises:
        ValueError: no examples or too few, the loss became NaN, or the settings do not fit the machine or each other.
    """
    job = read_job(fn_args)
    trained = train(job, fn_args)
    if not trained.writes:
        return
    export_model(
        trained.model,
        f"{fn_args.transform_graph_path}/transform_fn",
        fn_args.serving_model_dir,
        average_mirrored=job.model.average_mirrored,
    )
    write_weights(trained.model, job.model, fn_args.serving_model_dir)
    run_dir = str(fn_args.model_run_dir)
    tf.io.gfile.makedirs(run_dir)
    with tf.io.gfile.GFile(os.path.join(run_dir, HISTORY_FILE), "w") as file:
        file.write(json.dumps(trained.history, indent=1))
    trained.checkpoint.remove()


def read_job(fn_args: FnArgs) -> Job:
    """The settings of `custom_config`, with the Tuner's choice in their place where there is one.

    Raises:
        ValueError: a setting is out of its range.
    """
    settings = TrainSettings.model_validate(fn_args.custom_config["train"])
    base_model = fn_args.base_model if settings.warm_start else None
    job = Job(ModelSettings.model_validate(fn_args.custom_config["model"]), settings, base_model)
    chosen = (fn_args.hyperparameters or {}).get("values", {})
    if chosen:
        _LOG.info("as tuned: %s", describe(chosen))
    return replace_settings(job, chosen)


def replace_settings(job: Job, values: Mapping[str, Any]) -> Job:
    """Replaces settings by dotted names, such as `train.batch_size` and `model.filters`.

    Raises:
        ValueError: there is no such setting, or a value is out of its range.
    """
    sections = {"model": job.model.model_dump(), "train": job.train.model_dump()}
    for dotted, value in values.items():
        section, name = dotted.split(".")
        sections[section][name] = value
    model = ModelSettings.model_validate(sections["model"])
    return Job(model, TrainSettings.model_validate(sections["train"]), job.base_model)


def describe(values: Mapping[str, float]) -> str:
    """Dotted names with their values, on one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def train(job: Job, fn_args: FnArgs, *extra: keras.callbacks.Callback) -> Trained:
    """Trains on this machine's devices, or as one of the workers that TF_CONFIG names.

    Args:
        job: what to train.
        fn_args: for its files and `checkpoint_dir`.
        extra: callbacks beside the project's own.
    """
    settings = job.train
    keras.utils.set_random_seed(settings.seed)
    strategy = strategy_for(settings.devices)
    replicas, chief = strategy.num_replicas_in_sync, is_chief(strategy)
    examples = read_examples(fn_args.train_files, job.model.image_size, "keep" if settings.copies else "replace")
    # The best epoch must not be chosen by copies either; to see originals again would tell no more.
    validation = read_examples(fn_args.eval_files, job.model.image_size, "keep" if settings.copies else "drop")

    policy, compiled = dtype_policy(settings), compiles(settings, job.model, replicas)
    _agree(strategy, sum(policy.encode()), "ask for different precisions on their hardware: set train.precision")
    with strategy.scope(), _default_policy(policy):
        model = unet(job.model, synchronized=replicas > 1, coarser_heads=job.model.deep_supervision)
        if job.base_model:
            read_weights(model, job.model, job.base_model)
            _LOG.info("begins with the weights of the model blessed last")
        model.compile(optimizer=_optimizer(settings, examples.total, replicas), jit_compile=False)
    loop = Loop(
        strategy,
        model,
        losses.DiceCrossEntropy(settings.dice_weight),
        settings.batch_size,
        compiled=compiled,
        steps_a_call=_STEPS_A_CALL_ON_GPUS if gpus_of(settings.devices) else 1,
    )
    loop.plan(validation)  # what it refuses should not come to light after the first epoch
    _LOG.info(
        "training on %d examples with %d replica(s), %d steps an epoch, %s%s",
        examples.total, replicas, loop.plan(examples).steps, policy, ", compiled" if compiled else "",
    )  # fmt: skip

    folder = os.path.join(
        fn_args.custom_config["checkpoint_dir"],
        checkpoint.key(
            model=job.model.model_dump(),
            train=settings.model_dump(),
            base_model=job.base_model,
            code_version=fn_args.custom_config.get("code_version"),
            libraries=[tf.__version__, keras.__version__],
            # Artifacts never change, so their addresses and lengths stand for their content.
            files=[*fn_args.train_files, *fn_args.eval_files],
            lengths=[examples.total, examples.length, validation.total, validation.length],
            replicas=replicas,
            policy=policy,
        ),
    )
    best, history = KeepBest(settings.patience), keras.callbacks.History()
    kept = checkpoint.Checkpoint(folder, best, history, writes=chief)
    start = kept.restore(model)
    _agree(strategy, start, "have found different checkpoints: their checkpoint folder must be one that all share")
    callbacks = [StopOnNaN(), ProgressLog(), best, history]
    if settings.average_weights:
        # Behind `best`, which takes the weights before they are swapped back.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    if chief and fn_args.model_run_dir:  # the Tuner has none
        callbacks.append(keras.callbacks.TensorBoard(fn_args.model_run_dir, write_graph=False))
    loop.fit(
        examples,
        validation,
        epochs=range(start, settings.epochs),
        seed=settings.seed,
        callbacks=[*callbacks, kept, *extra],
    )
    model.set_weights(best.weights)
    alone = unet(job.model)
    copy_weights(model, alone)
    return Trained(alone, history.history, kept, chief)


@contextlib.contextmanager
def _default_policy(policy: str) -> Iterator[None]:
    """Sets Keras' dtype policy for the layers that are made within."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _optimizer(settings: TrainSettings, total: int, replicas: int) -> keras.optimizers.Optimizer:
    images = settings.batch_size * replicas
    # Linear scaling with a warm-up (Goyal et al., 2017, arXiv 1706.02677).
    peak = settings.learning_rate * images / REFERENCE_BATCH
    steps = plan_steps(total, settings.batch_size, replicas).steps * settings.epochs
    warmup = min(round(settings.warmup * steps), steps - 1)
    _LOG.info(
        "learning rate %.3g (%.3g for %d images a step, here %d), reached in %d steps, then %s",
        peak, settings.learning_rate, REFERENCE_BATCH, images, warmup, settings.schedule,
    )  # fmt: skip
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / (warmup + 1),
        steps - warmup,
        alpha=0.0 if settings.schedule == "cosine" else 1.0,
        warmup_target=peak,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        use_ema=settings.average_weights > 0,
        ema_momentum=settings.average_weights,
    )


def _agree(strategy: tf.distribute.Strategy, number: float, otherwise: str) -> None:
    """Raises ValueError where not all workers have the same number."""
    everywhere = strategy.run(lambda: tf.constant(float(number)))
    if float(strategy.reduce(tf.distribute.ReduceOp.MEAN, everywhere, axis=None)) != number:
        msg = f"the workers {otherwise}"
        raise ValueError(msg)
