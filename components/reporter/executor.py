"""Runs the Reporter."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, Final

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.artifacts import all_or_nothing
from components.example_validator.anomalies import read_anomalies
from components.example_validator.drift import DRIFT_FILE
from components.reporter import artifacts, page, pictures
from components.reporter.cases import Case, choose
from components.reporter.contents import contents
from components.reporter.evidence import Evidence
from components.serving_probe.executor import PROBE_FILE
from modules.evaluation.rules import DECISION_FILE
from schema import features
from schema.record import Record
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import EVALUATION_FILE, TEST_SET, Evaluation
from schema.reports.statistics import DriftReport

EXAMPLES = "examples"
EXTERNAL_EXAMPLES = "external_examples"
STATISTICS = "statistics"
ANOMALIES = "anomalies"
VALIDATION = "validation"
EXTERNAL_VALIDATION = "external_validation"
MODEL = "model"
MODEL_RUN = "model_run"
BASELINE_MODEL_RUN = "baseline_model_run"
EVALUATION = "evaluation"
BLESSING = "blessing"
INFRA_BLESSING = "infra_blessing"
PUSHED_MODEL = "pushed_model"
BASELINE_MODEL = "baseline_model"
REPORT = "report"
SETTINGS = "settings"
CODE_VERSION = "code_version"
KIND = "kind"

INDEX_FILE: Final = "index.html"
REPORT_FILE: Final = "report.json"
CARD_FILE: Final = "model_card.md"

_MADE_BY = {
    VALIDATION: "RecordValidator",
    EXTERNAL_VALIDATION: "RecordValidator of external sets",
    STATISTICS: "StatisticsGen",
    ANOMALIES: "ExampleValidator",
    EXAMPLES: "Augmenter",
    EXTERNAL_EXAMPLES: "Augmenter of external sets",
    MODEL: "Trainer",
    BASELINE_MODEL_RUN: "Trainer on originals only",
    EVALUATION: "Evaluator",
    INFRA_BLESSING: "ServingProbe",
    PUSHED_MODEL: "Pusher",
}
"""The component that each input tells the time of."""

_LOG = logging.getLogger("lungseg.reporter")

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """Gathers what was found out about a model and writes the report."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Reports.

        Args:
            input_dict: `examples`, `model`, `model_run` and `evaluation`; none or one each of `external_examples`,
                `statistics`, `anomalies`, `validation`, `external_validation`, `baseline_model_run`, `blessing`,
                `infra_blessing`, `pushed_model` and `baseline_model`.
            output_dict: `report`: `index.html`, which needs no other file, `report.json` and `model_card.md`.
            exec_properties: `settings`, as JSON; `code_version`; `kind`, `run` or `study`.

        Raises:
            ReportError: an input is broken, or they are not those of one run.
        """
        output = artifact_utils.get_single_instance(output_dict[REPORT])
        with all_or_nothing(output):
            evidence = _gather(input_dict, exec_properties)
            report = contents(evidence)
            shown = _show(input_dict, choose(evidence.images))
            files = {
                INDEX_FILE: page.render(report, shown, evidence.quarantined),
                REPORT_FILE: json.dumps(report, indent=1, allow_nan=False) + "\n",
                CARD_FILE: page.render_card(report),
            }
            for name, text in files.items():
                with fileio.open(os.path.join(output.uri, name), "wb") as file:
                    file.write(text.encode())
        _LOG.info("%s (%d images shown)", report["decision"]["headline"], len(shown))


def _gather(inputs: Artifacts, exec_properties: dict[str, Any]) -> Evidence:
    given = {key: one for key, of_key in inputs.items() if (one := artifacts.only(of_key)) is not None}
    evaluation, pushed = given[EVALUATION], given.get(PUSHED_MODEL)
    validations = [given[key] for key in (VALIDATION, EXTERNAL_VALIDATION) if key in given]
    return Evidence(
        kind=exec_properties[KIND],
        settings=json.loads(exec_properties[SETTINGS]),
        code_version=exec_properties[CODE_VERSION],
        images=artifacts.read_images(evaluation.uri),
        evaluation=artifacts.read_model(Evaluation, evaluation.uri, EVALUATION_FILE),
        history=artifacts.read_history(given[MODEL_RUN]),
        data=artifacts.read_data(given[EXAMPLES]),
        other_history=artifacts.read_history(given[BASELINE_MODEL_RUN]) if BASELINE_MODEL_RUN in given else None,
        decision=artifacts.read_model(BlessingDecision, given[BLESSING].uri, DECISION_FILE)
        if BLESSING in given
        else None,
        probe=artifacts.read_json(given[INFRA_BLESSING].uri, PROBE_FILE) if INFRA_BLESSING in given else None,
        pushed=None if pushed is None else pushed.get_int_custom_property("pushed") == 1,
        version=(pushed.get_string_custom_property("pushed_version") or None) if pushed else None,
        parent=given[BASELINE_MODEL].get_int_custom_property("version") if BASELINE_MODEL in given else None,
        statistics=artifacts.read_statistics(given[STATISTICS]) if STATISTICS in given else {},
        anomalies=tuple(read_anomalies(given[ANOMALIES])) if ANOMALIES in given else None,
        drift=artifacts.read_model(DriftReport, given[ANOMALIES].uri, DRIFT_FILE) if ANOMALIES in given else None,
        validation=artifacts.read_validation(validations),
        quarantined=tuple(artifacts.read_sheets(validations)),
        stages=tuple(artifacts.read_stage(name, given[key]) for key, name in _MADE_BY.items() if key in given),
        schema=hashlib.sha256(features.SCHEMA_FILE.read_bytes()).hexdigest()[:16],
        libraries=artifacts.read_libraries(),
    )


def _show(inputs: Artifacts, cases: Sequence[Case]) -> list[page.Shown]:
    """Draws the cases, with the model's own prediction for each."""
    wanted: dict[str, set[str]] = {}
    for case in cases:
        wanted.setdefault(case.set, set()).update({case.image_id, case.original_id if case.original else case.image_id})
    records: dict[tuple[str, str], Record] = {}
    for name, image_ids in wanted.items():
        examples = artifacts.examples_of(inputs, EXAMPLES if name == TEST_SET else EXTERNAL_EXAMPLES, name)
        found = pictures.find_records(artifacts.split_files(examples, name), image_ids)
        records |= {(name, image_id): found[image_id] for image_id in sorted(image_ids)}
    model = artifact_utils.get_single_instance(inputs[MODEL])
    segment = pictures.load_model(path_utils.serving_model_path(model.uri))
    drawn = pictures.draw_all(records, segment)
    return [(case, drawn[case.key], drawn[case.original.key] if case.original else None) for case in cases]
