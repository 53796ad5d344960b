"""The IndependenceCheck on real TFRecords: sound sets are counted, and every overlap that matters fails the run."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import cv2
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.types import channel, standard_artifacts

from components.independence_check import executor
from components.independence_check.component import IndependenceCheck
from components.independence_check.executor import OverlapError, Place, Presence
from pipeline.errors import ComponentError
from schema.record import Record, decode, encode

MakeRecord = Callable[..., Record]
Make = Callable[..., bytes]
Splits = Mapping[str, Sequence[bytes]]
Run = Callable[..., dict[str, Any]]
Failure = Callable[..., str]

IN_MEMORY = ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--beam_plugins=tfx"]

TRAINED_ON = "test sets must hold no image or patient that is trained on; remove them and ingest the set again"
PATIENT_TRAINED_ON = (
    "test sets must hold no image or patient that is trained on; remove them, or give other people a source of their "
    "own, and ingest the set again"
)


@pytest.fixture
def make(make_record: MakeRecord) -> Make:
    """Makes a serialized record; `look` decides on the pixels: make(1, "a", "p1", "clinic")."""

    def of(look: int, image_id: str, patient_id: str, source: str, shape: tuple[int, int] = (24, 32)) -> bytes:
        image = np.random.default_rng(look).integers(0, 256, shape, np.uint8)
        mask = np.zeros(shape, np.uint8)
        return encode(make_record(image_id, image=image, mask=mask, patient_id=patient_id, source=source))

    return of


@pytest.fixture
def splits(make: Make) -> dict[str, list[bytes]]:
    """Three patients, one a split; the first has two images."""
    return {
        "train": [make(1, "t1", "p1", "clinic"), make(2, "t2", "p1", "clinic")],
        "eval": [make(3, "e1", "p2", "clinic")],
        "test": [make(4, "s1", "p3", "clinic")],
    }


@pytest.fixture
def run(tmp_path: Path, write_examples: Callable[..., standard_artifacts.Examples]) -> Run:
    """Calls the executor as TFX does, the folder of the output is there already; gives the report."""

    def do(splits: Splits, external: Splits, beam_args: Sequence[str] = IN_MEMORY) -> dict[str, Any]:
        number = len(list(tmp_path.glob("in*")))
        inputs = {
            "examples": [write_examples(tmp_path / f"in{number}", splits)],
            "external_examples": [write_examples(tmp_path / f"external{number}", external)],
        }
        report = standard_artifacts.ExampleAnomalies()
        report.uri = str(tmp_path / f"out{number}")
        Path(report.uri).mkdir()
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(beam_args), extra_flags=[], tmp_dir=str(tmp_path / "tmp"), unique_id=str(number)
        )
        executor.Executor(context).Do(inputs, {"report": [report]}, {"code_version": "1"})
        (file,) = Path(report.uri).iterdir()
        assert file.name == "independence.json"
        return json.loads(file.read_text())

    return do


@pytest.fixture
def failure(run: Run, tmp_path: Path) -> Failure:
    """What the user reads where the executor fails; nothing that it wrote may be left."""

    def of(splits: Splits, external: Splits, kind: type[Exception] = OverlapError) -> str:
        with pytest.raises(kind) as caught:
            run(splits, external)
        assert not list((tmp_path / "out0").iterdir())
        prefix = "IndependenceCheck failed: "
        message = str(ComponentError("IndependenceCheck", caught.value))
        assert message.startswith(prefix)
        return message.removeprefix(prefix)

    return of


def test_independent_sets_are_counted(run: Run, splits: Splits, make: Make) -> None:
    """Ids that coincide by chance make no overlap, nor do further images of a patient of the test split."""
    external = {
        "hannover": [
            make(11, "t1", "p1", "hannover"),  # the ids of another image and another person
            make(12, "t2", "p1", "hannover"),
            make(13, "x", "p9", "hannover"),
            make(14, "s2", "p3", "clinic"),  # in the split `test`, which is not trained on
        ],
        "essen": [make(21, "t1", "p1", "essen")],
    }
    assert run(splits, external) == {
        "external_sets": {"hannover": {"images": 4, "patients": 3}, "essen": {"images": 1, "patients": 1}},
        "splits": {
            "train": {"images": 2, "patients": 1},
            "eval": {"images": 1, "patients": 1},
            "test": {"images": 1, "patients": 1},
        },
    }


def test_what_comes_twice_within_a_set_is_no_overlap(run: Run, splits: Splits, make: Make) -> None:
    twice = [make(11, "x", "p9", "hannover"), make(11, "y", "p9", "hannover")]
    report = run(splits, {"hannover": twice})
    assert report["external_sets"] == {"hannover": {"images": 2, "patients": 1}}


def test_a_set_may_be_named_like_a_split(failure: Failure, splits: Splits, make: Make) -> None:
    """It is not taken for the split `test`, whose patients may have further images in external sets."""
    external = {"test": [make(11, "x", "p9", "ruhr")], "essen": [make(12, "y", "p9", "ruhr")]}
    assert failure(splits, external).startswith(
        "external set 'essen': patient 'p9' of source 'ruhr' (image 'y') is in external set 'test' too (image 'x'): "
    )


def test_equal_pixels_in_another_shape_are_another_image(run: Run, splits: Splits, make: Make) -> None:
    flat = {**splits, "train": [make(1, "t1", "p1", "clinic", (24, 32))]}
    external = {"hannover": [make(1, "x", "p9", "hannover", (32, 24))]}
    (inside,), (outside,) = flat["train"], external["hannover"]
    assert decode(inside).image.tobytes() == decode(outside).image.tobytes()
    assert run(flat, external)["external_sets"] == {"hannover": {"images": 1, "patients": 1}}


@pytest.mark.parametrize(("split", "look", "name"), [("train", 2, "t2"), ("eval", 3, "e1")])
def test_an_image_that_is_trained_on(
    failure: Failure, splits: Splits, make: Make, split: str, look: int, name: str
) -> None:
    external = {"hannover": [make(11, "x", "p9", "hannover"), make(look, "abc", "p7", "hannover")]}
    assert failure(splits, external) == (
        f"external set 'hannover': image 'abc' (patient 'p7') is in split '{split}' as '{name}' too: {TRAINED_ON}"
    )


def test_an_image_of_the_test_split(failure: Failure, splits: Splits, make: Make) -> None:
    assert failure(splits, {"hannover": [make(4, "abc", "p7", "hannover")]}) == (
        "external set 'hannover': image 'abc' (patient 'p7') is in split 'test' as 's1' too: "
        "test sets must have no image in common; remove them and ingest the set again"
    )


def test_another_compression_hides_nothing(failure: Failure, splits: Splits, make: Make) -> None:
    example = tf.train.Example.FromString(make(2, "abc", "p7", "hannover"))
    stored = example.features.feature["image"].bytes_list.value
    pixels = cv2.imdecode(np.frombuffer(stored[0], np.uint8), cv2.IMREAD_UNCHANGED)
    again = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert again != stored[0]
    stored[0] = again
    assert failure(splits, {"hannover": [example.SerializeToString()]}).startswith(
        "external set 'hannover': image 'abc' (patient 'p7') is in split 'train' as 't2' too: "
    )


@pytest.mark.parametrize(("split", "patient", "name"), [("train", "p1", "t1"), ("eval", "p2", "e1")])
def test_a_patient_who_is_trained_on(
    failure: Failure, splits: Splits, make: Make, split: str, patient: str, name: str
) -> None:
    """The first image of the patient, by name, is named on both sides."""
    external = {"later": [make(12, "y", patient, "clinic"), make(11, "x", patient, "clinic")]}
    assert failure(splits, external) == (
        f"external set 'later': patient '{patient}' of source 'clinic' (image 'x') is in split '{split}' too "
        f"(image '{name}'): {PATIENT_TRAINED_ON}"
    )


def test_two_sets_that_share_an_image(failure: Failure, splits: Splits, make: Make) -> None:
    external = {"mainz": [make(11, "m", "p8", "mainz")], "essen": [make(11, "e", "p9", "essen")]}
    assert failure(splits, external) == (
        "external set 'essen': image 'e' (patient 'p9') is in external set 'mainz' as 'm' too: "
        "test sets must have no image in common; remove them and ingest the set again"
    )


def test_two_sets_that_share_a_patient(failure: Failure, splits: Splits, make: Make) -> None:
    external = {"essen": [make(11, "e", "p9", "ruhr")], "mainz": [make(12, "m", "p9", "ruhr")]}
    assert failure(splits, external) == (
        "external set 'essen': patient 'p9' of source 'ruhr' (image 'e') is in external set 'mainz' too (image 'm'): "
        "test sets must have no patient in common; remove them, or give other people a source of their own, "
        "and ingest the set again"
    )


def test_the_gravest_is_named_first_and_the_others_are_logged(
    failure: Failure, splits: Splits, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    external = {
        "a": [make(4, "a1", "p3", "clinic"), make(11, "a2", "p8", "x")],
        "b": [make(11, "b1", "p9", "y"), make(3, "b3", "p9", "y"), make(1, "b2", "p1", "clinic")],
    }
    with caplog.at_level(logging.ERROR, "lungseg.independence"):
        message = failure(splits, external)
    assert message == (
        f"external set 'b': image 'b2' (patient 'p1') is in split 'train' as 't1' too, and 4 more: {TRAINED_ON}"
    )
    assert caplog.messages == [
        "external set 'b': image 'b2' (patient 'p1') is in split 'train' as 't1' too",
        "external set 'b': image 'b3' (patient 'p9') is in split 'eval' as 'e1' too",
        "external set 'b': patient 'p1' of source 'clinic' (image 'b2') is in split 'train' too (image 't1')",
        "external set 'a': image 'a1' (patient 'p3') is in split 'test' as 's1' too",
        "external set 'a': image 'a2' (patient 'p8') is in external set 'b' as 'b1' too",
    ]


def test_no_more_than_the_first_overlaps_are_logged(
    failure: Failure, splits: Splits, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    inside = [make(look, f"t{look}", f"p{look}", "clinic") for look in range(100, 125)]
    outside = [make(look, f"x{look}", f"q{look}", "hannover") for look in range(124, 99, -1)]
    with caplog.at_level(logging.ERROR, "lungseg.independence"):
        message = failure({**splits, "train": inside}, {"hannover": outside})
    assert message == (
        "external set 'hannover': image 'x100' (patient 'q100') is in split 'train' as 't100' too, and 24 more: "
        f"{TRAINED_ON}"
    )
    assert [text.split("'")[3] for text in caplog.messages] == [f"x{look}" for look in range(100, 120)]


def test_a_record_that_breaks_the_contract(failure: Failure, splits: Splits, make: Make) -> None:
    example = tf.train.Example.FromString(make(11, "x", "p9", "hannover"))
    example.features.feature["image"].bytes_list.value[0] = b"no picture"
    assert failure(splits, {"hannover": [example.SerializeToString()]}, Exception) == (
        "external set 'hannover': record 'x', field 'image': cannot be decoded as an image"
    )


def test_empty_places(failure: Failure, splits: Splits, make: Make) -> None:
    assert failure(splits, {"hannover": []}, RuntimeError) == (
        "external set 'hannover' has no records: add images of more patients"
    )


def test_an_empty_split(failure: Failure, splits: Splits, make: Make) -> None:
    assert failure({**splits, "eval": []}, {"hannover": [make(11, "x", "p9", "hannover")]}, RuntimeError) == (
        "split 'eval' has no records: add images of more patients"
    )


def test_records_lost_on_the_way_fail_the_run(
    failure: Failure, splits: Splits, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify = executor._identify

    def leaky(serialized: bytes, place: Place) -> Any:
        by_image, by_patient = identify(serialized, place)
        return [by_patient] if by_image[1][1].image_id == "t2" else [by_image, by_patient]

    monkeypatch.setattr(executor, "_identify", leaky)
    assert failure(splits, {"hannover": [make(11, "x", "p9", "hannover")]}, RuntimeError) == (
        "split 'train' lost records: 2 read, 1 compared by image and 2 by patient"
    )


def test_overlaps_lost_on_the_way_fail_the_run() -> None:
    with pytest.raises(RuntimeError) as caught:
        executor._judge([("a", "b")], 3)
    assert str(caught.value) == "overlaps got lost: 3 found, 1 of at most 20 listed"


def test_an_interruption_leaves_nothing(
    run: Run, splits: Splits, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "_judge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(splits, {"hannover": [make(11, "x", "p9", "hannover")]})
    assert not list((tmp_path / "out0").iterdir())


def test_gathering_is_the_same_in_any_order() -> None:
    """What is kept of an image or a patient grows with the number of places alone."""
    train, here = Place("split", "train"), Place("external set", "hannover")
    given = [(train, Presence(f"t{number}", "p", "clinic", 1)) for number in range(50)]
    given.append((here, Presence("x", "p", "clinic", 1)))
    expected = [("key", {train: Presence("t0", "p", "clinic", 50), here: Presence("x", "p", "clinic", 1)})]
    for order in (given, given[::-1]):
        with beam.Pipeline(options=PipelineOptions(IN_MEMORY)) as pipeline:
            gathered = pipeline | beam.Create([("key", one) for one in order]) | beam.CombinePerKey(executor._Gather())
            assert_that(gathered, equal_to(expected))


@pytest.mark.slow
@pytest.mark.e2e
def test_worker_processes_find_the_same(run: Run, splits: Splits, make: Make) -> None:
    external = {"hannover": [make(11, "x", "p9", "hannover")], "essen": [make(12, "y", "p1", "essen")]}
    assert run(splits, external, PROCESSES) == run(splits, external, IN_MEMORY)
    messages = []
    for beam_args in (PROCESSES, IN_MEMORY):
        with pytest.raises(OverlapError) as caught:
            run(splits, {"hannover": [*splits["train"], *splits["test"]]}, beam_args)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "and 3 more" in messages[0]


def test_the_component_is_wired_to_beam() -> None:
    examples = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    external = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    check = IndependenceCheck(examples=examples, external_examples=external, code_version="abc")
    assert check.id == "IndependenceCheck"
    assert check.inputs == {"examples": examples, "external_examples": external}
    assert {key: output.type for key, output in check.outputs.items()} == {
        "report": standard_artifacts.ExampleAnomalies
    }
    assert check.exec_properties == {"code_version": "abc"}
    assert isinstance(check.executor_spec, executor_spec.BeamExecutorSpec)
    assert check.executor_spec.executor_class is executor.Executor
