"""The section `notify`: what may stand in it, and that secrets stay out of it and of messages."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from pipeline.config import Config, load_config
from pipeline.errors import UserError

HIDDEN = "s3cret"


def load(folder: Path, **notify: JsonValue) -> Config:
    values: dict[str, JsonValue] = {f"notify.{key}": value for key, value in notify.items()}
    return load_config("demo", values, data=folder, root=folder / "root")


def test_all_of_it_is_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", HIDDEN)
    config = load(tmp_path, url="https://ops.example/lungseg", headers={"Authorization": {"env": "TOKEN"}}, tries=1)
    config.root.mkdir()
    config.write()
    written = (config.root / "config.yaml").read_text()
    assert HIDDEN not in written
    assert load_config(str(config.root / "config.yaml"), {}, data=None, root=None) == config


def test_a_file_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(tmp_path, url_from={"file": "secrets/url"}).notify
    assert settings.url_from is not None
    assert settings.url_from.file == str(tmp_path / "secrets" / "url")


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        ({"url": "ops.example"}, "url must be a URL, such as https://ops.example/lungseg"),
        ({"url": "http://ops.example:x"}, "url must be a URL, such as https://ops.example/lungseg"),
        (
            {"url": f"https://user:{HIDDEN}@ops.example"},
            "url must hold no user name or password: give a header Authorization",
        ),
        (
            {"url": f"https://ops.example?sig={HIDDEN}"},
            "url holds a query, which may be a secret: give the whole URL by url_from",
        ),
        (
            {"url": "https://ops.example", "url_from": {"env": "URL"}},
            "url and url_from both name the webhook: leave one of them out",
        ),
        (
            {"url_from": f"https://ops.example/{HIDDEN}"},
            "url_from must say where the value stands, as {env: NAME} or {file: PATH}",
        ),
        (
            {"headers": {"Authorization": f"Bearer {HIDDEN}"}},
            "headers.Authorization must say where the value stands, as {env: NAME} or {file: PATH}",
        ),
        (
            {"headers": f"Authorization: Bearer {HIDDEN}"},
            "headers must be a mapping of their names to where their values stand",
        ),
        ({"headers": {"Ce-Id": {"env": "A"}}}, "header Ce-Id belongs to the event: leave it out"),
    ],
)
def test_what_is_refused_and_not_shown(tmp_path: Path, notify: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, **notify)
    assert str(caught.value) == f"configuration: notify: {message}"


@pytest.mark.parametrize("place", [{}, {"env": "A", "file": "b"}])
def test_a_secret_has_one_place(tmp_path: Path, place: dict[str, JsonValue]) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, url_from=place)
    message = "a secret stands in one place: give either env or file"
    assert str(caught.value) == f"configuration: notify.url_from: {message}"
