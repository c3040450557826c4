"""local/client.py: one kept connection, made anew where the server has ended it."""

import socket
import threading
from collections.abc import Iterator

import pytest

from local.client import Client
from tests.support.waiting import LONGEST_SECONDS

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Hasty:
    """A server that answers one request a connection, and ends the connection without saying so."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Semaphore(0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(ANSWER)
            self._ended.release()

    def wait_until_ended(self) -> None:
        """Wait until one more connection has ended."""
        assert self._ended.acquire(timeout=LONGEST_SECONDS)

    def stop(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def hasty() -> Iterator[Hasty]:
    server = Hasty()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join()


def test_a_client_that_was_idle_for_too_long_asks_once_over_a_new_connection(hasty: Hasty) -> None:
    client = Client(hasty.url)
    for _ in range(3):
        assert client.send("POST", "/things", {}).status == 200
        hasty.wait_until_ended()
    client.close()
    assert len(hasty.requests) == 3
