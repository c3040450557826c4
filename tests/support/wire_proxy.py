"""A proxy on the wire between the bundle and PostgreSQL that counts trips, and cuts the wire where it hurts most.

A trip is one wait for the server: the client has said something, in however many messages, and the server answers.
BEGIN, COMMIT and SAVEPOINT count like everything else. The proxy sees who is speaking and hardly understands a message.
"""

import selectors
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE = 65536
IDLE = b"Z\x00\x00\x00\x05I"
"""How the server says that it is done and in no transaction (ReadyForQuery)."""


@dataclass
class Wire:
    """One client's connection. `cut_when_done`: nothing of what the server still says gets through."""

    client: socket.socket
    server: socket.socket
    waiting: bool = False
    cut_when_done: bool = False


class WireProxy:
    """Listens on a unix socket in `folder`, as PostgreSQL would, and passes everything on to the real one."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._ended, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._trips = 0
        self._lost_request: bytes | None = None
        self._lost_answer: bytes | None = None
        self._lock = threading.Lock()

    @property
    def trips(self) -> int:
        """Trips so far, over all connections."""
        with self._lock:
            return self._trips

    def lose_request(self, containing: bytes) -> None:
        """Cut the wire before the next such message reaches the server: it never hears of it."""
        with self._lock:
            self._lost_request = containing

    def lose_answer(self, containing: bytes) -> None:
        """Cut the wire after the server has done what the next such message asks: the client never hears of it."""
        with self._lock:
            self._lost_answer = containing

    @property
    def has_cut(self) -> bool:
        """Whether every cut that was asked for has been made."""
        with self._lock:
            return self._lost_request is None and self._lost_answer is None

    def __enter__(self) -> Self:
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ended:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target / ".s.PGSQL.5432"))
        wire = Wire(client, server)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ, wire)

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        wire: Wire = key.data
        speaker = key.fileobj
        assert isinstance(speaker, socket.socket)
        try:
            piece = b"" if speaker.fileno() < 0 else speaker.recv(PIECE)
            pass_on = self._from_client if speaker is wire.client else self._from_server
            goes_on = bool(piece) and pass_on(wire, piece)
        except OSError:
            goes_on = False  # one of the two is gone, so the other one's connection ends as well
        if not goes_on:
            self._close(wire)

    def _from_client(self, wire: Wire, piece: bytes) -> bool:
        """Pass it on, unless this is where the wire is cut."""
        with self._lock:
            if not wire.waiting:
                self._trips += 1
            if self._lost_request is not None and self._lost_request in piece:
                self._lost_request = None
                return False
            if self._lost_answer is not None and self._lost_answer in piece:
                self._lost_answer = None
                wire.cut_when_done = True
        wire.waiting = True
        wire.server.sendall(piece)
        return True

    def _from_server(self, wire: Wire, piece: bytes) -> bool:
        wire.waiting = False
        if wire.cut_when_done:
            return not piece.endswith(IDLE)
        wire.client.sendall(piece)
        return True

    def _close(self, wire: Wire) -> None:
        for end in (wire.client, wire.server):
            if end.fileno() >= 0:
                self._selector.unregister(end)
                end.close()
