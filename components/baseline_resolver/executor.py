"""Looks for the current model."""

import logging
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from modules.serving.serving_dir import current_version

EXAMPLES = "examples"
MODEL = "model"
SERVING_DIR = "serving_dir"
CANDIDATE = "candidate"
RIVAL = "rival"

_LOG = logging.getLogger("lungseg.baseline")


class Executor(base_executor.BaseExecutor):
    """Copies the current version of the serving folder, if there is one."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],  # noqa: ARG002
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Resolves.

        Args:
            input_dict: `examples`, not read.
            output_dict: `model`: its custom property `version` tells which it is; emptied if there is none.
            exec_properties: `serving_dir`; `candidate` and `rival`, which are not read.

        Raises:
            ValueError: the serving folder's pointer is damaged, or names what is no model.
        """
        serving_dir = exec_properties[SERVING_DIR]
        model = artifact_utils.get_single_instance(output_dict[MODEL])
        version = current_version(serving_dir)
        if version is None:
            _LOG.info("none: no model has been blessed yet")
            fileio.rmtree(model.uri)
            output_dict[MODEL].clear()
            return
        _LOG.info("version %d", version)
        io_utils.copy_dir(os.path.join(serving_dir, str(version)), path_utils.serving_model_path(model.uri))
        model.set_int_custom_property("version", version)
