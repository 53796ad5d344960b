"""Resolves spans, for runners that take drivers from us; on others TFX's own does, and does not know of `spans`."""

from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.orchestration import data_types
from tfx.proto import range_config_pb2
from tfx.utils import io_utils, proto_utils

from components.example_gen.executor import INPUT_BASE, spans_to_read
from components.example_gen.spans import check_there

RANGE_CONFIG = "range_config"


class Driver(driver.FileBasedDriver):
    """TFX's driver, with the spans before the newest one in the cache's key too."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Put the newest span into the pattern, and what identifies the files of all spans into the fingerprint.

        Raises:
            ValueError: there is no such span.
        """
        check_spans(exec_properties)
        resolved = super().resolve_exec_properties(exec_properties, pipeline_info, component_info)
        earlier = [
            io_utils.generate_fingerprint(f"span-{span}", pattern) for span, pattern in spans_to_read(resolved)[:-1]
        ]
        resolved[utils.FINGERPRINT_PROPERTY_NAME] = "\n".join([*earlier, resolved[utils.FINGERPRINT_PROPERTY_NAME]])
        return dict(resolved)


def check_spans(exec_properties: dict[str, Any]) -> None:
    """Raise ValueError where there is no span, or not the one that is named."""
    newest = None
    if requested := exec_properties.get(RANGE_CONFIG):
        range_config = range_config_pb2.RangeConfig()
        proto_utils.json_to_proto(requested, range_config)
        newest = range_config.static_range.start_span_number
    check_there(exec_properties[INPUT_BASE], newest)
