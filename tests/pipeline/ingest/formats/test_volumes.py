"""CT volumes: how slices are displayed, DICOM series, masks, and what is refused."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from medical_files import dicom_file, nifti_file
from numpy.typing import NDArray
from pydicom import uid

from pipeline.ingest.formats import nifti
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.nifti import decode_nifti
from pipeline.ingest.formats.volume import MAX_VOXELS, Volume, apply_lung_window
from pipeline.ingest.identity import pseudonym
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ReadOptions
from pipeline.ingest.volumes import VolumeSample
from schema.record import Record, encode

Array = NDArray[Any]
KEY = b"0123456789abcdef"
SHAPE = (20, 16, 12)  # of x, y and z
RAS = np.array([[0.8, 0, 0, -8], [0, 0.8, 0, -6], [0, 0, 2.5, 100], [0, 0, 0, 1]])
TILT = np.radians(15)
TILTED = np.array([[1, 0, 0, 0], [0, np.cos(TILT), -np.sin(TILT), 0], [0, np.sin(TILT), np.cos(TILT), 0], [0, 0, 0, 1]])
OPTIONS = ReadOptions(size=32, patient_key=KEY, empty_slices=1)


def body() -> Array:
    """Hounsfield units with a gradient along each axis, int16 of `SHAPE`: x to the right, y to the front, z up."""
    x, y, z = np.indices(SHAPE)
    return (-1300 + 50 * x + 20 * y + 8 * z).astype(np.int16)


def lungs() -> Array:
    """Two labels in the slices 3 to 8, uint8 of `SHAPE`."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:8, 4:12, 3:9] = 1
    mask[12:18, 4:12, 3:9] = 2
    return mask


def turned(voxels: Array, axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[Array, Array]:
    """The same volume stored with its axes in another order and direction, and its affine."""
    orientation = np.array([[axes.index(axis), -1 if flips[axis] else 1] for axis in range(3)])
    affine = RAS @ nib.orientations.inv_ornt_aff(orientation, voxels.shape)
    return nib.apply_orientation(voxels, orientation), affine


@pytest.fixture
def sample(tmp_path: Path) -> Callable[..., VolumeSample]:
    """Writes a volume, by default one NIfTI file or else the files given, and its mask; makes the sample."""

    def make(*slices: bytes, volume: bytes | None = None, mask: bytes | None = None) -> VolumeSample:
        files = slices or (volume or nifti_file(body(), RAS),)
        names = tuple(f"volumes/p1/{index}.dcm" for index in range(len(files))) if slices else ("volumes/p1.nii.gz",)
        contents = {**dict(zip(names, files, strict=True)), "masks/p1.nii": mask or nifti_file(lungs(), RAS)}
        for name, data in contents.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        name = "volumes/p1" if slices else names[0]
        return VolumeSample(str(tmp_path), name, names, "masks/p1.nii", "p1", Description("", "clinic"))

    return make


def reason(sample: VolumeSample, options: ReadOptions = OPTIONS) -> str:
    with pytest.raises(ImageError) as caught:
        list(sample.read(options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(record: Record, other: Record) -> bool:
    return encode(record) == encode(other)


# How slices are displayed


@pytest.mark.parametrize(("units", "per_mm"), [(0, 1), (2, 1), (10, 1), (1, 1e-3), (3, 1e3), (11, 1e3), (7, 1)])
def test_units_of_length(units: int, per_mm: float) -> None:
    stored = np.diag([per_mm, per_mm, per_mm, 1]) @ RAS
    volume = decode_nifti(nifti_file(body(), stored, xyzt_units=units))
    assert volume.affine == pytest.approx(RAS, rel=1e-5)


def test_lung_window() -> None:
    values = np.array([-3000, -1350, -600, 150, 3000, np.nan, np.inf])
    assert apply_lung_window(values).tolist() == [0, 0, 128, 255, 255, 0, 255]


def test_a_slice_as_radiologists_see_it() -> None:
    shown = Volume(body(), RAS).slice(5)
    assert shown.shape == (16, 20)
    assert shown[0, 0] == body()[19, 15, 5]  # right and front of the patient at the upper left
    assert shown[-1, -1] == body()[0, 0, 5]
    assert shown[0, -1] == body()[0, 15, 5]


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([False, True], repeat=3)))
def test_however_it_is_stored_it_looks_the_same(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    stored, affine = turned(body(), axes, flips)
    volume, expected = Volume(stored, affine), Volume(body(), RAS)
    assert volume.slice_count == 12
    assert volume.slice_shape == (16, 20)
    assert volume.pixel_spacing == pytest.approx(0.8)
    assert volume.matches(expected)
    for index in range(12):
        assert np.array_equal(volume.slice(index), expected.slice(index))


def test_affine_of_a_turned_volume_names_the_same_places() -> None:
    stored, affine = turned(body(), (2, 0, 1), (True, False, True))
    for index in ((0, 0, 0), (3, 4, 5), (11, 19, 15)):
        place = np.linalg.solve(RAS, affine @ [*index, 1])[:3]
        assert stored[index] == body()[tuple(np.rint(place).astype(int))]


@pytest.mark.parametrize(("width", "height", "expected"), [(0.5, 0.5, 0.5), (0.5, 0.6, -1), (300, 300, -1)])
def test_pixel_spacing(width: float, height: float, expected: float) -> None:
    assert Volume(body(), np.diag([width, height, 2, 1])).pixel_spacing == pytest.approx(expected)


# Records


def test_records(sample: Callable[..., VolumeSample]) -> None:
    records = list(sample().read(OPTIONS))
    assert [record.image_id for record in records] == [f"p1-z{index:04d}" for index in range(12)]
    assert [bool(record.mask.any()) for record in records] == [3 <= index < 9 for index in range(12)]
    assert {(record.width, record.height, record.view, record.patient_id, record.source) for record in records} == {
        (20, 16, "axial", "p1", "clinic")
    }
    assert all(record.pixel_spacing == pytest.approx(0.8) for record in records)
    shown = records[5]
    assert shown.image.shape == shown.mask.shape == (32, 32)
    assert shown.image[0, 0] > shown.image[0, -1] > shown.image[-1, -1]
    share = np.count_nonzero(shown.mask) / shown.mask.size
    assert share == pytest.approx(2 * 6 * 8 / (20 * 16), abs=0.03)


def test_files_and_name(sample: Callable[..., VolumeSample], tmp_path: Path) -> None:
    made = sample()
    assert made.name == "volumes/p1.nii.gz"
    assert made.files == (str(tmp_path / "volumes/p1.nii.gz"), str(tmp_path / "masks/p1.nii"))


def test_zipped_is_the_same(sample: Callable[..., VolumeSample]) -> None:
    plain = list(sample().read(OPTIONS))
    zipped = sample(volume=nifti_file(body(), RAS, zipped=True), mask=nifti_file(lungs(), RAS, zipped=True))
    assert all(map(same, plain, zipped.read(OPTIONS)))


def test_scaled_and_floating_point(sample: Callable[..., VolumeSample]) -> None:
    plain = list(sample().read(OPTIONS))
    stored = ((body().astype(int) + 1300) // 2).astype(np.uint16)
    scaled = nifti_file(stored, RAS, scl_slope=2, scl_inter=-1300)
    assert all(map(same, plain, sample(volume=scaled).read(OPTIONS)))
    assert all(map(same, plain, sample(volume=nifti_file(body().astype(np.float32), RAS)).read(OPTIONS)))


def test_a_trailing_axis_of_one(sample: Callable[..., VolumeSample]) -> None:
    assert all(map(same, sample().read(OPTIONS), sample(volume=nifti_file(body()[..., None], RAS)).read(OPTIONS)))


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_share_of_the_slices_without_lung(sample: Callable[..., VolumeSample], share: float) -> None:
    shape = (8, 8, 400)
    volume = np.broadcast_to(np.arange(8, dtype=np.int16)[:, None, None] * 100 - 1000, shape)
    mask = np.zeros(shape, np.uint8)
    mask[2:6, 2:6, 390:] = 1
    made = sample(volume=nifti_file(volume, RAS), mask=nifti_file(mask, RAS))
    kept = [[record.image_id for record in made.read(ReadOptions(32, None, share, seed))] for seed in (0, 0, 1)]
    assert kept[0] == kept[1]
    assert (kept[0] != kept[2]) == (share == 0.5)
    assert len(kept[0]) - 10 == pytest.approx(390 * share, abs=40 * (share == 0.5))


def test_slices_of_one_level_are_left_out(sample: Callable[..., VolumeSample]) -> None:
    volume = body()
    volume[..., 0] = -1024
    records = list(sample(volume=nifti_file(volume, RAS)).read(OPTIONS))
    assert records[0].image_id == "p1-z0001"


# DICOM


def series(**changes: Any) -> list[bytes]:
    """`body` as a DICOM series in no order; `changes` to all slices."""
    files = []
    for index in (3, 0, 11, 7, 1, 2, 5, 4, 6, 10, 8, 9):
        # RAS has x and y in the other direction than DICOM.
        elements = {
            "ImagePositionPatient": [8 - 19 * 0.8, 6 - 15 * 0.8, 100 + 2.5 * index], "PixelSpacing": [0.8, 0.8],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SeriesInstanceUID": "1.2.77", "PatientID": "DOE",
            "SOPInstanceUID": f"1.2.77.{index}", "RescaleSlope": 1, "RescaleIntercept": -1300, "PatientSex": "F",
            "PatientAge": "071Y", "SOPClassUID": uid.CTImageStorage, "BitsStored": 12,
        }  # fmt: skip
        pixels = (body()[::-1, ::-1, index].T + 1300).astype(np.uint16)
        files.append(dicom_file(pixels, **{**elements, **changes}))
    return files


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless])
def test_a_series_is_the_same_volume(sample: Callable[..., VolumeSample], syntax: str) -> None:
    expected = list(sample().read(OPTIONS))
    records = list(sample(*series(syntax=syntax)).read(OPTIONS))
    name = pseudonym(KEY, "1.2.77")
    assert [record.image_id for record in records] == [f"{name}-z{index:04d}" for index in range(12)]
    assert {(record.patient_id, record.sex, record.age, record.view) for record in records} == {
        (pseudonym(KEY, "DOE"), "female", 71, "axial")
    }
    for record, other in zip(records, expected, strict=True):
        assert np.array_equal(record.image, other.image)
        assert np.array_equal(record.mask, other.mask)
        assert record.pixel_spacing == pytest.approx(0.8)


def test_a_series_needs_a_key(sample: Callable[..., VolumeSample]) -> None:
    expected = "is DICOM, whose patient needs a key: give --patient-key FILE or set LUNGSEG_PATIENT_KEY"
    assert reason(sample(*series()), ReadOptions(32)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SeriesInstanceUID": "1.2.78"}, "mixes 2 series"),
        ({"PatientID": "ROE"}, "mixes slices of several patients"),
        ({"ImagePositionPatient": [-7.2, -6, 100]}, "has two slices at one position"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "has slices of differing directions"),
        ({"PixelSpacing": [0.8, 0.9]}, "has slices of differing pixel spacing"),
        ({"PixelSpacing": None}, "has the slice volumes/p1/0.dcm, which has no PixelSpacing of 2 numbers"),
        ({"NumberOfFrames": 2},
         "has the slice volumes/p1/0.dcm, which has 2 frames: save each as a file of its own"),
    ],
)  # fmt: skip
def test_series_that_are_refused(sample: Callable[..., VolumeSample], change: dict[str, Any], expected: str) -> None:
    files = series()
    files[0] = series(**{"ImagePositionPatient": [-7.2, -6, 107.5], **change})[0]
    assert reason(sample(*files)) == expected


def test_a_missing_slice(sample: Callable[..., VolumeSample]) -> None:
    files = series()
    assert reason(sample(*files[1:])) == "has slices 2.50 to 5.00 mm apart: one may be missing"
    assert reason(sample(files[0])) == "has one slice: a series of two or more is needed"


def test_slices_of_differing_sizes(sample: Callable[..., VolumeSample]) -> None:
    files = series()
    files[4] = dicom_file(
        np.arange(64, dtype=np.uint16).reshape(8, 8), ImagePositionPatient=[0, 0, 0], PixelSpacing=[0.8, 0.8],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], SeriesInstanceUID="1.2.77", PatientID="DOE",
    )  # fmt: skip
    assert reason(sample(*files)) == "has slices of differing sizes"


# Masks


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0)])
def test_a_mask_stored_otherwise(sample: Callable[..., VolumeSample], axes: tuple[int, ...]) -> None:
    expected = list(sample().read(OPTIONS))
    mask = nifti_file(*turned(lungs(), axes, (True, True, False)))
    assert all(map(same, expected, sample(mask=mask).read(OPTIONS)))


@given(shift=st.floats(0.1, 50), axis=st.integers(0, 2))
def test_a_mask_elsewhere_does_not_match(shift: float, axis: int) -> None:
    moved = RAS.copy()
    moved[axis, 3] += shift
    assert not Volume(lungs(), moved).matches(Volume(body(), RAS))
    moved[axis, 3] = RAS[axis, 3] + 0.01
    assert Volume(lungs(), moved).matches(Volume(body(), RAS))


@pytest.mark.parametrize(
    ("mask", "affine", "expected"),
    [
        (lungs(), RAS + np.eye(4, k=3) * 12.5, "lies 12.5 mm away from its mask masks/p1.nii"),
        (lungs()[..., :-1], RAS, "is 20 x 16 x 12 voxels, but its mask masks/p1.nii is 20 x 16 x 11"),
        (lungs(), RAS @ np.diag([1, 1, 0.2, 1]),
         "has other spacing than its mask masks/p1.nii: 0.8 x 0.8 x 2.5 mm, the mask 0.8 x 0.8 x 0.5 mm"),
        (np.repeat(lungs(), 5, axis=2), RAS @ np.diag([1, 1, 0.2, 1]),
         "has other spacing than its mask masks/p1.nii: 0.8 x 0.8 x 2.5 mm, the mask 0.8 x 0.8 x 0.5 mm"),
        (lungs(), TILTED @ RAS, "is turned by 15 degrees against its mask masks/p1.nii"),
        (lungs(), np.diag([-1, -1, 1, 1]) @ RAS, "lies 0.8 mm away from its mask masks/p1.nii"),
        (lungs(), np.eye(4), "has other spacing than its mask masks/p1.nii: 0.8 x 0.8 x 2.5 mm, the mask 1 x 1 x 1 mm"),
        (0 * lungs(), RAS, "has the mask masks/p1.nii, which is empty"),
        (1 + lungs(), RAS, "has the mask masks/p1.nii, which covers the whole volume"),
    ],
)  # fmt: skip
def test_masks_that_are_refused(sample: Callable[..., VolumeSample], mask: Array, affine: Array, expected: str) -> None:
    assert reason(sample(mask=nifti_file(mask, affine))) == expected


def test_labels_are_chosen(sample: Callable[..., VolumeSample]) -> None:
    expected = list(sample().read(OPTIONS))
    mask = sample(mask=nifti_file(np.where(lungs() > 0, 9 + lungs(), 51 * (body() > -200)).astype(np.uint8), RAS))
    assert all(map(same, expected, mask.read(replace(OPTIONS, labels=frozenset({10, 11})))))
    assert reason(mask) == (
        "has the mask masks/p1.nii, which is a label map of 3 labels (10, 11, 51): "
        "name those that are lung with --labels N,N"
    )


def test_a_soft_mask_is_cut_half_way(sample: Callable[..., VolumeSample]) -> None:
    expected = list(sample().read(OPTIONS))
    soft = (lungs() > 0).astype(np.float32)
    soft[1, 4:12, 3:9], soft[8, 4:12, 3:9] = 0.3, 0.2
    assert all(map(same, expected, sample(mask=nifti_file(soft, RAS)).read(OPTIONS)))


@pytest.mark.parametrize("files", ["NIfTI", "DICOM"])
def test_volumes_in_other_units_are_refused(sample: Callable[..., VolumeSample], files: str) -> None:
    shifted = {"volume": nifti_file(body() + 1324, RAS)}
    made = sample(**shifted) if files == "NIfTI" else sample(*series(RescaleIntercept=24))
    assert reason(made) == "is not in Hounsfield units: its values run from 24 to 1362, and none is below -300"


# Files


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"no volume", "is no NIfTI-1 volume in one file"),
        (b"", "is no NIfTI-1 volume in one file"),
        (b"\x1f\x8bneither is this", "is truncated or damaged NIfTI (BadGzipFile)"),
        (nifti_file(body(), RAS)[:-1], "is truncated: 8031 of 8032 bytes"),
        (nifti_file(body(), RAS, zipped=True)[:-20], "is truncated or damaged NIfTI (EOFError)"),
        (nifti_file(np.zeros((4, 4, 4, 2), np.int16), RAS), "has 4 axes, not 3"),
        (nifti_file(np.zeros((4, 4, 4), np.complex64), RAS), "holds no plain numbers"),
        (nifti_file(body(), RAS, sform_code=0, qform_code=0),
         "does not say how it lies in space: sform_code and qform_code are 0"),
        (nifti_file(body(), RAS, sform_code=1, srow_x=0), "has axes that span no space"),
        (nifti_file(body(), RAS, dim=[3, 2000, 2000, 2000, 1, 1, 1, 1]),
         f"has 2000 x 2000 x 2000 voxels: only volumes of 1 to {MAX_VOXELS} are taken"),
        (nifti_file(body(), RAS, dim=[3, 20, 0, 12, 1, 1, 1, 1]),
         f"has 20 x 0 x 12 voxels: only volumes of 1 to {MAX_VOXELS} are taken"),
    ],
)  # fmt: skip
def test_files_that_are_refused(data: bytes, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_nifti(data)
    assert str(caught.value) == expected


def test_a_gzip_bomb_is_inflated_as_far_as_the_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    inflate = nifti._inflate

    def count(data: bytes, length: int) -> bytes:
        asked.append(length)
        return inflate(data, length)

    monkeypatch.setattr(nifti, "_inflate", count)
    bomb = gzip.compress(nifti_file(body(), RAS) + bytes(2**26))
    volume = decode_nifti(bomb)
    assert np.array_equal(volume.slice(0), Volume(body(), RAS).slice(0))
    assert asked == [348, 8032]


def test_damage_is_found_by_the_checksum() -> None:
    data = bytearray(nifti_file(np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16), RAS, zipped=True))
    data[-8] ^= 1
    with pytest.raises(ImageError, match=r"^is truncated or damaged NIfTI \(BadGzipFile\)$"):
        decode_nifti(bytes(data))
