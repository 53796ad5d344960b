"""What TFX's Trainer calls: trains the network on what Transform wrote, and exports the best weights.

The training itself is `train`, which every worker runs; only the chief writes.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import keras
import tensorflow as tf

from modules.network.unet import copy_weights, unet
from modules.network.weights import read_weights, write_weights
from modules.quality.estimator import QualityEstimator
from modules.quality.grey_scale import find_grey_scale
from modules.quality.learn import Network, learn_quality
from modules.serving.export import export_model, lung_probabilities
from modules.serving.parts import usual_number_of_parts
from modules.training import losses
from modules.training.callbacks import KeepBest, ProgressLog, StopOnNaN
from modules.training.checkpoint import Checkpoint, checkpoint_key
from modules.training.dataset import HALF, Examples, draw_examples, plan_steps, read_examples
from modules.training.distribution import compiles, dtype_policy, gpus_of, is_chief, strategy_for
from modules.training.loop import Loop
from modules.training.settings import REFERENCE_BATCH, TrainerSettings, TrainSettings
from schema.reports.training import TrainingHistory

_STEPS_A_CALL_ON_GPUS: Final = 16
_MASKS_TO_COUNT: Final = 400

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
        settings: Of the network and its training.
        train_files: What to learn from.
        eval_files: What to validate on.
        base_model: Folder of a SavedModel with whose weights to begin, or None.
        log_dir: Folder for TensorBoard, or None.
    """

    settings: TrainerSettings
    train_files: tuple[str, ...]
    eval_files: tuple[str, ...]
    base_model: Path | None = None
    log_dir: Path | None = None

    def with_values(self, values: Mapping[str, Any]) -> "Job":
        """Replace settings by dotted names, such as `train.batch_size` and `model.filters`.

        Raises:
            ValueError: There is no such setting, or a value is out of its range.
        """
        sections = self.settings.model_dump()
        for dotted, value in values.items():
            section, name = dotted.split(".")
            sections[section][name] = value
        return replace(self, settings=TrainerSettings.model_validate(sections))


@dataclass(frozen=True)
class Trained:
    """A training that has ended.

    Attributes:
        model: With the best weights, in single precision, for one device and without coarser heads.
        history: Figures by name, one an epoch.
        checkpoint: Of the training; to be removed once the model is safe.
        writes: Whether this process is the one that writes.
    """

    model: keras.Model
    history: dict[str, list[float]]
    checkpoint: Checkpoint
    writes: bool


def run_fn(fn_args: FnArgs) -> None:
    """Train and export.

    Args:
        fn_args: Files and folders; `custom_config` holds `TrainerSettings`; `hyperparameters` of the Tuner replace
            settings of the same dotted names; `base_model` is for `train.warm_start`.

    Raises:
        ValueError: No examples or too few, the loss became NaN, or the settings do not fit the machine or each other.
    """
    job = read_job(fn_args)
    trained = train(job)
    if not trained.writes:
        return
    settings, parts = job.settings.model, _choose_parts(job)
    transform_graph = f"{fn_args.transform_graph_path}/transform_fn"
    segment = partial(lung_probabilities, trained.model, settings.average_mirrored, settings.threshold, parts)
    export_model(
        trained.model,
        transform_graph,
        fn_args.serving_model_dir,
        quality=_learn_quality(job, segment, transform_graph),
        average_mirrored=settings.average_mirrored,
        threshold=settings.threshold,
        largest_parts=parts,
        review_below=settings.review_below,
    )
    exported = settings.model_copy(update={"largest_parts": parts})
    write_weights(trained.model, exported, Path(fn_args.serving_model_dir))
    TrainingHistory(figures=trained.history).write(str(fn_args.model_run_dir))
    trained.checkpoint.remove()


def read_job(fn_args: FnArgs) -> Job:
    """Read what is to be trained, with the Tuner's choice in the place of settings where there is one.

    Raises:
        ValueError: A setting is out of its range.
    """
    settings = TrainerSettings.model_validate(fn_args.custom_config)
    job = Job(
        settings,
        train_files=tuple(fn_args.train_files),
        eval_files=tuple(fn_args.eval_files),
        base_model=Path(fn_args.base_model) if settings.train.warm_start and fn_args.base_model else None,
        log_dir=Path(fn_args.model_run_dir) if fn_args.model_run_dir else None,  # the Tuner has none
    )
    chosen = (fn_args.hyperparameters or {}).get("values", {})
    if chosen:
        _LOG.info("as tuned: %s", describe(chosen))
    return job.with_values(chosen)


def describe(values: Mapping[str, float]) -> str:
    """Write dotted names with their values, on one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def train(job: Job, *extra: keras.callbacks.Callback) -> Trained:
    """Train on this machine's devices, or as one of the workers that TF_CONFIG names.

    Args:
        job: What to train.
        *extra: Callbacks beside the project's own.
    """
    settings = job.settings.train
    keras.utils.set_random_seed(settings.seed)
    strategy = strategy_for(settings.devices)
    replicas, chief = strategy.num_replicas_in_sync, is_chief(strategy)
    examples, validation = _read_data(job)

    policy, compiled = dtype_policy(settings), compiles(settings, job.settings.model, replicas)
    _agree(strategy, sum(policy.encode()), "ask for different precisions on their hardware: set train.precision")
    model = _build(job, strategy, policy, examples.total)
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
    key = _determined_by(job, (examples, validation), replicas, policy)
    best = KeepBest(settings.patience, averages=settings.average_weights > 0)
    history = keras.callbacks.History()
    checkpoint = Checkpoint(job.settings.checkpoint_dir / key, best, history, writes=chief)
    start = checkpoint.restore(model)
    _agree(strategy, start, "have found different checkpoints: their checkpoint folder must be one that all share")
    boards = [keras.callbacks.TensorBoard(str(job.log_dir), write_graph=False)] if chief and job.log_dir else []
    loop.fit(
        examples,
        validation,
        epochs=range(start, settings.epochs),
        seed=settings.seed,
        callbacks=[StopOnNaN(), ProgressLog(), best, history, *boards, checkpoint, *extra],
    )
    model.set_weights(best.weights)
    alone = unet(job.settings.model)
    copy_weights(model, alone)
    return Trained(alone, history.history, checkpoint, chief)


def _choose_parts(job: Job) -> int:
    """Return how many parts of a mask are kept, 0 for all, as set or as the masks of the training have them."""
    settings = job.settings.model
    if settings.largest_parts != "auto":
        return settings.largest_parts
    originals = draw_examples(job.train_files, settings.image_size, _MASKS_TO_COUNT, originals=True)
    parts = usual_number_of_parts(share[..., 0] > HALF for _, share in originals.as_numpy_iterator())
    if parts:
        _LOG.info("of a mask, the exported model keeps the %d largest parts, as masks of the training have", parts)
    return parts


def _learn_quality(job: Job, segment: Network, transform_graph: str) -> QualityEstimator:
    """Fit what tells how good the masks of the trained network are."""
    return learn_quality(
        segment,
        job.settings.model.image_size,
        job.train_files,
        job.eval_files,
        find_grey_scale(transform_graph, job.settings.transform.normalization),
    )


def _read_data(job: Job) -> tuple[Examples, Examples]:
    """Read what to learn from and what to validate on."""
    size, copies = job.settings.model.image_size, job.settings.train.copies
    examples = read_examples(
        job.train_files, size, "keep" if copies else "replace", job.settings.train.images_per_original
    )
    # The best epoch must not be chosen by copies either; to see originals again would tell no more.
    return examples, read_examples(job.eval_files, size, "keep" if copies else "drop")


def _build(job: Job, strategy: tf.distribute.Strategy, policy: str, total: int) -> keras.Model:
    """Build the network that is trained, with its optimizer, for `total` images an epoch."""
    settings, replicas = job.settings.model, strategy.num_replicas_in_sync
    with strategy.scope(), _default_policy(policy):
        model = unet(settings, synchronized=replicas > 1, coarser_heads=settings.deep_supervision)
        if job.base_model:
            read_weights(model, settings, job.base_model)
            _LOG.info("begins with the weights of the model blessed last")
        model.compile(optimizer=_optimizer(job.settings.train, total, replicas), jit_compile=False)
    return model


def _determined_by(job: Job, data: tuple[Examples, Examples], replicas: int, policy: str) -> str:
    """Return the key of everything that determines the training."""
    return checkpoint_key(
        model=job.settings.model.model_dump(),
        train=job.settings.train.model_dump(),
        base_model=str(job.base_model),
        code_version=job.settings.code_version,
        libraries=[tf.__version__, keras.__version__],
        # Artifacts never change, so their addresses and lengths stand for their content.
        files=[*job.train_files, *job.eval_files],
        lengths=[length for examples in data for length in (examples.total, examples.length)],
        replicas=replicas,
        policy=policy,
    )


@contextlib.contextmanager
def _default_policy(policy: str) -> Iterator[None]:
    """Set Keras' dtype policy for the layers that are made within."""
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
    return keras.optimizers.Adam(
        schedule,
        weight_decay=settings.weight_decay or None,  # a decay by 0 would be computed all the same
        use_ema=settings.average_weights > 0,
        ema_momentum=settings.average_weights,
    )


def _agree(strategy: tf.distribute.Strategy, number: float, otherwise: str) -> None:
    """Raise ValueError where not all workers have the same number."""
    everywhere = strategy.run(lambda: tf.constant(float(number)))
    if float(strategy.reduce(tf.distribute.ReduceOp.MEAN, everywhere, axis=None)) != number:
        raise ValueError(f"the workers {otherwise}")
