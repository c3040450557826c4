"""`python -m local`: what it prints, how it ends, and that nothing is left running."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.client import Client
from tests.local.support import family, wait_until_gone
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = [sys.executable, "-m", "local", "serve"]
RUN = [sys.executable, "-m", "local", "run"]
MY_APP = "http://127.0.0.1:8000/welcome"
ELSEWHERE = {
    "PGHOST": "db.example.com", "PGUSER": "me", "PGPASSWORD": "mine", "PGSERVICE": "nowhere", "PGOPTIONS": "-c wrong=1",
    "PGSSLMODE": "verify-full", "PGPORT": "1",
}  # fmt: skip
"""What a shell says that usually speaks to some other Postgres."""
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
        client = Client(self.line["url"], key)
        status = client.send("GET", path).status
        client.close()
        return status

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


@pytest.fixture(scope="module")
def story(home: Path) -> subprocess.CompletedProcess[str]:
    """The story, told once, in a shell that knows another Postgres and an app that the links lead to."""
    return finished(RUN, environment(home, ONCE="1", DESTINATION=MY_APP, **ELSEWHERE))


@pytest.fixture(scope="module")
def serving(home: Path, story: subprocess.CompletedProcess[str]) -> Iterator[Running]:  # noqa: ARG001 - data have one server at a time
    """A server on the story's data, for tests that start nothing of their own there."""
    with started(SERVE, environment(home, **ELSEWHERE)) as running:
        yield running
        running.process.terminate()
        running.process.wait(PATIENCE_SECONDS)


def test_the_story_is_played_once(story: subprocess.CompletedProcess[str]) -> None:
    assert story.returncode == 0, story.stderr
    (line,) = story.stdout.splitlines()
    assert {"url", "company", "secret_key", "publishable_key", "stripe_endpoint", "stripe_secret"} <= json.loads(
        line
    ).keys()
    assert f"302 to {MY_APP}?utm_source=newsletter&gw_click=clk_" in story.stderr


def test_the_story_has_a_company_of_its_own_and_says_how_to_look_into_it(
    serving: Running, story: subprocess.CompletedProcess[str]
) -> None:
    assert "to the users ada, ben and cleo:" in story.stderr
    (key,) = re.findall(r"Bearer (gw_test_[\w-]+)", story.stderr)
    assert [serving.get(f"/v1/users/{name}", key) for name in ("ada", "ben", "cleo")] == [200, 200, 200]


def test_the_company_that_the_line_names_is_fresh_and_its_time_is_real(
    serving: Running, story: subprocess.CompletedProcess[str]
) -> None:
    client = Client(serving.line["url"], json.loads(story.stdout)["secret_key"])
    assert client.send("GET", "/v1/users/ada").status == 404
    assert client.send("GET", "/v1/test-clock").json == {"now": None}
    code = client.send("POST", "/v1/signups", {"user": {"external_id": "me"}}).json["user"]["referral_code"]
    client.close()
    browser = Client(serving.line["url"])
    assert browser.send("GET", f"/r/{code}").headers["location"].startswith(f"{MY_APP}?gw_click=clk_")
    browser.close()


def refusal(variables: dict[str, str]) -> str:
    """What the command says when it cannot start: one line, and no traceback."""
    done = finished(SERVE, variables)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    said = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert len(said) == 1, done.stderr
    return said[0]


def test_a_port_in_use_is_said_before_anything_is_started(serving: Running, tmp_path: Path) -> None:
    port = serving.line["url"].rpartition(":")[2]
    said = refusal(environment(tmp_path / "other", PORT=port))
    (pid,) = re.findall(rf"^goodword: port {port} is in use by process (\d+) ", said)
    assert int(pid) == serving.process.pid
    assert "stop that one, or choose another port with PORT" in said
    assert not (tmp_path / "other").exists()


def test_data_in_use_is_said_with_the_two_ways_out(serving: Running, home: Path) -> None:
    said = refusal(environment(home))
    (pid,) = re.findall(r"is already in use by process (\d+)", said)
    assert int(pid) in family(serving.process.pid)
    assert said.endswith("stop that one, or give this one a folder of its own with GOODWORD_HOME")


def test_a_destination_that_cannot_be_is_said_before_anything_is_started(tmp_path: Path) -> None:
    said = refusal(environment(tmp_path / "other", DESTINATION="my-app"))
    assert said.startswith(
        "goodword: DESTINATION cannot be my-app: destination_url must be a URL that begins with http"
    )
    assert not (tmp_path / "other").exists()


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    assert "Connection refused" in refusal(environment(tmp_path, DATABASE_URL=url))


def test_data_of_another_version_is_said(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    assert refusal(environment(tmp_path)).endswith("holds data of PostgreSQL 16, not 18")
