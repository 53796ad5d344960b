"""The way to Kubeflow Pipelines' REST API (v2beta1): address, login, and one line for whatever goes wrong.

It stands on kfp's generated API client, not on `kfp.Client`: that one waits up to 25 seconds for a server that does not
answer, keeps a file in the home directory, prints links, and takes a login page for an empty answer.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import kfp_server_api as api
import urllib3
from kfp_server_api.rest import RESTClientObject

from pipeline.errors import UserError

_TIMEOUT = (5, 30)
"""Seconds to connect and to wait for an answer."""


@dataclass(frozen=True)
class Access:
    """Where the API is, and as whom to talk to it."""

    host: str
    """Such as https://kubeflow.example/pipeline."""
    namespace: str | None = None
    """Where several users share an installation."""
    token_file: Path | None = None
    """Holds a bearer token."""
    cookies_file: Path | None = None
    """Holds one line, such as `authservice_session=...`."""


class RefusedError(UserError):
    """The server answered, but not with what was asked for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def connect(access: Access, tell: Callable[[str], None] | None = None) -> api.ApiClient:
    """Prepare a client for the generated API; nothing is sent yet.

    Args:
        access: The server and the login.
        tell: Makes it a dry run: gets each request that would write (method, path, JSON body) instead of the server.
            What only reads is sent; a server that cannot be reached counts as empty.

    Returns:
        A client whose calls raise UserError where the server is away, RefusedError where it refuses.

    Raises:
        UserError: The address is none, or a file with the login cannot be used.
    """
    config = api.Configuration(host=_check_host(access.host))
    # A redirection leads to a login page; a second try of a POST could start a second run.
    config.retries = urllib3.Retry(0, redirect=False)
    cookie = _read_secret(access.cookies_file, "name=value; name=value") if access.cookies_file else None
    token = _authorize(config, access)
    client = api.ApiClient(config, cookie=cookie)
    client.rest_client = _Transport(config, [path for path in (token, cookie) if path], tell)
    return client


def _check_host(host: str) -> str:
    parts = urlsplit(host)
    if parts.username or parts.password:
        raise UserError("--host: must hold no user name or password: use --token-file or --cookies-file")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserError(f"--host {host}: must be a URL, such as https://kubeflow.example/pipeline")
    return host.rstrip("/")


def _read_secret(path: Path, form: str) -> str:
    try:
        secret = path.read_text("ascii").strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        secret = ""
    # The library that sends headers shows a bad one in its message.
    if not secret or not secret.isprintable():
        raise UserError(f"{path}: must hold one line of plain text: {form}")
    return secret


def _authorize(config: Any, access: Access) -> str | None:
    """Set the bearer token: the file's, or in a pod the one that Kubernetes gives its service account."""
    config.api_key_prefix["authorization"] = "Bearer"
    if access.token_file is not None:
        config.api_key["authorization"] = _read_secret(access.token_file, "a token")
    elif access.cookies_file is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        from kfp import client

        path = Path(os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV) or client.KF_PIPELINES_SA_TOKEN_PATH)
        if path.exists():
            config.api_key["authorization"] = _read_secret(path, "a token")
            config.refresh_api_key_hook = client.ServiceAccountTokenVolumeCredentials(str(path)).refresh_api_key_hook
    return config.api_key.get("authorization")


class _Transport(RESTClientObject):
    """Sends the requests; turns what goes wrong into one line without secrets."""

    def __init__(self, config: Any, secrets: list[str], tell: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._host, self._secrets, self._tell, self._reachable = config.host, secrets, tell, True

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send one request, or tell it.

        Raises:
            UserError: There is no answer, or none of the API.
        """
        if self._tell and (method != "GET" or not self._reachable):
            return self._pretend(self._tell, method, url, options)
        try:
            answer = super().request(method, url, **{**options, "_request_timeout": _TIMEOUT})
        except api.ApiException as error:
            raise self._refused(method, url, error) from None
        except urllib3.exceptions.HTTPError as error:
            if self._tell:
                self._reachable = False
                self._tell(f"{self._host} cannot be reached: taken as empty")
                return self._pretend(self._tell, method, url, options)
            reason = type(getattr(error, "reason", None) or error).__name__
            raise UserError(f"{self._host}: cannot be reached ({reason}): check --host and the network") from None
        if "json" not in (answer.getheader("Content-Type") or ""):
            raise RefusedError(
                f"{self._host}: answers with a web page, not as the API: log in (--token-file, --cookies-file)",
                answer.status,
            )
        return answer

    def _refused(self, method: str, url: str, error: Any) -> RefusedError:
        status, said = error.status, self._message(error.body)
        if status == 401 or 300 <= status < 400:
            what = f"wants a login ({status}): give a valid --token-file or --cookies-file"
        elif status == 404 and not said:
            what = "has no Kubeflow Pipelines API v2beta1 (404): check --host"
        else:
            path = urlsplit(url).path.removeprefix(urlsplit(self._host).path)
            what = f"refuses {method} {path} ({status}): {said or error.reason}"
        return RefusedError(f"{self._host}: {what}", status)

    def _message(self, body: bytes | None) -> str:
        try:
            said = str(json.loads(body or b"")["message"])
        except (ValueError, KeyError, TypeError):
            return ""
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return " ".join(said.split())

    def _pretend(self, tell: Callable[[str], None], method: str, url: str, options: Mapping[str, Any]) -> "_Answer":
        """Answer as a server would that had nothing: with what was sent, and ids that say what they stand for."""
        body = options.get("body") or {key: value[0] for key, value in options.get("post_params") or ()}
        if method != "GET":
            query = "&".join(f"{key}={value}" for key, value in options.get("query_params") or ())
            line = f"{method} {unquote(url.removeprefix(self._host))}" + (f"?{query}" if query else "")
            tell(line + (f"\n{json.dumps(body, indent=2, ensure_ascii=False)}" if body else ""))
        kinds = ("pipeline", "pipeline_version", "experiment", "run", "recurring_run")
        ids = {f"{kind}_id": f"<{kind}_id>" for kind in kinds} if method != "GET" else {}
        return _Answer(json.dumps({**ids, **body}).encode())


@dataclass
class _Answer:
    """As much of an HTTP response as the generated client reads."""

    data: bytes

    def getheader(self, name: str) -> str:  # noqa: ARG002
        return "application/json"
