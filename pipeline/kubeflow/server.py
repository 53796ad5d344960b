"""What a Kubeflow Pipelines server tells of itself, and how its lists are read."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import kfp_server_api as api

from pipeline.kubeflow.transport import RefusedError

_PAGE: Final = 100


@dataclass(frozen=True)
class Server:
    """A server's kind."""

    version: str
    """Of its release, such as 2.16.0; `unknown` where it does not say."""
    multi_user: bool
    """Whether several users share it, each in a namespace."""

    @property
    def keeps_runs(self) -> bool:
        """Whether runs under way are sure to outlive the schedule that started them, when that is deleted."""
        return self._release is not None and self._release >= (2, 16)

    @property
    def refuses_last_steps(self) -> bool:
        """Whether it is sure to refuse a pipeline with a step that is told how the others have ended."""
        return self._release is not None and self._release < (2, 14)

    @property
    def _release(self) -> tuple[int, int] | None:
        release = re.match(r"v?(\d+)\.(\d+)", self.version)
        return (int(release[1]), int(release[2])) if release else None


def ask_server(client: api.ApiClient) -> Server:
    """Ask a server, or the user interface in front of it, what it is; what it does not tell is taken as not known.

    Raises:
        UserError: It cannot be reached.
    """
    try:
        # The generated call would drop the version.
        told = client.call_api(
            "/apis/v2beta1/healthz",
            "GET",
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
    except RefusedError:
        told = {}
    return Server(told.get("tag_name") or told.get("apiServerTagName") or "unknown", bool(told.get("multi_user")))


def list_all(
    call: Callable[..., Any], kind: str, equal: tuple[str, str] | None = None, **options: Any
) -> Iterator[Any]:
    """Yield what a list call of the API finds, page after page.

    Args:
        call: Of the generated API.
        kind: The answer's attribute with what it lists.
        equal: A key, and the value that it must have; None for all.
        options: Of the call.
    """
    if equal is not None:
        key, value = equal
        options["filter"] = json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "string_value": value}]})
    token: str | None = ""
    while token is not None:
        page = call(page_size=_PAGE, page_token=token, **options)
        yield from getattr(page, kind) or ()
        token = page.next_page_token or None
