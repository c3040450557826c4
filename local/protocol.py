"""HTTP on a connection, with a time limit for each request: uvicorn waits for ever for the rest of one."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 30.0
"""How long a request may take to arrive whole, from its first byte or the connection's beginning."""
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: 29\r\nconnection: close\r\n\r\n"
    b'{"message":"Request Timeout"}'
)


class Protocol(HttpToolsProtocol):
    """One connection."""

    limit_seconds = REQUEST_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **named)
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._begin()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._end()
        super().on_message_complete()

    def _begin(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(self.limit_seconds, self._give_up)

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _give_up(self) -> None:
        self._limit = None
        if self._is_answering():
            self._begin()  # an earlier request is not answered yet, and its answer comes first
        else:
            self.transport.write(TOO_SLOW)
            self.transport.close()

    def _is_answering(self) -> bool:
        whole = self.cycle is not None and not self.cycle.more_body
        return bool(self.pipeline) or (whole and not self.cycle.response_complete)
