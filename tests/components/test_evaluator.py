"""The Evaluator on real records and real exported models."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tfx.types import Artifact, channel_utils, standard_artifacts

from components.code_version import code_version
from components.evaluator.component import Evaluator
from components.evaluator.executor import Executor
from components.evaluator.measure import MeasureError, set_against_original
from components.evaluator.settings import EvaluatorSettings
from modules.evaluation.measures import COLUMNS, MEASURES
from modules.evaluation.settings import EvaluateSettings
from modules.evaluation.slicing import MeasuredImage
from modules.serving.export import export_model
from schema.record import Record, encode
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import Evaluation
from schema.reports.training import Training

SIZE = 16
WriteExamples = Callable[..., Artifact]
SETTINGS = EvaluateSettings.model_validate(
    {
        "rules": [
            {"metric": "dice_mean", "at_least": 0.5},
            {"metric": "dice_mean", "max_regression": 0.01},
        ],
        "min_patients": 3,
        "resamples": 100,
    }
)


@pytest.fixture(scope="session")
def transform_graph(
    transform: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, make_record: Callable[..., Record]
) -> Path:
    serialized = [encode(scene(make_record, index)) for index in range(4)]
    return transform(serialized, tmp_path_factory.mktemp("transform"), SIZE)


def scene(make_record: Callable[..., Record], index: int, **changes: Any) -> Record:
    """A bright square that is lung, in an image of its own place and patient."""
    image = np.full((SIZE, SIZE), 20, np.uint8)
    top = 2 + index % 6
    image[top : top + 8, 4:12] = 200
    mask = np.where(image > 100, 255, 0).astype(np.uint8)
    plain = {"image": image, "mask": mask, "patient_id": f"p{index}", "width": SIZE, "height": SIZE}
    return make_record(f"i{index}", **{**plain, **changes})


def copy_of(record: Record, **changes: Any) -> Record:
    return replace(record, image_id=record.name_copy(1), is_augmented=True, augmentation="Rotate", **changes)


def export(folder: Path, transform_graph: Path, bias: float) -> Artifact:
    """A network that takes for lung what is brighter than the mean by some measure."""
    image = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    model.set_weights([np.full((1, 1, 1, 1), 20.0), np.array([bias])])
    export_model(model, str(transform_graph / "transform_fn"), str(folder / "Format-Serving"))
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory, transform_graph: Path) -> Artifact:
    return export(tmp_path_factory.mktemp("good"), transform_graph, 0.0)


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory, transform_graph: Path) -> Artifact:
    """Takes everything for lung."""
    return export(tmp_path_factory.mktemp("bad"), transform_graph, 1000.0)


@pytest.fixture
def examples(tmp_path: Path, make_record: Callable[..., Record], write_examples: WriteExamples) -> Artifact:
    """Five patients with a copy each; the copy of the last has lost its image."""
    originals = [scene(make_record, index) for index in range(5)]
    dark = np.full((SIZE, SIZE), 20, np.uint8)
    copies = [copy_of(original) for original in originals[:4]] + [copy_of(originals[4], image=dark)]
    return write_examples(
        tmp_path / "examples", {"train": [], "test": [encode(record) for record in [*originals, *copies]]}
    )


Outputs = dict[str, Artifact]
Evaluate = Callable[..., Outputs]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    def run(
        model: Artifact,
        examples: Artifact,
        training: Training | None = None,
        settings: EvaluateSettings = SETTINGS,
        **others: list[Artifact],
    ) -> Outputs:
        outputs = {"evaluation": standard_artifacts.ModelEvaluation(), "blessing": standard_artifacts.ModelBlessing()}
        for key, artifact in outputs.items():
            artifact.uri = str(tmp_path / key)
            shutil.rmtree(artifact.uri, ignore_errors=True)
            Path(artifact.uri).mkdir()
        Executor(Executor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")).Do(
            {"examples": [examples], "model": [model], **others},
            {key: [artifact] for key, artifact in outputs.items()},
            {"settings": EvaluatorSettings(evaluate=settings, training=training).model_dump_json()},
        )
        return outputs

    return run


def read(outputs: Outputs) -> tuple[Evaluation, BlessingDecision, pd.DataFrame]:
    evaluation, blessing = Path(outputs["evaluation"].uri), Path(outputs["blessing"].uri)
    return (
        Evaluation.read(evaluation),
        BlessingDecision.read(blessing),
        pd.read_csv(evaluation / "images.csv").set_index("image_id").sort_index(),
    )


def answering_otherwise(model: Artifact, folder: Path, answers: dict[str, Any]) -> Artifact:
    """A model that says something else of each image, or, where that is None, nothing."""
    loaded = tf.saved_model.load(f"{model.uri}/Format-Serving")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def otherwise(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = dict(loaded.signatures["evaluate"](examples=examples))
        for name, value in answers.items():
            del answer[name]
            if value is not None:
                answer[name] = tf.tile(tf.constant([value]), [tf.size(examples), 1])
        return answer

    loaded.otherwise = otherwise
    tf.saved_model.save(loaded, str(folder / "Format-Serving"), signatures={"evaluate": otherwise})
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def test_of_external_sets_the_right_lung_alone_may_be_judged(
    evaluate: Evaluate,
    good: Artifact,
    make_record: Callable[..., Record],
    write_examples: WriteExamples,
    tmp_path: Path,
) -> None:
    """The left lung is drawn too large; a mirrored copy has the right one on the other side."""
    image, mask = np.full((SIZE, SIZE), 20, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    image[3:13, 1:5] = image[3:13, 10:13] = 200
    mask[3:13, 1:5] = mask[3:13, 7:13] = 255
    original = scene(make_record, 0, image=image, mask=mask)
    mirrored = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    copy = replace(copy_of(original, image=mirrored[0], mask=mirrored[1]), augmentation="RandomGamma+HorizontalFlip")
    records = [encode(original), encode(copy)]
    inputs = write_examples(tmp_path / "test", {"test": records})
    external = write_examples(tmp_path / "external", {"other": records})
    settings = SETTINGS.model_copy(update={"region": "right_lung"})
    model = answering_otherwise(good, tmp_path / "model", {"expected_dice_of_sides": [0.9, 0.6]})
    evaluation, _, images = read(evaluate(model, inputs, settings=settings, external_examples=[external]))
    of_set = {name: images[images["set"] == name] for name in ("test", "other")}
    assert of_set["test"]["dice"].tolist() == pytest.approx([140 / 170] * 2)
    assert of_set["other"]["dice"].tolist() == [1, 1]
    assert of_set["other"]["hd95"].tolist() == [0, 0]
    assert of_set["test"]["expected_dice"].tolist() == [0.5, 0.5]
    assert of_set["other"]["expected_dice"].tolist() == pytest.approx([0.9, 0.6]), "of the side with the right lung"
    assert of_set["other"]["expected_dice_error"].tolist() == pytest.approx([0.1, 0.4])
    assert of_set["other"]["brier"].isna().all(), "that of a part is not known"
    assert {slice_.set: slice_.region for slice_ in evaluation.slices} == {"test": "whole", "other": "right_lung"}
    whole = evaluation.find("other", {})
    assert whole is not None
    assert (whole.metrics["dice_pooled"].value, "brier" in whole.metrics) == (1, False)


def test_a_good_model(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    outputs = evaluate(good, examples)
    evaluation, decision, images = read(outputs)
    # Nine images are segmented to the pixel; in the last, nothing is found.
    assert images.loc[["i0", "i3-copy1"], "dice"].tolist() == [1, 1]
    assert images.loc["i4-copy1", "dice"] == 0
    assert images.loc["i4-copy1", "hd95_px"] == pytest.approx(SIZE * np.sqrt(2)), "a missed lung costs the diagonal"
    assert images.loc["i4-copy1", "hd95"] == pytest.approx(np.sqrt(2))
    assert images.loc["i4-copy1", "original_id"] == "i4"
    assert images["brier"].max() > 0.2
    assert len(images) == 10
    overall = evaluation.slices[0].metrics
    assert overall["dice_mean"].value == pytest.approx(0.9)
    assert overall["dice_drop"].value == pytest.approx(0.2), "one of five copies is worse by 1"
    assert overall["hd95_drop"].value == pytest.approx(np.sqrt(2) / 5)
    assert overall["nsd"].value == pytest.approx(0.9)
    copies = evaluation.find("test", {"transform": "Rotate"})
    assert copies is not None
    assert copies.examples == 5
    assert copies.metrics["dice_mean"].value == pytest.approx(0.8)
    assert decision.blessed
    assert outputs["blessing"].get_int_custom_property("blessed") == 1
    assert sorted(path.name for path in Path(outputs["blessing"].uri).iterdir()) == ["BLESSED", "decision.json"]


def test_a_worse_model_is_not_blessed_against_the_baseline(
    evaluate: Evaluate, good: Artifact, bad: Artifact, examples: Artifact
) -> None:
    good.set_int_custom_property("version", 7)
    outputs = evaluate(bad, examples, baseline_model=[good])
    evaluation, decision, images = read(outputs)
    assert decision.baseline == evaluation.baseline == "version 7"
    share = 8 * 8 / SIZE**2
    assert images.loc["i0", "dice"] == pytest.approx(2 * share / (1 + share))
    assert images.loc["i0", "baseline_dice"] == 1
    assert [rule.passed for rule in decision.rules] == [False, False]
    assert outputs["blessing"].get_int_custom_property("blessed") == 0
    assert (Path(outputs["blessing"].uri) / "NOT_BLESSED").exists()


def test_an_equal_model_is_blessed(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    training = Training(arm="wide", seed=7, fold=2)
    evaluation, decision, _ = read(evaluate(good, examples, training, baseline_model=[good]))
    assert decision.blessed
    assert (evaluation.training, evaluation.model) == (training, good.uri)
    difference = evaluation.slices[0].difference
    assert difference is not None
    assert (difference["dice_mean"].low, difference["dice_mean"].high) == (0, 0)


def test_external_sets_are_apart(
    evaluate: Evaluate,
    good: Artifact,
    examples: Artifact,
    tmp_path: Path,
    make_record: Callable[..., Record],
    write_examples: WriteExamples,
) -> None:
    dark = np.full((SIZE, SIZE), 20, np.uint8)
    north = [scene(make_record, 10), scene(make_record, 11, image=dark)]
    sets = {"north": [encode(record) for record in north], "south": [encode(scene(make_record, 12))]}
    external = write_examples(tmp_path / "external", sets)
    evaluation, _, images = read(evaluate(good, examples, external_examples=[external]))
    measured = {
        slice_.slice: (slice_.examples, slice_.metrics["dice_mean"].value)
        for slice_ in evaluation.slices
        if not slice_.keys
    }
    assert measured == {"overall": (10, pytest.approx(0.9)), "set:north": (2, 0.5), "set:south": (1, 1.0)}
    assert images["set"].value_counts().to_dict() == {"test": 10, "north": 2, "south": 1}


def test_no_baseline_yet(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    _, decision, images = read(evaluate(good, examples, baseline_model=[]))
    assert (decision.baseline, decision.rules[1].reason) == (None, "there is no model yet to compare with")
    assert not [name for name in images.columns if name.startswith("baseline")]


def test_a_broken_record_leaves_no_judgement(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    with tf.io.TFRecordWriter(f"{examples.uri}/Split-test/data_tfrecord-1") as writer:
        writer.write(b"no record")
    with pytest.raises(MeasureError, match=r"set 'test': record 'unknown', field '\(all\)': is no serialized"):
        evaluate(good, examples)
    folder = Path(examples.uri).parent
    assert not [*(folder / "evaluation").iterdir(), *(folder / "blessing").iterdir()]


def test_an_image_that_is_there_twice(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    records = Path(examples.uri, "Split-test", "data_tfrecord-00000-of-00002.gz")
    shutil.copy(records, records.with_name("data_tfrecord-again.gz"))
    with pytest.raises(MeasureError, match=r"set 'test': record 'i\d' is there twice: remove one and ingest"):
        evaluate(good, examples)


def test_records_that_got_lost(evaluate: Evaluate, good: Artifact, examples: Artifact) -> None:
    examples.set_int_custom_property("test_originals", 6)
    examples.set_int_custom_property("test_copies", 5)
    with pytest.raises(RuntimeError, match=r"^set 'test' lost records: 11 written by the Augmenter, 10 judged by$"):
        evaluate(good, examples)


def test_a_model_that_answers_with_nan(
    evaluate: Evaluate, examples: Artifact, transform_graph: Path, tmp_path: Path
) -> None:
    broken = export(tmp_path / "broken", transform_graph, float("nan"))
    with pytest.raises(MeasureError, match="has no finite figures: the model answers with NaN"):
        evaluate(broken, examples)


def test_an_empty_set(evaluate: Evaluate, good: Artifact, tmp_path: Path, write_examples: WriteExamples) -> None:
    examples = write_examples(tmp_path / "none", {"test": []})
    with pytest.raises(
        RuntimeError, match=r"^set 'test' has no records: there is nothing to judge by, so add patients"
    ):
        evaluate(good, examples)


def test_a_baseline_of_another_version(evaluate: Evaluate, good: Artifact, examples: Artifact, tmp_path: Path) -> None:
    module = tf.Module()
    signature = tf.function(lambda examples: {"dice": examples}).get_concrete_function(tf.TensorSpec([None], tf.string))
    tf.saved_model.save(module, str(tmp_path / "old" / "Format-Serving"), signatures={"evaluate": signature})
    old = standard_artifacts.Model()
    old.uri = str(tmp_path / "old")
    with pytest.raises(MeasureError, match="the baseline model has no signature 'evaluate' that gives brier, "):
        evaluate(good, examples, baseline_model=[old])


def test_a_baseline_that_says_nothing_of_its_masks(
    evaluate: Evaluate, good: Artifact, examples: Artifact, transform_graph: Path, tmp_path: Path
) -> None:
    silent = dict.fromkeys(("expected_dice", "expected_dice_of_sides", "review"))
    before = answering_otherwise(export(tmp_path / "before", transform_graph, 0.0), tmp_path / "silent", silent)
    evaluation, _, images = read(evaluate(good, examples, baseline_model=[before]))
    (whole,) = [slice_ for slice_ in evaluation.slices if slice_.slice == "overall"]
    assert whole.baseline is not None
    assert whole.difference is not None
    assert whole.metrics["expected_dice"].value == pytest.approx(0.5)
    assert whole.metrics["review"].value == 0
    for name in ("expected_dice", "expected_dice_error", "review"):
        assert name not in whole.baseline
        assert name not in whole.difference
    assert "dice_mean" in whole.baseline
    assert images["baseline_review"].isna().all()


def measured(image_id: str, is_augmented: bool, dice: float, hd95: float) -> MeasuredImage:
    values = np.zeros((1, len(COLUMNS)))
    values[0, COLUMNS.index("dice")], values[0, COLUMNS.index("hd95")] = dice, hd95
    return MeasuredImage(
        set="test", image_id=image_id, original_id="a", patient_id="p", source="s", finding="f", view="v", sex="x",
        age=-1, is_augmented=is_augmented, augmentation="Rotate" if is_augmented else "none", lung_fraction=0.2,
        values=values,
    )  # fmt: skip


def test_a_drop_is_positive_where_the_copy_is_worse() -> None:
    original, copy = measured("a", False, 0.9, 0.02), measured("a-copy1", True, 0.8, 0.05)
    values = {image.image_id: image.values for image in set_against_original([copy, original])}
    drop = dict(zip(MEASURES, values["a-copy1"][1], strict=False))
    assert (drop["dice"], drop["hd95"]) == pytest.approx((0.1, 0.03))
    assert np.isnan(values["a"][1]).all()


def test_a_copy_without_its_original_has_no_drop() -> None:
    (alone,) = set_against_original([measured("a-copy1", True, 0.8, 0.05)])
    assert np.isnan(alone.values[1]).all()


def test_the_component(examples: Artifact) -> None:
    settings = EvaluatorSettings(evaluate=SETTINGS, training=Training(arm="a", seed=7))
    component = Evaluator(
        examples=channel_utils.as_channel([examples]),
        model=channel_utils.as_channel([standard_artifacts.Model()]),
        settings=settings,
    )
    assert set(component.inputs) == {"examples", "model"}
    assert set(component.outputs) == {"evaluation", "blessing"}
    assert EvaluatorSettings.model_validate_json(component.exec_properties["settings"]) == settings
    assert component.exec_properties["code_version"] == code_version("components.evaluator.executor")
