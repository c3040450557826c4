"""Invocations that can be killed: each runs in a fresh process, made in no time by cloning one that has loaded all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local import template
from local.pool import environment_of
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("one_invocation.py")
SECONDS = 60 * PATIENCE
KILLED = str(-signal.SIGKILL)


class Invocations:
    """One function of the bundle, invoked once at a time."""

    def __init__(self, logical_id: str, parameters: Mapping[str, str], environment: Mapping[str, str]) -> None:
        function = template.load(ROOT / "template.yaml").functions(parameters)[logical_id]
        own = environment_of(function, environment)
        own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], str(ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), function.handler],
            env=own, cwd=function.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._running: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._running is not None:
            os.kill(self._running, signal.SIGKILL)
        self._process.communicate()  # the end of its input is its end

    def begin(self, event: object) -> None:
        """Let a new process handle an event."""
        assert self._running is None
        assert self._process.stdin is not None
        request = {"event": event, "request_id": "1", "deadline": time.monotonic() + SECONDS}
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        self._running = int(self._heard())

    def kill(self) -> None:
        """Kill the process, which must be running still."""
        assert self._running is not None
        with suppress(ProcessLookupError):
            os.kill(self._running, signal.SIGKILL)
        result = self._end()
        assert result is None, f"it had ended before it was killed: {result}"

    def result(self) -> Any:  # noqa: ANN401 - any JSON value
        """Wait for what the handler answers."""
        result = self._end()
        assert result is not None, "it came to no result"
        assert "result" in result, result
        return result["result"]

    def _end(self) -> Any:  # noqa: ANN401 - any JSON value
        """Wait for the end of the process; its result, None if it was killed."""
        self._running = None
        line = self._heard()
        if line == KILLED:
            return None
        assert self._heard() in {"0", KILLED}
        return json.loads(line)

    def _heard(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process has ended; see its error above"
        return line.strip()
