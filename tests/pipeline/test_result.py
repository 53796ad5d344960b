"""The result: from what Evaluator and Pusher leave behind to `result.json`."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2
from tfx.types import Artifact, standard_artifacts

from modules import metrics
from modules.evaluation import eval_config
from modules.settings import EvaluateSettings, Threshold
from pipeline.config import Config
from pipeline.local_runner import ComponentRun
from pipeline.result import ComponentResult, Result, SliceResult, _failures, _slice_name, collect_result

Slice = tuple[tuple[str, object], ...]

SETTINGS = EvaluateSettings(
    thresholds=(
        Threshold(metric="dice_mean", at_least=0.9),
        Threshold(metric="iou_mean", at_least=0.5, slice={"is_augmented": 0}),
        Threshold(metric="dice_mean", at_least=0.8, slice={"source": "clinic", "finding": "edema"}),
    ),
    max_regression=0.02,
)


def slice_key(of: Slice) -> metrics_for_slice_pb2.SliceKey:
    key = metrics_for_slice_pb2.SliceKey()
    kinds = {str: "bytes_value", int: "int64_value", float: "float_value"}
    for column, value in of:
        stored = value.encode() if isinstance(value, str) else value
        key.single_slice_keys.add(column=column, **{kinds[type(value)]: stored})
    return key


def metrics_for(of: Slice, examples: int, value: float) -> metrics_for_slice_pb2.MetricsForSlice:
    """The metrics of one slice as TFMA writes them: of the candidate, the baseline, and their differences."""
    found = metrics_for_slice_pb2.MetricsForSlice(slice_key=slice_key(of))
    for name in ("example_count", *metrics.PER_IMAGE):
        candidate = float(examples) if name == "example_count" else value
        for key in (MetricKey(name), MetricKey(name, model_name="baseline"), MetricKey(name, is_diff=True)):
            one = found.metric_keys_and_values.add(key=key.to_proto())
            one.value.double_value.value = candidate if key == MetricKey(name) else -9
    return found


def validated(*slices: tuple[Slice, dict[MetricKey, float]]) -> validation_result_pb2.ValidationResult:
    """What TFMA's own validator says, with our EvalConfig."""
    config = eval_config(SETTINGS)
    result = validation_result_pb2.ValidationResult(validation_ok=True)
    for one in slices:
        found = metrics_validator.validate_metrics(one, config)
        result.metric_validations_per_slice.extend(found.metric_validations_per_slice)
        result.validation_details.slicing_details.extend(found.validation_details.slicing_details)
    missing = metrics_validator.get_missing_slices(result.validation_details.slicing_details, config)
    result.missing_slices.extend(missing)
    return result


def values(dice: float, iou: float = 0.9, change: float = 0.0) -> dict[MetricKey, float]:
    return {
        MetricKey("dice_mean"): dice,
        MetricKey("dice_mean", model_name="baseline"): dice - change,
        MetricKey("dice_mean", is_diff=True): change,
        MetricKey("iou_mean"): iou,
    }


EDEMA: Slice = (("finding", "edema"), ("source", "clinic"))


def test_nothing_failed() -> None:
    result = validated(((), values(0.95)), ((("is_augmented", 0),), values(0.1)), (EDEMA, values(0.85)))
    assert _failures(result) == []


def test_failures_in_words() -> None:
    result = validated(
        ((), values(0.89994, change=-0.03125)),
        ((("is_augmented", 0),), values(0.95, iou=0.25)),
        (EDEMA, values(0.7)),
    )
    assert _failures(result) == [
        "dice_mean on overall is 0.8999, must be at least 0.9000",
        "dice_mean on overall changed by -0.0312 against the model blessed last, may change by -0.0200",
        "iou_mean on is_augmented:0 is 0.2500, must be at least 0.5000",
        "dice_mean on finding:edema,source:clinic is 0.7000, must be at least 0.8000",
    ]


def test_a_slice_without_images() -> None:
    result = validated(((), values(0.95)), ((("is_augmented", 0),), values(0.95)))
    (failure,) = _failures(result)
    assert failure in {
        f"no test image falls into slice {named}, for which there is a threshold"
        for named in ("source:clinic,finding:edema", "finding:edema,source:clinic")
    }


def test_a_worse_slice_alone_is_no_regression() -> None:
    result = validated(
        ((), values(0.95)),
        ((("is_augmented", 0),), values(0.95)),
        (EDEMA, values(0.9)),
        ((("augmentation", "Rotate"),), values(0.95, change=-0.03)),
    )
    assert _failures(result) == []


def test_failures_from_a_hand_made_proto() -> None:
    result = text_format.Parse(
        """
        metric_validations_per_slice {
          slice_key { single_slice_keys { column: "source" bytes_value: "M\\303\\274nchen" } }
          failures {
            metric_key { name: "recall" }
            metric_threshold { value_threshold { lower_bound { value: 1 } } }
            metric_value { double_value { value: nan } }
          }
        }
        missing_slices { feature_values { key: "view" value: "PA" } }
        """,
        validation_result_pb2.ValidationResult(),
    )
    assert _failures(result) == [
        "recall on source:München is nan, must be at least 1.0000",
        "no test image falls into slice view:PA, for which there is a threshold",
    ]


@pytest.mark.parametrize(
    ("of", "name"),
    [
        ((), "overall"),
        ((("is_augmented", 0),), "is_augmented:0"),
        ((("source", "A"),), "source:A"),
        ((("is_augmented", 1), ("source", "St. Mary's")), "is_augmented:1,source:St. Mary's"),
        ((("age", 1.5),), "age:1.5"),
    ],
)
def test_slice_names(of: Slice, name: str) -> None:
    assert _slice_name(slice_key(of)) == name


def with_properties(artifact: Artifact, **properties: int | str) -> Artifact:
    for key, value in properties.items():
        if isinstance(value, int):
            artifact.set_int_custom_property(key, value)
        else:
            artifact.set_string_custom_property(key, value)
    return artifact


def runs(folder: Path, *, blessed: bool) -> list[ComponentRun]:
    """The runs of a pipeline, with an evaluation written to `folder`."""
    slices = [
        metrics_for((("source", "B"),), 4, 0.4),
        metrics_for((("is_augmented", 1), ("source", "A")), 2, 0.2),
        metrics_for((("is_augmented", 1),), 3, 0.3),
        metrics_for((), 10, 0.95),
        metrics_for((("is_augmented", 0),), 7, 0.7),
    ]
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for one in slices:
            writer.write(one.SerializeToString())
    validation = validated(
        ((), values(0.95 if blessed else 0.5)), ((("is_augmented", 0),), values(1)), (EDEMA, values(1))
    )
    with tf.io.TFRecordWriter(str(folder / "validations.tfrecord")) as writer:
        writer.write(validation.SerializeToString())
    evaluation = standard_artifacts.ModelEvaluation()
    augmented = with_properties(standard_artifacts.Examples(), policy="chest")
    evaluation.uri, augmented.span = str(folder), 3
    pushed = {"pushed_version": "1700000000"} if blessed else {}
    outputs: dict[str, dict[str, Artifact]] = {
        "ImportExampleGen": {"examples": standard_artifacts.Examples()},
        "Augmenter": {"augmented_examples": augmented},
        "Evaluator": {
            "evaluation": evaluation,
            "blessing": with_properties(standard_artifacts.ModelBlessing(), blessed=int(blessed)),
        },
        "Pusher": {"pushed_model": with_properties(standard_artifacts.PushedModel(), **pushed)},
    }
    return [
        ComponentRun(name, 1.26, name == "Augmenter", {key: [artifact] for key, artifact in of.items()})
        for name, of in outputs.items()
    ]


@pytest.fixture
def config() -> Config:
    return Config.model_validate({"name": "clinic", "root": "/root", "data": {"root": "/data"}})


def test_a_blessed_run(tmp_path: Path, config: Config) -> None:
    result = collect_result(config, runs(tmp_path, blessed=True))
    assert (result.status, result.pushed_version, result.failures) == ("blessed", "1700000000", [])
    assert (result.pipeline, result.data_span, result.policy) == ("clinic", 3, "chest")
    # The whole first, then slices by one feature, then by two.
    assert [(one.slice, one.examples) for one in result.slices] == [
        ("overall", 10),
        ("is_augmented:0", 7),
        ("is_augmented:1", 3),
        ("source:B", 4),
        ("is_augmented:1,source:A", 2),
    ]
    assert result.slices[0].metrics == dict.fromkeys(metrics.PER_IMAGE, 0.95)
    assert [one.metrics["dice_mean"] for one in result.slices[1:]] == [0.7, 0.3, 0.4, 0.2]
    assert [(one.id, one.seconds, one.cached) for one in result.components] == [
        ("ImportExampleGen", 1.3, False),
        ("Augmenter", 1.3, True),
        ("Evaluator", 1.3, False),
        ("Pusher", 1.3, False),
    ]


def test_a_run_that_is_not_blessed(tmp_path: Path, config: Config) -> None:
    result = collect_result(config, runs(tmp_path, blessed=False))
    assert (result.status, result.pushed_version) == ("not_blessed", None)
    assert result.failures == ["dice_mean on overall is 0.5000, must be at least 0.9000"]


RESULT = Result(
    status="blessed",
    pushed_version="7",
    pipeline="lungseg",
    data_span=1,
    policy="chest",
    failures=[],
    slices=[SliceResult(slice="overall", examples=2, metrics={"dice_mean": 0.5})],
    components=[ComponentResult(id="Trainer", seconds=1.5, cached=False)],
)


def test_result_json(tmp_path: Path) -> None:
    RESULT.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "status": "blessed",
        "pushed_version": "7",
        "pipeline": "lungseg",
        "data_span": 1,
        "policy": "chest",
        "failures": [],
        "slices": [{"slice": "overall", "examples": 2, "metrics": {"dice_mean": 0.5}}],
        "components": [{"id": "Trainer", "seconds": 1.5, "cached": False}],
    }


def test_result_json_replaces_the_last_one(tmp_path: Path) -> None:
    RESULT.write(tmp_path)
    RESULT.model_copy(update={"status": "not_blessed", "pushed_version": None}).write(tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["status"], found["pushed_version"]) == ("not_blessed", None)


def test_a_failed_write_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RESULT.write(tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def half(path: Path, text: str) -> int:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        RESULT.model_copy(update={"policy": "other"}).write(tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
