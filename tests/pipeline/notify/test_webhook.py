"""Sending to a webhook: what arrives, what is tried again, and how long a run waits."""

import logging
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from webhook_server import WebhookServer

from pipeline.errors import UserError
from pipeline.notify import webhook
from pipeline.notify.settings import NotifySettings
from pipeline.notify.webhook import Webhook, open_webhook

HIDDEN = "Bearer s3cret"
EVENT = {"ce-id": "7", "content-type": "application/json"}


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have paused, seconds."""
    pauses: list[float] = []
    monkeypatch.setattr(webhook, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


def opened(**settings: Any) -> Webhook:
    found = open_webhook(NotifySettings.model_validate(settings))
    assert found is not None
    return found


def send(server: WebhookServer, **settings: Any) -> str | None:
    return opened(url=server.url, **settings).send(EVENT, b"{}")


def test_nobody_is_told_by_default() -> None:
    assert open_webhook(NotifySettings()) is None


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_event_arrives_once(status: int) -> None:
    with WebhookServer(status) as server:
        assert send(server) is None
    [request] = server.requests
    assert (request.path, request.body) == ("/lungseg", b"{}")
    assert {name: request.headers[name] for name in EVENT} == EVENT
    assert "authorization" not in request.headers


def test_headers_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k3y\n")
    monkeypatch.setenv("TOKEN", HIDDEN)
    headers = {"Authorization": {"env": "TOKEN"}, "X-Key": {"file": str(tmp_path / "key")}}
    with WebhookServer() as server:
        assert send(server, headers=headers) is None
    assert server.requests[0].headers["authorization"] == HIDDEN
    assert server.requests[0].headers["x-key"] == "k3y"


def test_the_url_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebhookServer() as server:
        monkeypatch.setenv("WEBHOOK", f"{server.url}?sig=s3cret")
        assert opened(url_from={"env": "WEBHOOK"}).send(EVENT, b"{}") is None
    assert server.requests[0].path == "/lungseg?sig=s3cret"


def test_a_login_of_netrc_stays_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("TOKEN", HIDDEN)
    with WebhookServer() as server:
        send(server)
        send(server, headers={"Authorization": {"env": "TOKEN"}})
    assert [request.headers.get("authorization") for request in server.requests] == [None, HIDDEN]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status: int, pauses: list[float]) -> None:
    with WebhookServer(status, status, 204) as server:
        assert send(server) is None
    assert [request.headers["ce-id"] for request in server.requests] == ["7", "7", "7"]
    assert pauses == [1, 2]


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_what_will_not_pass_is_not(status: int) -> None:
    with WebhookServer(status) as server:
        assert send(server) == f"answered {status}"
    assert len(server.requests) == 1


def test_an_end_of_patience() -> None:
    with WebhookServer(500) as server:
        assert send(server, tries=2) == "answered 500 on the last of 2 tries"
        assert send(server, tries=1) == "answered 500"
    assert len(server.requests) == 3


def test_a_redirection_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could take the token elsewhere."""
    monkeypatch.setenv("TOKEN", HIDDEN)
    with WebhookServer() as other, WebhookServer(307, location=other.url) as server:
        problem = send(server, headers={"Authorization": {"env": "TOKEN"}})
    assert problem == "answered 307, a redirection, which is not followed"
    assert (len(server.requests), len(other.requests)) == (1, 0)


def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/"
        assert opened(url=url).send(EVENT, b"{}") == "could not be reached on the last of 3 tries"


def test_a_slow_webhook_is_left_to_itself() -> None:
    server = WebhookServer()
    server.socket.listen()  # connects, and never answers: nobody serves
    assert opened(url=server.url, seconds=0.3).send(EVENT, b"{}") in {
        "did not answer in time on the last of 3 tries",
        "did not answer within 0.3 s",
    }
    server.server_close()


def test_a_webhook_that_never_ends_its_answer_is_left_to_itself() -> None:
    """Each byte comes in time: no timeout of a request would end this."""
    with WebhookServer(trickle=True) as server:
        assert send(server, seconds=0.5) == "did not answer within 0.5 s"


def test_no_log_holds_a_secret(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("TOKEN", HIDDEN)
    with WebhookServer(500) as server:
        monkeypatch.setenv("WEBHOOK", f"{server.url}/s3cret")
        opened(url_from={"env": "WEBHOOK"}, headers={"Authorization": {"env": "TOKEN"}}).send(EVENT, b"{}")
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("source", "content", "message"),
    [
        ({"env": "TOKEN"}, None, "environment variable TOKEN must hold one line of plain text"),
        ({"env": "TOKEN"}, "a\nb", "environment variable TOKEN must hold one line of plain text"),
        ({"file": "{}/token"}, None, "'{}/token' cannot be read: No such file or directory"),
        ({"file": "{}/token"}, "s\u00e9cret", "'{}/token' must hold one line of plain text"),
        ({"file": "{}/token"}, " \n", "'{}/token' must hold one line of plain text"),
    ],
)
def test_a_secret_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, str], content: str | None, message: str
) -> None:
    """The run has not started: this is an error of the configuration."""
    source = {kind: place.format(tmp_path) for kind, place in source.items()}
    monkeypatch.delenv("TOKEN", raising=False)
    if content is not None and "env" in source:
        monkeypatch.setenv("TOKEN", content)
    elif content is not None:
        (tmp_path / "token").write_text(content)
    expected = f"notify.headers.Authorization: {message.format(tmp_path)}"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        opened(url="http://ops.example", headers={"Authorization": source})


@pytest.mark.parametrize("url", ["ftp://ops.example/s3cret", "https://user:s3cret@ops.example"])
def test_a_secret_url_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WEBHOOK", url)
    with pytest.raises(UserError, match=r"^notify.url_from: what environment variable WEBHOOK holds must ") as caught:
        opened(url_from={"env": "WEBHOOK"})
    assert "s3cret" not in str(caught.value)
