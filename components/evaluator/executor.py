"""Runs the Evaluator on Beam."""

import csv
import io
import logging
import os
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from pydantic import BaseModel
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.augmenter.executor import written_to
from components.counters import count, read_counters
from components.evaluator.measure import READ, MeasureImages
from components.outputs import all_or_nothing
from modules.evaluation.bootstrap import BASELINE, CANDIDATE
from modules.evaluation.measures import MEASURES
from modules.evaluation.rules import DECISION_FILE, decide
from modules.evaluation.slicing import (
    EVALUATION_FILE,
    IMAGES_FILE,
    TEST_SET,
    Evaluation,
    MeasuredImage,
    eval_config,
    read_evaluation,
    to_extracts,
)
from modules.settings import EvaluateSettings

EXAMPLES = "examples"
EXTERNAL_EXAMPLES = "external_examples"
MODEL = "model"
BASELINE_MODEL = "baseline_model"
EVALUATION = "evaluation"
BLESSING = "blessing"
SETTINGS = "settings"
BASELINE_NAME = "baseline_name"
CODE_VERSION = "code_version"

_MEASURED = "measured"
_DESCRIPTION = tuple(name for name in MeasuredImage._fields if name != "values")

_LOG = logging.getLogger("lungseg.evaluator")

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_beam_executor.BaseBeamExecutor):
    """Measures each image of each set, has TFMA take the statistics of each slice, and applies the rules."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Evaluates.

        Args:
            input_dict: `examples`, of which the split `test` is judged by; `model`; `baseline_model`, none or one;
                `external_examples`, none or one, of which each split is a test set of its own.
            output_dict: `evaluation`: TFMA's files, `evaluation.json` (`Evaluation`) and
                `images.csv`; `blessing`: `decision.json` (`Decision`), a file BLESSED or NOT_BLESSED,
                and the custom property `blessed` that Pusher reads.
            exec_properties: `settings`, of `EvaluateSettings`, as JSON; `baseline_name`; `code_version`, not read.

        Raises:
            MeasureError: a record breaks the contract, or a model lacks the signature.
            RuntimeError: a set is empty, or records got lost on the way.
        """
        evaluation, blessing = (artifact_utils.get_single_instance(output_dict[key]) for key in (EVALUATION, BLESSING))
        with all_or_nothing(evaluation, blessing):
            self._evaluate(input_dict, evaluation, blessing, exec_properties)

    def _evaluate(
        self,
        input_dict: Artifacts,
        evaluation: types.Artifact,
        blessing: types.Artifact,
        exec_properties: dict[str, Any],
    ) -> None:
        settings = EvaluateSettings.model_validate_json(exec_properties[SETTINGS])
        models = {CANDIDATE: _folder(artifact_utils.get_single_instance(input_dict[MODEL]))}
        baseline = None
        for artifact in input_dict.get(BASELINE_MODEL, []):
            models[BASELINE] = _folder(artifact)
            baseline = exec_properties[BASELINE_NAME] or f"version {artifact.get_int_custom_property('version')}"
        self._measure(_sets(input_dict), models, settings, evaluation.uri)
        found = read_evaluation(evaluation.uri, settings, baseline)
        _check_counts(found, input_dict)
        _write(found, evaluation.uri, EVALUATION_FILE)
        decision = decide(found, settings.rules)
        _write(decision, blessing.uri, DECISION_FILE)
        io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if decision.blessed else "NOT_BLESSED"), "")
        blessing.set_int_custom_property("blessed", int(decision.blessed))
        _tell(found)

    def _measure(
        self, sets: Mapping[str, str], models: Mapping[str, str], settings: EvaluateSettings, output: str
    ) -> None:
        """Writes TFMA's files and `images.csv`.

        Args:
            sets: patterns of files of serialized records, by name of the set.
            models: folders of SavedModels.
            settings: of the evaluation.
            output: folder to write to.
        """
        config = eval_config(settings)
        with self._make_beam_pipeline() as pipeline:
            measured = [
                pipeline
                | f"Read[{name}]" >> beam.io.ReadFromTFRecord(pattern)
                | f"Measure[{name}]" >> MeasureImages(models, name, settings.tolerance)
                for name, pattern in sets.items()
            ]
            images = measured | beam.Flatten()
            _ = (
                images
                | "ToRow" >> beam.Map(_to_row, BASELINE in models)
                | "WriteRows"
                >> beam.io.WriteToText(
                    os.path.join(output, IMAGES_FILE), shard_name_template="", header=_header(BASELINE in models)
                )
            )
            _ = (
                images
                | "ToExtracts" >> beam.Map(to_extracts, settings.small_lungs)
                | tfma.ExtractAndEvaluate(
                    extractors=[slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False)],
                    evaluators=[metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(config)],
                )
                | tfma.WriteResults(writers=tfma.default_writers(output, eval_config=config))
            )
        for name in sets:
            _reconcile(pipeline.result, name)


def _folder(model: types.Artifact) -> str:
    return str(path_utils.serving_model_path(model.uri))


def _sets(input_dict: Artifacts) -> dict[str, str]:
    """Pattern of the files of each set: the test split, and each split of external examples."""
    examples = input_dict[EXAMPLES]
    sets = {TEST_SET: io_utils.all_files_pattern(artifact_utils.get_split_uri(examples, TEST_SET))}
    for artifact in input_dict.get(EXTERNAL_EXAMPLES, []):
        for split in artifact_utils.decode_split_names(artifact.split_names):
            sets[split] = io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], split))
    return sets


def _header(with_baseline: bool) -> str:
    baseline = [f"{BASELINE}_{name}" for name in MEASURES] if with_baseline else []
    return ",".join([*_DESCRIPTION, *MEASURES, *baseline])


def _to_row(image: MeasuredImage, with_baseline: bool) -> str:
    count(None, image.set, _MEASURED)
    described = [getattr(image, name) for name in _DESCRIPTION]
    numbers = image.values[: 1 + with_baseline, : len(MEASURES)].ravel().tolist()
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        [int(one) if isinstance(one, bool) else one for one in (*described, *numbers)]
    )
    return line.getvalue()


def _reconcile(result: beam.runners.runner.PipelineResult, set_: str) -> None:
    """What went in must have come out: runners have been seen to lose records without an error."""
    counts = read_counters(result, set_)
    read, measured = counts[READ], counts[_MEASURED]
    if read == 0:
        msg = f"set '{set_}' has no records: there is nothing to judge by, so add patients to it"
        raise RuntimeError(msg)
    if read != measured:
        msg = f"set '{set_}' lost records: {read} read, {measured} measured"
        raise RuntimeError(msg)


def _check_counts(found: Evaluation, input_dict: Artifacts) -> None:
    """What is judged by must be all that the Augmenter wrote."""
    for one in found.slices:
        source = input_dict[EXAMPLES] if one.set == TEST_SET else input_dict[EXTERNAL_EXAMPLES]
        written = sum(written_to(artifact, one.set) for artifact in source)
        if not one.keys and written and one.examples != written:
            msg = f"set '{one.set}' lost records: {written} written by the Augmenter, {one.examples} judged by"
            raise RuntimeError(msg)


def _write(contents: BaseModel, folder: str, name: str) -> None:
    io_utils.write_string_file(os.path.join(folder, name), contents.model_dump_json(indent=1) + "\n")


def _tell(evaluation: Evaluation) -> None:
    for one in evaluation.slices:
        if not one.keys:
            dice = one.metrics["dice_mean"]
            interval = f" ({dice.low:.4f}-{dice.high:.4f})" if dice.interval else ""
            _LOG.info("%s: Dice %.4f%s on %d images", one.set, dice.value, interval, one.examples)
