"""The metadata file: what is taken, what is refused with its row, and what stops the run."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.ingest.metadata import CellError, Description, describe, image_stem, read_metadata
from pipeline.ingest.table import Row

DEFAULTS = Description(patient_id="a", source="clinic")


def described(tmp_path: Path, text: str) -> Description:
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    (row,) = read_metadata(f"{tmp_path}/metadata.csv")
    assert image_stem(row) == "a"
    return describe(row, DEFAULTS)


def row(**cells: str) -> Row:
    return Row("data/metadata.csv", 2, cells)


def stopped(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_metadata(f"{tmp_path}/metadata.csv"))
    return str(caught.value).replace(str(tmp_path), "D")


def test_all_columns(tmp_path: Path) -> None:
    text = "image,patient_id,source,finding,view,sex,age,pixel_spacing,by\na,p1,Bonn,edema,PA,F,34.5,0.143,me\n"
    assert described(tmp_path, text) == Description("p1", "Bonn", "edema", "PA", "female", 34.5, 0.143)


def test_empty_cells_and_missing_columns_keep_the_defaults(tmp_path: Path) -> None:
    assert described(tmp_path, "image,patient_id,sex,age, view, pixel_spacing\na, ,,,,\n") == DEFAULTS


@pytest.mark.parametrize(
    "cell",
    ["unknown", "Unknown", "?", "missing", "#VALUE!", "#REF!", "anonymous", r"\N", "(null)", "not available", ".",
     "undefined", "n/k", "—", "<NA>", "[Missing]"],
)  # fmt: skip
def test_a_place_holder_is_no_patient(tmp_path: Path, cell: str) -> None:
    described_ = described(tmp_path, f"image,patient_id,finding\na,{cell},{cell}\n")
    assert described_.patient_id == "a"
    assert described_.finding in (cell, "unknown")


@pytest.mark.parametrize(
    "cell",
    ["J\u00fcrgen 1", "Ju\u0308rgen 1", "J\u00fcrgen \t 1", "J\u00fcrgen\u00a01", "\u200bJ\u00fcr\u00adgen 1\ufeff"],
)
def test_what_looks_the_same_is_one_patient(tmp_path: Path, cell: str) -> None:
    assert described(tmp_path, f"image,patient_id\na,{cell}\n").patient_id == "J\u00fcrgen 1"


@pytest.mark.parametrize("cell", ["0", "Unknown-7", "-1", "N", "患者", "value"])
def test_what_could_be_a_patient_is_one(tmp_path: Path, cell: str) -> None:
    assert described(tmp_path, f"image,patient_id\na,{cell}\n").patient_id == cell


@pytest.mark.parametrize("name", ["a", "a.png", "a.JPG", " a "])
def test_image_by_stem_or_file_name(tmp_path: Path, name: str) -> None:
    assert described(tmp_path, f"image,patient_id\n{name},p1\n").patient_id == "p1"


def test_dots_in_a_stem_are_kept(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("image\n1.2.840\n1.2.841.png\n")
    assert [image_stem(row) for row in read_metadata(f"{tmp_path}/metadata.csv")] == ["1.2.840", "1.2.841"]


def test_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    assert described(tmp_path, "\ufeffimage,patient_id\n\na,Jürgen\n").patient_id == "Jürgen"


@pytest.mark.parametrize(
    ("value", "sex"),
    [("f", "female"), ("Female", "female"), ("M", "male"), ("male", "male"), ("o", "other"), ("OTHER", "other"),
     ("Unknown", "unknown")],
)  # fmt: skip
def test_sex(value: str, sex: str) -> None:
    assert describe(row(sex=value), DEFAULTS).sex == sex


@pytest.mark.parametrize("age", [0, 130, 61.5])
def test_age(age: float) -> None:
    assert describe(row(age=str(age)), DEFAULTS).age == age


@pytest.mark.parametrize(("given", "years"), [("058Y", 58), ("018M", 1.5), ("030D", 0.082), ("004w", 0.077)])
def test_ages_as_dicom_has_them(given: str, years: float) -> None:
    assert describe(row(age=given), DEFAULTS).age == pytest.approx(years, abs=0.001)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"sex": "w"}, "has the sex 'w' in metadata.csv, line 2: not female, male, other or unknown"),
        ({"age": "34 years"}, "has the age '34 years' in metadata.csv, line 2: not a number"),
        ({"age": "058X"}, "has the age '058X' in metadata.csv, line 2: not a number"),
        ({"age": "140Y"}, "has the age '140Y' in metadata.csv, line 2: not within 0 to 130"),
        ({"age": "131"}, "has the age '131' in metadata.csv, line 2: not within 0 to 130"),
        ({"age": "-1"}, "has the age '-1' in metadata.csv, line 2: not within 0 to 130"),
        ({"age": "nan"}, "has the age 'nan' in metadata.csv, line 2: not within 0 to 130"),
        ({"pixel_spacing": "0"}, "has the pixel spacing '0' in metadata.csv, line 2: not above 0 and up to 100 mm"),
        ({"pixel_spacing": "nan"}, "has the pixel spacing 'nan' in metadata.csv, line 2: not above 0 and up to 100 mm"),
        ({"pixel_spacing": "0,1"}, "has the pixel spacing '0,1' in metadata.csv, line 2: not a number"),
    ],
)
def test_bad_cells(cells: dict[str, str], reason: str) -> None:
    with pytest.raises(CellError) as caught:
        describe(row(**cells), DEFAULTS)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,age\na,3\n", "D/metadata.csv, line 1: has no column 'image', only: file, age"),
        (b"image|age\na|3\n", "D/metadata.csv, line 1: has no column 'image', only: image|age"),
        (b"", "D/metadata.csv, line 1: has no column 'image', only: "),
        (b"image,age\n,3\n", "D/metadata.csv, line 2: column 'image' is empty"),
        (b"image\n\xfc\n", "D/metadata.csv: is no UTF-8 text: save it as CSV in UTF-8"),
        (b"image\n" + b"a" * 200_000, "D/metadata.csv, line 2: field larger than field limit (131072)"),
    ],
)
def test_files_that_stop_the_run(tmp_path: Path, content: bytes, message: str) -> None:
    assert stopped(tmp_path, content) == message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/none\.csv cannot be read: No such file or directory$"):
        list(read_metadata(f"{tmp_path}/none.csv"))


def test_what_is_not_known_is_taken_from_another() -> None:
    mine = Description("", "clinic", view="PA", age=0)
    other = Description("p", "", sex="male", view="AP", age=50, pixel_spacing=0.2)
    assert mine.or_else(other) == Description("p", "clinic", view="PA", sex="male", age=0, pixel_spacing=0.2)
