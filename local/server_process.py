"""The local server in a process of its own, for commands that need the bundle running while they do something else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 60.0


class ServeError(Exception):
    """The server does not start; the message is one line that says why."""


@dataclass(frozen=True)
class Served:
    """A running server: the line that it prints, and where it and its functions write what else they have to say."""

    line: dict[str, str]
    log: Path


@contextmanager
def serve(home: Path, **variables: str) -> Iterator[Served]:
    """`python -m local serve` with its data in `home`, for as long as the block lasts. Raises ServeError."""
    environment = {**os.environ, "PORT": "0", "GOODWORD_HOME": str(home), **variables}
    path = home / "serve.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "serve"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
        )
    with process:
        try:
            first = process.stdout.readline() if process.stdout else b""
            if not first:
                raise ServeError((path.read_text().splitlines() or ["the server said nothing"])[-1])
            yield Served(json.loads(first), path)
        finally:
            process.terminate()
            process.wait(GRACE_SECONDS)
