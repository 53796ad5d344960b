"""The ChangeDetector: whether there is anything to train for."""

from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.change_detector.executor import Executor
from components.change_detector.settings import ChangeDetectorSettings


class ChangeDetectorSpec(component_spec.ComponentSpec):
    """Outputs and parameters of the ChangeDetector, which has no inputs."""

    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"changes": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = base.PARAMETERS


class ChangeDetector(base.Component):
    """Compares data, settings and code with what the model that serves was made of, before anything is read.

    Where nothing has changed, the rest of the run is left out: on Kubeflow by the condition that is compiled into each
    other step, on one machine by the runner. It reads the serving folder instead of the metadata store, so that it
    finds the same on every runner, and after the store is gone.

    ```python
    detector = ChangeDetector(settings=ChangeDetectorSettings(serving_dir="root/serving", data_root="data", run={}))
    pusher = Pusher(changes=detector.outputs["changes"], ...)
    ```
    """

    SPEC_CLASS = ChangeDetectorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, settings: ChangeDetectorSettings) -> None:
        """Wire the component.

        Args:
            settings: Where to look, and what counts.
        """
        super().__init__(settings)
