"""Runs the Reporter."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tfx.utils import path_utils

from components import base
from components.reporter import page, pictures
from components.reporter.cases import Case, choose
from components.reporter.contents import contents
from components.reporter.inputs import gather, record_files
from components.reporter.quality import draw_estimates
from components.reporter.settings import ReporterSettings
from modules.serving.segmenter import Segmenter
from schema.files import write_whole
from schema.record import Record

INDEX_FILE: Final = "index.html"
CARD_FILE: Final = "model_card.md"

_LOG = logging.getLogger("lungseg.reporter")


class Executor(base.Executor[ReporterSettings]):
    """Gathers what was found out about a model and writes the report."""

    SETTINGS = ReporterSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: ReporterSettings) -> None:
        """Report.

        Args:
            inputs: `examples`, `model`, `model_run` and `evaluation`; if there are any, `external_examples`,
                `statistics`, `anomalies`, `validation`, `external_validation`, `blessing`, `infra_blessing`,
                `pushed_model` and `baseline_model`.
            outputs: `report`: `index.html`, which needs no other file, a `RunReport` and `model_card.md`.
            settings: Of the run.

        Raises:
            ReportError: The inputs are not those of one run.
            ReportFileError: What another component wrote is missing or damaged.
            ModelError: The model cannot be loaded.
        """
        evidence = gather(inputs, settings)
        report = contents(evidence)
        shown = _show(inputs, choose(evidence.images))
        expectations = draw_estimates(evidence.images)
        folder = Path(outputs["report"].uri)
        write_whole(folder / INDEX_FILE, page.render(report, shown, evidence.quarantined, expectations))
        write_whole(folder / CARD_FILE, page.render_card(report))
        report.write(folder)
        _LOG.info("%s (%d images shown)", report.decision.headline, len(shown))


def _show(inputs: base.Artifacts, cases: Sequence[Case]) -> list[page.Shown]:
    """Draw the cases, with the model's own prediction for each."""
    wanted: dict[str, set[str]] = {}
    for case in cases:
        wanted.setdefault(case.set, set()).update({case.image_id, case.original_id if case.original else case.image_id})
    records: dict[tuple[str, str], Record] = {}
    for set_, image_ids in wanted.items():
        of_set = pictures.find_records(record_files(inputs, set_), image_ids)
        records |= {(set_, image_id): of_set[image_id] for image_id in sorted(image_ids)}
    drawn = pictures.draw_all(records, Segmenter(path_utils.serving_model_path(inputs["model"].uri)))
    return [page.Shown(case, drawn[case.key], drawn[case.original.key] if case.original else None) for case in cases]
