"""A worker: the process in which a handler runs, one event after the other, as one Lambda execution environment does.

It is run as a script of its own, `python worker.py HANDLER REQUESTS`. Over the descriptor REQUESTS it reads events and
writes results, each a JSON text after its length in 8 bytes. Its standard input is its lifeline: a pipe whose end means
that the server is gone, however it went. The worker then ends at once, whatever its handler is doing.

Nothing but the standard library is loaded here: what a handler can import, and how fast it starts, must not depend on
the local server.
"""

import fcntl
import importlib
import json
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH = struct.Struct("!Q")
ACCOUNT = "123456789012"

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


def end_with_the_server() -> None:
    """Take standard input as the lifeline, and leave the handler an empty one."""
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


def main() -> None:
    end_with_the_server()
    log_everything()
    serve(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
