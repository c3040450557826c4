"""The processes of workers (`local.worker`), started and ended.

To start Python and load psycopg and pydantic takes half a second, to load a function's own code a tenth of that. So one
process, the fork server, does the former once, and a worker is a fork of it: environment, folder, imports of our code
and whatever that does at its start are the worker's own. Where a process with libraries must not be forked without
starting another program, which is on macOS, every worker starts from nothing.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from local.template import Function
from local.worker import __file__ as WORKER_SCRIPT  # noqa: N812 - a constant of that module

FORKS = sys.platform == "linux"
LIBRARIES = (
    "psycopg", "aws_lambda_powertools.metrics", "uuid", "secrets",
    # pydantic itself loads next to nothing before its names are used
    "pydantic.json_schema", "pydantic.root_model", "pydantic.functional_serializers", "pydantic.types",
)  # fmt: skip
"""What the fork server loads: everything that functions load and that is not our own."""
LONGEST_REPORT = 64


class Process(Protocol):
    """A worker's process."""

    def kill(self) -> None:
        """End it at once, if it has not ended yet."""
        ...

    async def status(self) -> int:
        """Wait until it has ended; its exit status, minus the signal's number where it was killed."""
        ...


class Processes:
    """Starts processes; to be made and used inside of one event loop."""

    def __init__(self) -> None:
        self._fork_server: _ForkServer | None = None

    def start(self, function: Function, environment: Mapping[str, str], requests: socket.socket) -> Process:
        """A process that runs the function on what comes over the socket."""
        if not FORKS:
            return _Spawned(function, environment, requests)
        if self._fork_server is None or not self._fork_server.is_running():
            self._fork_server = _ForkServer()
        return self._fork_server.fork(function, environment, requests)

    def close(self) -> None:
        """Start no more; all must have ended."""
        if self._fork_server is not None:
            self._fork_server.close()


class _Spawned:
    """A process that was started from nothing."""

    def __init__(self, function: Function, environment: Mapping[str, str], requests: socket.socket) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", WORKER_SCRIPT, function.handler, str(requests.fileno())],
            env=environment,
            cwd=function.folder,
            stdin=subprocess.PIPE,
            pass_fds=[requests.fileno()],
            start_new_session=True,  # Ctrl-C is for the server, which lets invocations end first
        )

    def kill(self) -> None:
        self._process.kill()

    async def status(self) -> int:
        with self._process as process:
            return process.wait()


class _Forked:
    """A process that the fork server made out of itself."""

    def __init__(self, fork_server: "_ForkServer", lifeline: int) -> None:
        self._fork_server = fork_server
        self._lifeline = lifeline
        self._is_doomed = False
        self._pid: int | None = None
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def kill(self) -> None:
        self._is_doomed = True
        if self._pid is not None and not self._status.done():
            self._fork_server.kill(self._pid)

    async def status(self) -> int:
        return await self._status

    def begin(self, pid: int) -> None:
        """Take note that it is there."""
        self._pid = pid
        if self._is_doomed:
            self.kill()

    def end(self, status: int) -> None:
        """Take note that it is gone, or let it go with the fork server."""
        os.close(self._lifeline)
        self._status.set_result(status)


class _ForkServer:
    """The server's side of the fork server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ordered = deque[_Forked]()
        self._forked = dict[int, _Forked]()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", WORKER_SCRIPT, "--fork", str(theirs.fileno()), *LIBRARIES],
                env={"LANG": "C.UTF-8", "TZ": ":UTC"},
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which lets invocations end first
            )
        self._loop.add_reader(self._orders, self._listen)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def fork(self, function: Function, environment: Mapping[str, str], requests: socket.socket) -> _Forked:
        """Order a process."""
        order = {"handler": function.handler, "folder": str(function.folder), "environment": environment}
        theirs, ours = os.pipe()
        forked = _Forked(self, ours)
        self._ordered.append(forked)
        socket.send_fds(self._orders, [json.dumps(order).encode()], [requests.fileno(), theirs])
        os.close(theirs)
        return forked

    def kill(self, pid: int) -> None:
        """Order the end of a process. Only the fork server knows whether the number is still that process's."""
        with suppress(BrokenPipeError):  # it is gone itself, and its forks go with their lifelines
            self._orders.send(json.dumps({"kill": pid}).encode())

    def close(self) -> None:
        """End it, and whatever it has made."""
        if self._orders.fileno() < 0:
            return
        self._loop.remove_reader(self._orders)
        self._orders.close()
        with self._process as process:
            process.kill()
        for forked in (*self._ordered, *self._forked.values()):
            forked.end(-signal.SIGKILL)

    def _listen(self) -> None:
        """Hear of a process: its number at its beginning, and with its exit status at its end."""
        said = self._orders.recv(LONGEST_REPORT).decode()
        if not said:
            self.close()
            return
        pid, _, status = said.partition(" ")
        if status:
            self._forked.pop(int(pid)).end(int(status))
        else:
            forked = self._forked[int(pid)] = self._ordered.popleft()
            forked.begin(int(pid))
