"""Runs the BaselineResolver."""

import logging
import shutil

from tfx.utils import path_utils

from components import base
from components.serving_folder import ServingFolderSettings
from modules.serving.serving_dir import current_version

_LOG = logging.getLogger("lungseg.baseline")


class Executor(base.Executor[ServingFolderSettings]):
    """Copies the current version of the serving folder, if there is one."""

    SETTINGS = ServingFolderSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: ServingFolderSettings) -> None:  # noqa: ARG002
        """Resolve.

        Args:
            inputs: `examples`, not read.
            outputs: `model`: its custom property `version` tells which it is; discarded if there is none.
            settings: Of which the folder is read; the keys are the cache's.

        Raises:
            ValueError: The serving folder's pointer is damaged, or names what is no model or no longer the model
                that was put there.
        """
        model = outputs["model"]
        version = current_version(settings.serving_dir)
        if version is None:
            _LOG.info("none: no model has been blessed yet")
            shutil.rmtree(model.uri, ignore_errors=True)
            outputs.discard("model")
            return
        _LOG.info("version %d", version)
        shutil.copytree(settings.serving_dir / str(version), path_utils.serving_model_path(model.uri))
        model.set_int_custom_property("version", version)
