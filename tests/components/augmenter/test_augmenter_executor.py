"""The Augmenter on real TFRecords: what goes in comes out, and what cannot go in is named."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations
import apache_beam as beam
import cv2
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts

from components import parallel
from components.artifacts import COPIES, ORIGINALS
from components.augmenter import executor
from components.augmenter.augment import draw_copy
from components.augmenter.component import Augmenter
from components.augmenter.copies import AddCopies
from components.augmenter.policy import Policy, compose, load_policy
from components.code_version import code_version
from pipeline.beam.settings import BeamSettings
from pipeline.errors import ComponentError
from schema.record import Record, decode, encode

MakeRecord = Callable[..., Record]
MakePolicy = Callable[..., Policy]
Run = Callable[..., standard_artifacts.Examples]

BEAM = BeamSettings().arguments()
SIZES = {"train": 5, "eval": 2, "test": 3}
SHIFT = ("Affine", {"translate_percent": {"x": [-1.0, 1.0], "y": 0}})
"""Loses anything from none to all of the lungs."""


def read(artifact: standard_artifacts.Examples, split: str) -> list[bytes]:
    files = sorted(str(path) for path in Path(artifact.uri, f"Split-{split}").iterdir())
    return list(tf.data.TFRecordDataset(files).as_numpy_iterator())


@pytest.fixture
def run(tmp_path: Path, write_examples: Callable[..., standard_artifacts.Examples]) -> Run:
    """Calls the executor as TFX does: the folder of the output is there already."""

    def do(splits: Mapping[str, Sequence[bytes]], policy: Policy, shards: int = 2) -> standard_artifacts.Examples:
        number = len(list(tmp_path.glob("in*")))
        examples = write_examples(tmp_path / f"in{number}", splits, shards)
        examples.version = 2
        examples.set_string_custom_property("spans", "5,7")
        examples.set_int_custom_property("span", 7)  # where ExampleGen's driver writes it
        augmented = standard_artifacts.Examples()
        augmented.uri = str(tmp_path / f"out{number}")
        Path(augmented.uri).mkdir()
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=BEAM, extra_flags=[], tmp_dir=str(tmp_path / "tmp"), unique_id="1"
        )
        properties = {"settings": policy.model_dump_json()}
        executor.Executor(context).Do({"examples": [examples]}, {"augmented_examples": [augmented]}, properties)
        return augmented

    return do


@pytest.fixture
def failure(run: Run, tmp_path: Path) -> Callable[..., str]:
    """What the user reads where the executor fails; nothing that it wrote may be left."""

    def of(*arguments: Any) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # its message is what the tests look at
            run(*arguments)
        assert not list((tmp_path / "out0").iterdir())
        return str(ComponentError("Augmenter", caught.value))

    return of


@pytest.fixture
def splits(make_record: MakeRecord) -> dict[str, list[bytes]]:
    return {
        split: [encode(make_record(f"{split}{index}", patient_id=f"p-{split}")) for index in range(size)]
        for split, size in SIZES.items()
    }


def counts_of(augmented: standard_artifacts.Examples, split: str) -> dict[str, int]:
    names = ("read", "originals", "copies", "redrawn", "left_out")
    return {name: augmented.get_int_custom_property(f"{split}_{name}") for name in names}


def expected_of(originals: Sequence[bytes], policy: Policy, split: str) -> list[bytes]:
    """The originals byte for byte, and exactly the copies that the pure function makes."""
    transform = compose(policy)
    draws = [
        draw_copy(decode(original), transform, policy, copy)
        for original in originals
        for copy in range(1, policy.copies_of(split) + 1)
    ]
    return [*originals, *(encode(draw.copy) for draw in draws if draw.copy)]


def test_three_splits(run: Run, splits: dict[str, list[bytes]], make_policy: MakePolicy) -> None:
    policy = make_policy("HorizontalFlip", "GaussNoise", p=0.6, seed=3, train=2, eval=0, test=1)
    augmented = run(splits, policy)
    assert artifact_utils.decode_split_names(augmented.split_names) == ["train", "eval", "test"]
    assert (augmented.span, augmented.version) == (7, 2)
    assert augmented.get_string_custom_property("spans") == "5,7"
    assert augmented.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    for split, originals in splits.items():
        written, size = read(augmented, split), policy.copies_of(split) * SIZES[split]
        assert sorted(written) == sorted(expected_of(originals, policy, split)), split
        assert sum(decode(serialized).is_augmented for serialized in written) == size
        assert counts_of(augmented, split) == {
            "read": SIZES[split],
            "originals": SIZES[split],
            "copies": size,
            "redrawn": 0,
            "left_out": 0,
        }


def test_lineage(run: Run, splits: dict[str, list[bytes]], make_policy: MakePolicy) -> None:
    policy = make_policy(seed=1, train=1)
    augmented = run({"train": splits["train"]}, policy)
    assert augmented.get_string_custom_property("policy") == "made"
    assert augmented.get_string_custom_property("policy_hash") == policy.content_hash()
    assert augmented.get_string_custom_property("policy_hash") != make_policy(seed=2, train=1).content_hash()
    assert augmented.get_string_custom_property("albumentations_version") == albumentations.__version__


def test_a_split_that_the_policy_does_not_name_passes(
    run: Run, splits: dict[str, list[bytes]], make_policy: MakePolicy
) -> None:
    augmented = run({"elsewhere": splits["train"]}, make_policy(train=1, eval=1))
    assert sorted(read(augmented, "elsewhere")) == sorted(splits["train"])
    assert counts_of(augmented, "elsewhere") == {
        "read": 5,
        "originals": 5,
        "copies": 0,
        "redrawn": 0,
        "left_out": 0,
    }


def test_a_split_of_another_name_gets_the_copies_of_the_test_split(
    run: Run, splits: dict[str, list[bytes]], make_policy: MakePolicy
) -> None:
    augmented = run({"elsewhere": splits["train"]}, make_policy(train=1, eval=1, test=2))
    assert counts_of(augmented, "elsewhere")["copies"] == 10


def test_shards_and_order_make_no_difference(run: Run, make_record: MakeRecord) -> None:
    policy = load_policy("strong").model_copy(update={"copies": {"train": 2}})
    records = [encode(make_record(f"r{index}")) for index in range(20)]
    shuffled = random.Random(4).sample(records, len(records))  # noqa: S311
    single, eight = run({"train": records}, policy, 1), run({"train": shuffled}, policy, 8)
    expected = sorted(expected_of(records, policy, "train"))
    assert len(set(expected)) == len(expected) > 20
    assert sorted(read(single, "train")) == expected
    assert sorted(read(eight, "train")) == expected
    assert counts_of(single, "train") == counts_of(eight, "train")


@pytest.mark.parametrize(("ahead", "cores"), [(1, 1), (1, 4), (2, 4), (32, 2)])
def test_how_many_are_under_way_makes_no_difference(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, ahead: int, cores: int, make_policy: MakePolicy
) -> None:
    """The transform without the executor; some of its records come out while others go in, some at the end."""
    monkeypatch.setattr(parallel, "_AHEAD", ahead)
    monkeypatch.setattr(parallel, "count_cpus", lambda: cores)
    policy = make_policy("HorizontalFlip", "GaussNoise", "Affine", p=0.6, train=3)
    records = [encode(make_record(f"r{index}")) for index in range(14)]
    expected = [
        (COPIES if decode(serialized).is_augmented else ORIGINALS, serialized)
        for serialized in expected_of(records, policy, "train")
    ]
    with beam.Pipeline(options=PipelineOptions(BEAM)) as pipeline:
        assert_that(pipeline | beam.Create(records[::-1]) | AddCopies(policy, "train"), equal_to(expected))


def test_what_is_redrawn_and_left_out_is_counted(run: Run, make_record: MakeRecord, make_policy: MakePolicy) -> None:
    policy = make_policy(SHIFT, train=2, test=1, limits={"max_lung_loss": 0.31, "redraws": 2})
    records = [encode(make_record(f"r{index}")) for index in range(20)]
    augmented = run({"train": records, "test": records}, policy)
    transform = compose(policy)
    for split, numbers in (("train", (1, 2)), ("test", (1,))):
        draws = [draw_copy(decode(serialized), transform, policy, copy) for serialized in records for copy in numbers]
        counts = counts_of(augmented, split)
        assert counts == {
            "read": 20,
            "originals": 20,
            "copies": sum(draw.copy is not None for draw in draws),
            "redrawn": sum(draw.redrawn for draw in draws),
            "left_out": sum(draw.copy is None for draw in draws),
        }
        assert min(counts.values()) > 0
        assert counts["copies"] + counts["left_out"] == 20 * len(numbers)
        assert sorted(read(augmented, split)) == sorted(expected_of(records, policy, split))


def test_an_empty_split(failure: Callable[..., str], splits: dict[str, list[bytes]], make_policy: MakePolicy) -> None:
    assert failure({"train": splits["train"], "eval": []}, make_policy(train=1)) == (
        "Augmenter failed: split 'eval' has no records: each of train, eval and test needs patients, so add more of "
        "them"
    )


def with_mask(serialized: bytes, mask: bytes) -> bytes:
    example = tf.train.Example.FromString(serialized)
    example.features.feature["mask"].bytes_list.value[0] = mask
    return bytes(example.SerializeToString())


def png(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("split", "mask", "problem"),
    [
        pytest.param("train", b"no picture", "cannot be decoded as an image", id="no picture"),
        pytest.param("train", png(24, 32)[:-30], "cannot be decoded as an image", id="truncated"),
        pytest.param("train", png(32, 24), "is 24 x 32, but the image is 32 x 24", id="turned"),
        # A split without copies: what a model is chosen by must not be damaged either.
        pytest.param("eval", png(12, 16), "is 16 x 12, but the image is 32 x 24", id="smaller"),
    ],
)
def test_a_record_that_breaks_the_contract_is_named(
    failure: Callable[..., str],
    splits: dict[str, list[bytes]],
    make_policy: MakePolicy,
    split: str,
    mask: bytes,
    problem: str,
) -> None:
    splits[split][1] = with_mask(splits[split][1], mask)
    message = failure({split: splits[split]}, make_policy(train=1))
    assert message == f"Augmenter failed: split '{split}': record '{split}1', field 'mask': {problem}"


def test_what_was_done_before_is_gone_too(
    failure: Callable[..., str], splits: dict[str, list[bytes]], make_policy: MakePolicy
) -> None:
    splits["test"][2] = with_mask(splits["test"][2], b"")
    assert failure(splits, make_policy(train=1)) == (
        "Augmenter failed: split 'test': record 'test2', field 'mask': cannot be decoded as an image"
    )


def test_what_is_no_record_at_all(
    failure: Callable[..., str], splits: dict[str, list[bytes]], make_policy: MakePolicy
) -> None:
    assert failure({"test": [*splits["test"], b"no record"]}, make_policy(train=1)) == (
        "Augmenter failed: split 'test': record 'unknown', field '(all)': is no serialized tf.train.Example"
    )


def a_copy(make_record: MakeRecord) -> bytes:
    return encode(make_record("c-copy1", is_augmented=True, augmentation="Rotate"))


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_copy_is_not_copied(
    failure: Callable[..., str],
    splits: dict[str, list[bytes]],
    make_record: MakeRecord,
    make_policy: MakePolicy,
    split: str,
) -> None:
    assert failure({split: [*splits[split], a_copy(make_record)]}, make_policy(train=1)) == (
        f"Augmenter failed: split '{split}': record 'c-copy1' is a copy already: augment originals, or write "
        "`allow_copies_of_copies: true` into policy 'made'"
    )


def test_a_copy_is_copied_where_the_policy_says_so(run: Run, make_record: MakeRecord, make_policy: MakePolicy) -> None:
    copy = a_copy(make_record)
    policy = make_policy(train=1, limits={"allow_copies_of_copies": True})
    written = {decode(serialized).image_id: serialized for serialized in read(run({"train": [copy]}, policy), "train")}
    assert set(written) == {"c-copy1", "c-copy1-copy1"}
    assert written["c-copy1"] == copy
    assert decode(written["c-copy1-copy1"]).is_augmented


def test_a_policy_that_cannot_fire(
    failure: Callable[..., str], splits: dict[str, list[bytes]], make_policy: MakePolicy
) -> None:
    assert failure({"train": splits["train"][:1]}, make_policy(p=1e-12, train=1)) == (
        "Augmenter failed: split 'train': no transform fired in 100 draws for record 'train0': "
        "raise the policy's probabilities"
    )


def counts(read: int, originals: int, copies: int, left_out: int = 0, redrawn: int = 0) -> dict[str, int]:
    return {"read": read, "originals": originals, "copies": copies, "redrawn": redrawn, "left_out": left_out}


@pytest.mark.parametrize("written", [counts(4, 4, 8), counts(1, 1, 2), counts(4, 4, 5, 3, 9), counts(4, 4, 0, 8, 24)])
def test_reconcile_is_content(written: dict[str, int]) -> None:
    executor._reconcile(written, "train", copies=2)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            counts(4, 3, 8),
            "split 'train' lost records: 4 read, 3 originals written",
        ),
        (
            counts(4, 4, 7),
            "split 'train' lost copies: 8 due, 7 written, 0 left out",
        ),
        (
            counts(4, 4, 9),
            "split 'train' lost copies: 8 due, 9 written, 0 left out",
        ),
        (
            counts(4, 4, 6, 1, 3),
            "split 'train' lost copies: 8 due, 6 written, 1 left out",
        ),
        (
            counts(0, 0, 0),
            "split 'train' has no records: each of train, eval and test needs patients, so add more of them",
        ),
    ],
)
def test_reconcile_is_not_content(written: dict[str, int], message: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        executor._reconcile(written, "train", copies=2)
    assert str(caught.value) == message


def test_records_lost_on_the_way_fail_the_run(
    failure: Callable[..., str],
    splits: dict[str, list[bytes]],
    make_policy: MakePolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Leaky(AddCopies):
        def expand(self, records: beam.PCollection) -> beam.PCollection:
            return super().expand(records) | beam.Filter(lambda tagged: decode(tagged[1]).image_id != "train2-copy1")

    monkeypatch.setattr(executor, "AddCopies", Leaky)
    assert failure({"train": splits["train"]}, make_policy(train=1)) == (
        "Augmenter failed: split 'train' lost copies: 5 due, 4 written, 0 left out"
    )


def test_an_interruption_leaves_nothing(
    run: Run,
    splits: dict[str, list[bytes]],
    make_policy: MakePolicy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def interrupt(*_: object) -> dict[str, int]:
        assert list((tmp_path / "out0").rglob("data_tfrecord*"))
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "read_counters", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run({"train": splits["train"]}, make_policy(train=1))
    assert not list((tmp_path / "out0").iterdir())


def test_the_component_is_wired_to_beam(make_policy: MakePolicy) -> None:
    examples = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    policy = make_policy("HorizontalFlip", seed=9, train=1)
    augmenter = Augmenter(examples=examples, policy=policy)
    assert augmenter.id == "Augmenter"
    assert augmenter.inputs == {"examples": examples}
    assert list(augmenter.outputs) == ["augmented_examples"]
    assert augmenter.outputs["augmented_examples"].type is standard_artifacts.Examples
    assert Policy.model_validate_json(augmenter.exec_properties["settings"]) == policy
    assert augmenter.exec_properties["code_version"] == code_version("components.augmenter.executor")
    assert isinstance(augmenter.executor_spec, executor_spec.BeamExecutorSpec)
    assert augmenter.executor_spec.executor_class is executor.Executor


def test_the_component_takes_examples_only(make_policy: MakePolicy) -> None:
    model = channel.OutputChannel(standard_artifacts.Model, None, "model")
    with pytest.raises(TypeError, match="examples"):
        Augmenter(examples=model, policy=make_policy())
