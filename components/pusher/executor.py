"""Runs the Pusher."""

import logging
from pathlib import Path

from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.components.util import model_utils
from tfx.utils import path_utils

from components import base
from components.serving_folder import ServingFolderSettings
from modules.serving.serving_dir import pointed_version, push
from schema.reports.serving import ChangeReport, PushRecord
from schema.reports.statistics import COMPARED_SPLIT

PUSHED = "pushed"
PUSHED_DESTINATION = "pushed_destination"
PUSHED_VERSION = "pushed_version"

_LOG = logging.getLogger("lungseg.pusher")


class Executor(base.Executor[ServingFolderSettings]):
    """Pushes what both blessings allow."""

    SETTINGS = ServingFolderSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: ServingFolderSettings) -> None:
        """Push.

        Args:
            inputs: `model`, `blessing` and `infra_blessing`; `statistics` and `changes`, if there are any.
            outputs: `pushed_model`: its custom property `pushed` is 1 or 0; `pushed_destination`, a folder, and
                `pushed_version` tell where a pushed model is, and a `PushRecord` says the same. It holds no copy.
            settings: Where to, and the keys of what made and judged the model.

        Raises:
            ValueError: The model or the serving folder's pointer is damaged.
        """
        pushed_model = outputs["pushed_model"]
        if obstacle := _obstacle(inputs["blessing"], inputs["infra_blessing"]):
            _LOG.info("not pushed: %s", obstacle)
            pushed_model.set_int_custom_property(PUSHED, 0)
            return
        changes = inputs.get("changes")
        before = pointed_version(settings.serving_dir)
        version = push(
            Path(path_utils.serving_model_path(inputs["model"].uri)),
            settings.serving_dir,
            settings.candidate_key,
            settings.baseline_key,
            _read_statistics(inputs.get("statistics")),
            ChangeReport.read(changes.uri).origin if changes else None,
        )
        record = PushRecord(version=version, destination=str(settings.serving_dir / str(version)))
        record.write(pushed_model.uri)
        pushed_model.set_int_custom_property(PUSHED, 1)
        pushed_model.set_string_custom_property(PUSHED_DESTINATION, record.destination)
        pushed_model.set_string_custom_property(PUSHED_VERSION, str(version))
        if version == before:
            _LOG.info("equal to version %d, which is current: not pushed again", version)
        else:
            _LOG.info("version %d", version)


def _obstacle(model_blessing: types.Artifact, infra_blessing: types.Artifact) -> str | None:
    if not model_utils.is_model_blessed(model_blessing):
        return "the model is not blessed"
    if not model_utils.is_infra_validated(infra_blessing):
        return "the exported model did not pass the serving probe"
    return None


def _read_statistics(statistics: types.Artifact | None) -> bytes | None:
    if statistics is None:
        return None
    return bytes(stats_artifact_utils.load_statistics(statistics, COMPARED_SPLIT).proto().SerializeToString())
