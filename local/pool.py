"""Pools of workers: for each function its own few processes, started on demand, one invocation at a time each.

Lambda's promises hold. A handler that raises has failed, and its process goes on. A process that ends or takes longer
than the function's timeout has failed, and is replaced. What differs: Lambda starts as many processes as there are
invocations at once; here the ones beyond the maximum wait for a free process.
"""

import asyncio
import json
import os
import signal
import socket
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from local.processes import Processes
from local.template import REGION, Function, Template
from local.worker import LENGTH

DEFAULT_WORKERS = 4
LARGEST_PAYLOAD = 6_291_556
"""Bytes of an invocation's event, and of its result: Lambda's quota of 6 MB, exactly."""


class FunctionError(Exception):
    """The invocation failed; `report` is what Lambda answers: errorType, errorMessage and perhaps stackTrace."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(f"{report['errorType']}: {report['errorMessage']}")
        self.report = report


class PayloadTooLargeError(Exception):
    """The event is larger than Lambda takes."""


class PatienceError(Exception):
    """The caller waits no longer; the function goes on."""


class UnknownFunctionError(Exception):
    """The template has no function of this logical id."""


class _Invocation:
    """One event on its way through a function, and the answer somebody may still be waiting for."""

    __slots__ = ("answer", "event", "request_id")

    def __init__(self, event: bytes, answer: "asyncio.Future[Any]") -> None:
        self.event = event
        self.answer = answer
        self.request_id = str(uuid.uuid4())

    def succeed(self, result: object) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error_type: str, message: str) -> None:
        self.fail_with({"errorType": error_type, "errorMessage": f"RequestId: {self.request_id} Error: {message}"})

    def fail_with(self, report: dict[str, Any]) -> None:
        if not self.answer.done():
            self.answer.set_exception(FunctionError(report | {"requestId": self.request_id}))


class _Worker(asyncio.Protocol):
    """The server's side of one process."""

    def __init__(self, pool: "_Pool") -> None:
        self._pool = pool
        self._received = bytearray()
        self._running: tuple[_Invocation, asyncio.TimerHandle] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.ready = False
        self.gone: asyncio.Future[None] = pool.loop.create_future()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = pool.processes.start(pool.function, pool.environment, theirs)
        self.connected = pool.loop.create_task(pool.loop.create_connection(lambda: self, sock=self._socket))

    def has_ended(self) -> bool:
        """Whether its process has closed the connection, be it that the loop has not come to say so."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def send(self, invocation: _Invocation) -> None:
        """Give an invocation to the process, which must be free."""
        timeout = self._pool.function.timeout
        self._running = invocation, self._pool.loop.call_later(timeout, self._expire)
        head = f'{{"request_id":"{invocation.request_id}","deadline":{time.monotonic() + timeout},"event":'.encode()
        length = LENGTH.pack(len(head) + len(invocation.event) + 1)
        cast("asyncio.WriteTransport", self._transport).write(b"".join((length, head, invocation.event, b"}")))

    def kill(self) -> None:
        self._process.kill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < LENGTH.size:
            return
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return
        # never more than one message: the process writes the next one only after it was given an invocation
        message = self._received[LENGTH.size : end]
        self._received = bytearray()
        if not self.ready:
            self.ready = True
        elif (invocation := self._finish()) is not None:
            _answer(invocation, message)
        self._pool.free(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio fixes the signature
        self.kill()
        self._pool.retire(self)
        self._burial = self._pool.loop.create_task(self._bury())

    async def _bury(self) -> None:
        status = await self._process.status()
        if status == 0:
            said = "Runtime exited without providing a reason"
        else:
            how = f"exit status {status}" if status > 0 else f"signal: {signal.strsignal(-status)}"
            said = f"Runtime exited with error: {how}"
        # a process that cannot even start must not be started over and over for the same invocation
        invocation = self._finish() if self.ready else self._pool.next_waiting()
        if invocation is not None:
            invocation.fail("Runtime.ExitError", said)
        self.gone.set_result(None)
        self._pool.lost(self)

    def _expire(self) -> None:
        if (invocation := self._finish()) is not None:
            invocation.fail("Sandbox.Timedout", f"Task timed out after {self._pool.function.timeout:.2f} seconds")
        self.kill()

    def _finish(self) -> _Invocation | None:
        if self._running is None:
            return None
        invocation, expiry = self._running
        self._running = None
        expiry.cancel()
        return invocation


def _answer(invocation: _Invocation, message: bytearray) -> None:
    """Pass on what a worker wrote."""
    if len(message) > LARGEST_PAYLOAD:
        text = f"Response payload size exceeded maximum allowed payload size ({LARGEST_PAYLOAD} bytes)."
        invocation.fail_with({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text})
        return
    answer = json.loads(message)
    if "error" in answer:
        invocation.fail_with(answer["error"])
    else:
        invocation.succeed(answer["result"])


class _Pool:
    """The processes of one function."""

    def __init__(self, function: Function, environment: dict[str, str], processes: Processes, maximum: int) -> None:
        self.function = function
        self.processes = processes
        self.environment = environment
        self.loop = asyncio.get_running_loop()
        self._maximum = maximum
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._waiting: deque[_Invocation] = deque()

    def submit(self, invocation: _Invocation) -> None:
        """Run the invocation as soon as a process is free."""
        while self._idle:
            worker = self._idle.pop()
            if not worker.has_ended():
                worker.send(invocation)
                return
        self._waiting.append(invocation)
        self._grow()

    def next_waiting(self) -> _Invocation | None:
        """The invocation that has waited longest, without those nobody waits for any more."""
        while self._waiting:
            invocation = self._waiting.popleft()
            if not invocation.answer.done():
                return invocation
        return None

    def free(self, worker: _Worker) -> None:
        """Take note that a process is ready for an invocation."""
        invocation = self.next_waiting()
        if invocation is None:
            self._idle.append(worker)
        else:
            worker.send(invocation)

    def retire(self, worker: _Worker) -> None:
        """Give a process no invocation any more: it has ended, though its exit status may be told later."""
        if worker in self._idle:
            self._idle.remove(worker)

    def lost(self, worker: _Worker) -> None:
        """Take note that a process is gone."""
        self._workers.remove(worker)
        self._grow()

    def _grow(self) -> None:
        """Start a process if more invocations wait than processes are on their way."""
        on_their_way = sum(not worker.ready for worker in self._workers)
        if len(self._workers) < self._maximum and on_their_way < len(self._waiting):
            self._workers.add(_Worker(self))

    async def close(self) -> None:
        """End all processes; whatever runs or waits has failed."""
        self._maximum = 0
        workers = list(self._workers)
        await asyncio.gather(*(worker.connected for worker in workers))
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(worker.gone for worker in workers))
        while (invocation := self.next_waiting()) is not None:
            invocation.fail("Runtime.ExitError", "the server is stopping")


class FunctionPools:
    """The functions of a template, ready to be invoked; to be made and used inside of one event loop."""

    def __init__(
        self,
        template: Template,
        parameters: Mapping[str, str],
        environment: Mapping[str, str],
        *,
        workers: int = DEFAULT_WORKERS,
    ) -> None:
        """`environment`: variables of the processes beyond those that the template and Lambda give."""
        self.functions = template.functions(parameters)
        self.cors = template.cors()
        self._processes = Processes()
        self._pools = {
            logical_id: _Pool(function, environment_of(function, environment), self._processes, workers)
            for logical_id, function in self.functions.items()
        }
        self._loop = asyncio.get_running_loop()

    async def invoke(self, logical_id: str, event: object, *, patience: float | None = None) -> Any:  # noqa: ANN401
        """Run a function on an event and answer its result, which is any JSON value.

        Raises FunctionError, PayloadTooLargeError, UnknownFunctionError and, after so many seconds, PatienceError.
        """
        if logical_id not in self._pools:
            raise UnknownFunctionError(logical_id)
        body = json.dumps(event).encode()
        if len(body) > LARGEST_PAYLOAD:
            raise PayloadTooLargeError
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._pools[logical_id].submit(_Invocation(body, answer))
        if patience is None:
            return await answer
        end = self._loop.call_later(patience, _lose_patience, answer)
        try:
            return await answer
        finally:
            end.cancel()

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        self._processes.close()


def _lose_patience(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(PatienceError())


def environment_of(function: Function, extra: Mapping[str, str]) -> dict[str, str]:
    """The template's variables and what Lambda itself gives; nothing of our own environment but PATH."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": tempfile.gettempdir(),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": function.logical_id,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "LAMBDA_TASK_ROOT": str(function.folder),
        "_HANDLER": function.handler,
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in (function.folder, *function.layers)),
        **extra,
        **function.environment,
    }
