"""Samples: what a DICOM file's header adds, CT volumes as a layout, and how many pixels are decoded at a time."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from medical_files import dicom_file

from pipeline.ingest import shard_writer
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.identity import pseudonym
from pipeline.ingest.metadata import Description, UnnamedPatient
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.samples import ImageSample, ReadOptions
from pipeline.ingest.shard_writer import EncodedSample, count_threads, encode_sample
from pipeline.ingest.storage.memory_limit import PixelSemaphore, read_within
from pipeline.ingest.storage.tfrecord import write_record
from pipeline.ingest.volumes import VolumeSample
from schema.record import Pixels, decode

KEY = b"0123456789abcdef"
HEADER = {
    "PatientID": "Miller", "SOPInstanceUID": "1.2.3", "PatientAge": "047Y", "PatientSex": "F", "ViewPosition": "PA",
    "ImagerPixelSpacing": [0.143, 0.143],
}  # fmt: skip


@pytest.fixture
def sample(tmp_path: Path, save: Callable[..., Path], image: Pixels, mask: Pixels) -> Callable[..., ImageSample]:
    """A DICOM image with its mask: sample(description, SOPInstanceUID=...)."""

    def make(description: Description, **elements: Any) -> ImageSample:
        save("masks/1.2.3.png", mask)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / "1.2.3.dcm").write_bytes(dicom_file(image.astype(np.uint16), **{**HEADER, **elements}))
        return ImageSample(str(tmp_path), "images/1.2.3.dcm", ("masks/1.2.3.png",), "1.2.3", description)

    return make


def encoded(sample: ImageSample, options: ReadOptions) -> EncodedSample:
    result = encode_sample(sample, options)
    assert isinstance(result, EncodedSample)
    return result


def test_a_dicom_header_gives_what_metadata_does_not(sample: Callable[..., ImageSample]) -> None:
    made = encoded(sample(Description("", "clinic", finding="edema", age=50)), ReadOptions(32, KEY))
    record = decode(made.records[0])
    assert (record.image_id, record.patient_id) == (pseudonym(KEY, "1.2.3"), pseudonym(KEY, "Miller"))
    assert (record.source, record.finding, record.view, record.sex, record.age) == (
        "clinic", "edema", "PA", "female", 50,
    )  # fmt: skip
    assert record.pixel_spacing == pytest.approx(0.143)
    assert (made.image_ids, made.patients) == ([record.image_id], {record.patient_id})
    assert b"1.2.3" not in made.records[0]


def test_a_patient_that_metadata_names_is_kept(sample: Callable[..., ImageSample]) -> None:
    assert encoded(sample(Description("p1", "clinic"), PatientID=""), ReadOptions(32, KEY)).patients == {"p1"}


def test_a_patient_that_metadata_leaves_open_is_that_of_the_header(sample: Callable[..., ImageSample]) -> None:
    made = encoded(sample(UnnamedPatient("", "clinic")), ReadOptions(32, KEY))
    assert made.patients == {pseudonym(KEY, "Miller")}


@pytest.mark.parametrize(
    ("key", "elements", "reason"),
    [
        (None, {}, "is DICOM, whose patient needs a key: give --patient-key FILE or set LUNGSEG_PATIENT_KEY"),
        *(
            (KEY, {"PatientID": name}, "is DICOM without a PatientID that names one: name the patient in metadata.csv")
            for name in ("", "ANONYMOUS", "[De-identified]", "Unknown", "---")
        ),
    ],
)
def test_dicom_that_is_refused(
    sample: Callable[..., ImageSample], key: bytes | None, elements: dict[str, str], reason: str
) -> None:
    refused = encode_sample(sample(Description("", "clinic"), **elements), ReadOptions(32, key))
    assert refused == Rejection("images/1.2.3.dcm", reason)


def test_what_a_record_cannot_hold_is_refused_by_name(
    save: Callable[..., Path], tmp_path: Path, image: Pixels, mask: Pixels
) -> None:
    save("a.png", image)
    save("m.png", mask)
    sample = ImageSample(str(tmp_path), "a.png", ("m.png",), "a", Description("p", source=""))
    assert encode_sample(sample, ReadOptions(32)) == Rejection(
        "a.png", "makes a record that breaks the contract: record 'a', field 'source': is empty"
    )


@pytest.mark.parametrize(("labels", "share"), [({1}, 1 / 4), ({1, 2}, 1 / 2), ({1, 2, 3}, 3 / 4), ({1, 4}, None)])
def test_lung_is_what_the_labels_name(
    save: Callable[..., Path], tmp_path: Path, image: Pixels, labels: set[int], share: float | None
) -> None:
    save("a.png", image)
    save("m.png", np.repeat(np.arange(4, dtype=np.uint8), len(image) * image.shape[1] // 4).reshape(image.shape))
    sample = ImageSample(str(tmp_path), "a.png", ("m.png",), "a", Description("p", source="clinic"))
    options = ReadOptions(32, labels=frozenset(labels))
    if share is None:
        with pytest.raises(ImageError, match=r"^has the mask m.png, which has no label 4, which --labels names: "):
            list(sample.read(options))
    else:
        (record,) = sample.read(options)
        assert np.count_nonzero(record.mask) == share * record.mask.size


def test_volumes_and_series_are_found(tmp_path: Path, find: Callable[..., Any]) -> None:
    for name in ("volumes/a.nii.gz", "volumes/b/2.dcm", "volumes/b/1.dcm", "volumes/c.nii", "volumes/c/1.dcm",
                 "volumes/b/notes.txt", "volumes/.d.nii", "masks/a.nii", "masks/b.nii.gz", "masks/c.nii",
                 "masks/e.nii.gz"):  # fmt: skip
        path = tmp_path / "ct" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "ct" / "metadata.csv").write_text("image,patient_id\na.nii.gz,p1\n")
    listing = find("ct", tmp_path / "ct", refuses_unnamed=False)
    root = f"{tmp_path}/ct"
    assert listing.samples == [
        VolumeSample(root, "volumes/a.nii.gz", ("volumes/a.nii.gz",), "masks/a.nii", "a", Description("p1", "ct")),
        VolumeSample(
            root, "volumes/b", ("volumes/b/1.dcm", "volumes/b/2.dcm"), "masks/b.nii.gz", "b", Description("", "ct")
        ),
    ]
    twins = "is one of 2 images named 'c': volumes/c, volumes/c.nii"
    assert {rejection.file: rejection.reason for rejection in listing.rejections} == {
        "volumes/c": twins,
        "volumes/c.nii": twins,
        "masks/e.nii.gz": "is a mask without an image in volumes/",
    }


PREAMBLE = bytes(128) + b"DICM"


@pytest.mark.parametrize(
    ("files", "slices"),
    [
        ({"IM0002": PREAMBLE, "IM0001": PREAMBLE}, ["IM0001", "IM0002"]),
        ({"a.IMA": b"", "b.dicom": b"", "c.DCM": b""}, ["a.IMA", "b.dicom", "c.DCM"]),
        ({"1.2.840.1": PREAMBLE, "1.2.840.2": PREAMBLE, "notes.txt": b"text"}, ["1.2.840.1", "1.2.840.2"]),
        ({"IM0001": PREAMBLE, "DICOMDIR": PREAMBLE, ".DS_Store": PREAMBLE, "._IM0001": PREAMBLE}, ["IM0001"]),
        ({"study/series/IM0001": PREAMBLE, "study/.cache/IM0001": PREAMBLE}, ["study/series/IM0001"]),
        ({"notes.txt": b"text", "ct.nii.gz": b""}, []),
    ],
)
def test_slices_of_a_series_are_known_by_what_they_hold(
    tmp_path: Path, find: Callable[..., Any], files: dict[str, bytes], slices: list[str]
) -> None:
    (tmp_path / "ct/volumes/p1").mkdir(parents=True)
    (tmp_path / "ct/masks").mkdir()
    (tmp_path / "ct/masks/p1.nii.gz").touch()
    for name, data in files.items():
        path = tmp_path / "ct/volumes/p1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    listing = find("ct", tmp_path / "ct")
    assert not listing.rejections
    (sample,) = listing.samples
    assert sample.name == "volumes/p1"
    assert sample.slices == tuple(f"volumes/p1/{name}" for name in slices)


def test_a_folder_without_slices_is_refused(tmp_path: Path) -> None:
    sample = VolumeSample(str(tmp_path), "volumes/p1", (), "masks/p1.nii", "p1", Description("", "clinic"))
    assert encode_sample(sample, ReadOptions(32)) == Rejection(
        "volumes/p1", "holds no DICOM files; a NIfTI file would lie beside it, not in it"
    )


@settings(deadline=None)
@given(amounts=st.lists(st.integers(0, 30), max_size=12), limit=st.integers(1, 20))
def test_no_more_pixels_are_held_than_the_limit(amounts: list[int], limit: int) -> None:
    semaphore = PixelSemaphore(limit)
    lock = threading.Lock()
    held, most = 0, 0

    def work(amount: int) -> None:
        nonlocal held, most
        acquired = semaphore.acquire(amount)
        with lock:
            held += acquired
            most = max(most, held)
        with lock:
            held -= acquired
        semaphore.release(acquired // 2)
        semaphore.release(acquired - acquired // 2)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= limit
    assert semaphore.acquire(limit) == limit  # waits for ever if anything was kept


def test_large_files_wait_for_one_another(save: Callable[..., Path]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200), np.uint8)
    path = str(save("a.png", noise))
    semaphore = PixelSemaphore(2 * noise.size - 1)
    within = threading.Event()

    def read() -> None:
        with read_within(semaphore, path):
            within.set()

    with read_within(semaphore, path) as data:
        assert len(data) == Path(path).stat().st_size
        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.05)
        assert not within.is_set()
    thread.join()
    assert within.is_set()


def test_pixels_are_released_after_an_error(save: Callable[..., Path], image: Pixels) -> None:
    semaphore = PixelSemaphore(image.size)
    with pytest.raises(ZeroDivisionError), read_within(semaphore, str(save("a.png", image))):
        raise ZeroDivisionError
    assert semaphore.acquire(image.size) == image.size


def test_a_missing_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ImageError, match=r"^cannot be read: No such file or directory$"),
        read_within(PixelSemaphore(1), f"{tmp_path}/none"),
    ):
        pass


@settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_files_of_records_are_read_by_tensorflow(contents: list[bytes]) -> None:
    with NamedTemporaryFile() as file:
        sizes = [write_record(file, content) for content in contents]  # type: ignore[arg-type]
        file.flush()
        assert sum(sizes) == Path(file.name).stat().st_size
        assert list(tf.data.TFRecordDataset(file.name).as_numpy_iterator()) == contents


@pytest.mark.parametrize(("cpus", "here", "from_store"), [(1, 1, 1), (2, 3, 6), (14, 15, 16), (64, 16, 16)])
def test_threads(monkeypatch: pytest.MonkeyPatch, cpus: int, here: int, from_store: int) -> None:
    monkeypatch.setattr(shard_writer, "count_cpus", lambda: cpus)
    assert (count_threads(), count_threads(from_store=True)) == (here, from_store)
