"""Runs DoubtfulMasks."""

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from tfx.utils import path_utils

from components import base
from components.doubtful_masks.ranking import rank_masks
from components.doubtful_masks.settings import DoubtfulMasksSettings
from components.images_table import read_images
from components.reporter import pictures
from components.reporter.cases import Case
from components.reporter.inputs import record_files
from components.reporter.page import make_environment
from components.reporter.pictures import Pictures
from modules.serving.segmenter import Segmenter
from schema import features
from schema.files import write_whole
from schema.record import Record
from schema.reports.evaluation import TEST_SET, Evaluation

TABLE_FILE: Final = "doubtful.csv"
PAGE_FILE: Final = "index.html"
SHOWN: Final = 24
"""Masks on the page; the table has all."""

_LOG = logging.getLogger("lungseg.study")


class Executor(base.Executor[DoubtfulMasksSettings]):
    """Ranks masks, and draws the worst."""

    SETTINGS = DoubtfulMasksSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: DoubtfulMasksSettings) -> None:
        """Rank.

        Args:
            inputs: `evaluations`, `models` and `examples`.
            outputs: `masks`: `doubtful.csv`, a row an image, and `index.html`, the first of them with both outlines.
            settings: Of the study.

        Raises:
            ReportError: An image that was measured is not among the examples.
            ReportFileError: Another component's report is missing or damaged.
            ModelError: A model cannot be loaded.
        """
        folders = [evaluation.uri for evaluation in inputs.all("evaluations")]
        measured = [(str(Evaluation.read(folder).model), read_images(folder)) for folder in sorted(folders)]
        ranked = rank_masks([images for _, images in measured])
        worst = ranked[:SHOWN]
        records = pictures.find_records(record_files(inputs, TEST_SET), set(worst[features.IMAGE_ID]))
        drawn = _draw(records, measured)
        page = (
            make_environment(Path(__file__).with_name("templates"))
            .get_template("doubtful.html.j2")
            .render(
                pipeline=settings.pipeline,
                masks=[(_case(row), drawn[row[features.IMAGE_ID]]) for row in worst.to_dict("records")],
                total=len(ranked),
                table=TABLE_FILE,
            )
        )
        folder = Path(outputs["masks"].uri)
        write_whole(folder / TABLE_FILE, ranked.to_csv(index=False, float_format="%.4f"))
        write_whole(folder / PAGE_FILE, page)
        _LOG.info("%d masks ranked, %d shown", len(ranked), len(worst))


def _draw(records: Mapping[str, Record], measured: Sequence[tuple[str, pd.DataFrame]]) -> dict[str, Pictures]:
    """Draw each image with the mask that the first model which was tested on it makes."""
    drawn: dict[str, Pictures] = {}
    for model, images in measured:
        tested = set(images.loc[images["set"] == TEST_SET, features.IMAGE_ID])
        todo = {(TEST_SET, name): record for name, record in records.items() if name in tested and name not in drawn}
        if todo:
            of_model = pictures.draw_all(todo, Segmenter(path_utils.serving_model_path(model)))
            drawn |= {name: picture for (_, name), picture in of_model.items()}
    return drawn


def _case(row: dict[Hashable, Any]) -> Case:
    distances = {name: row[name] if math.isfinite(row[name]) else None for name in ("hd95", "hd95_px")}
    image_id, share = row[features.IMAGE_ID], row[features.LUNG_FRACTION]
    facts = (f"patient {row[features.PATIENT_ID]}", row[features.SOURCE], f"the mask covers {share:.1%} of the image")
    return Case("", TEST_SET, image_id, image_id, dice=row["dice"], **distances, facts=facts)
