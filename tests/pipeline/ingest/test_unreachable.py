"""Files of stores that cannot be opened: a refusal of the file in one line, in time."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.ingest import ingest
from pipeline.ingest.storage import stores
from pipeline.ingest.storage.files import read_file
from schema.record import Pixels


@pytest.fixture(autouse=True)
def _strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store is known yet."""
    monkeypatch.setattr(stores, "_problems", {})


def refused(path: str) -> str:
    with pytest.raises(ImageError) as caught:
        read_file(path)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["https", "http", "ftp", "nowhere", "file"])
def test_what_is_no_store(scheme: str) -> None:
    assert refused(f"{scheme}://x/a.png") == (
        f"cannot be read: files at {scheme}:// cannot be opened: copy them to a folder or a bucket"
    )


@pytest.mark.parametrize("path", ["s3://clinic/a.png", "hdfs://clinic/a.png", "azfs://account/clinic/a.png"])
def test_stores_whose_client_is_missing_or_not_set_up(path: str) -> None:
    message = refused(path)
    assert message.startswith("cannot be read: ")
    assert "\n" not in message


def test_a_store_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def wait(path: str, **_: str) -> BinaryIO:
        asked.append(path)
        time.sleep(5)
        raise OSError

    monkeypatch.setattr(FileSystems, "open", wait)
    monkeypatch.setattr(stores, "PATIENCE", 0.1)
    threads = [threading.Thread(target=refused, args=(f"gs://clinic/{name}.png",)) for name in "abc"]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused("gs://clinic/d.png") == "cannot be read: gs://clinic has not answered for 0.1 s"
    assert time.monotonic() - begin < 3
    assert len(asked) == 1


def test_a_store_that_answers_is_asked_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotFoundError(Exception):
        code = 404

    def answer(path: str, **_: str) -> BinaryIO:
        raise NotFoundError(f"404 {path}\nnot found")

    monkeypatch.setattr(FileSystems, "open", answer)
    for name in "ab":
        assert refused(f"gs://clinic/{name}.png") == f"cannot be read: 404 gs://clinic/{name}.png not found"


def test_one_url_costs_one_row(tmp_path: Path, save: Callable[..., Path], image: Pixels, mask: Pixels) -> None:
    save("a b.png", image)
    save("b.png", image)
    save("masks/a.png", mask)
    (tmp_path / "map.yaml").write_text("image: file\nmask: lungs\n")
    (tmp_path / "t.csv").write_text(
        "file,lungs\n"
        "https://example.org/a.png,masks/a.png\n"
        "b.png,s3://clinic/m.png\n"
        f"file://{tmp_path}/a%20b.png,masks\\a.png\n"
        f"c\\d.png,masks\\a.png\n"
    )  # fmt: skip
    options = {"mapping": f"{tmp_path}/map.yaml", "max_rejected": 1, "size": 32}
    report = ingest("csv", f"{tmp_path}/t.csv", f"{tmp_path}/out", **options)  # type: ignore[arg-type]
    assert (report.found, report.written) == (4, 1)
    lines = (Path(report.span) / "rejected.csv").read_text().splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == [
        'b.png,"has the mask s3', "c\\d.png,cannot be read", "https"
    ]  # fmt: skip
