"""Object stores and other URLs: the same program, through Beam's FileSystems."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems
from bucket_store import FAILING, ROOT, Bucket, local

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.ingest import ingest
from pipeline.ingest.storage import files
from pipeline.ingest.storage.span import new_span

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """The objects of a store are files below tmp_path."""
    ROOT[:] = [tmp_path]
    yield
    FAILING.clear()


def put(*paths: str) -> None:
    for path in paths:
        with files.replace_file(path) as file:
            file.write(b"x")


def write_and_fail(path: str) -> None:
    with files.replace_file(path) as file:
        file.write(b"new")
        raise ZeroDivisionError


def objects(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in local(folder).rglob("*") if file.is_file()}


def test_from_a_store_to_a_store_as_from_disk_to_disk(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "c.png").write_bytes(b"")
    (folder / "metadata.csv").write_text("image,patient_id\na,p1\nb,p1\n")
    options = {"size": 32, "max_rejected": 0.2, "source": "clinic", "unnamed_patients": "own"}
    report = ingest("folder", "bucket://clinic", "bucket://out", **options)  # type: ignore[arg-type]
    assert (report.span, report.found, report.written, report.patients) == ("bucket://out/span-1", 10, 9, 8)
    ingest("folder", str(folder), str(tmp_path / "disk"), **options)  # type: ignore[arg-type]
    on_disk = {path.name: path.read_bytes() for path in (tmp_path / "disk" / "span-1").iterdir()}
    assert objects("bucket://out/span-1") == on_disk
    assert sorted(objects("bucket://out")) == sorted(on_disk)


def test_a_span_that_cannot_be_published_whole_is_taken_back(tmp_path: Path) -> None:
    FAILING.add("span-1/rejected.csv")
    message = r"^cannot write to bucket://out: 403 Forbidden: bucket://out/span-1/rejected\.csv$"
    with pytest.raises(UserError, match=message), new_span("bucket://out", 1) as partial:
        put(f"{partial}/records-00000-of-00001.tfrecord", f"{partial}/rejected.csv")
    assert objects("bucket://out") == {}


def test_a_store_that_cannot_be_written(folder: Path) -> None:
    FAILING.add("")
    with pytest.raises(UserError, match=r"^cannot write to bucket://out: 403 Forbidden: "):
        ingest("folder", "bucket://clinic", "bucket://out", size=32)


@pytest.mark.parametrize(
    ("layout", "root", "message"),
    [
        ("folder", "bucket://none", "bucket://none does not exist"),
        ("folder", "bucket://clinic/images/a.png", "bucket://clinic/images/a.png is not a folder"),
        ("csv", "bucket://clinic", "bucket://clinic is not a file"),
        ("folder", "bucket://clinic/images", "bucket://clinic/images does not fit the layout 'folder', which looks for "
         "images/ and masks/ (or mask/, or lung masks/), or folders of classes with these; `--layout csv` takes files "
         "wherever they lie, by a table of their paths"),
    ],
)  # fmt: skip
def test_what_does_not_fit(folder: Path, layout: str, root: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        ingest(layout, root, "bucket://out")
    assert str(caught.value) == message


def test_a_store_that_beam_does_not_know() -> None:
    with pytest.raises(UserError, match=r"^nowhere://x cannot be reached: Unable to get filesystem from "):
        ingest("folder", "nowhere://x", "bucket://out")


def test_an_existing_span_is_kept(folder: Path) -> None:
    put("bucket://out/span-1/rejected.csv")
    with pytest.raises(UserError, match=r"^bucket://out/span-1 exists already: choose another --span$"):
        ingest("folder", "bucket://clinic", "bucket://out")


@pytest.mark.filterwarnings("ignore:Possible nested set")  # Beam makes a regular expression of the pattern
def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    for name in ("x[1]/a.png", "x[1]/b*.png", "x1/c.png", "x[1]/sub/d.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12")
    for root in ("bucket://set/x[1]", str(tmp_path / "set" / "x[1]")):
        assert sorted(files.list_files(root)) == ["a.png", "b*.png"]
        assert sorted(files.list_files(root, levels=2)) == ["a.png", "b*.png", "sub/d.png"]
        assert files.file_sizes(root) == {"a.png": 2, "b*.png": 2}
        files.delete_folder(root)
        assert not files.exists(root)
        for name in ("a.png", "b*.png", "sub/d.png"):
            path = tmp_path / "set" / "x[1]" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"12")
    assert files.exists("bucket://set/x1")


def test_a_file_replaces_another_only_when_it_is_whole(tmp_path: Path) -> None:
    for path in ("bucket://a.bin", str(tmp_path / "b.bin.gz")):
        put(path)
        with pytest.raises(ZeroDivisionError):
            write_and_fail(path)
        assert files.read_file(path) == b"x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin.gz"]


def test_files_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "a").write_bytes(bytes(2**20))
    assert len(files.read_file(str(tmp_path / "a"))) == 2**20
    (tmp_path / "a").write_bytes(bytes(2**20 + 1))
    with pytest.raises(ImageError, match=r"^is larger than 1 MB$"):
        files.read_file(str(tmp_path / "a"))


def test_beam_finds_the_store() -> None:
    assert isinstance(FileSystems.get_filesystem("bucket://x"), Bucket)
