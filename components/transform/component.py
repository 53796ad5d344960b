"""Transform: Examples in, transformed Examples and the graph that transforms them out."""

from tfx.components.transform import component
from tfx.dsl.components.base import executor_spec

from components.transform import executor


class Transform(component.Transform):
    """TFX's Transform; it fails where a record of the Augmenter's is not among the transformed ones."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
