"""`python -m local`: what it prints, how it ends, and that nothing is left running."""

import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.support import family, wait_until_gone
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = [sys.executable, "-m", "local", "serve"]
PATIENCE_SECONDS = 60 * PATIENCE


def environment(home: Path, **variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "ONCE")}
    paths = {"PYTHONPATH": str(ROOT / "layers/goodword"), "GOODWORD_HOME": str(home)}
    return {**inherited, **paths, "PORT": "0", "LOG_LEVEL": "ERROR", **variables}


@dataclass(frozen=True)
class Running:
    """A server that has printed its line."""

    process: "subprocess.Popen[str]"
    line: dict[str, str]

    def get(self, path: str, key: str) -> int:
        """The status of a GET request with a key."""
        request = urllib.request.Request(self.line["url"] + path, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            return response.status

    def end_with(self, signal_number: signal.Signals) -> int:
        """Send the signal, see that nothing is left running, answer the exit code."""
        everybody = family(self.process.pid)
        assert len(everybody) > 5, "PostgreSQL and a worker should be there"
        self.process.send_signal(signal_number)
        code = self.process.wait(PATIENCE_SECONDS)
        assert wait_until_gone(everybody) == set()
        return code


def finished(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, and soon."""
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


@contextmanager
def started(command: list[str], variables: dict[str, str]) -> Iterator[Running]:
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE_SECONDS)
            assert ready, "no line was printed in time"
            yield Running(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servers of these tests follow one another on the same data."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(home: Path, ending: signal.Signals) -> None:
    with started(SERVE, environment(home)) as running:
        assert running.get("/v1/program", running.line["secret_key"]) == 200
        assert running.end_with(ending) == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == "", "one line is all that is printed"


def test_even_a_kill_leaves_nothing_running_and_the_next_start_has_the_data(home: Path) -> None:
    with started(SERVE, environment(home)) as first:
        first.get("/v1/program", first.line["secret_key"])
        assert first.end_with(signal.SIGKILL) == -signal.SIGKILL
    with started(SERVE, environment(home)) as second:
        assert second.line["secret_key"] != first.line["secret_key"]
        assert second.get("/v1/program", first.line["secret_key"]) == 200
        second.end_with(signal.SIGTERM)


def test_it_ends_with_whoever_started_it(home: Path) -> None:
    # as make does where its shell stays: the shell starts the server, and is killed
    with started(["sh", "-c", '"$@"; true', "sh", *SERVE], environment(home)) as running:
        running.get("/v1/program", running.line["secret_key"])
        assert running.end_with(signal.SIGKILL) == -signal.SIGKILL


def test_the_story_is_played_once(home: Path) -> None:
    command = [sys.executable, "-m", "local", "run"]
    done = finished(command, environment(home, ONCE="1"))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert {"url", "company", "secret_key", "publishable_key", "stripe_endpoint", "stripe_secret"} <= json.loads(
        line
    ).keys()


def refusal(variables: dict[str, str]) -> str:
    """What the command says when it cannot start: one line, and no traceback."""
    done = finished(SERVE, variables)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    said = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert len(said) == 1, done.stderr
    return said[0]


def test_a_port_in_use_is_said_before_anything_is_started(home: Path, tmp_path: Path) -> None:
    with started(SERVE, environment(home)) as running:
        port = running.line["url"].rpartition(":")[2]
        assert refusal(environment(tmp_path / "other", PORT=port)).startswith(f"goodword: port {port} is in use")
        assert not (tmp_path / "other").exists()
        assert "is already in use by process" in refusal(environment(home))
        running.process.terminate()


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    assert "Connection refused" in refusal(environment(tmp_path, DATABASE_URL=url))


def test_data_of_another_version_is_said(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    assert refusal(environment(tmp_path)).endswith("holds data of PostgreSQL 16, not 18")


def test_a_port_that_is_no_number_is_said(tmp_path: Path) -> None:
    assert refusal(environment(tmp_path, PORT="http")) == "goodword: PORT is not a whole number: http"
