"""A proxy on the wire between the bundle and PostgreSQL that counts trips.

A trip is one wait for the server: the client has said something, in however many messages, and the server answers.
BEGIN, COMMIT and SAVEPOINT count like everything else. The proxy understands no message; it sees who is speaking.
"""

import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE = 65536


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
        self._lock = threading.Lock()

    @property
    def trips(self) -> int:
        """Trips so far, over all connections."""
        with self._lock:
            return self._trips

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
        waiting = {"for_server": False}
        self._selector.register(client, selectors.EVENT_READ, (server, True, waiting))
        self._selector.register(server, selectors.EVENT_READ, (client, False, waiting))

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        speaker = key.fileobj
        assert isinstance(speaker, socket.socket)
        listener, from_client, waiting = key.data
        piece = b"" if speaker.fileno() < 0 else speaker.recv(PIECE)
        if not piece:
            for each in (speaker, listener):
                if each.fileno() >= 0:
                    self._selector.unregister(each)
                    each.close()
            return
        if from_client and not waiting["for_server"]:
            with self._lock:
                self._trips += 1
        waiting["for_server"] = from_client
        listener.sendall(piece)
