"""One training loop for one device, for several, and for those of several workers, with Keras' callbacks.

Keras' own `fit` cannot train over several workers. Here the strategy runs each step on all replicas and what they
measured is added up; everything else is the same in all cases, so nothing is left that only large machines execute.
"""

import functools
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from modules.training import losses
from modules.training.dataset import Examples, StepPlan, distribute, plan_steps

FIGURES: Final = ("loss", "accuracy", "dice")
"""What is measured, means over images; at the end of an epoch the figures of validation have `val_` before them."""

Sums = NDArray[np.floating[Any]]
"""Of the figures over images, and the number of images, [4]; or [steps, 4]."""


class Loop:
    """Trains and validates a network."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        loss: keras.losses.Loss,
        batch_size: int,
        *,
        compiled: bool = False,
        steps_a_call: int = 1,
    ) -> None:
        """Take what is trained and how.

        Args:
            strategy: under whose scope the model was made.
            model: from images to logits, or to a list of them where coarser heads are supervised; compiled with the
                optimizer.
            loss: gives the loss of each image.
            batch_size: images a step on each replica, at most.
            compiled: whether XLA compiles the arithmetic of a step.
            steps_a_call: steps that run before the callbacks hear of them: more keep an accelerator busy.
        """
        self._strategy = strategy
        self._model = model
        self._loss = loss
        self._batch_size = batch_size
        self._steps_a_call = steps_a_call
        # A function of its own only where it is compiled: replicas cannot meet within one.
        compile_ = (
            functools.partial(tf.function, jit_compile=True, autograph=False) if compiled else lambda function: function
        )
        self._differentiate = compile_(self._differentiate_replica)
        self._measure = compile_(self._measure_replica)
        self._train_steps = tf.function(lambda steps, count: self._run_steps(self._train_step, steps, count))
        self._test_steps = tf.function(lambda steps, count: self._run_steps(self._test_step, steps, count))
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)

    def plan(self, examples: Examples) -> StepPlan:
        """Plan how the examples fall into steps."""
        return plan_steps(examples.total, self._batch_size, self._strategy.num_replicas_in_sync)

    def fit(
        self,
        train: Examples,
        validation: Examples,
        *,
        epochs: range,
        seed: int,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Train for some epochs, or until a callback sets the model's `stop_training`, which is looked at before each.

        Args:
            train: what to learn from.
            validation: what to measure after each epoch.
            epochs: their numbers, from 0; a training that goes on after an interruption starts later.
            seed: of the order.
            callbacks: told of training, validation, epochs and steps as by Keras.
        """
        plan = self.plan(train)
        listeners = keras.callbacks.CallbackList(callbacks, model=self._model, epochs=epochs.stop, steps=plan.steps)
        steps = iter(distribute(self._strategy, train, plan, epochs=epochs, seed=seed))
        listeners.on_train_begin()
        for epoch in epochs:
            if self._model.stop_training:
                break
            listeners.on_epoch_begin(epoch)
            logs = self._run_epoch(steps, plan.steps, listeners)
            listeners.on_test_begin()
            measured = self.evaluate(validation)
            listeners.on_test_end(measured)
            listeners.on_epoch_end(epoch, logs | {f"val_{name}": value for name, value in measured.items()})
        listeners.on_train_end()

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Measure the figures over all examples; where there are coarser heads, of the finest output alone."""
        plan = self.plan(examples)
        steps = iter(distribute(self._strategy, examples, plan))
        return _means(self._test_steps(steps, tf.constant(plan.steps)).numpy().sum(axis=0))

    def _run_epoch(self, steps: Any, count: int, listeners: keras.callbacks.CallbackList) -> dict[str, float]:
        total = np.zeros(len(FIGURES) + 1)
        for first in range(0, count, self._steps_a_call):
            of_call = self._train_steps(steps, tf.constant(min(self._steps_a_call, count - first))).numpy()
            for step, sums in enumerate(of_call, first):
                listeners.on_train_batch_begin(step)
                listeners.on_train_batch_end(step, _means(sums))
            total += of_call.sum(axis=0)
        self._average_statistics()
        return _means(total)

    def _average_statistics(self) -> None:
        """Give all replicas the mean of their normalisation's statistics, which differ if not synchronised."""
        if self._strategy.num_replicas_in_sync == 1:
            return
        statistics = [variable for variable in self._model.non_trainable_variables if "moving" in variable.name]
        everywhere = self._strategy.run(lambda: [tf.identity(statistic.value) for statistic in statistics])
        for statistic, values in zip(statistics, everywhere, strict=True):
            statistic.assign(self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))

    def _run_steps(self, step: Any, steps: Any, count: tf.Tensor) -> tf.Tensor:
        """Run `count` steps on all replicas, and return the sums of each, [count, 4]."""
        # A step has no loops or conditions of tensors; to look for them in all that it calls takes seconds.
        step = tf.autograph.experimental.do_not_convert(step)
        sums = tf.TensorArray(tf.float32, size=count, element_shape=[len(FIGURES) + 1])
        for index in tf.range(count):
            of_replicas = self._strategy.run(step, args=next(steps))
            sums = sums.write(index, self._strategy.reduce(tf.distribute.ReduceOp.SUM, of_replicas, axis=None))
        return sums.stack()

    def _train_step(self, images: tf.Tensor, truth: tf.Tensor, images_of_step: tf.Tensor) -> tf.Tensor:
        gradients, sums = self._differentiate(images, truth, images_of_step)
        optimizer = self._model.optimizer
        replicas = self._strategy.num_replicas_in_sync
        if replicas > 1 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # It looks for overflows on one replica, before the sum over all is taken, which the others may spoil.
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [gradient / replicas for gradient in total]
        optimizer.apply(gradients, self._model.trainable_variables)
        return sums

    def _test_step(self, images: tf.Tensor, truth: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return self._measure(images, truth)

    def _differentiate_replica(
        self, images: tf.Tensor, truth: tf.Tensor, images_of_step: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = _listed(self._model(images, training=True))
            of_images = losses.supervised(self._loss, truth, outputs)
            # The sum over replicas, which the optimizer takes, is then the mean over all images of the step.
            scaled = self._model.optimizer.scale_loss(ops.sum(of_images) / images_of_step)
        return tape.gradient(scaled, self._model.trainable_variables), _sums(of_images, truth, outputs[0])

    def _measure_replica(self, images: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
        finest = _listed(self._model(images, training=False))[0]
        return _sums(self._loss.call(truth, finest), truth, finest)


def _listed(outputs: Any) -> list[Any]:
    return outputs if isinstance(outputs, list) else [outputs]


def _sums(loss: Any, truth: Any, logits: Any) -> Any:
    figures = (loss, losses.accuracy(truth, logits), losses.dice(truth, logits), ops.ones_like(loss))
    return ops.stack([ops.sum(figure) for figure in figures])


def _means(sums: Sums) -> dict[str, float]:
    *totals, images = sums
    return {name: float(total / images) for name, total in zip(FIGURES, totals, strict=True)}
