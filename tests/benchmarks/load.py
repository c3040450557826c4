"""Load on a server: a process that keeps a few connections busy, one request after the other on each.

Run as a script by `tests.benchmarks.served`. It reads a job as JSON: host, port, connections and requests as text; and
writes how long the requests took together and how often which status was heard. It understands just enough of HTTP.
"""

import json
import selectors
import socket
import sys
import time
from collections import Counter, deque

PIECE = 65536


class Wire:
    """One kept connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""

    def hear(self) -> int | None:
        """Read what is there; the status, once the answer is complete."""
        piece = self.socket.recv(PIECE)
        if not piece:
            raise ConnectionError("the server hung up")
        self._heard += piece
        end = self._heard.find(b"\r\n\r\n")
        if end < 0:
            return None
        named = self._heard.find(b"content-length: ", 0, end)
        length = int(self._heard[named + 16 : self._heard.index(b"\r\n", named)]) if named >= 0 else 0
        if len(self._heard) < end + 4 + length:
            return None
        status = int(self._heard[9:12])
        self._heard = b""
        return status


def main() -> None:
    job = json.load(sys.stdin)
    waiting = deque(each.encode("latin-1") for each in job["requests"])
    statuses = Counter[int]()
    selector = selectors.DefaultSelector()
    wires = [Wire((job["host"], job["port"])) for _ in range(job["connections"])]
    began = time.perf_counter()
    for wire in wires:
        selector.register(wire.socket, selectors.EVENT_READ, wire)
        wire.socket.sendall(waiting.popleft())
    busy = len(wires)
    while busy:
        for key, _ in selector.select():
            wire: Wire = key.data
            status = wire.hear()
            if status is None:
                continue
            statuses[status] += 1
            if waiting:
                wire.socket.sendall(waiting.popleft())
            else:
                busy -= 1
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began, "statuses": statuses}))


if __name__ == "__main__":
    main()
