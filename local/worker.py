"""A worker: the process in which a handler runs, one event after the other, as one Lambda execution environment does.

It is run as a script of its own, `python worker.py HANDLER REQUESTS`. Over the descriptor REQUESTS it reads events and
writes results, each a JSON text after its length in 8 bytes. Its standard input is its lifeline: a pipe whose end means
that the server is gone, however it went. The worker then ends at once, whatever its handler is doing.

`python worker.py --fork ORDERS LIBRARY…` is the fork server: it loads those libraries that are installed, and forks a
worker for each order that it reads from the descriptor ORDERS (`local.processes` has the server's side). Of the
functions it loads nothing: their imports, and what they do at their start, are each worker's own.

Nothing else but the standard library is loaded here: what a handler can import must not depend on the local server.
"""

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, BinaryIO

LENGTH = struct.Struct("!Q")
ACCOUNT = "123456789012"
LONGEST_ORDER = 100_000

Handler = Callable[[Any, "Context"], object]


class Context:
    """Lambda's context object: what a handler may ask about its invocation."""

    def __init__(self, request_id: str, deadline: float) -> None:
        """`deadline` is in seconds of the monotonic clock, which all processes of a machine share."""
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.invoked_function_arn = f"arn:aws:lambda:{os.environ['AWS_REGION']}:{ACCOUNT}:function:{self.function_name}"
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = "local"
        self.identity = None
        self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._deadline - time.monotonic()) * 1000))


def end_with_the_server() -> int:
    """Take standard input as the lifeline, whose new descriptor is answered, and leave the handler an empty one."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if sys.platform == "linux":
        # The kernel itself sends the signal, so that not even a handler that never lets go of the interpreter stays.
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=lambda: os._exit(len(os.read(lifeline, 1))), daemon=True).start()
    return lifeline


def log_everything() -> None:
    """Send to stderr what the handler prints: Lambda logs both, and stdout belongs to the server."""
    os.dup2(2, 1)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - open while we live


def report(error: BaseException, error_type: str | None = None, message: str | None = None) -> bytes:
    """An error as Lambda's Python runtime reports it, which also writes it to the log."""
    said = {
        "errorMessage": message or str(error),
        "errorType": error_type or type(error).__name__,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(json.dumps({"timestamp": now, "log_level": "ERROR", **said}) + "\n")
    return json.dumps({"error": said}).encode()


def load(handler: str) -> Handler:
    """Import a handler, given as `module.function`."""
    module, _, function = handler.rpartition(".")
    return getattr(importlib.import_module(module), function)


def invoke(handler: Handler, request: dict[str, Any]) -> bytes:
    """Run the handler on one event; answer the JSON text of `{"result": …}` or `{"error": …}`."""
    try:
        result = handler(request["event"], Context(request["request_id"], request["deadline"]))
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is its answer, as in Lambda
        return report(error)
    try:
        return json.dumps({"result": result}).encode()
    except (TypeError, ValueError) as error:
        return report(error, "Runtime.MarshalError", f"Unable to marshal response: {error}")


def serve(name: str, requests: int) -> None:
    """Load the handler, say so, and run it until the server closes its end."""
    handler, failure = None, b""
    try:
        handler = load(name)
    except Exception as error:  # noqa: BLE001 - whatever an import raises fails the first invocation, as in Lambda
        failure = report(error, "Runtime.ImportModuleError", f"Unable to import module '{name}': {error}")
    # only the end of this process closes the descriptor, so that the server never sees the one before the other
    incoming = open(requests, "rb", closefd=False)  # noqa: SIM115
    outgoing = open(requests, "wb", closefd=False)  # noqa: SIM115
    send(outgoing, b"{}")
    while len(head := incoming.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(incoming.read(LENGTH.unpack(head)[0]))
        if handler is None:
            send(outgoing, failure)
            return  # the next invocation is given a fresh start
        send(outgoing, invoke(handler, request))


def send(outgoing: BinaryIO, message: bytes) -> None:
    outgoing.write(LENGTH.pack(len(message)) + message)
    outgoing.flush()


def load_libraries(names: Iterable[str]) -> None:
    """Load what all functions would load. It stays, so no fork need look through it for garbage."""
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def fork_by_order(orders: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Obey orders until there are no more: None. In each fork: its order, and the descriptors that came with it.

    Each fork is reported twice: by its process id, in the order of the orders; and once more, with its status, at its
    end.
    """
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    running = set[int]()
    while True:
        ready, _, _ = select.select([orders, ended], [], [])
        if ended in ready:
            os.read(ended, 512)
            for pid, status in _statuses(running):
                running.remove(pid)
                orders.send(f"{pid} {status}".encode())
        if orders in ready:
            said, given, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 2)
            if not said:
                return None
            order = json.loads(said)
            if "kill" in order:
                if order["kill"] in running:
                    os.kill(order["kill"], signal.SIGKILL)
                continue
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(ended)
                os.close(wake)
                return order, given
            running.add(pid)
            orders.send(str(pid).encode())
            for descriptor in given:
                os.close(descriptor)


def _statuses(running: set[int]) -> list[tuple[int, int]]:
    """The forks that have ended, with their exit statuses; minus the signal's number for one that was killed."""
    waited = [os.waitpid(pid, os.WNOHANG) for pid in running]
    return [(pid, os.waitstatus_to_exitcode(status)) for pid, status in waited if pid]


def become_what_was_ordered(order: dict[str, Any], lifeline: int) -> None:
    """Be as a process that was started with the order's environment, in its folder."""
    os.dup2(lifeline, 0)
    os.close(lifeline)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["folder"])
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)


def main() -> None:
    lifeline = end_with_the_server()
    if sys.argv[1] == "--fork":
        load_libraries(sys.argv[3:])
        with socket.socket(fileno=int(sys.argv[2])) as orders:
            forked = fork_by_order(orders)
        if forked is None:
            return
        os.close(lifeline)
        order, (requests, own_lifeline) = forked
        handler = order["handler"]
        become_what_was_ordered(order, own_lifeline)
        end_with_the_server()
    else:
        handler, requests = sys.argv[1], int(sys.argv[2])
    log_everything()
    serve(handler, requests)


if __name__ == "__main__":
    main()
