"""A small HTTP client for the local API: JSON in and out, over one kept connection.

A server ends a connection that was idle for long. The client sees that before it asks again, and makes a new one; so no
request is ever sent twice.
"""

import http.client
import json
import select
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """A status, lower-cased headers, and the body: JSON where there is any, else None."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the API answered
        """The body as JSON."""
        return json.loads(self.raw) if self.raw else None


BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
"""The user agent of a client that stands for a person: what names none is taken for a program."""


class Client:
    """Speaks to one server with one key, or, without one, as a browser; not for several threads."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=40)
        self._headers = {"authorization": f"Bearer {key}"} if key else {"user-agent": BROWSER}

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON, `raw` as it is. Redirects are not followed."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {
            **self._headers,
            **({"content-type": "application/json"} if data is not None else {}),
            **(headers or {}),
        }
        if self._is_ended():
            self._connection.close()
        self._connection.request(method, path, body=data, headers=sent)
        response = self._connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _is_ended(self) -> bool:
        """Whether the server has ended the kept connection: to an idle client nothing else can be said."""
        if self._connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return bool(poll.poll(0))
