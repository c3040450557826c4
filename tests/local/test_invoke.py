"""`make invoke`: one function, one example, its answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import events

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment = {**inherited, "PYTHONPATH": str(ROOT / "layers/goodword"), **variables}
    command = [sys.executable, "-m", "local.invoke", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_it_prints_the_answer_and_logs_beside_it(tmp_path: Path) -> None:
    result = run("track_click", "follow", TMPDIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["statusCode"] == 302
    logged = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["route"] for line in logged] == ["GET /r/{code}"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [(), ("track_click",), ("track_click", "sideways")])
def test_it_tells_what_there_is(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("EVENT=") == len(events.names()) + 1
    assert "FUNCTION=track_click EVENT=follow\n" in result.stderr
