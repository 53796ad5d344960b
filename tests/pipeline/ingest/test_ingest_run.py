"""Whole runs: what is written, what adds up, and that a failed run leaves nothing behind."""

import csv
import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import apache_beam as beam
import beam_workers
import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ComponentError, UserError
from pipeline.ingest import shard_writer
from pipeline.ingest.beam import shards
from pipeline.ingest.ingest import IngestReport
from pipeline.ingest.ingest import ingest as ingest_strings
from pipeline.ingest.shard_writer import WrittenShard
from pipeline.ingest.storage.span import new_span
from schema.record import Pixels, Record, decode

Save = Callable[..., Path]


def ingest(layout: str, root: Path, output: Path, **options: object) -> IngestReport:
    return ingest_strings(layout, str(root), str(output), **options)  # type: ignore[arg-type]


def records(span: str) -> list[Record]:
    shards = sorted(str(path) for path in Path(span).glob("*.tfrecord"))
    return [decode(item) for shard in shards for item in tf.data.TFRecordDataset(shard).as_numpy_iterator()]


def rejected(folder: Path | str) -> dict[str, str]:
    with (Path(folder) / "rejected.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["file", "reason"]
        return dict(csv.reader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stopped(*arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        ingest(*arguments, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_span(folder: Path, tmp_path: Path, image: Pixels, mask: Pixels) -> None:
    (folder / "metadata.csv").write_text("image,patient_id,finding,view,sex,age\na,p1,edema,AP,m,40\nb,p1,,,,\n")
    report = ingest("folder", folder, tmp_path / "out", span=3, size=64, shards=4, unnamed_patients="own")
    span = tmp_path / "out" / "span-3"
    remarks = ("8 images without a row in metadata.csv, such as images/c.png",)
    assert report == IngestReport(str(span), found=10, written=10, records=10, rejected=0, patients=9, remarks=remarks)
    assert sorted(tree(tmp_path / "out")) == [
        *(f"span-3/records-{index:05d}-of-00004.tfrecord" for index in range(4)),
        "span-3/rejected.csv",
    ]
    assert (span / "rejected.csv").read_text() == "file,reason\n"
    by_name = {record.image_id: record for record in records(report.span)}
    assert sorted(by_name) == list("abcdefghij")
    first = by_name["a"]
    assert (first.patient_id, first.source, first.finding, first.view) == ("p1", "clinic", "edema", "AP")
    assert (first.sex, first.age, first.width, first.height) == ("male", 40, 48, 40)
    assert by_name["b"].finding == by_name["b"].view == by_name["b"].sex == "unknown"
    assert by_name["b"].age == -1
    assert np.array_equal(first.image, cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR))
    assert first.mask.shape == (64, 64)
    assert (first.mask > 0).mean() == pytest.approx((mask > 0).mean(), abs=0.02)


def test_patients_whose_spellings_hardly_differ_are_told(folder: Path, tmp_path: Path) -> None:
    patients = ["P007", "p7", "12", "12.0", "012", "1.20", "P70", "70", "107", "0"]
    rows = "".join(f"{image},{patient}\n" for image, patient in zip("abcdefghij", patients, strict=True))
    (folder / "metadata.csv").write_text(f"image,patient_id\n{rows}")
    report = ingest("folder", folder, tmp_path / "out", size=32)
    assert report.patients == 10
    assert report.remarks == (
        "5 patients differ from another only in case, leading zeros or a trailing .0, such as '012' and '12': spell "
        "those who are one alike",
    )


def test_both_lungs_are_joined(tmp_path: Path, save: Save, image: Pixels, mask: Pixels) -> None:
    left, right = mask.copy(), mask.copy()
    left[:, 24:] = right[:, :24] = 0
    save("M/CXR_png/a_1.png", image)
    save("M/ManualMask/leftMask/a_1.png", left)
    save("M/ManualMask/rightMask/a_1.png", right)
    report = ingest("montgomery", tmp_path / "M", tmp_path / "out", size=64)
    (record,) = records(report.span)
    assert record.mask[:, :32].any()
    assert record.mask[:, 32:].any()
    assert record.finding == "tuberculosis"


def test_records_are_dealt_by_a_hash_of_their_names(folder: Path, tmp_path: Path) -> None:
    span = ingest("folder", folder, tmp_path, size=32, shards=3).span
    dealt = ["", "", ""]
    for name in "abcdefghij":  # in the order of names within a shard
        dealt[shards.shard_of(f"images/{name}.png", 3)] += name
    assert [record.image_id for record in records(span)] == list("".join(dealt))


def test_no_more_shards_than_images(folder: Path, tmp_path: Path) -> None:
    span = ingest("folder", folder, tmp_path, size=32, shards=50).span
    assert len(list(Path(span).glob("records-*-of-00010.tfrecord"))) == 10


@pytest.mark.parametrize(
    ("samples", "fewest", "records_per_sample", "count"),
    [(0, 16, 1, 0), (3, 16, 1, 3), (566, 16, 1, 16), (4000, 16, 1, 16), (4001, 16, 1, 17), (10**7, 16, 1, 40_000),
     (5, 2, 250, 5), (1000, 16, 125, 500)],
)  # fmt: skip
def test_number_of_shards(samples: int, fewest: int, records_per_sample: int, count: int) -> None:
    assert shards.count_shards(samples, fewest, records_per_sample, ()) == count
    assert shards.count_shards(samples, fewest, records_per_sample, [UserError("")]) == 0


def test_the_same_bytes_again(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "c.png").write_bytes(b"")
    first = ingest("folder", folder, tmp_path / "1", size=48, max_rejected=0.5).span
    again = ingest("folder", folder, tmp_path / "2", size=48, max_rejected=0.5).span
    assert tree(Path(first)) == tree(Path(again))


def test_progress_counts_the_files_up_to_the_last(folder: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    ingest("folder", folder, tmp_path, size=32, progress=lambda *call: calls.append(call))
    assert calls == sorted(set(calls))
    assert calls[-1] == (10, 10)


def test_every_refusal_by_name_and_reason(
    folder: Path, tmp_path: Path, save: Save, image: Pixels, mask: Pixels
) -> None:
    truncated = folder / "images" / "a.png"
    truncated.write_bytes(truncated.read_bytes()[:500])
    save("clinic/masks/b.png", mask[:30])
    save("clinic/masks/c.png", mask * 0)
    save("clinic/masks/d.png", mask | 255)
    save("clinic/masks/e.png", np.repeat(np.arange(3, dtype=np.uint8), 14)[:40, None] * np.ones(48, np.uint8))
    save("clinic/images/f.png", image * 0)
    (folder / "masks" / "g.png").rename(folder / "masks" / "z.png")
    save("clinic/images/h.jpg", image)
    (folder / "metadata.csv").write_text("image,sex\ni.png,w\n")
    (folder / "masks" / "j.png").write_bytes(b"?")
    assert stopped("folder", folder, tmp_path / "out") == (
        "12 of 12 files were refused (limit 5 %), most often as images/h.jpg: is one of 2 images named 'h': "
        f"images/h.jpg, images/h.png; the whole list: {tmp_path}/out/rejected.csv"
    )
    twins = "is one of 2 images named 'h': images/h.jpg, images/h.png"
    assert list(rejected(tmp_path / "out").items()) == [
        ("images/a.png", "is truncated or damaged: image file is truncated"),
        ("images/b.png", "is 48 x 40, but its mask masks/b.png is 48 x 30"),
        ("images/c.png", "has the mask masks/c.png, which is empty"),
        ("images/d.png", "has the mask masks/d.png, which covers the whole image"),
        (
            "images/e.png",
            "has the mask masks/e.png, which is a label map of 3 levels (0, 1, 2): "
            "name those that are lung with --labels",
        ),
        ("images/f.png", "is constant: every pixel is 0"),
        ("images/g.png", "has no mask in masks/"),
        ("images/h.jpg", twins),
        ("images/h.png", twins),
        ("images/i.png", "has the sex 'w' in metadata.csv, line 2: not female, male, other or unknown"),
        ("images/j.png", "has the mask masks/j.png, which is no readable PNG, JPEG, TIFF or GIF"),
        ("masks/z.png", "is a mask without an image in images/"),
    ]
    assert list(tree(tmp_path / "out")) == ["rejected.csv"]


def test_refusals_within_the_limit_are_listed_in_the_span(folder: Path, tmp_path: Path) -> None:
    (folder / "masks" / "d.png").unlink()
    report = ingest("folder", folder, tmp_path / "out", size=32, max_rejected=0.1)
    assert (report.found, report.written, report.rejected) == (10, 9, 1)
    assert rejected(report.span) == {"images/d.png": "has no mask in masks/"}
    assert stopped("folder", folder, tmp_path / "out", span=2, max_rejected=0.09) == (
        "1 of 10 files were refused (limit 9 %), most often as images/d.png: has no mask in masks/; the whole list: "
        f"{tmp_path}/out/rejected.csv; `--max-rejected 0.1` takes the others"
    )


def test_an_ingest_that_succeeds_takes_the_list_of_a_failed_one_away(folder: Path, tmp_path: Path) -> None:
    (folder / "masks" / "d.png").unlink()
    stopped("folder", folder, tmp_path / "out", size=32)
    assert list(tree(tmp_path / "out")) == ["rejected.csv"]
    ingest("folder", folder, tmp_path / "out", size=32, max_rejected=0.1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["span-1"]


def test_an_input_that_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("image: file\nmask: lungs\n")
    (tmp_path / "t.csv").write_text("file,lungs\n")
    message = stopped("csv", tmp_path / "t.csv", tmp_path / "out", mapping=str(tmp_path / "map.yaml"))
    assert message == f"{tmp_path}/t.csv lists no images"
    assert tree(tmp_path / "out") == {}


def test_a_span_without_a_record_is_not_written(folder: Path, tmp_path: Path) -> None:
    for mask in (folder / "masks").iterdir():
        mask.unlink()
    message = stopped("folder", folder, tmp_path / "out", max_rejected=1)
    assert message.startswith("10 of 10 files were refused (limit 100 %)")
    assert list(tree(tmp_path / "out")) == ["rejected.csv"]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(
        st.sampled_from(["none", "no mask", "no image", "damaged", "empty", "twin"]), min_size=6, max_size=20
    )
)
def test_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, faults: list[str], image: Pixels, mask: Pixels
) -> None:
    root = tmp_path_factory.mktemp("set")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for index, fault in enumerate(["none", *faults]):
        names = [f"images/{index}.png"] * (fault != "no image") + [f"images/{index}.jpg"] * (fault == "twin")
        for name in names:
            cv2.imwrite(str(root / name), image)
        if fault == "damaged":
            (root / names[0]).write_bytes(b"")
        if fault != "no mask":
            cv2.imwrite(str(root / f"masks/{index}.png"), mask * (fault != "empty"))
    report = ingest("folder", root, root / "out", size=32, max_rejected=1)
    assert report.written == faults.count("none") + 1 == len(records(report.span))
    assert report.rejected == len(faults) - faults.count("none") + faults.count("twin")
    assert report.rejected == len(rejected(report.span))
    assert report.found == report.written + report.rejected


def test_an_existing_span_is_kept(folder: Path, tmp_path: Path) -> None:
    ingest("folder", folder, tmp_path / "out", size=32)
    before = tree(tmp_path / "out")
    assert stopped("folder", folder, tmp_path / "out") == f"{tmp_path}/out/span-1 exists already: choose another --span"
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def write_shard(folder: str, index: int, *rest: object) -> WrittenShard:
        if index == 4:
            raise failure
        return written(folder, index, *rest)  # type: ignore[arg-type]

    written = shard_writer.write_shard
    monkeypatch.setattr(shards, "write_shard", write_shard)
    with pytest.raises(failure):
        ingest("folder", folder, tmp_path / "out", size=32)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_worker_process_that_is_killed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam.Pipeline, "run", beam_workers.lose_one)
    with pytest.raises(ComponentError) as caught:
        ingest("folder", folder, tmp_path / "out", size=32)
    assert str(caught.value) == f"ingest failed: {beam_workers.SAID}"
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_is_replaced(folder: Path, tmp_path: Path) -> None:
    stale = tmp_path / "out" / ".span-1.partial" / "records-00000-of-00009.tfrecord"
    stale.parent.mkdir(parents=True)
    stale.touch()
    (tmp_path / "out" / ".span-1.lock").touch()
    span = Path(ingest("folder", folder, tmp_path / "out", size=32).span)
    assert list((tmp_path / "out").iterdir()) == [span]
    assert len(list(span.iterdir())) == 11


def test_of_two_that_write_one_span_the_later_is_refused(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    with new_span(output, 1) as partial:
        (Path(partial) / "records").touch()
        message = rf"^another ingest is writing {output}/span-1: wait for its end, or choose another --span$"
        with pytest.raises(UserError, match=message), new_span(output, 1):
            pass
        with new_span(output, 2):
            pass
    assert tree(tmp_path) == {"out/span-1/records": b""}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["span-1", "span-2"]


def test_a_lock_whose_holder_has_just_ended_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third process could lock the file's successor meanwhile."""
    lock_file = fcntl.flock

    def lock_late(file: TextIO, operation: int) -> None:
        Path(file.name).unlink()
        lock_file(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(UserError, match=r"^another ingest is writing "), new_span(str(tmp_path), 1):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with new_span(str(tmp_path), 1):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["span-1"]


def test_output_that_cannot_be_created(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert stopped("folder", folder, tmp_path / "file") == f"cannot write to {tmp_path}/file: Not a directory"


def test_a_full_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shard_writer, "write_record", full)
    assert stopped("folder", folder, tmp_path / "out") == f"cannot write to {tmp_path}/out: No space left on device"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^cannot write to .*: No space left on device$"), new_span(str(tmp_path), 1):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_utf_8(folder: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind / "a.png").rename(folder / kind / "a\udcff.png")
    report = ingest("folder", folder, tmp_path / "out", size=32, max_rejected=0.1)
    assert rejected(report.span) == {"images/a\\udcff.png": "has a name that is no UTF-8 text"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": -1}, "span is -1: it must be 0 or more"),
        ({"size": 31}, "size is 31: it must be within 32 to 4096 pixels"),
        ({"size": 4097}, "size is 4097: it must be within 32 to 4096 pixels"),
        ({"shards": 0}, "shards is 0: it must be 1 or more"),
        ({"empty_slices": -0.1}, "empty_slices is -0.1: it must be a share within 0 to 1"),
        ({"unnamed_patients": "mine"}, "unnamed_patients is 'mine': it must be refuse or own"),
        ({"max_rejected": 5.0}, "max_rejected is 5.0: it must be a share within 0 to 1"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, options: dict[str, object], message: str) -> None:
    assert stopped("folder", tmp_path, tmp_path / "out", **options) == message


def test_wrong_folders_are_answered_without_tensorflow_and_beam(tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.ingest.ingest import ingest\n"
        "try: ingest('folder', 'none', 'out')\n"
        "except Exception as error: print(error, {'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "none does not exist set()\n"


def test_samples_of_one_image_id_are_all_refused(tmp_path: Path, save: Save, image: Pixels, mask: Pixels) -> None:
    for name in ("a", "b", "c"):
        save(f"{name}.png", np.roll(image, ord(name)))
    save("mask.png", mask)
    (tmp_path / "map.yaml").write_text("image: file\nmask: lungs\nimage_id: id\n")
    rows = "file,lungs,id\na.png,mask.png,x\nb.png,mask.png,y\nc.png,mask.png,x\n"
    (tmp_path / "t.csv").write_text(rows)
    options = {"mapping": str(tmp_path / "map.yaml"), "max_rejected": 1, "size": 32}
    report = ingest("csv", tmp_path / "t.csv", tmp_path / "out", **options)
    assert rejected(report.span) == {
        "a.png": "has the image_id 'x', as has c.png",
        "c.png": "has the image_id 'x', as has a.png",
    }
    assert [record.image_id for record in records(report.span)] == ["y"]
    assert (report.found, report.written, report.rejected, report.patients) == (3, 1, 2, 1)


def test_lost_files_are_noticed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = shards.shard_of("images/a.png", 10)
    name = f"records-{lost:05d}-of-00010.tfrecord"

    def write_shard(folder: str, index: int, count: int, *rest: object) -> WrittenShard:
        shard = written(folder, index, count, *rest)  # type: ignore[arg-type]
        if index == lost:
            (Path(folder) / name).write_bytes(b"")
        return shard

    written = shard_writer.write_shard
    monkeypatch.setattr(shards, "write_shard", write_shard)
    with pytest.raises(ComponentError) as caught:
        ingest("folder", folder, tmp_path / "out", size=32)
    assert str(caught.value) == (
        f"ingest failed: records got lost: {tmp_path}/out/.span-1.partial does not hold what was written: {name}"
    )
    assert list((tmp_path / "out").iterdir()) == []
