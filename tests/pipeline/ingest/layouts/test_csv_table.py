"""CSV files whose columns a YAML file names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.ingest.layouts.base import Input
from pipeline.ingest.layouts.csv_table import Columns, read_mapping
from pipeline.ingest.layouts.registry import find_layout
from pipeline.ingest.metadata import Description, UnnamedPatient
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.samples import ImageSample, ReadOptions
from pipeline.ingest.shard_writer import encode_sample

MAPPING = "image: Path\nmask: [Left, Right]\npatient_id: Subject\nsex: Gender\npixel_spacing: mm\n"
HEADER = "Path,Left,Right,Subject,Gender,mm,Site\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], tuple[str, str]]:
    """Writes table and mapping; returns their paths."""

    def call(table: str, mapping: str = MAPPING) -> tuple[str, str]:
        (tmp_path / "set.csv").write_text(table)
        (tmp_path / "map.yaml").write_text(mapping)
        return f"{tmp_path}/set.csv", f"{tmp_path}/map.yaml"

    return call


def test_rows_become_samples(write: Callable[..., tuple[str, str]], tmp_path: Path, find: Callable[..., Any]) -> None:
    table, mapping = write(
        HEADER
        + "p1/x.png,p1/l.png,p1/r.png,s1,F,0.2,A\n"
        + "gs://other/y.dcm,/abs/l.png,r.png,,,,B\n"
        + "p2/x.png,l.png,,s1,,,A\n"
        + "p3/x.png,l.png,r.png,s1,w,,A\n"
    )
    listing = find("csv", table, mapping=mapping)
    first, second = sorted(listing.samples, key=lambda sample: sample.image_id, reverse=True)
    assert first == ImageSample(
        str(tmp_path), "p1/x.png", ("p1/l.png", "p1/r.png"), "p1/x",
        Description("s1", "set", sex="female", pixel_spacing=0.2),
    )  # fmt: skip
    assert second.files == ("gs://other/y.dcm", "/abs/l.png", f"{tmp_path}/r.png")
    assert second.description == UnnamedPatient("", "set")
    assert {rejection.file: rejection.reason for rejection in listing.rejections} == {
        "p2/x.png": "has no mask in column 'Right', line 4",
        "p3/x.png": "has the sex 'w' in set.csv, line 5: not female, male, other or unknown",
    }


def test_an_image_that_is_listed_twice(write: Callable[..., tuple[str, str]], find: Callable[..., Any]) -> None:
    table, mapping = write(
        HEADER + "a.png,l.png,r.png,s1,F,,A\nb.png,l.png,r.png,s1,F,,A\n./a.png,l.png,r.png,s2,F,,A\n"
    )
    listing = find("csv", table, mapping=mapping)
    assert [sample.name for sample in listing.samples] == ["b.png"]
    reason = "is listed 2 times: leave one of lines 2, 4 of set.csv"
    assert [(one.file, one.reason) for one in listing.rejections] == [("./a.png", reason), ("a.png", reason)]


@pytest.mark.parametrize(
    ("image", "mask", "reason"),
    [
        ("a\0.png", "m.png", "cannot be read: its path has a NUL byte: write the path anew"),
        (
            "a.png",
            "m\0.png",
            "has the mask m\0.png, which cannot be read: its path has a NUL byte: write the path anew",
        ),
    ],
)
def test_a_path_with_a_nul_byte(
    write: Callable[..., tuple[str, str]], tmp_path: Path, find: Callable[..., Any], image: str, mask: str, reason: str
) -> None:
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.arange(1600, dtype=np.uint8).reshape(40, 40))[1].tobytes())
    table, mapping = write(f"image,mask\n{image},{mask}\n", "image: image\nmask: mask\n")
    [sample] = find("csv", table, mapping=mapping).samples
    assert encode_sample(sample, ReadOptions(32)) == Rejection(image, reason)


def test_one_mask_column(write: Callable[..., tuple[str, str]]) -> None:
    _, mapping = write("", "image: a\nmask: b\nimage_id: c\n")
    assert read_mapping(mapping) == Columns("a", ("b",), {"image_id": "c"})


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ("image: a\nmask: b\npatient: c\n", "unknown key 'patient'; did you mean 'patient_id'?"),
        ("image: a\nmask: b\nqqq: c\n", "unknown key 'qqq': known are image, mask, image_id, patient_id, source, "
         "finding, view, sex, age, pixel_spacing"),
        ("image: a\n", "names no column for 'mask'"),
        ("mask: a\n", "names no column for 'image'"),
        ("image: a\nmask: [b, 3]\n", "'mask' must name a column, is 3"),
        ("- image\n", "must be a mapping such as `image: COLUMN`"),
        ("image: [\n", "is no YAML: "),
    ],
)  # fmt: skip
def test_mappings_that_are_refused(write: Callable[..., tuple[str, str]], mapping: str, problem: str) -> None:
    _, path = write("", mapping)
    with pytest.raises(UserError) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Paths,Left,Right,Subject,Gender,mm\n", "has no column 'Path', which D/map.yaml names; did you mean 'Paths'?"),
        ("Path,Left,Right,Gender,mm\n", "has no column 'Subject', which D/map.yaml names: known are Path, Left, Right, "
         "Gender, mm"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there(
    write: Callable[..., tuple[str, str]], tmp_path: Path, header: str, problem: str
) -> None:
    table, mapping = write(header)
    with pytest.raises(UserError) as caught:
        find_layout("csv", table).find(Input(table, mapping=mapping))
    assert str(caught.value).replace(str(tmp_path), "D") == f"D/set.csv {problem}"


def test_a_row_without_an_image_stops_the_run(
    write: Callable[..., tuple[str, str]], tmp_path: Path, find: Callable[..., Any]
) -> None:
    table, mapping = write(HEADER + ",l.png,r.png,,,,\n")
    with pytest.raises(UserError, match=r"/set\.csv, line 2: column 'Path' is empty$"):
        find("csv", table, mapping=mapping)


def test_a_mapping_must_be_given(write: Callable[..., tuple[str, str]]) -> None:
    table, mapping = write(HEADER)
    with pytest.raises(UserError) as caught:
        find_layout("csv", table).find(Input(table))
    assert str(caught.value) == "the layout 'csv' needs to know the columns: name a YAML file with --mapping"
    Path(mapping).unlink()
    with pytest.raises(UserError, match=r"/map\.yaml cannot be read: No such file or directory$"):
        find_layout("csv", table).find(Input(table, mapping=mapping))
