"""Pushes a model, or says why not."""

import json
import logging
import os
from typing import Any

from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.example_validator.drift import COMPARED_SPLIT
from components.outputs import all_or_nothing
from modules.serving.serving_dir import current_version, push

MODEL = "model"
BLESSING = "blessing"
INFRA_BLESSING = "infra_blessing"
STATISTICS = "statistics"
PUSHED_MODEL = "pushed_model"
SERVING_DIR = "serving_dir"
CANDIDATE = "candidate"
RIVAL = "rival"

PUSHED = "pushed"
PUSHED_DESTINATION = "pushed_destination"
PUSHED_VERSION = "pushed_version"
PUSHED_FILE = "pushed.json"

_LOG = logging.getLogger("lungseg.pusher")


class Executor(base_executor.BaseExecutor):
    """Pushes what both blessings allow."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes.

        Args:
            input_dict: `model`, `blessing` and `infra_blessing`, one artifact each; `statistics`, none or one.
            output_dict: `pushed_model`: its custom property `pushed` is 1 or 0; `pushed_destination`, a folder, and
                `pushed_version` tell where a pushed model is, and `pushed.json` says the same. It holds no copy.
            exec_properties: `serving_dir`, `candidate` and `rival`.

        Raises:
            ValueError: the model or the serving folder's pointer is damaged.
        """
        pushed_model = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL])
        fileio.makedirs(pushed_model.uri)
        obstacle = _obstacle(
            artifact_utils.get_single_instance(input_dict[BLESSING]),
            artifact_utils.get_single_instance(input_dict[INFRA_BLESSING]),
        )
        if obstacle:
            _LOG.info("not pushed: %s", obstacle)
            pushed_model.set_int_custom_property(PUSHED, 0)
            return
        model_dir = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[MODEL]))
        statistics = _read_statistics(input_dict.get(STATISTICS, []))
        with all_or_nothing(pushed_model):
            _push(model_dir, statistics, exec_properties, pushed_model)


def _obstacle(model_blessing: types.Artifact, infra_blessing: types.Artifact) -> str | None:
    if not model_utils.is_model_blessed(model_blessing):
        return "the model is not blessed"
    if not model_utils.is_infra_validated(infra_blessing):
        return "the exported model did not pass the serving probe"
    return None


def _read_statistics(artifacts: list[types.Artifact]) -> bytes | None:
    if not artifacts:
        return None
    artifact = artifact_utils.get_single_instance(artifacts)
    return bytes(stats_artifact_utils.load_statistics(artifact, COMPARED_SPLIT).proto().SerializeToString())


def _push(
    model_dir: str, statistics: bytes | None, exec_properties: dict[str, Any], pushed_model: types.Artifact
) -> None:
    serving_dir = exec_properties[SERVING_DIR]
    before = current_version(serving_dir)
    version = push(model_dir, serving_dir, exec_properties[CANDIDATE], exec_properties[RIVAL], statistics)
    destination = os.path.join(serving_dir, str(version))
    io_utils.write_string_file(
        os.path.join(pushed_model.uri, PUSHED_FILE), json.dumps({"version": version, "destination": destination})
    )
    pushed_model.set_int_custom_property(PUSHED, 1)
    pushed_model.set_string_custom_property(PUSHED_DESTINATION, destination)
    pushed_model.set_string_custom_property(PUSHED_VERSION, str(version))
    if version == before:
        _LOG.info("equal to version %d, which is current: not pushed again", version)
    else:
        _LOG.info("version %d", version)
