"""Who is told what becomes of a run: the section `notify` of a configuration. No secret stands in it."""

import os
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from schema.settings import Settings

_Text = Annotated[str, Field(min_length=1)]
_HeaderName = Annotated[str, Field(pattern="^[A-Za-z0-9-]+$")]

_OF_THE_EVENT: Final = ("ce-", "content-", "host", "transfer-encoding")
"""How the headers begin that say what is sent and to whom."""


class SecretSource(Settings):
    """Where a secret stands: `env` or `file`. It is read when a run starts, and written nowhere."""

    env: _Text | None = None
    """Environment variable that holds it."""
    file: Annotated[_Text, AfterValidator(os.path.abspath)] | None = None
    """File whose one line it is."""

    @model_validator(mode="after")
    def _is_one_place(self) -> "SecretSource":
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret stands in one place: give either env or file")
        return self


class NotifySettings(Settings):
    """Which webhook is told, in CloudEvents, what becomes of a `run` (`pipeline/notify/README.md`)."""

    url: _Text | None = None
    """Of the webhook, without anything secret in it; without this key and the next, nobody is told."""
    url_from: SecretSource | None = None
    """Where the URL stands, if it is a secret itself."""
    headers: dict[_HeaderName, SecretSource] = Field(default={})
    """Where the values of further headers stand, such as `{Authorization: {env: WEBHOOK_AUTHORIZATION}}`."""
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    """How often an event is sent that the webhook does not take; each time it bears the same id."""
    seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """How long a run waits for the webhook to take an event, all tries together; then it goes on without."""

    @property
    def names_a_webhook(self) -> bool:
        """Whether anybody is told."""
        return self.url is not None or self.url_from is not None

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secrets(cls, values: Any) -> Any:
        """Refuse a secret where its place belongs; as the whole section is wrong then, no message shows it."""
        if not isinstance(values, dict):
            return values
        headers = values.get("headers", {})
        if not isinstance(headers, dict):
            raise ValueError("headers must be a mapping of their names to where their values stand")
        places = {"url_from": values.get("url_from"), **{f"headers.{name}": place for name, place in headers.items()}}
        for key, place in places.items():
            if place is not None and not isinstance(place, dict | SecretSource):
                raise ValueError(f"{key} must say where the value stands, as {{env: NAME}} or {{file: PATH}}")
        return values

    @model_validator(mode="after")
    def _has_one_address(self) -> "NotifySettings":
        if self.url is not None and self.url_from is not None:
            raise ValueError("url and url_from both name the webhook: leave one of them out")
        if self.url is not None and (fault := find_fault(self.url)):
            raise ValueError(f"url {fault}")
        if self.url is not None and urlsplit(self.url).query:
            raise ValueError("url holds a query, which may be a secret: give the whole URL by url_from")
        for name in self.headers:
            if name.lower().startswith(_OF_THE_EVENT):
                raise ValueError(f"header {name} belongs to the event: leave it out")
        return self


def find_fault(url: str) -> str | None:
    """Say why a URL is none of a webhook, without showing it; None if it is one."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        named = False
    if not named:
        return "must be a URL, such as https://ops.example/lungseg"
    if "@" in parts.netloc:
        return "must hold no user name or password: give a header Authorization"
    return None
