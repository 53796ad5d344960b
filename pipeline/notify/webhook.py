"""Sends events to a webhook: CloudEvents 1.0 over HTTP in binary content mode."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from pipeline.errors import UserError
from pipeline.notify.settings import NotifySettings, SecretSource, find_fault

_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a moment later."""


class Webhook:
    """A webhook that gets events, one POST each, for a limited time."""

    def __init__(self, url: str, headers: Mapping[str, str], settings: NotifySettings) -> None:
        """Take the URL and the headers, both of which may be secrets: neither is shown."""
        self.host = urlsplit(url).hostname
        self._url, self._headers, self._settings = url, headers, settings

    def send(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Send an event, and wait for `settings.seconds` at most.

        Args:
            headers: Its attributes.
            body: Its data.

        Returns:
            What is wrong, in words that follow on the webhook's name; None if the webhook has taken it.
        """
        outcome: list[str | None] = []
        # Neither the lookup of a name nor a server that sends byte after byte heeds the timeouts of a request.
        thread = threading.Thread(target=lambda: outcome.append(self._send(headers, body)), daemon=True)
        thread.start()
        thread.join(self._settings.seconds)
        return outcome[0] if outcome else f"did not answer within {self._settings.seconds:g} s"

    def _send(self, headers: Mapping[str, str], body: bytes) -> str | None:
        tries = self._settings.tries
        for done in range(tries):
            if done:
                time.sleep(2.0 ** (done - 1))
            problem, passing = self._post(headers, body)
            if not passing:
                return problem
        return problem if tries == 1 else f"{problem} on the last of {tries} tries"

    def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[str | None, bool]:
        """Send it once; return what is wrong, and whether it may pass."""
        try:
            with requests.post(
                self._url,
                body,
                headers={**self._headers, **headers},
                auth=_as_given,
                allow_redirects=False,
                timeout=self._settings.seconds / self._settings.tries,
                stream=True,  # nobody reads the answer
            ) as answer:
                status = answer.status_code
                if 200 <= status < 300:
                    return None, False
                unfollowed = ", a redirection, which is not followed" if answer.is_redirect else ""
                return f"answered {status}{unfollowed}", status in _PASSING
        except requests.exceptions.SSLError:
            return "has a certificate that is not trusted", False
        except requests.Timeout:
            return "did not answer in time", True
        except requests.ConnectionError:
            return "could not be reached", True
        except Exception as error:  # a run does not fail since nobody hears of it
            return f"could not be asked ({type(error).__name__})", False


def _as_given(request: Any) -> Any:
    """Leave the headers as they are: `requests` would put a login from ~/.netrc in their place."""
    return request


def open_webhook(settings: NotifySettings) -> Webhook | None:
    """Return the webhook that settings name, or None; nothing is sent yet.

    Raises:
        UserError: A secret cannot be read.
    """
    if not settings.names_a_webhook:
        return None
    url = settings.url or ""
    if settings.url_from is not None:
        url = _read(settings.url_from, "notify.url_from")
        if fault := find_fault(url):
            raise UserError(f"notify.url_from: what {_place(settings.url_from)} holds {fault}")
    headers = {name: _read(source, f"notify.headers.{name}") for name, source in settings.headers.items()}
    return Webhook(url, headers, settings)


def _read(source: SecretSource, key: str) -> str:
    if source.file is None:
        secret = os.environ.get(source.env or "", "")
    else:
        try:
            secret = Path(source.file).read_text("ascii")
        except OSError as error:
            raise UserError(f"{key}: '{source.file}' cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            secret = ""
    secret = secret.strip()
    # The library that sends headers shows a bad one in its message.
    if not secret or not secret.isascii() or not secret.isprintable():
        raise UserError(f"{key}: {_place(source)} must hold one line of plain text")
    return secret


def _place(source: SecretSource) -> str:
    return f"environment variable {source.env}" if source.file is None else f"'{source.file}'"
