"""Runs the Evaluator on Beam."""

import csv
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor
from tfx.utils import io_utils, path_utils

from components import artifacts, base
from components.counters import count, read_counters, reconcile
from components.evaluator.measure import READ, MeasureImages
from components.evaluator.settings import EvaluatorSettings
from modules.evaluation.bootstrap import BASELINE, CANDIDATE
from modules.evaluation.measures import MEASURES
from modules.evaluation.rules import decide
from modules.evaluation.settings import EvaluateSettings
from modules.evaluation.slicing import MeasuredImage, eval_config, read_evaluation, to_extracts
from schema.reports.evaluation import IMAGES_FILE, TEST_SET, Evaluation, in_part

_MEASURED = "measured"
_DESCRIPTION = tuple(name for name in MeasuredImage._fields if name != "values")

_LOG = logging.getLogger("lungseg.evaluator")


class Executor(base.BeamExecutor[EvaluatorSettings]):
    """Measures each image of each set, has TFMA take the statistics of each slice, and applies the rules."""

    SETTINGS = EvaluatorSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: EvaluatorSettings) -> None:
        """Evaluate.

        Args:
            inputs: `examples`, of which the split `test` is judged by; `model`; `baseline_model`, if there is one;
                `external_examples`, if there are any, of which each split is a test set of its own.
            outputs: `evaluation`: TFMA's files, an `Evaluation` and `images.csv`; `blessing`: a `BlessingDecision`, a
                file BLESSED or NOT_BLESSED, and the custom property `blessed` that Pusher reads.
            settings: How to judge.

        Raises:
            MeasureError: A record breaks the contract, or a model lacks the signature.
            RuntimeError: A set is empty, or records got lost on the way.
        """
        evaluation, blessing = outputs["evaluation"], outputs["blessing"]
        models, baseline_name = {CANDIDATE: _folder(inputs["model"])}, None
        if baseline := inputs.get("baseline_model"):
            models[BASELINE] = _folder(baseline)
            baseline_name = f"version {baseline.get_int_custom_property('version')}"
        self._measure(_sets(inputs), models, settings.evaluate, evaluation.uri)
        evaluated = read_evaluation(evaluation.uri, settings.evaluate, baseline_name).model_copy(
            update={"training": settings.training, "model": inputs["model"].uri}
        )
        _check_counts(evaluated, inputs)
        evaluated.write(evaluation.uri)
        decision = decide(evaluated, settings.evaluate.rules)
        decision.write(blessing.uri)
        Path(blessing.uri, "BLESSED" if decision.blessed else "NOT_BLESSED").touch()
        blessing.set_int_custom_property("blessed", int(decision.blessed))
        _log_dice(evaluated)

    def _measure(
        self, sets: Mapping[str, str], models: Mapping[str, str], settings: EvaluateSettings, output: str
    ) -> None:
        """Write TFMA's files and `images.csv`.

        Args:
            sets: Patterns of files of serialized records, by name of the set.
            models: Folders of SavedModels.
            settings: Of the evaluation.
            output: Folder to write to.
        """
        config = eval_config(settings)
        with self._make_beam_pipeline() as pipeline:
            measured = [
                pipeline
                | f"Read[{name}]" >> beam.io.ReadFromTFRecord(pattern)
                | f"Measure[{name}]" >> MeasureImages(models, name, settings.tolerance, settings.region_of(name))
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
            counts = read_counters(pipeline.result, name)
            reconcile(
                f"set '{name}'",
                counts[READ],
                {"measured": counts[_MEASURED]},
                if_empty="there is nothing to judge by, so add patients to it",
            )


def _folder(model: types.Artifact) -> str:
    return str(path_utils.serving_model_path(model.uri))


def _sets(inputs: base.Artifacts) -> dict[str, str]:
    """Return the pattern of the files of each set: the test split, and each split of external examples."""
    sets = {TEST_SET: inputs["examples"]}
    if external := inputs.get("external_examples"):
        sets |= dict.fromkeys(artifacts.splits_of(external), external)
    return {name: io_utils.all_files_pattern(artifacts.split_folder(examples, name)) for name, examples in sets.items()}


def _header(with_baseline: bool) -> str:
    baseline = [f"{BASELINE}_{name}" for name in MEASURES] if with_baseline else []
    return ",".join([*_DESCRIPTION, *MEASURES, *baseline])


def _to_row(image: MeasuredImage, with_baseline: bool) -> str:
    count(None, image.set, _MEASURED)
    described = [getattr(image, name) for name in _DESCRIPTION]
    numbers = image.values[: 1 + with_baseline, : len(MEASURES)].ravel().tolist()
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        [int(cell) if isinstance(cell, bool) else cell for cell in (*described, *numbers)]
    )
    return line.getvalue()


def _check_counts(evaluation: Evaluation, inputs: base.Artifacts) -> None:
    """Make sure that what was judged by is all that the Augmenter wrote."""
    for slice_ in evaluation.slices:
        source = inputs["examples" if slice_.set == TEST_SET else "external_examples"]
        written = artifacts.written_to(source, slice_.set)
        if not slice_.keys and written and slice_.examples != written:
            raise RuntimeError(
                f"set '{slice_.set}' lost records: {written} written by the Augmenter, {slice_.examples} judged by"
            )


def _log_dice(evaluation: Evaluation) -> None:
    for slice_ in evaluation.slices:
        if not slice_.keys:
            dice = slice_.metrics["dice_mean"]
            interval = f" ({dice.low:.4f}-{dice.high:.4f})" if dice.interval else ""
            name = in_part(slice_.set, slice_.region)
            _LOG.info("%s: Dice %.4f%s on %d images", name, dice.value, interval, slice_.examples)
