"""CSV files as spreadsheets and statistics programs write them."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.ingest.table import Row, read_columns, read_rows


def rows(tmp_path: Path, content: bytes) -> list[Row]:
    (tmp_path / "t.csv").write_bytes(content)
    return list(read_rows(f"{tmp_path}/t.csv", "image"))


def stopped(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        rows(tmp_path, content)
    return str(caught.value).replace(str(tmp_path), "D")


@pytest.mark.parametrize(
    "content",
    [
        b"image,patient_id\na,p 1\n",
        b"\xef\xbb\xbfimage;patient_id\r\na;p 1\r\n",
        b"image\tpatient_id\na\tp 1\n",
        b"sep=;\r\nimage;patient_id\r\na;p 1\r\n",
        b'"image","patient_id"\n"a","p 1"',
        b"image,patient_id,\na,p 1,\n,,\n",
        b"image,patient_id\na,p 1,,\n",
        b"image,patient_id\ra,p 1\r",
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, content: bytes) -> None:
    (row,) = rows(tmp_path, content)
    assert (row.cells, row.fault) == ({"image": "a", "patient_id": "p 1"}, "")


@pytest.mark.parametrize(
    "cell", ["", " ", "nan", "NaN", "NULL", "null", "None", "N/A", "NA", "-", "#N/A", "<NA>", "n/a"]
)
def test_cells_that_say_nothing(tmp_path: Path, cell: str) -> None:
    (row,) = rows(tmp_path, f"image,patient_id\na,{cell}\n".encode())
    assert row.cells == {"image": "a"}


def test_a_file_may_be_called_as_nothing_is(tmp_path: Path) -> None:
    assert [row.cells for row in rows(tmp_path, b"image\nNA\n-\n")] == [{"image": "NA"}, {"image": "-"}]


@pytest.mark.parametrize(("line", "cells"), [("a,p1", "2 cells"), ("a", "1 cell"), ("a,p1,m,40", "4 cells")])
def test_rows_that_are_cut_short_or_shifted(tmp_path: Path, line: str, cells: str) -> None:
    row, sound = rows(tmp_path, f"image,patient_id,sex\n{line}\nb,p2,f\n".encode())
    assert row.fault == f"has {cells} in t.csv, line 2, not the 3 of the header"
    assert sound.fault == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'image,patient_id\na,"p1\nb,p2\n', "D/t.csv, line 3: unexpected end of data"),
        ("image;age\na;3\n".encode("utf-16"), "D/t.csv: is no UTF-8 text: save it as CSV in UTF-8"),
        (b"image;age\n;3\n", "D/t.csv, line 2: column 'image' is empty"),
        (b"sep=;\nname;age\n", "D/t.csv, line 1: has no column 'image', only: name, age"),
    ],
)
def test_what_stops_a_run(tmp_path: Path, content: bytes, message: str) -> None:
    assert stopped(tmp_path, content) == message


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,patient_id,,,patient_id\n")
    with pytest.raises(UserError, match=r"/t\.csv, line 1: has 2 columns 'patient_id': leave one$"):
        read_columns(f"{tmp_path}/t.csv", ("image", "patient_id"))
    assert len(read_columns(f"{tmp_path}/t.csv", ("image",))) == 5
