"""What TFMA is told, what it makes of measured images, and how that is read back."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.metrics import metric_types

from modules.evaluation.measures import COLUMNS, STATISTICS
from modules.evaluation.settings import EvaluateSettings
from modules.evaluation.slicing import ImageStatistics, MeasuredImage, eval_config, read_evaluation, to_extracts
from pipeline.beam.settings import BeamSettings
from schema.reports.evaluation import Evaluation, SliceKey, slice_name

SETTINGS = EvaluateSettings(
    slices=(("is_augmented",), ("transform",), ("finding",), ("age",), ("is_augmented", "source")),
    resamples=100,
    min_patients=2,
)


def image(name: str, dice: float, *, baseline: float | None = None, **changes: Any) -> MeasuredImage:
    models = 1 if baseline is None else 2
    values = np.full((2 * models, len(COLUMNS)), np.nan)
    values[:models] = 0.5
    values[0, COLUMNS.index("dice")] = dice
    if baseline is not None:
        values[1, COLUMNS.index("dice")] = baseline
    plain = MeasuredImage(
        set="test", image_id=name, original_id=name, patient_id=name, source="A", finding="unknown", view="PA",
        sex="female", age=-1, is_augmented=False, augmentation="none", lung_fraction=0.3, values=values,
    )  # fmt: skip
    return plain._replace(**changes)


def copy(name: str, dice: float, fired: str, **changes: Any) -> MeasuredImage:
    return image(name, dice, is_augmented=True, augmentation=fired, **changes)


def evaluate(images: list[MeasuredImage], folder: Path, baseline: str | None = None) -> Evaluation:
    """As the Evaluator does."""
    config = eval_config(SETTINGS)
    with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline:
        _ = (
            pipeline
            | beam.Create(images, reshuffle=False)
            | beam.Map(to_extracts, SETTINGS.small_lungs)
            | tfma.ExtractAndEvaluate(
                extractors=[slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False)],
                evaluators=[metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(config)],
            )
            | tfma.WriteResults(writers=tfma.default_writers(str(folder), eval_config=config))
        )
    return read_evaluation(str(folder), SETTINGS, baseline)


IMAGES = [
    image("a", 0.9, finding="edema", age=17.9),
    image("b", 0.8, finding="edema", age=40),
    copy("a-copy1", 0.7, "Rotate+GaussNoise", patient_id="a"),
    copy("b-copy1", 0.6, "Rotate", patient_id="b", source="B"),
    image("x", 0.5, set="other"),
]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(IMAGES, tmp_path_factory.mktemp("evaluation"))


def test_slices_by_hand(evaluation: Evaluation) -> None:
    measured: dict[str, tuple[int, int, Any]] = {
        slice_.slice: (slice_.examples, slice_.patients, slice_.metrics["dice_mean"].value)
        for slice_ in evaluation.slices
    }
    assert measured == {
        "overall": (4, 3, pytest.approx(0.75)),  # two sources' patients of one name are two
        "is_augmented:0": (2, 2, pytest.approx(0.85)),
        "is_augmented:1": (2, 2, pytest.approx(0.65)),
        "transform:Rotate": (2, 2, pytest.approx(0.65)),
        "transform:GaussNoise": (1, 1, pytest.approx(0.7)),
        "finding:edema": (2, 2, pytest.approx(0.85)),
        "age:under-18": (1, 1, pytest.approx(0.9)),
        "age:40-64": (1, 1, pytest.approx(0.8)),
        "is_augmented:0,source:A": (2, 2, pytest.approx(0.85)),
        "is_augmented:1,source:A": (1, 1, pytest.approx(0.7)),
        "is_augmented:1,source:B": (1, 1, pytest.approx(0.6)),
        "set:other": (1, 1, pytest.approx(0.5)),
        "set:other,is_augmented:0": (1, 1, pytest.approx(0.5)),
        "set:other,is_augmented:0,source:A": (1, 1, pytest.approx(0.5)),
    }


def test_the_order_of_slices(evaluation: Evaluation) -> None:
    names = [slice_.slice for slice_ in evaluation.slices]
    assert names[0] == "overall"
    assert names[-3:] == ["set:other", "set:other,is_augmented:0", "set:other,is_augmented:0,source:A"]
    assert names.index("transform:Rotate") < names.index("is_augmented:0,source:A"), "by the number of keys"


def test_a_slice_of_few_patients_is_said_to_be_small(evaluation: Evaluation) -> None:
    enough = {slice_.slice: slice_.enough for slice_ in evaluation.slices}
    assert enough["transform:Rotate"]
    assert not enough["transform:GaussNoise"]


def test_all_statistics_are_there_with_intervals(evaluation: Evaluation) -> None:
    overall = evaluation.find("test", {})
    assert overall is not None
    # Nothing was set against originals here, so that there are no drops.
    assert set(overall.metrics) == {name for name, statistic in STATISTICS.items() if statistic.kind != "drop"}
    assert all(estimate.interval is not None for estimate in overall.metrics.values())
    assert overall.baseline is overall.difference is None


def test_a_slice_is_found_by_its_keys(evaluation: Evaluation) -> None:
    keys: dict[SliceKey, str] = {"source": "B", "is_augmented": "1"}
    slice_ = evaluation.find("test", keys)
    assert slice_ is not None
    assert slice_.slice == "is_augmented:1,source:B"
    assert evaluation.find("other", keys) is None


def test_a_baseline(tmp_path: Path) -> None:
    images = [image(f"i{index}", 0.9, baseline=0.7) for index in range(3)]
    evaluation = evaluate(images, tmp_path, "version 3")
    overall = evaluation.slices[0]
    assert evaluation.baseline == "version 3"
    assert overall.baseline is not None
    assert overall.difference is not None
    assert overall.baseline["dice_mean"].value == pytest.approx(0.7)
    change = overall.difference["dice_mean"]
    assert (change.value, change.low, change.high) == pytest.approx((0.2, 0.2, 0.2))


def test_it_is_read_back_as_json(evaluation: Evaluation) -> None:
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_tfma_writes_its_own_form_too(tmp_path: Path) -> None:
    evaluate(IMAGES, tmp_path)
    result = tfma.load_eval_result(str(tmp_path), model_name="candidate")
    overall = dict(result.slicing_metrics)[(("set", "test"),)]
    dice = overall[""][""]["dice_mean"]["boundedValue"]
    assert dice["value"] == pytest.approx(0.75)
    assert dice["lowerBound"] <= dice["value"] <= dice["upperBound"]


@pytest.mark.parametrize(
    ("age", "band"),
    [(0, "under-18"), (17.99, "under-18"), (18, "18-39"), (39.9, "18-39"), (64, "40-64"), (65, "65-and-over")],
)
def test_bands_of_age(age: float, band: str) -> None:
    age_band = to_extracts(image("a", 1, age=age), 0.2)["features"]["age"]
    assert age_band.tolist() == [band]


def test_what_is_not_known_falls_into_no_slice() -> None:
    features = to_extracts(image("a", 1), 0.2)["features"]
    assert features["age"].size == features["finding"].size == features["transform"].size == 0
    assert features["view"].tolist() == ["PA"]


@pytest.mark.parametrize(("fraction", "lungs"), [(0.19, "small"), (0.2, "large")])
def test_size_of_the_lungs(fraction: float, lungs: str) -> None:
    assert to_extracts(image("a", 1, lung_fraction=fraction), 0.2)["features"]["lungs"].tolist() == [lungs]


def test_a_transform_that_fired_twice_counts_once() -> None:
    fired = to_extracts(copy("a", 1, "Rotate+Affine+Rotate"), 0.2)["features"]["transform"]
    assert fired.tolist() == ["Affine", "Rotate"]


@pytest.mark.parametrize(
    ("set_", "keys", "name"),
    [
        ("test", {}, "overall"),
        ("test", {"source": "St. Mary's", "is_augmented": "1"}, "is_augmented:1,source:St. Mary's"),
        ("other", {}, "set:other"),
        ("other", {"view": "AP"}, "set:other,view:AP"),
    ],
)
def test_names(set_: str, keys: dict[SliceKey, str], name: str) -> None:
    assert slice_name(set_, keys) == name


def test_tfma_accepts_the_configuration() -> None:
    config = tfma.utils.update_eval_config_with_defaults(eval_config(EvaluateSettings()), has_baseline=False)
    tfma.utils.verify_eval_config(config)
    assert metric_types.registered_metrics()["ImageStatistics"] is ImageStatistics
    keys = [list(spec.feature_keys) for spec in config.slicing_specs]
    assert keys[0] == ["set"]
    assert ["set", "transform"] in keys
