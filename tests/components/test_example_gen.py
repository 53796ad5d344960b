"""ExampleGen: which spans it reads, what becomes of images that are in two, and what the cache keeps."""

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx import types
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver as kubeflow_driver
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.artifacts import spans_of
from components.code_version import code_version
from components.example_gen import component, executor, read
from components.example_gen.component import ExampleGen, ExternalExampleGen
from components.example_gen.spans import Span, choose, existing, number_in
from components.example_gen.split import split_of_bucket
from pipeline.errors import ComponentError
from pipeline.runners import ComponentRun, LocalRunner
from schema.record import Record, encode

MakeRecord = Callable[..., Record]
WriteSpan = Callable[..., None]
Generate = Callable[..., ComponentRun]

SPLITS = ("train", "eval")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def write_span(data: Path, make_record: MakeRecord) -> WriteSpan:
    """Writes a span, replacing it: write_span(3, "a", "b") writes two images of width 3, each of its own patient."""

    def write(span: int, *image_ids: str, shards: int = 2, **changes: Any) -> None:
        folder = data / f"span-{span}"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for shard in range(shards):
            path = folder / f"records-{shard:05d}-of-{shards:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for image_id in image_ids[shard::shards]:
                    record = make_record(image_id, **{"patient_id": f"p-{image_id}", "width": span, **changes})
                    writer.write(encode(record))

    return write


class Unheard:
    def started(self, component_id: str) -> None:
        pass

    def ended(self, run: ComponentRun) -> None:
        pass


def make(data: Path, **spans: Any) -> ExampleGen:
    split = example_gen_pb2.SplitConfig.Split
    config = example_gen_pb2.SplitConfig(
        splits=[split(name=name, hash_buckets=1) for name in SPLITS], partition_feature_name="patient_id"
    )
    output = example_gen_pb2.Output(split_config=config)
    return ExampleGen(data_root=data, output_config=output, **spans)


@pytest.fixture
def generate(data: Path, tmp_path: Path) -> Generate:
    """Runs ExampleGen as a pipeline does, with a metadata store: generate(spans=2, span=5)."""

    return lambda **arguments: run_alone(make(data, **arguments), tmp_path)


def run_alone(component: BaseComponent, root: Path) -> ComponentRun:
    runner = LocalRunner(root, Unheard())
    runner.run(
        Pipeline(
            pipeline_name="p",
            pipeline_root=str(root / "artifacts"),
            components=[component],
            enable_cache=True,
            metadata_connection_config=runner.connection,
        )
    )
    return runner.runs[0]


def examples_of(run: ComponentRun) -> standard_artifacts.Examples:
    (examples,) = run.outputs["examples"]
    return examples


def read_serialized(examples: types.Artifact, split: str) -> list[bytes]:
    files = [str(path) for path in sorted(Path(examples.uri, f"Split-{split}").iterdir())]
    compression = "GZIP" if files[0].endswith(".gz") else ""  # TFX's own writing, that of external sets
    return list(tf.data.TFRecordDataset(files, compression).as_numpy_iterator())


def read_split(examples: types.Artifact, split: str) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(serialized) for serialized in read_serialized(examples, split)]


def read_all(examples: types.Artifact, splits: Sequence[str] = SPLITS) -> list[tuple[str, int]]:
    """Id of each image, and the span that it is from."""
    features = [example.features.feature for split in splits for example in read_split(examples, split)]
    return sorted(
        (feature["image_id"].bytes_list.value[0].decode(), feature["width"].int64_list.value[0]) for feature in features
    )


def span_properties(examples: types.Artifact) -> tuple[str, int, int, int]:
    numbers = [examples.get_int_custom_property(name) for name in ("span", "read", "replaced")]
    return (examples.get_string_custom_property("spans"), *numbers)


@pytest.fixture
def four(write_span: WriteSpan) -> None:
    """Four spans with a gap, the numbers of one and two digits; `b` and `c` are in several of them."""
    write_span(1, "a", "b")
    write_span(2, "b", "c", "d")
    write_span(9, "e")
    write_span(10, "c", "f")


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("arguments", "expected", "of"),
    [
        ({}, [("c", 10), ("f", 10)], ("10", 10, 2, 0)),
        ({"spans": 2}, [("c", 10), ("e", 9), ("f", 10)], ("9,10", 10, 3, 0)),
        ({"spans": 3}, [("b", 2), ("c", 10), ("d", 2), ("e", 9), ("f", 10)], ("2,9,10", 10, 6, 1)),
        ({"spans": 4}, [("a", 1), ("b", 2), ("c", 10), ("d", 2), ("e", 9), ("f", 10)], ("1,2,9,10", 10, 8, 2)),
        ({"span": 9}, [("e", 9)], ("9", 9, 1, 0)),
        ({"span": 9, "spans": 2}, [("b", 2), ("c", 2), ("d", 2), ("e", 9)], ("2,9", 9, 4, 0)),
        ({"span": 2, "spans": 2}, [("a", 1), ("b", 2), ("c", 2), ("d", 2)], ("1,2", 2, 5, 1)),
    ],
)
def test_the_last_spans_as_one(
    generate: Generate, arguments: dict[str, int], expected: list[tuple[str, int]], of: tuple[str, int, int, int]
) -> None:
    examples = examples_of(generate(**arguments))
    assert read_all(examples) == expected
    assert span_properties(examples) == of
    assert artifact_utils.decode_split_names(examples.split_names) == list(SPLITS)
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("sets", [("north",), ("north", "south")])
def test_an_external_set_is_all_its_spans_in_which_the_newest_counts(
    data: Path, tmp_path: Path, sets: tuple[str, ...]
) -> None:
    shutil.copytree(data / "span-1", tmp_path / "south" / "span-7")
    folders = {"north": data, "south": tmp_path / "south"}
    examples = examples_of(run_alone(ExternalExampleGen({name: folders[name] for name in sets}), tmp_path))
    assert artifact_utils.decode_split_names(examples.split_names) == list(sets)
    assert read_all(examples, ["north"]) == [("a", 1), ("b", 2), ("c", 10), ("d", 2), ("e", 9), ("f", 10)]
    assert "south" not in sets or read_all(examples, ["south"]) == [("a", 1), ("b", 1)]


def test_an_external_set_without_records(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ComponentError) as caught:
        run_alone(ExternalExampleGen({"north": tmp_path / "empty"}), tmp_path)
    missing = f"'{tmp_path}/empty' holds no span-N/records-*: write them there with `lungseg ingest`"
    assert str(caught.value) == f"ExternalExampleGen failed: {missing}"


@pytest.mark.usefixtures("four")
def test_a_record_is_the_same_bytes_in_each_process(generate: Generate) -> None:
    examples = examples_of(generate(spans=4))
    examples_ = [serialized for split in SPLITS for serialized in read_serialized(examples, split)]
    parsed = [tf.train.Example.FromString(serialized) for serialized in examples_]
    assert examples_ == [example.SerializeToString(deterministic=True) for example in parsed]
    names = [
        list(dict.fromkeys(re.findall(rb"image_id|mask|patient_id|source|width", serialized)))
        for serialized in examples_
    ]
    assert all(order == sorted(order) for order in names), "features stand in the order of their names"


@pytest.mark.usefixtures("four")
def test_fewer_than_asked_for(generate: Generate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lungseg")
    examples = examples_of(generate(span=2, spans=7))
    assert span_properties(examples) == ("1,2", 2, 5, 1)
    messages = [record.getMessage() for record in caplog.records if record.name == "lungseg.example_gen"]
    assert messages == [
        "7 spans wanted, 2 there up to the newest one",
        "span 1: 2 records, 1 replaced by later spans",
        "span 2: 3 records, 0 replaced by later spans",
    ]


def test_splits_are_by_patient_over_all_spans(generate: Generate, write_span: WriteSpan) -> None:
    for span in (1, 2, 3):
        write_span(span, *(f"{span}-{index}" for index in range(12)), patient_id="p-x" if span == 3 else f"p-{span}")
    examples = examples_of(generate(spans=3))
    of_split = {
        split: Counter(
            example.features.feature["patient_id"].bytes_list.value[0] for example in read_split(examples, split)
        )
        for split in SPLITS
    }
    assert of_split["train"] + of_split["eval"] == {b"p-1": 12, b"p-2": 12, b"p-x": 12}
    assert not set(of_split["train"]) & set(of_split["eval"])


def test_a_corrected_image_that_went_to_another_patient_is_in_one_split(
    generate: Generate, write_span: WriteSpan
) -> None:
    ids = [f"i{index}" for index in range(20)]
    write_span(1, *ids)
    write_span(2, *ids, patient_id="p-one")
    examples = examples_of(generate(spans=2))
    assert read_all(examples) == sorted((image_id, 2) for image_id in ids)
    assert sorted(len(read_split(examples, split)) for split in SPLITS) == [0, 20]


@pytest.fixture
def split_of_patients(generate: Generate) -> Callable[[int], dict[str, str]]:
    """The split of each patient where the splits are turned by so many buckets."""

    def of(rotation: int) -> dict[str, str]:
        examples = examples_of(generate(rotation=rotation))
        return {
            example.features.feature["patient_id"].bytes_list.value[0].decode(): split
            for split in SPLITS
            for example in read_split(examples, split)
        }

    return of


def test_splits_are_those_of_tfx(write_span: WriteSpan, split_of_patients: Callable[[int], dict[str, str]]) -> None:
    write_span(1, *(f"i{index}" for index in range(20)))
    config = example_gen_pb2.SplitConfig(partition_feature_name="patient_id")
    expected = {}
    for patient in (f"p-i{index}" for index in range(20)):
        example = tf.train.Example()
        example.features.feature["patient_id"].bytes_list.value.append(patient.encode())
        expected[patient] = SPLITS[base_example_gen_executor._PartitionFn(example, 2, [1, 2], config)]
    assert split_of_patients(0) == expected


def test_splits_that_are_turned(write_span: WriteSpan, split_of_patients: Callable[[int], dict[str, str]]) -> None:
    """Of two buckets, one a split, those of one are the others of the other."""
    write_span(1, *(f"i{index}" for index in range(20)))
    plain, turned = split_of_patients(0), split_of_patients(1)
    assert set(plain.values()) == set(SPLITS)
    assert {patient: SPLITS[1 - SPLITS.index(split)] for patient, split in plain.items()} == turned
    assert split_of_patients(2) == plain


def test_each_bucket_is_in_the_last_split_once() -> None:
    """Five buckets for each of three folds: the last five of fifteen are tested on."""
    tested = [
        [bucket for bucket in range(15) if split_of_bucket(bucket, [8, 10, 15], rotation) == 2]
        for rotation in (0, 5, 10)
    ]
    assert tested == [[10, 11, 12, 13, 14], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("newest", "problem"),
    [
        (2, "image 'b' is of source 'clinic' in span 1 and of source 'other' in span 2"),
        (4, "image 'c' is of source 'clinic' in span 4 and of source 'other' in span 2"),
    ],
)
def test_equal_ids_of_two_sources(
    failure: Callable[..., str], write_span: WriteSpan, newest: int, problem: str
) -> None:
    """No component behind could tell them apart."""
    write_span(1, "a", "b", source="clinic")
    write_span(2, "b", "c", source="other")
    write_span(4, "d", "c", source="clinic")
    remedy = "give one of them another name and ingest its span again"
    assert failure(f"span-{newest}/records-*", spans=2) == f"ExampleGen failed: {problem}: {remedy}"


def test_an_image_that_is_twice_in_one_span_is_left_to_the_evaluator(generate: Generate, write_span: WriteSpan) -> None:
    write_span(1, "a", "a", "b", "b")
    write_span(2, "b", "c", "c")
    examples = examples_of(generate(spans=2))
    assert read_all(examples) == [("a", 1), ("a", 1), ("b", 2), ("c", 2), ("c", 2)]
    assert span_properties(examples) == ("1,2", 2, 7, 2)


def test_spans_from_zero(generate: Generate, write_span: WriteSpan) -> None:
    write_span(0, "a")
    write_span(1, "b")
    assert span_properties(examples_of(generate(span=0))) == ("0", 0, 1, 0)
    assert span_properties(examples_of(generate(spans=2))) == ("0,1", 1, 2, 0)


@pytest.mark.usefixtures("four")
def test_what_comes_later_is_left_alone(generate: Generate, data: Path, write_span: WriteSpan) -> None:
    """A span on its way, one that is being written, and folders that are no spans."""
    write_span(11, "z")
    (data / "span-11").rename(data / ".span-11.partial")
    for name in ("span-12", "span-03", "span-x", "spans"):
        (data / name).mkdir()
    assert span_properties(examples_of(generate(spans=2)))[0] == "9,10"


@pytest.mark.usefixtures("four")
def test_a_span_that_there_is_not(generate: Generate, data: Path) -> None:
    with pytest.raises(ComponentError) as error:
        generate(span=5, spans=2)
    assert str(error.value) == (
        f"ExampleGen failed: '{data}' has no span 5: there are 1, 2, 9, 10; name one of these, or write it first"
    )


def test_no_span_at_all(generate: Generate, data: Path) -> None:
    with pytest.raises(ComponentError) as error:
        generate(span=5)
    assert str(error.value) == f"ExampleGen failed: '{data}' has no span 5: there are none; write it first"


@pytest.mark.usefixtures("four")
def test_the_cache_keeps_what_did_not_change(
    generate: Generate, write_span: WriteSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [generate(spans=3).cached for _ in range(2)] == [False, True]
    write_span(1, "a", "b", "new")  # is not read
    again = generate(spans=3)
    assert (again.cached, span_properties(examples_of(again))) == (True, ("2,9,10", 10, 6, 1))
    assert not generate(spans=2).cached
    monkeypatch.setattr(component, "code_version", lambda *_: "other")
    assert not generate(spans=3).cached


@pytest.mark.usefixtures("four")
def test_an_earlier_span_that_was_replaced_is_read_anew(generate: Generate, write_span: WriteSpan, data: Path) -> None:
    generate(spans=3)
    write_span(9, "g", "h")
    replaced = generate(spans=3)
    assert not replaced.cached
    assert read_all(examples_of(replaced)) == [("b", 2), ("c", 10), ("d", 2), ("f", 10), ("g", 9), ("h", 9)]
    # Files of the same size tell by their time alone.
    for file in (data / "span-2").iterdir():
        os.utime(file, (2e9, 2e9))
    assert not generate(spans=3).cached


@pytest.mark.usefixtures("four")
def test_an_earlier_span_that_was_removed_is_not_served(generate: Generate, data: Path) -> None:
    generate(spans=3)
    (data / "span-9").rename(data / "gone")
    assert span_properties(examples_of(generate(spans=3))) == ("1,2,10", 10, 7, 2)


@pytest.mark.usefixtures("four")
def test_a_new_span_is_taken_unless_another_is_named(generate: Generate, write_span: WriteSpan) -> None:
    generate(spans=2), generate(spans=2, span=10)
    write_span(11, "z")
    assert span_properties(examples_of(generate(spans=2)))[0] == "10,11"
    assert generate(spans=2, span=10).cached


@pytest.fixture
def do(data: Path, tmp_path: Path) -> Callable[..., standard_artifacts.Examples]:
    """Calls the executor alone, with what a driver says of the newest span: do("span-5/records-*", spans=2)."""

    def call(pattern: str, spans: int) -> standard_artifacts.Examples:
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        (tmp_path / "examples").mkdir()
        resolved = json.dumps({"splits": [{"name": "records", "pattern": pattern}]})
        properties = {**make(data, spans=spans).exec_properties, "input_config": resolved}
        executor.Executor().Do({}, {"examples": [examples]}, properties)
        return examples

    return call


@pytest.fixture
def failure(do: Callable[..., standard_artifacts.Examples], tmp_path: Path) -> Callable[..., str]:
    """What the user reads where the executor fails; nothing that it wrote may be left."""

    def of(pattern: str, spans: int) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # its message is what the tests look at
            do(pattern, spans)
        assert list((tmp_path / "examples").iterdir()) == []
        return str(ComponentError("ExampleGen", caught.value))

    return of


@pytest.mark.usefixtures("four")
def test_the_driver_of_kubeflow_suffices(
    do: Callable[..., standard_artifacts.Examples], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, TFX's own driver runs and writes down what the executor is told."""
    monkeypatch.setattr(kubeflow_driver.logging, "set_verbosity", lambda _: None)  # would hold for all that follow
    output = data.parent / "driver" / "output.json"
    executor_input = pipeline_spec_pb2.ExecutorInput()
    types_of = pipeline_spec_pb2.ComponentInputsSpec()
    for name, value in make(data, spans=3, span=9).exec_properties.items():
        json_format.ParseDict(value, executor_input.inputs.parameter_values[name])
        kind = "STRING" if isinstance(value, str) else "NUMBER_INTEGER"
        json_format.ParseDict({"parameterType": kind}, types_of.parameters[name])
    executor_input.outputs.artifacts["examples"].artifacts.add(
        name="1", uri=str(data), type={"schema_title": "tfx.Examples"}
    )
    executor_input.outputs.output_file = str(output)
    kubeflow_driver._run_driver(executor_input, types_of)
    (split,) = json.loads(json.loads(output.read_text())["parameterValues"]["input_config"])["splits"]
    examples = do(split["pattern"], spans=3)
    assert examples.get_string_custom_property("spans") == "1,2,9"
    assert read_all(examples) == [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 9)]


@pytest.mark.usefixtures("four")
def test_nobody_resolved_the_span(failure: Callable[..., str]) -> None:
    assert failure("span-{SPAN}/records-*", spans=2) == (
        "ExampleGen failed: pattern 'span-{SPAN}/records-*' names no span: ExampleGen's driver must run first and put "
        "a number into it"
    )


def test_a_record_without_a_patient(
    failure: Callable[..., str], write_span: WriteSpan, data: Path, make_record: MakeRecord
) -> None:
    write_span(2, "b")
    nameless = tf.train.Example.FromString(encode(make_record("c")))
    del nameless.features.feature["patient_id"]
    with tf.io.TFRecordWriter(str(data / "span-2" / "records-00002-of-00003.tfrecord")) as writer:
        writer.write(nameless.SerializeToString())
    assert "a record has no 'patient_id': write its span again with `lungseg ingest`" in failure("span-2/records-*", 1)


@pytest.mark.parametrize("name", ["image_id", "source"])
def test_a_record_that_cannot_be_identified(
    failure: Callable[..., str], write_span: WriteSpan, data: Path, make_record: MakeRecord, name: str
) -> None:
    write_span(1, "a")
    write_span(2, "b")
    nameless = tf.train.Example.FromString(encode(make_record("c")))
    del nameless.features.feature[name]
    with tf.io.TFRecordWriter(str(data / "span-2" / "records-00002-of-00003.tfrecord")) as writer:
        writer.write(nameless.SerializeToString())
    assert failure("span-2/records-*", spans=2) == (
        f"ExampleGen failed: span 2 holds a record without '{name}': write the span again with `lungseg ingest`"
    )


def test_a_damaged_file(failure: Callable[..., str], write_span: WriteSpan, data: Path) -> None:
    write_span(1, "a", "b")
    write_span(2, "c", "d")
    for file in (data / "span-1").iterdir():
        file.write_bytes(file.read_bytes()[:500])
    assert failure("span-2/records-*", spans=2).startswith("ExampleGen failed: ")


@pytest.mark.parametrize(
    ("step", "is_lost", "counted"),
    [
        ("_keep_newest", lambda _, span, __: span == 2, "2 read, 3 identified, 2 written, 0 replaced"),
        ("_replaced", lambda image: image[1].newest == 2, "3 read, 2 identified, 3 written, 0 replaced"),
    ],
)
def test_lost_records(
    failure: Callable[..., str],
    write_span: WriteSpan,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_lost: Callable[..., bool],
    counted: str,
) -> None:
    """A runner that hands a step less than there is."""
    write_span(1, "a", "b")
    write_span(2, "c")
    whole = getattr(read, step)
    monkeypatch.setattr(read, step, lambda *arguments: iter(()) if is_lost(*arguments) else whole(*arguments))
    assert failure("span-2/records-*", spans=2) == f"ExampleGen failed: records got lost: {counted}"


def test_choose(data: Path, write_span: WriteSpan) -> None:
    for span in (0, 3, 12):
        write_span(span, "a")
    assert existing(str(data)) == [0, 3, 12]
    assert choose(str(data), newest=12, number=2) == [
        Span(3, f"{data}/span-3/records-*"),
        Span(12, f"{data}/span-12/records-*"),
    ]
    assert [span.span for span in choose(str(data), newest=3, number=5)] == [0, 3]
    assert choose(str(data / "elsewhere"), newest=3, number=5) == []
    assert [number_in(pattern) for pattern in ("span-0/records-*", "/data/span-12/records-*")] == [0, 12]


def test_spans_of_examples() -> None:
    examples = standard_artifacts.Examples()
    examples.set_int_custom_property("span", 12)
    assert spans_of(examples) == [12], "made by TFX's own ExampleGen"
    examples.set_string_custom_property("spans", "3,4,12")
    assert spans_of(examples) == [3, 4, 12]


def test_the_component_is_wired() -> None:
    example_gen = make(Path("/data"))
    assert (example_gen.id, example_gen.inputs) == ("ExampleGen", {})
    outputs = {key: output.type for key, output in example_gen.outputs.items()}
    assert outputs == {"examples": standard_artifacts.Examples}
    properties = example_gen.exec_properties
    assert json.loads(properties["input_config"])["splits"] == [{"name": "records", "pattern": "span-{SPAN}/records-*"}]
    version = code_version("components.example_gen.executor", "components.example_gen.driver")
    # What Kubeflow's runs set anew.
    assert json.loads(properties["custom_config"])["custom_config"]["value"] == {
        "spans": 1, "rotation": 0, "code_version": version,
    }  # fmt: skip
    assert properties.get("range_config") is None
    named = json.loads(make(Path("/data"), span=7).exec_properties["range_config"])["static_range"]
    assert named == {"start_span_number": 7, "end_span_number": 7}
