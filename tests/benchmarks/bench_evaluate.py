"""Speed and memory of the Evaluator against stock TFMA fed with full masks, in one run: `make bench-evaluate`.

Both segment 512-pixel records of the same kind with the same exported model, and take statistics on the same slices.
The reference hands TFMA what its documentation asks for: masks as labels and predictions, every pixel an element, with
stock metrics for accuracy, precision and recall. The Evaluator is the whole of `Executor.Do`, outlines and intervals
included. Memory is the peak of a fresh process each: of the Evaluator for 500 and for 5,000 records, of the reference
for as many as it is timed on.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import DISTINCT, export_network, peak_megabytes, peak_of, seconds, write_phantoms

from modules.network.settings import ModelSettings
from pipeline.beam.settings import BeamSettings

EVALUATOR, REFERENCE = "evaluator", "full masks"
ROUNDS = 3
RECORDS = {EVALUATOR: 400, REFERENCE: 4}
"""Images that each is timed on; the reference takes several seconds an image."""
START_UP_RECORDS = {EVALUATOR: 16, REFERENCE: 1}
FEW, MANY = 500, 5000
NETWORK = ModelSettings(image_size=128, filters=8, average_mirrored=False)
SLICES = ((), ("is_augmented",), ("source",), ("is_augmented", "source"))


def run_evaluator(model_dir: Path, source: Path, target: Path) -> None:
    from tfx.types import standard_artifacts

    from components.evaluator import executor
    from components.evaluator.settings import EvaluatorSettings
    from modules.evaluation.settings import EvaluateSettings

    examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
    examples.uri, examples.split_names, model.uri = str(source), '["test"]', str(model_dir)
    outputs = {"evaluation": standard_artifacts.ModelEvaluation(), "blessing": standard_artifacts.ModelBlessing()}
    for key, artifact in outputs.items():
        artifact.uri = str(target / key)
        (target / key).mkdir(parents=True)
    executor.Executor().Do(
        {"examples": [examples], "model": [model]},
        {key: [artifact] for key, artifact in outputs.items()},
        {"settings": EvaluatorSettings(evaluate=EvaluateSettings(slices=SLICES[1:])).model_dump_json()},
    )


def run_reference(model_dir: Path, source: Path, target: Path) -> None:
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
    from tensorflow_model_analysis.extractors import slice_key_extractor
    from tensorflow_model_analysis.proto import config_pb2

    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=keys) for keys in SLICES],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[config_pb2.MetricConfig(class_name=name) for name in ("BinaryAccuracy", "Precision", "Recall")]
            )
        ],
    )
    with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromTFRecord(str(source / "Split-test" / "*"))
            | beam.BatchElements(min_batch_size=16, max_batch_size=16)
            | beam.ParDo(segmenter(str(model_dir / "Format-Serving")))
            | tfma.ExtractAndEvaluate(
                extractors=[slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False)],
                evaluators=[metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(config)],
            )
            | tfma.WriteResults(writers=tfma.default_writers(str(target), eval_config=config))
        )


def segmenter(model_dir: str) -> object:
    """A DoFn from serialized records to TFMA's extracts, with a label and a prediction for every pixel."""
    import apache_beam as beam
    import cv2
    import numpy as np
    import tensorflow as tf
    import tensorflow_model_analysis as tfma

    from schema import record

    class Segment(beam.DoFn):
        def setup(self) -> None:
            self._model = tf.saved_model.load(model_dir)

        def process(self, batch: list[bytes]) -> Iterator[dict[str, object]]:
            answers = self._model.signatures["evaluate"](examples=tf.constant(batch))
            for serialized, png in zip(batch, answers["mask_png"].numpy(), strict=True):
                original = record.decode(serialized)
                predicted = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
                yield {
                    tfma.FEATURES_KEY: {
                        "is_augmented": np.array([int(original.is_augmented)]),
                        "source": np.array([original.source]),
                    },
                    tfma.LABELS_KEY: (original.mask.ravel() / 255).astype(np.float32),
                    tfma.PREDICTIONS_KEY: (predicted.ravel() / 255).astype(np.float32),
                    tfma.EXAMPLE_WEIGHTS_KEY: np.ones(1),
                }

    return Segment()


RUNS = {EVALUATOR: run_evaluator, REFERENCE: run_reference}


def measure_speed(folder: Path, model_dir: Path) -> list[dict[str, float]]:
    """Images a second of both in each turn; what a run costs without records is taken off."""
    for name, run in RUNS.items():
        write_phantoms(folder / f"{name}-first", "test", 1)
        run(model_dir, folder / f"{name}-first", folder / f"{name}-first-out")
    return [{name: rate(folder / f"{name}-{turn}", model_dir, name) for name in RUNS} for turn in range(ROUNDS)]


def rate(folder: Path, model_dir: Path, name: str) -> float:
    write_phantoms(folder / "few", "test", START_UP_RECORDS[name])
    write_phantoms(folder / "many", "test", START_UP_RECORDS[name] + RECORDS[name])
    start_up, whole = (
        seconds(lambda: RUNS[name](model_dir, folder / size, folder / f"out-{size}"))  # noqa: B023
        for size in ("few", "many")
    )
    return RECORDS[name] / (whole - start_up)


def measure_memory(folder: Path, model_dir: Path, name: str, count: int) -> float:
    """Peak resident megabytes of a fresh process that evaluates `count` records."""
    source = folder / f"memory-{count}"
    if not source.exists():
        write_phantoms(source, "test", count)
    return peak_of(__file__, "--memory-of", name, model_dir, source, folder / f"{name}-memory-{count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    child = parser.parse_args().memory_of
    logging.disable(logging.WARNING)
    if child:
        name, *paths = child
        RUNS[name](*map(Path, paths))
        print(peak_megabytes())
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "sample", "test", DISTINCT)
        export_network(folder, folder / "sample", NETWORK)
        turns = measure_speed(folder, folder)
        few, many = (measure_memory(folder, folder, EVALUATOR, count) for count in (FEW, MANY))
        reference = measure_memory(folder, folder, REFERENCE, RECORDS[REFERENCE])
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 512 x 512")
    print(f"{'images a second':24}{EVALUATOR:>14}{REFERENCE:>14}")
    for number, turn in enumerate(turns, 1):
        print(f"{f'turn {number}':24}{turn[EVALUATOR]:14.1f}{turn[REFERENCE]:14.1f}")
    print(f"{'':24}{f'{MANY} images':>14}{f'{FEW} images':>14}{f'full masks, {RECORDS[REFERENCE]}':>18}")
    print(f"{'peak memory, MB':24}{many:14.0f}{few:14.0f}{reference:18.0f}")
    speedup = statistics.median(turn[EVALUATOR] / turn[REFERENCE] for turn in turns)
    print(json.dumps({"speedup": round(speedup, 3), "memory_ratio": round(many / few, 3)}))


if __name__ == "__main__":
    main()
