"""A proxy on the wire between the bundle and PostgreSQL that counts, and cuts the wire where it hurts most.

A trip is one wait for the server: the client has said something, in however many messages, and the server answers. A
statement is one message that makes the server do something, of which many travel in one trip. BEGIN, COMMIT and
SAVEPOINT count like everything else. Of a message the proxy understands its kind and where it ends.
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE = 65536
LENGTH = 4
"""Bytes of a message's length, which counts itself and what follows, but not the kind before it."""
IDLE = b"Z\x00\x00\x00\x05I"
"""How the server says that it is done and in no transaction (ReadyForQuery)."""
STATEMENTS = b"EQ"
"""The kinds of messages that make the server do something: Execute and Query."""
PREPARE, BIND = b"P", b"B"


@dataclass(frozen=True)
class Statement:
    """A statement as it was run: its text, and the message that brought its parameters."""

    text: str
    parameters: bytes


@dataclass
class Wire:
    """One client's connection. `cut_when_done`: nothing of what the server still says gets through.

    `unfinished` is the beginning of a message whose end is on its way; only the `first` message has no kind.
    """

    client: socket.socket
    server: socket.socket
    waiting: bool = False
    cut_when_done: bool = False
    unfinished: bytes = b""
    first: bool = True
    prepared: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def statement(self, message: bytes) -> Statement | None:
        """What a message binds parameters to: a text that this connection has prepared before."""
        kind, (name, text, *_) = message[:1], [*message[1 + LENGTH :].split(b"\0", 2), b""]
        if kind == PREPARE:
            self.prepared[name] = text.decode()
        return Statement(self.prepared[text], message) if kind == BIND else None

    def messages(self, piece: bytes) -> Iterator[bytes]:
        """What the client has said with this piece, message by message, as far as they are whole."""
        said = self.unfinished + piece
        while len(said) >= (kind := 0 if self.first else 1) + LENGTH:
            end = kind + int.from_bytes(said[kind : kind + LENGTH])
            if len(said) < end:
                break
            yield said[:end]
            said = said[end:]
            self.first = False
        self.unfinished = said


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
        self._statements = 0
        self._still_passing: int | None = None
        self._wires = 0
        self._refused: int | None = None
        self._lost_request: bytes | None = None
        self._lost_answer: bytes | None = None
        self._recorded: list[Statement] | None = None
        self._lock = threading.Lock()

    @property
    def trips(self) -> int:
        """Trips so far, over all connections."""
        with self._lock:
            return self._trips

    @property
    def statements(self) -> int:
        """Statements passed on so far, over all connections."""
        with self._lock:
            return self._statements

    @property
    def wires(self) -> int:
        """Connections that the server has not ended yet."""
        with self._lock:
            return self._wires

    @contextmanager
    def recording(self) -> Iterator[list[Statement]]:
        """Every statement that is passed on while the block lasts, in order."""
        recorded: list[Statement] = []
        with self._lock:
            self._recorded = recorded
        yield recorded
        with self._lock:
            self._recorded = None

    def stop_after(self, statements: int | None) -> None:
        """Pass on so many more statements, and nothing that a client says after them; with None everything again.

        The server still does what was passed on, and then finds its client gone.
        """
        with self._lock:
            self._still_passing = statements

    @property
    def has_stopped(self) -> bool:
        """Whether nothing is passed on any more."""
        with self._lock:
            return self._still_passing == 0

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Hang up on every client that comes while the block lasts; who is connected stays."""
        with self._lock:
            self._refused = 0
        yield
        with self._lock:
            self._refused = None

    @property
    def refused(self) -> int:
        """How many connections have been refused since nobody is let in."""
        with self._lock:
            assert self._refused is not None
            return self._refused

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
        with self._lock:
            if self._refused is not None:
                self._refused += 1
                client.close()
                return
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target / ".s.PGSQL.5432"))
        wire = Wire(client, server)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ, wire)
        with self._lock:
            self._wires += 1

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        wire: Wire = key.data
        speaker = key.fileobj
        assert isinstance(speaker, socket.socket)
        if speaker.fileno() < 0:
            return  # closed by what was said before, in the same turn
        try:
            piece = speaker.recv(PIECE)
        except OSError:
            piece = b""  # it is gone, and has not read everything
        pass_on = self._from_client if speaker is wire.client else self._from_server
        try:
            goes_on = pass_on(wire, piece)
        except OSError:
            goes_on = False  # the server is gone, so the client's connection ends as well
        if not goes_on:
            self._close(wire)

    def _from_client(self, wire: Wire, piece: bytes) -> bool:
        """Pass it on, unless this is where the wire is cut."""
        if not piece:
            self._hang_up(wire)
            return True
        with self._lock:
            if self._lost_request is not None and self._lost_request in piece:
                self._lost_request = None
                return False
            if self._lost_answer is not None and self._lost_answer in piece:
                self._lost_answer = None
                wire.cut_when_done = True
            passed_on = b"".join(self._passed_on(wire, piece))
        wire.waiting = True
        wire.server.sendall(passed_on)
        return True

    def _passed_on(self, wire: Wire, piece: bytes) -> Iterator[bytes]:
        """The messages that get through; the lock is held."""
        for message in wire.messages(piece):
            if self._still_passing == 0:
                continue
            yield message
            if (statement := wire.statement(message)) and self._recorded is not None:
                self._recorded.append(statement)
            if message[:1] in STATEMENTS:
                self._statements += 1
                if self._still_passing is not None:
                    self._still_passing -= 1

    def _from_server(self, wire: Wire, piece: bytes) -> bool:
        # counted at the answer: libpq asks at times for what has been sent already, and nobody waits for that
        if wire.waiting:
            with self._lock:
                self._trips += 1
        wire.waiting = False
        if wire.cut_when_done:
            return bool(piece) and not piece.endswith(IDLE)
        try:
            if wire.client.fileno() >= 0:
                wire.client.sendall(piece)
        except OSError:
            self._hang_up(wire)
        return bool(piece)

    def _hang_up(self, wire: Wire) -> None:
        """The client is gone: the server finds that out once it has done what was passed on, and ends."""
        self._selector.unregister(wire.client)
        wire.client.close()
        wire.server.shutdown(socket.SHUT_WR)

    def _close(self, wire: Wire) -> None:
        for end in (wire.client, wire.server):
            if end.fileno() >= 0:
                self._selector.unregister(end)
                end.close()
        with self._lock:
            self._wires -= 1
