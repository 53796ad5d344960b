"""Reading DICOM files: transfer syntaxes, grey levels, whom they show, and what is refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from medical_files import STREAMS, dicom_dataset, dicom_file, to_bytes
from numpy.typing import DTypeLike, NDArray
from pydicom import Dataset, Sequence, uid
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from modules.grey_range import MIN_RANGE, grey_range
from pipeline.ingest.formats.base import DicomMetadata, ImageError
from pipeline.ingest.formats.dicom import parser
from pipeline.ingest.formats.dicom.image import decode_dicom, decode_slice
from pipeline.ingest.formats.dicom.parser import is_dicom
from pipeline.ingest.formats.registry import count_pixels, decode_image
from schema.record import MAX_PIXELS

LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
DEEPEST: dict[str, int] = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 12}
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
)


def ramp(bits: int, signed: bool = False) -> NDArray[Any]:
    """All of the range of some bits, smooth, [24, 40]."""
    rows, columns = np.mgrid[:24, :40]
    codes = np.rint((rows / 23 + columns / 39) / 2 * (2**bits - 1)).astype(np.int64)
    dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return (codes - signed * 2 ** (bits - 1)).astype(dtype)


def stretch(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = grey_range(*np.unique(values.astype(float), return_counts=True))
    return np.rint(((values.astype(float) - low) / (high - low) * 255).clip(0, 255)).astype(np.uint8)


def read_levels(data: bytes) -> list[int]:
    """The levels of an image of one row."""
    (row,) = decode_dicom(data).pixels.tolist()
    return row


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_dicom(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(syntax, bits) for syntax in (*NATIVE, *STREAMS) for bits in (8, 10, 12, 16) if bits <= DEEPEST.get(syntax, 16)],
    ids=lambda value: uid.UID(value).keyword if isinstance(value, str) else value,
)
def test_transfer_syntaxes(syntax: str, signed: bool, bits: int) -> None:
    pixels = ramp(bits, signed)
    if signed and syntax in LOSSY:
        pixels = np.abs(pixels // 2)  # what is lost at the sign bit would be half the range
    data = dicom_file(pixels, syntax, BitsStored=bits)
    read = decode_dicom(data).pixels
    tolerance = 3 * 255 / np.ptp(pixels.astype(int)) + 2 if syntax in LOSSY else 0
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - stretch(pixels)).max() <= tolerance
    assert count_pixels(data) == count_pixels(data[:1000]) == 24 * 40


def pydicom_file(name: str) -> bytes:
    path = get_testdata_file(f"{name}.dcm", download=False)
    if path is None:
        pytest.skip(f"{name}.dcm did not come with pydicom")
    return Path(path).read_bytes()


@pytest.mark.parametrize("name", ["MR_small", "CT_small", "image_dfl", "examples_overlay"])
def test_levels_are_those_of_pydicom(name: str) -> None:
    data = pydicom_file(name)
    dataset = pydicom.dcmread(io.BytesIO(data))
    levels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(float)
    read = decode_dicom(data).pixels
    if "WindowWidth" not in dataset:
        assert np.array_equal(read, stretch(levels))
    assert np.corrcoef(levels.ravel(), read.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("suffix", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless"])
def test_one_image_of_many_encoders(suffix: str) -> None:
    expected = decode_dicom(pydicom_file("MR_small")).pixels
    assert np.array_equal(decode_dicom(pydicom_file(f"MR_small_{suffix}")).pixels, expected)


@pytest.mark.parametrize(
    ("name", "shape"), [("JPGExtended", (1024, 256)), ("JPEGLSNearLossless_16", (50, 10)), ("693_J2KI", (512, 512))]
)
def test_other_files_are_read(name: str, shape: tuple[int, int]) -> None:
    assert decode_dicom(pydicom_file(name)).pixels.shape == shape


@pytest.mark.parametrize(("high_bit", "shift"), [(11, 0), (13, 2), (15, 4)])
def test_overlays_in_other_bits_are_masked(high_bit: int, shift: int) -> None:
    pixels = ramp(12) << shift
    overlay = np.random.default_rng(0).integers(0, 2, pixels.shape).astype(np.uint16)
    outside = [bit for bit in range(16) if not shift <= bit <= high_bit]
    for bit in outside:
        pixels |= overlay << bit
    read = decode_dicom(dicom_file(pixels, BitsStored=12, HighBit=high_bit)).pixels
    assert np.array_equal(read, stretch(ramp(12)))


@pytest.mark.parametrize("stored", [8, 10, 11])
def test_grey_values_beyond_the_bits_stored_are_refused(stored: int) -> None:
    assert reason(dicom_file(ramp(12), BitsStored=stored)) == (
        f"has values up to 4095, of 12 bits, where BitsStored is {stored}: correct BitsStored and HighBit"
    )


def test_signs_may_be_extended_beyond_the_bits_stored() -> None:
    values = ramp(12).astype(np.int16) - 2048
    read = decode_dicom(dicom_file(values.view(np.uint16), BitsStored=12, PixelRepresentation=1)).pixels
    assert np.array_equal(read, stretch(values))


def test_monochrome1_is_inverted() -> None:
    pixels = ramp(12)
    plain = decode_dicom(dicom_file(pixels, BitsStored=12)).pixels
    inverted = decode_dicom(dicom_file(pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME1")).pixels
    assert np.array_equal(inverted, 255 - plain)


@pytest.mark.parametrize(
    ("function", "levels"),
    [
        # Worked out by hand from PS3.3 C.11.2.1.2 and C.11.2.1.3 for a center of 2048 and a width of 4096.
        ("LINEAR", {0: 0, 1024: 64, 2048: 128, 3072: 191, 4095: 255}),
        ("LINEAR_EXACT", {0: 0, 1024: 64, 2048: 128, 3072: 191, 4095: 255}),
        ("SIGMOID", {0: 30, 1024: 69, 2048: 128, 3072: 186, 4095: 225}),
        ("sigmoid ", {0: 30, 1024: 69, 2048: 128, 3072: 186, 4095: 225}),
        (None, {0: 0, 2048: 128, 4095: 255}),
    ],
)
def test_window_functions(function: str | None, levels: dict[int, int]) -> None:
    pixels = np.array([list(levels)], np.uint16)
    data = dicom_file(pixels, WindowCenter=2048, WindowWidth=4096, VOILUTFunction=function)
    assert decode_dicom(data).pixels.tolist() == [list(levels.values())]


@given(center=st.integers(-500, 1500), width=st.integers(2, 3000), slope=st.sampled_from([0.5, 1, 2.25]))
def test_linear_window_is_that_of_the_standard(center: int, width: int, slope: float) -> None:
    pixels = np.arange(1024, dtype=np.uint16).reshape(8, 128)
    intercept = -200
    values = pixels.astype(float) * slope + intercept
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    inside = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    expected = np.where(values <= low, 0, np.where(values > high, 255, np.rint(inside)))
    data = dicom_file(pixels, WindowCenter=center, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=intercept)
    span = np.subtract(*grey_range(*np.unique(expected.astype(np.int64), return_counts=True))[::-1])
    darkest, brightest = grey_range(*np.unique(values, return_counts=True))
    grey, left = (values > darkest) & (values < brightest), (expected > 0) & (expected < 255)
    if span >= MIN_RANGE and left.sum() >= 0.25 * grey.sum():
        assert np.array_equal(decode_dicom(data).pixels, expected)
    else:  # so that nearly all is black or white, for which the window was not meant
        assert np.array_equal(decode_dicom(data).pixels, stretch(values))


@pytest.mark.parametrize(
    ("center", "width"), [(5000, 2), (-3000, 500), (200_000, 300_000), (40, 1), (2048, 2), (2048, 50), (2000, 256)]
)
def test_a_window_of_other_values_is_passed_over(center: int, width: int) -> None:
    """cornerstoneWADOImageLoader #143."""
    data = dicom_file(ramp(12), WindowCenter=center, WindowWidth=width)
    assert np.array_equal(decode_dicom(data).pixels, stretch(ramp(12)))


def test_a_window_of_other_values_is_passed_over_beside_a_black_frame() -> None:
    field = np.pad(np.kron(ramp(12), np.ones((4, 4), np.uint16)), 20)
    read = decode_dicom(dicom_file(field, WindowCenter=128, WindowWidth=256)).pixels
    assert np.array_equal(read, stretch(field))


def test_a_window_holds_for_a_small_field_in_wide_collimators() -> None:
    field = np.pad(ramp(12), 60)
    read = decode_dicom(dicom_file(field, WindowCenter=2048, WindowWidth=2048)).pixels
    assert np.abs(read - ((field - 1024.0) / 2048 * 255).clip(0, 255)).max() <= 1


@pytest.mark.parametrize("stray", [-32768, 32767])
def test_a_stray_value_does_not_move_the_stretch(stray: int) -> None:
    """Signed pixels whose surroundings hold a far value that no element names as padding."""
    field = np.kron(ramp(12, signed=True), np.ones((4, 4), np.int16))
    around = np.pad(field, 20, constant_values=stray)
    read = decode_dicom(dicom_file(around, BitsStored=16)).pixels[20:-20, 20:-20]
    assert np.abs(read.astype(int) - stretch(field)).max() <= 2


@pytest.mark.parametrize(("described", "filled"), [(16, 12), (8, 12), (12, 12), (16, 10), (10, 16)])
def test_a_table_that_contradicts_its_descriptor_is_right(described: int, filled: int) -> None:
    """Agfa: dicom-rs #825."""
    table = np.linspace(0, 2**filled - 1, 4096).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, described], table.tobytes()
    read = decode_dicom(dicom_file(ramp(12), VOILUTSequence=Sequence([item]))).pixels
    assert np.abs(read.astype(int) - ramp(12) / 4095 * 255).max() <= 1


def without_header(data: bytes) -> bytes:
    """Cut preamble and meta header off."""
    return data[132 + 12 + int.from_bytes(data[140:144], "little") :]


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_a_file_without_preamble_and_meta_header(syntax: uid.UID) -> None:
    """pydicom #150, #340, dcmjs #93."""
    whole = dicom_file(ramp(12), syntax)
    assert decode_image(whole).pixels.tolist() == decode_image(without_header(whole)).pixels.tolist()
    without_preamble = whole[128:]
    assert decode_image(whole).pixels.tolist() == decode_image(without_preamble).pixels.tolist()


@pytest.mark.parametrize("colours", [None, "monochrome2", " MONOCHROME2 ", "Monochrome1"])
def test_photometric_interpretation_as_devices_write_it(colours: str | None) -> None:
    """fo-dicom #340, dcmjs-imaging #5."""
    read = decode_dicom(dicom_file(ramp(8), PhotometricInterpretation=colours)).pixels
    dark = colours is not None and colours.endswith("1")
    assert np.array_equal(read, 255 - stretch(ramp(8)) if dark else stretch(ramp(8)))


def test_jpeg_2000_in_its_wrapper() -> None:
    """pydicom #2073."""
    pixels = ramp(12)
    wrapped = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", level=0, reversible=True))
    dataset = dicom_dataset(pixels, uid.JPEG2000Lossless)
    dataset.PixelData = pydicom.encaps.encapsulate([wrapped])
    assert np.array_equal(decode_dicom(to_bytes(dataset)).pixels, stretch(pixels))


def test_the_first_of_several_windows() -> None:
    pixels = np.array([[0, 100, 200]], np.uint8)
    data = dicom_file(
        pixels, WindowCenter=[100, 50], WindowWidth=[200, 10], VOILUTFunction="LINEAR_EXACT", BitsStored=8
    )
    assert decode_dicom(data).pixels.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("width", [0, -3, 0.5])
def test_a_window_that_is_none_is_passed_over(width: float) -> None:
    read = decode_dicom(dicom_file(ramp(12), WindowCenter=1, WindowWidth=width)).pixels
    assert np.array_equal(read, stretch(ramp(12)))


def lookup_table(entries: list[int], first: int, depth: int, signed: bool = False) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), first, depth])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return Sequence([item])


def test_modality_and_voi_tables() -> None:
    pixels = np.array([[9, 10, 11, 11, 99]], np.uint16)
    data = dicom_file(
        pixels,
        ModalityLUTSequence=lookup_table([0, 5, 7], first=10, depth=16),
        VOILUTSequence=lookup_table([0, 0, 0, 0, 0, 1023, 2047, 4095], first=0, depth=12),
        WindowCenter=1,
        WindowWidth=2,
    )
    assert decode_dicom(data).pixels.tolist() == [[0, 0, 64, 64, 255]]


def test_a_table_of_bytes_with_more_entries_than_they_have_values() -> None:
    table = lookup_table([0], first=0, depth=8)
    table[0].LUTDescriptor = [512, 0, 8]
    table[0].LUTData = bytes(index // 2 for index in range(512))
    pixels = np.array([[0, 100, 300, 511]], np.uint16)
    assert read_levels(dicom_file(pixels, VOILUTSequence=table)) == [0, 50, 150, 255]


def test_a_table_of_words_of_8_bits_from_a_negative_value() -> None:
    table = lookup_table(list(range(256)) + [255] * 44, first=-100, depth=8, signed=True)
    pixels = np.array([[-200, -100, 0, 120, 199]], np.int16)
    assert read_levels(dicom_file(pixels, VOILUTSequence=table)) == [0, 0, 100, 220, 255]


def test_values_between_entries_take_the_nearest() -> None:
    table = lookup_table([0, 100, 255], first=0, depth=8)
    pixels = np.array([[0, 4, 6, 14, 16]], np.uint8)
    data = dicom_file(pixels, VOILUTSequence=table, RescaleSlope=0.1, RescaleIntercept=0)
    assert read_levels(data) == [0, 0, 100, 100, 255]


def test_a_table_of_length_0_has_all_entries() -> None:
    table = lookup_table(list(range(65536)), first=0, depth=16)
    table[0].LUTDescriptor = [0, 0, 16]
    pixels = np.array([[0, 32768, 65535]], np.uint16)
    assert read_levels(dicom_file(pixels, ModalityLUTSequence=table)) == [0, 128, 255]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("dtype", "padding"), [(np.uint16, 65535), (np.int16, -2000), (np.uint16, 0)])
def test_padding_is_black_and_left_out_of_the_stretch(photometric: str, dtype: DTypeLike, padding: int) -> None:
    pixels = np.array([[padding, 100, 150, 200]], dtype)
    data = dicom_file(pixels, PhotometricInterpretation=photometric, PixelPaddingValue=padding)
    levels = [0, 128, 255] if photometric == "MONOCHROME2" else [255, 127, 0]
    assert decode_dicom(data).pixels.tolist() == [[0, *levels]]


def test_a_range_of_padding() -> None:
    pixels = np.array([[5, 10, 100, 200]], np.uint16)
    data = dicom_file(pixels, PixelPaddingValue=10, PixelPaddingRangeLimit=3)
    assert decode_dicom(data).pixels.tolist() == [[0, 0, 0, 255]]


def test_metadata() -> None:
    data = dicom_file(
        ramp(8), PatientID=" 0815 ", SOPInstanceUID="1.2.840.1", PatientAge="047Y", PatientSex="F", ViewPosition="PA",
        ImagerPixelSpacing=[0.143, 0.143], BurnedInAnnotation="NO",
    )  # fmt: skip
    assert decode_dicom(data).metadata == DicomMetadata("0815", "1.2.840.1", 47, "female", "PA", 0.143)


@pytest.mark.parametrize(
    ("elements", "name", "expected"),
    [
        ({}, "age", -1), ({"PatientAge": "018M"}, "age", 1.5), ({"PatientAge": "003W"}, "age", 21 / 365.25),
        ({"PatientAge": "999Y"}, "age", -1), ({"PatientAge": "old"}, "age", -1), ({"PatientSex": "O"}, "sex", "other"),
        ({"PatientSex": "DOE"}, "sex", "unknown"), ({"ViewPosition": "JOHN DOE"}, "view", "unknown"),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.3, 0.3]}, "pixel_spacing", 0.2),
        ({"PixelSpacing": [0.2, 0.3]}, "pixel_spacing", -1), ({"PixelSpacing": [0, 0]}, "pixel_spacing", -1),
        ({"PatientID": None}, "patient_id", ""), ({"SOPInstanceUID": None}, "instance_uid", ""),
    ],
)  # fmt: skip
def test_metadata_that_are_odd(elements: dict[str, Any], name: str, expected: object) -> None:
    dataset = dicom_dataset(ramp(8), **elements)
    dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3")
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    assert getattr(decode_dicom(file.getvalue()).metadata, name) == pytest.approx(expected)


def test_is_dicom() -> None:
    assert is_dicom(dicom_file(ramp(8)))
    assert not is_dicom(b"\x89PNG")
    assert not is_dicom(b"")


def test_no_dicom() -> None:
    assert reason(b"no image") == "is no DICOM file: it lacks the letters DICM after 128 bytes"


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"NumberOfFrames": 3}, "has 3 frames: save each as a file of its own"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
         "is in colour, as screenshots are: only MONOCHROME1 and MONOCHROME2 are taken"),
        ({"PhotometricInterpretation": "PALETTE COLOR"},
         "has the PhotometricInterpretation PALETTE COLOR: only MONOCHROME1 and MONOCHROME2 are taken"),
        ({"BurnedInAnnotation": "YES"},
         "has text burned into its pixels (BurnedInAnnotation is YES), which may name the patient"),
        ({"BurnedInAnnotation": "yes "},
         "has text burned into its pixels (BurnedInAnnotation is YES), which may name the patient"),
        ({"NumberOfFrames": 0, "Rows": 5000}, "is truncated: it has 960 of 200000 bytes of pixels"),
        ({"Rows": None}, "holds no image"),
        ({"Columns": None}, "has no Columns"),
        ({"Columns": 0}, "has 0 x 24 pixels"),
        ({"Rows": 60_000, "Columns": 60_000},
         f"is too large: 60000 x 60000 is more than {MAX_PIXELS} pixels"),
        ({"BitsStored": 1, "HighBit": 0}, "stores 1 bits of 8, up to bit 0: only 2 to 16 of 8 or 16 are taken"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
         "stores 32 bits of 32, up to bit 31: only 2 to 16 of 8 or 16 are taken"),
        ({"Rows": 5000}, "is truncated: it has 960 of 200000 bytes of pixels"),
        ({"VOILUTFunction": "CUBIC", "WindowCenter": 2, "WindowWidth": 2},
         "has a VOI LUT function that is unknown: not LINEAR, LINEAR_EXACT or SIGMOID"),
    ],
)  # fmt: skip
def test_what_is_refused(elements: dict[str, Any], expected: str) -> None:
    assert reason(dicom_file(ramp(8), **elements)) == expected


@pytest.mark.parametrize("frames", [0, "", None])
def test_no_number_of_frames_is_one(frames: int | str | None) -> None:
    expected = decode_dicom(dicom_file(ramp(8))).pixels
    assert np.array_equal(decode_dicom(dicom_file(ramp(8), NumberOfFrames=frames)).pixels, expected)


def test_constant_and_empty() -> None:
    assert reason(dicom_file(np.full((4, 4), 7, np.uint8))) == "is constant: every pixel is 7"
    assert reason(dicom_file(np.full((4, 4), 7, np.uint8), PixelPaddingValue=7)) == "is empty: every pixel is padding"


def test_no_pixel_data() -> None:
    dataset = dicom_dataset(ramp(8))
    del dataset.PixelData
    assert reason(to_bytes(dataset)) == "has no pixels"


@pytest.mark.parametrize("syntax", [*NATIVE, *STREAMS], ids=lambda syntax: uid.UID(syntax).keyword)
def test_truncated_file(syntax: str) -> None:
    data = dicom_file(ramp(8), syntax)
    for share in (0.5, 0.9, 0.99):
        reason(data[: int(share * len(data))])


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: uid.UID(syntax).keyword)
def test_streams_are_held_against_the_header(syntax: str) -> None:
    data = dicom_file(ramp(8), syntax, Rows=25)
    assert reason(data) == "has compressed pixels of another size than its header says"


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: uid.UID(syntax).keyword)
def test_a_stream_cut_off_is_not_filled_with_grey(syntax: str) -> None:
    dataset = dicom_dataset(ramp(8), syntax)
    stream = STREAMS[syntax](ramp(8), 8)
    dataset.PixelData = pydicom.encaps.encapsulate([stream[: int(0.8 * len(stream))]])
    assert reason(to_bytes(dataset)) == "is truncated: its compressed pixels have no end"


def rle_frame(*segments: bytes) -> bytes:
    """A frame of PS3.5 G.5: number and offsets of the segments, then these."""
    starts = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    return struct.pack("<16I", len(segments), *starts, *(15 - len(segments)) * [0]) + b"".join(segments)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((5, 5), None),
        ((5, 4), "is truncated: its compressed pixels end early"),
        ((4, 5), "is truncated: its compressed pixels end early"),
        ((5,), "is truncated or damaged DICOM (ValueError)"),
        ((5000, 5), "is truncated or damaged DICOM (ImcdError)"),
    ],
)
def test_runs_that_do_not_fill_the_image_or_overflow_it(runs: tuple[int, ...], expected: str | None) -> None:
    dataset = dicom_dataset(np.zeros((5, 128), np.uint16), uid.RLELossless)
    # 128 times one byte, and at the end another one for 64 times.
    segments = [bytes([129, 1]) * (count - 1) + bytes([193, 1, 193, 2]) for count in runs]
    dataset.PixelData = pydicom.encaps.encapsulate([rle_frame(*segments)])
    if expected is None:
        assert decode_dicom(to_bytes(dataset)).pixels.sum() == 64 * 255
    else:
        assert reason(to_bytes(dataset)) == expected


def test_unknown_transfer_syntaxes() -> None:
    video = dicom_dataset(ramp(8), uid.JPEGBaseline8Bit)
    video.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    expected = "has a transfer syntax that is not supported: save it uncompressed or as JPEG 2000"
    assert reason(to_bytes(video)) == expected
    plain = dicom_file(ramp(8))
    assert reason(plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0")) == "has no known transfer syntax"


def test_deflated_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "_MAX_INFLATED", 2**20)
    plain = dicom_file(ramp(8), uid.DeflatedExplicitVRLittleEndian)
    start = plain.index(uid.DeflatedExplicitVRLittleEndian.encode()) + len(uid.DeflatedExplicitVRLittleEndian)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = compressor.compress(bytes(2**24)) + compressor.flush()
    assert len(bomb) < 2**16
    assert reason(plain[:start] + bomb) == "is too large: inflated, it has more than 1048576 bytes"


@pytest.mark.parametrize("keyword", ["PixelData", "RedPaletteColorLookupTableData"])
def test_an_element_that_claims_four_gigabytes(keyword: str) -> None:
    dataset = dicom_dataset(ramp(8))
    setattr(dataset, keyword, dataset.PixelData)
    data = to_bytes(dataset)
    start = data.index(dataset.PixelData) - 4
    claimed = data[:start] + b"\xfe\xff\xff\xff" + data[start + 4 :]
    if keyword == "PixelData":  # all of them are there
        assert np.array_equal(decode_dicom(claimed).pixels, stretch(ramp(8)))
    else:
        assert reason(claimed) == "has no pixels"


def test_a_slice_in_hounsfield_units() -> None:
    pixels = np.array([[0, 24, 1024, 4000]], np.uint16)
    data = dicom_file(
        pixels, RescaleSlope=1, RescaleIntercept=-1024, ImagePositionPatient=[-100, -90, 12.5], PixelSpacing=[0.7, 0.8],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], SeriesInstanceUID="1.9", WindowCenter=1, WindowWidth=2,
    )  # fmt: skip
    read = decode_slice(data)
    assert read.hounsfield.tolist() == [[-1024, -1000, 0, 2976]]
    assert read.hounsfield.dtype == np.int16
    assert (read.series_uid, read.position.tolist()) == ("1.9", [-100, -90, 12.5])
    assert read.orientation.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert read.spacing.tolist() == [0.7, 0.8]


def test_a_slice_without_a_place() -> None:
    with pytest.raises(ImageError, match=r"^has no ImagePositionPatient of 3 numbers$"):
        decode_slice(dicom_file(ramp(8)))
