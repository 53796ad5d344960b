"""The RecordValidator on real TFRecords: what is refused and why, what leaks, and that nothing gets lost."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import tensorflow as tf
from pictures import read_picture
from small_records import make, splits
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts

from components import code_version
from components.record_validator import executor
from components.record_validator.component import RecordValidator
from components.record_validator.settings import RecordValidationSettings
from pipeline.beam.settings import BeamSettings
from schema.record import Record, encode
from schema.reports.validation import (
    Leaks,
    QuarantinedRecord,
    RecordReference,
    SetSummary,
    SourceSummary,
    ValidationReport,
    read_quarantined,
)

Splits = Mapping[str, Sequence[Record | bytes]]

IN_MEMORY = BeamSettings().arguments()
PROCESSES = BeamSettings(mode="multi_processing", workers=2).arguments()


class Validated(NamedTuple):
    """What the executor wrote."""

    validation: ValidationReport
    listed: list[QuarantinedRecord]
    folder: Path
    outputs: dict[str, standard_artifacts.Examples]

    def records(self, output: str, split: str) -> list[bytes]:
        folder = Path(artifact_utils.get_split_uri([self.outputs[output]], split))
        return [
            record
            for file in sorted(folder.iterdir())
            for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        ]

    def reasons(self) -> dict[str, str]:
        return {record.image_id: record.reason for record in self.listed}

    def set_named(self, name: str) -> SetSummary:
        (set_,) = [set_ for set_ in self.validation.sets if set_.name == name]
        return set_


Run = Callable[..., Validated]


@pytest.fixture
def run(tmp_path: Path, write_examples: Callable[..., standard_artifacts.Examples]) -> Run:
    """Calls the executor as TFX does, the folders of the outputs are there already."""

    def do(
        examples: Splits,
        reference: Splits | None = None,
        settings: RecordValidationSettings | None = None,
        beam_args: Sequence[str] = IN_MEMORY,
    ) -> Validated:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        inputs = {}
        for name, sets in (("examples", examples), ("reference_examples", reference)):
            if sets is not None:
                written = {split: [_serialized(record) for record in records] for split, records in sets.items()}
                inputs[name] = [write_examples(root / name, written)]
        outputs = {name: standard_artifacts.Examples() for name in ("validated_examples", "quarantined_examples")}
        outputs["report"] = standard_artifacts.ExampleAnomalies()
        for name, artifact in outputs.items():
            artifact.uri = str(root / name)
            Path(artifact.uri).mkdir()
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(beam_args), extra_flags=[], tmp_dir=str(root / "tmp"), unique_id="1"
        )
        properties = {"settings": (settings or RecordValidationSettings()).model_dump_json(), "code_version": "1"}
        executor.Executor(context).Do(inputs, {name: [artifact] for name, artifact in outputs.items()}, properties)
        folder = Path(outputs.pop("report").uri)
        return Validated(ValidationReport.read(folder), read_quarantined(folder), folder, outputs)

    return do


def _serialized(record: Record | bytes) -> bytes:
    return record if isinstance(record, bytes) else encode(record)


def test_sound_records_pass_byte_for_byte(run: Run) -> None:
    validated = run(splits())
    for split, records in splits().items():
        assert sorted(validated.records("validated_examples", split)) == sorted(map(_serialized, records))
        assert validated.records("quarantined_examples", split) == []
    assert validated.listed == []
    assert sorted(file.name for file in validated.folder.iterdir()) == ["quarantined.jsonl", "validation.json"]
    assert validated.validation == ValidationReport(
        limits=RecordValidationSettings().model_dump(mode="json"),
        sets=[
            SetSummary(
                kind="split", name=name, read=number, validated=number, quarantined=0, patients=1, leaked=0, reasons={},
                sources={"clinic": SourceSummary(read=number, quarantined=0, reasons={})}, sizes={"96 x 96": number},
            )
            for name, number in (("train", 2), ("eval", 1), ("test", 1))
        ],
        leaks=Leaks(total=0, named=[]),
        left_out=0,
    )  # fmt: skip


def test_bad_records_go_to_quarantine(run: Run) -> None:
    """Bytes that are no record are kept as they came; a record beside them passes."""
    broken = tf.train.Example.FromString(encode(make(5, "broken", "p5", "ruhr")))
    broken.features.feature["image"].bytes_list.value[0] = b"no picture"
    bad = [
        b"garbage",
        broken.SerializeToString(),
        encode(make(6, "black", "p6", image=np.zeros((96, 96), np.uint8))),
    ]
    validated = run(splits(*bad))
    assert sorted(validated.records("quarantined_examples", "train")) == sorted(bad)
    assert sorted(validated.records("validated_examples", "train")) == sorted(map(_serialized, splits()["train"]))
    assert validated.reasons() == {"black": "constant_image", "broken": "undecodable", "unknown": "undecodable"}
    assert [(record.image_id, record.source, record.detail) for record in validated.listed] == [
        (
            "black",
            "clinic",
            "grey values hardly differ: their standard deviation is 0, at least 0.01 is expected",
        ),
        ("broken", "ruhr", "record 'broken', field 'image': cannot be decoded as an image"),
        ("unknown", "unknown", "record 'unknown', field '(all)': is no serialized tf.train.Example"),
    ]
    train = validated.set_named("train")
    assert (train.read, train.validated, train.quarantined, train.leaked) == (5, 2, 3, 0)
    assert train.reasons == {"constant_image": 1, "undecodable": 2}
    assert {name: source.quarantined for name, source in train.sources.items()} == {
        "clinic": 1, "ruhr": 1, "unknown": 1,
    }  # fmt: skip


def test_the_sheet_shows_what_is_in_quarantine(run: Run) -> None:
    bad = [make(look, f"b{look}", f"b{look}", mask=np.zeros((96, 96), np.uint8)) for look in range(20, 47)]
    validated = run({**splits(), "eval": [*splits()["eval"], *bad, b"garbage"]})
    sheet = read_picture(validated.folder / "thumbnails.png", cv2.IMREAD_COLOR)
    assert sheet.shape[:2] == (4 * 286 + 16, 6 * 216 + 16)
    first = sheet[16:216, 16:216]
    expected = cv2.resize(bad[0].image, (200, 200), interpolation=cv2.INTER_NEAREST)
    assert np.abs(first[2:-2, 2:-2, 0].astype(int) - expected[2:-2, 2:-2]).max() == 0


def test_records_of_equal_bytes_leave_one(run: Run) -> None:
    validated = run(splits(*splits()["train"][:1] * 3))
    assert sorted(validated.records("validated_examples", "train")) == sorted(map(_serialized, splits()["train"]))
    assert validated.records("quarantined_examples", "train") == [_serialized(splits()["train"][0])] * 3
    assert [record.detail for record in validated.listed] == ["has the pixels of 't1' in split 'train' as well"] * 3
    assert validated.validation.leaks.total == 0


def test_leaks(run: Run) -> None:
    validated = run(splits(make(4, "copy", "p7")))
    assert validated.reasons() == {"copy": "exact_duplicate"}
    assert validated.set_named("train").leaked == 1
    (leak,) = validated.validation.leaks.named
    assert leak.text == "split 'test': image 's1' (patient 'p3') is in split 'train' as 'copy' too"
    assert leak.kept == RecordReference(kind="split", name="test", image_id="s1", patient_id="p3", source="clinic")
    left = sorted([encode(make(1, "t1", "p1")), encode(make(2, "t2", "p1"))])
    assert sorted(validated.records("validated_examples", "train")) == left


def test_external_sets(run: Run) -> None:
    """They give way; nothing is told of the splits they are compared with."""
    sound = make(12, "h2", "p2", "hannover")
    validated = run({"hannover": [make(1, "h1", "p1", "hannover"), sound]}, splits())
    assert validated.reasons() == {"h1": "exact_duplicate"}
    assert [leak.text for leak in validated.validation.leaks.named] == [
        "external set 'hannover': image 'h1' (patient 'p1') is in split 'train' as 't1' too"
    ]
    assert validated.records("validated_examples", "hannover") == [encode(sound)]
    assert [(set_.kind, set_.name) for set_ in validated.validation.sets] == [("external set", "hannover")]
    assert {artifact_utils.get_split_uri([made], "hannover") for made in validated.outputs.values()} == {
        str(validated.folder.parent / name / "Split-hannover") for name in validated.outputs
    }


def test_an_empty_split(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run({**splits(), "eval": []})
    assert str(caught.value) == (
        "split 'eval' has no records: each of train, eval, test and external sets needs patients, so add more of them"
    )
    for name in ("validated_examples", "quarantined_examples", "report"):
        assert not list((tmp_path / "0" / name).iterdir())


def test_records_lost_on_the_way_fail_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "route", lambda record, findings: record)
    with pytest.raises(RuntimeError) as caught:
        run(splits())
    assert str(caught.value) == "split 'train' lost records: 2 read, 0 validated, 0 in quarantine"


def test_an_interruption_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "write_quarantined", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(splits())
    assert not [file for name in ("validated_examples", "report") for file in (tmp_path / "0" / name).iterdir()]


@pytest.mark.slow
@pytest.mark.e2e
def test_worker_processes_find_the_same(run: Run) -> None:
    leaky = splits(make(4, "copy", "p7"), b"garbage", make(9, "x", "p2"))
    results = [run(leaky, beam_args=beam_args) for beam_args in (PROCESSES, IN_MEMORY)]
    assert results[0].validation == results[1].validation
    assert results[0].listed == results[1].listed
    assert len(results[0].listed) == 3


def test_the_component_is_wired_to_beam() -> None:
    examples = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    reference = channel.OutputChannel(standard_artifacts.Examples, None, "validated_examples")
    settings = RecordValidationSettings(max_components=3)
    validator = RecordValidator(examples=examples, reference_examples=reference, settings=settings)
    assert validator.id == "RecordValidator"
    assert validator.inputs == {"examples": examples, "reference_examples": reference}
    assert {key: output.type for key, output in validator.outputs.items()} == {
        "validated_examples": standard_artifacts.Examples,
        "quarantined_examples": standard_artifacts.Examples,
        "report": standard_artifacts.ExampleAnomalies,
    }
    assert validator.exec_properties == {
        "settings": json.dumps(settings.model_dump(mode="json"), sort_keys=True),
        "code_version": code_version.code_version(executor.__name__, without=RecordValidator.PRESENTATION),
    }
    assert isinstance(validator.executor_spec, executor_spec.BeamExecutorSpec)
    assert validator.executor_spec.executor_class is executor.Executor
    alone = RecordValidator(examples=examples, settings=settings)
    assert alone.inputs == {"examples": examples}


def test_code_that_only_draws_makes_nothing_anew() -> None:
    files = code_version.source_files(executor.__name__, without=RecordValidator.PRESENTATION)
    names = {file.name for file in files}
    assert {"record_checks.py", "find_leaks.py", "similarity.py", "record.py"} <= names
    assert not {"thumbnails.py", "outlines.py"} & names
