"""Address and login: what is sent with each request, and what is said of a server that does not do as asked."""

import re
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import kfp_server_api as api
import pytest
from urllib3.util import connection

from pipeline.errors import UserError
from pipeline.kubeflow.transport import Access, RefusedError, connect

Kubeflow = Any

FIRST_PAGE = {"page_size": 1, "page_token": ""}


def ask(access: Access) -> None:
    """Sends one request that reads."""
    api.ExperimentServiceApi(connect(access)).experiment_service_list_experiments(**FIRST_PAGE)


def test_an_unreachable_server_is_tried_once(unreachable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = mock.Mock(wraps=connection.create_connection)
    monkeypatch.setattr(connection, "create_connection", attempts)
    expected = f"{unreachable}: cannot be reached (NewConnectionError): check --host and the network"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        ask(Access(unreachable))
    assert attempts.call_count == 1


def test_a_server_that_never_answers_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.kubeflow.transport._TIMEOUT", (5, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        expected = f"{host}: cannot be reached (ReadTimeoutError): check --host and the network"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            ask(Access(host))
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401,), "wants a login (401): give a valid --token-file or --cookies-file"),
        ((302, "", "text/html"), "wants a login (302): give a valid --token-file or --cookies-file"),
        (
            (403, "User 'x' is not\nauthorized"),
            "refuses GET /apis/v2beta1/experiments (403): User 'x' is not authorized",
        ),
        ((403, "RBAC: access denied", "text/plain"), "refuses GET /apis/v2beta1/experiments (403): Forbidden"),
        ((404, "not found", "text/plain"), "has no Kubeflow Pipelines API v2beta1 (404): check --host"),
        ((503, "down", "text/html"), "refuses GET /apis/v2beta1/experiments (503): Service Unavailable"),
        (
            (200, "<title>Log in</title>", "text/html"),
            "answers with a web page, not as the API: log in (--token-file, --cookies-file)",
        ),
    ],
)
def test_a_refusal_is_one_line(kubeflow: Kubeflow, answer: tuple[Any, ...], expected: str) -> None:
    kubeflow.intercept = lambda _: kubeflow.refuse(*answer)
    with pytest.raises(RefusedError, match=f"^{re.escape(f'{kubeflow.host}: {expected}')}$") as error:
        ask(Access(kubeflow.host))
    assert error.value.status == answer[0]
    assert len(kubeflow.requests) == 1


def test_a_host_without_the_api(kubeflow: Kubeflow) -> None:
    host = kubeflow.host.removesuffix("/pipeline")
    with pytest.raises(UserError, match=f"^{host}: has no Kubeflow Pipelines API v2beta1 \\(404\\): check --host$"):
        ask(Access(host))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("kubeflow.example", "--host kubeflow.example: must be a URL, such as https://kubeflow.example/pipeline"),
        ("ftp://x", "--host ftp://x: must be a URL, such as https://kubeflow.example/pipeline"),
        (
            "https://me:hidden@x",
            "--host: must hold no user name or password: use --token-file or --cookies-file",
        ),
    ],
)
def test_a_host_is_checked(host: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        connect(Access(host))


class TestLogin:
    @pytest.fixture(autouse=True)
    def outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    def headers(
        self, kubeflow: Kubeflow, token_file: Path | None = None, cookies_file: Path | None = None
    ) -> tuple[str | None, str | None]:
        ask(Access(f"{kubeflow.host}/", token_file=token_file, cookies_file=cookies_file))
        sent = {key.lower(): value for key, value in kubeflow.requests[-1].headers.items()}
        return sent.get("authorization"), sent.get("cookie")

    def test_none(self, kubeflow: Kubeflow) -> None:
        assert self.headers(kubeflow) == (None, None)

    def test_token_and_cookies(self, kubeflow: Kubeflow, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("abc.def\n")
        (tmp_path / "cookies").write_text("session=xyz; other=1\n")
        sent = self.headers(kubeflow, token_file=tmp_path / "token", cookies_file=tmp_path / "cookies")
        assert sent == ("Bearer abc.def", "session=xyz; other=1")

    def test_in_a_pod(self, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
        assert self.headers(kubeflow) == (None, None)
        (tmp_path / "token").write_text("of-the-pod\n")
        assert self.headers(kubeflow) == ("Bearer of-the-pod", None)
        (tmp_path / "mine").write_text("mine")
        assert self.headers(kubeflow, token_file=tmp_path / "mine") == ("Bearer mine", None)

    def test_a_token_that_kubernetes_renews_is_read_again(
        self, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
        (tmp_path / "token").write_text("first")
        client = connect(Access(kubeflow.host))
        (tmp_path / "token").write_text("second")
        api.ExperimentServiceApi(client).experiment_service_list_experiments(**FIRST_PAGE)
        assert kubeflow.requests[-1].headers["authorization"] == "Bearer second"

    @pytest.mark.parametrize("content", ["", "\n", "two\nlines", "sécret"])
    def test_a_file_that_holds_no_token(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "token").write_text(content)
        expected = f"{tmp_path}/token: must hold one line of plain text: a token"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            connect(Access("http://x", token_file=tmp_path / "token"))

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        expected = f"{tmp_path}/cookies: cannot be read: No such file or directory"
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            connect(Access("http://x", cookies_file=tmp_path / "cookies"))

    def test_a_server_that_repeats_the_login_does_not_betray_it(self, kubeflow: Kubeflow, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("s3cret")
        kubeflow.intercept = lambda request: kubeflow.refuse(403, f"bad {request.headers['authorization']}")
        with pytest.raises(UserError) as error:
            self.headers(kubeflow, token_file=tmp_path / "token")
        assert str(error.value).endswith("(403): bad Bearer ***")
