"""What the Evaluator is told, and means over images worked out by hand."""

from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that
from tensorflow_model_analysis.metrics import metric_specs, metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from modules import metrics
from modules.evaluation import PerImageMean, _Mean, eval_config
from modules.settings import EvaluateSettings

OVERALL = {"metric": "dice_mean", "at_least": 0.9}


def config_of(**settings: Any) -> config_pb2.EvalConfig:
    return eval_config(EvaluateSettings.model_validate(settings))


def metric_configs(config: config_pb2.EvalConfig) -> dict[str, config_pb2.MetricConfig]:
    (spec,) = config.metrics_specs
    count, *means = spec.metrics
    assert count.class_name == "ExampleCount"
    assert {(one.class_name, one.module) for one in means} == {("PerImageMean", "modules.evaluation")}
    return {one.config: one for one in means}


def test_models() -> None:
    assert [(spec.name, spec.signature_name, spec.is_baseline) for spec in config_of().model_specs] == [
        ("candidate", "evaluate", False),
        ("baseline", "evaluate", True),
    ]


def test_slices() -> None:
    config = config_of(slices=[["source"], ["is_augmented", "finding"]])
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["source"], ["is_augmented", "finding"]]
    assert [list(spec.feature_keys) for spec in config_of().slicing_specs] == [
        [],
        ["is_augmented"],
        ["augmentation"],
        ["source"],
        ["finding"],
        ["is_augmented", "source"],
        ["is_augmented", "finding"],
    ]


def test_every_metric_of_an_image_is_measured() -> None:
    assert list(metric_configs(config_of())) == [f'{{"name": "{name}"}}' for name in metrics.PER_IMAGE]


def test_thresholds() -> None:
    config = config_of(
        thresholds=[
            OVERALL,
            {"metric": "dice_mean", "at_least": 0.8, "slice": {"is_augmented": 0, "source": "x"}},
            {"metric": "recall", "at_least": 0.7},
        ]
    )
    bounds = {
        name: [
            ([dict(spec.feature_values) for spec in one.slicing_specs], one.threshold.value_threshold.lower_bound.value)
            for one in metric.per_slice_thresholds
            if one.threshold.HasField("value_threshold")
        ]
        for name, metric in metric_configs(config).items()
    }
    assert bounds == {
        '{"name": "dice_mean"}': [([{}], 0.9), ([{"is_augmented": "0", "source": "x"}], 0.8)],
        '{"name": "iou_mean"}': [],
        '{"name": "pixel_accuracy"}': [],
        '{"name": "precision"}': [],
        '{"name": "recall"}': [([{}], 0.7)],
    }


def test_the_change_against_the_baseline_is_bounded_for_dice_over_all_images_alone() -> None:
    found = metric_configs(config_of(max_regression=0.02))
    assert not any(one.HasField("threshold") for one in found.values()), "would hold for every slice"
    ((name, bound),) = [
        (name, bound)
        for name, one in found.items()
        for bound in one.per_slice_thresholds
        if bound.threshold.HasField("change_threshold")
    ]
    change = bound.threshold.change_threshold
    assert name == '{"name": "dice_mean"}'
    assert list(bound.slicing_specs) == [config_pb2.SlicingSpec()]
    assert change.absolute.value == -0.02
    assert change.direction == config_pb2.HIGHER_IS_BETTER
    assert not change.HasField("relative")


@pytest.mark.parametrize(
    "has_baseline",
    [False, True],
    ids=["first run", "with a baseline"],
)
def test_tfma_accepts_the_configuration(has_baseline: bool) -> None:
    # What TFX's Evaluator does with it before anything else.
    config = tfma.utils.update_eval_config_with_defaults(config_of(), has_baseline=has_baseline, rubber_stamp=True)
    tfma.utils.verify_eval_config(config)
    assert len(config.model_specs) == 1 + has_baseline
    computations = metric_specs.to_computations(list(config.metrics_specs), eval_config=config)
    names = [spec.name for spec in config.model_specs] if has_baseline else [""]
    keys = {(key.name, key.model_name) for one in computations for key in one.keys}
    assert keys >= {(name, model) for name in metrics.PER_IMAGE for model in names}


def image(tp: float, fp: float, fn: float, tn: float) -> dict[str, np.ndarray]:
    """Predictions for one image, as TFMA hands them over."""
    return {
        name: np.array([value], np.float32)
        for name, value in zip(metrics.Counts._fields, (tp, fp, fn, tn), strict=True)
    }


# Dice 2/3 and 1 (nothing there, nothing found), so 5/6; and so on.
FIRST, SECOND = image(1, 1, 0, 2), image(0, 0, 0, 4)
BY_HAND = {"dice_mean": 5 / 6, "iou_mean": 3 / 4, "pixel_accuracy": 7 / 8, "precision": 3 / 4, "recall": 1.0}


def extracts(*predictions: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"labels": None, "predictions": one, "example_weights": np.array([1.0])} for one in predictions]


def check_mean(name: str, model_names: list[str], data: list[dict[str, Any]], expected: dict[str, float]) -> None:
    computations = PerImageMean(name).computations(model_names=model_names)
    assert [[key.model_name for key in one.keys] for one in computations] == [[one] for one in model_names]
    for one, model_name in zip(computations, model_names, strict=True):
        key = metric_types.MetricKey(name=name, model_name=model_name)

        def matches(got: list[dict[Any, float]], key: Any = key, value: float = expected[model_name]) -> None:
            assert got == [{key: pytest.approx(value)}]

        with beam.Pipeline() as pipeline:
            result = (
                pipeline
                | beam.Create(data)
                | beam.Map(metric_util.to_standard_metric_inputs)
                | beam.CombineGlobally(one.combiner)
            )
            assert_that(result, matches)


@pytest.mark.parametrize("name", BY_HAND)
def test_mean_over_two_images(name: str) -> None:
    check_mean(name, [""], extracts(FIRST, SECOND), {"": BY_HAND[name]})


def test_mean_beside_a_baseline() -> None:
    data = extracts({"": FIRST, "baseline": SECOND}, {"": SECOND, "baseline": SECOND})
    check_mean("dice_mean", ["", "baseline"], data, {"": 5 / 6, "baseline": 1.0})


def test_the_mean_is_not_that_of_the_pixels() -> None:
    # A large image of Dice 1 and a small one of Dice 0 weigh the same.
    check_mean("dice_mean", [""], extracts(image(1000, 0, 0, 0), image(0, 1, 1, 0)), {"": 0.5})


def test_grouping_and_order_do_not_matter() -> None:
    mean = _Mean(key := metric_types.MetricKey(name="iou_mean"))
    inputs = [metric_util.to_standard_metric_inputs(one) for one in extracts(FIRST, SECOND, image(1, 3, 0, 0))]
    single = [mean.add_input(mean.create_accumulator(), one) for one in inputs]
    left = mean.merge_accumulators([mean.merge_accumulators(single[:2]), single[2]])
    right = mean.merge_accumulators([single[2], mean.create_accumulator(), mean.merge_accumulators(single[1::-1])])
    assert mean.extract_output(left) == mean.extract_output(right) == {key: pytest.approx((0.5 + 1 + 0.25) / 3)}


def test_no_images_have_no_mean() -> None:
    mean = _Mean(key := metric_types.MetricKey(name="dice_mean"))
    assert np.isnan(mean.extract_output(mean.create_accumulator())[key])


def test_tfma_knows_the_metric_by_name() -> None:
    assert metric_types.registered_metrics()["PerImageMean"] is PerImageMean
