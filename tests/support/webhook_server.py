"""A webhook on this machine that keeps what it gets, and answers as it is told.

>>> with WebhookServer(503, 204) as server:  # the first request, all others
...     send_to(server.url)
>>> [(request.headers["ce-type"], request.body) for request in server.requests]
"""

import http.server
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A POST; names of headers are in small letters."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class WebhookServer(http.server.ThreadingHTTPServer):
    """Answers with each status in turn, with the last one for ever.

    Attributes:
        requests: What came.
        delay: Seconds before each answer.
        trickle: Whether the answer comes byte after byte, for ever.
        location: Of what it redirects to.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, *statuses: int, delay: float = 0, trickle: bool = False, location: str = "/elsewhere") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses, self.delay, self.trickle, self.location = list(statuses or (204,)), delay, trickle, location
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/lungseg"

    @property
    def types(self) -> list[str]:
        """Of the events."""
        return [request.headers["ce-type"].removeprefix("lungseg.run.") for request in self.requests]

    def __enter__(self) -> "WebhookServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.path, headers, body))
        time.sleep(self.server.delay)
        if self.server.trickle:
            self._trickle()
            return
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _trickle(self) -> None:
        try:
            while True:
                self.wfile.write(b"H")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass  # nobody listens any more

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
