"""`make invoke`: one function, one example, its answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import events, invoke

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


def test_it_tells_what_there_is() -> None:
    usage = invoke.usage([])
    assert "FUNCTION=track_click EVENT=check_code|follow|" in usage
    assert usage.count("FUNCTION=") == len({name.partition("__")[0] for name in events.names()}) + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["track_click", "sideways"], "track_click has no example sideways; EVENT is one of check_code, follow, "),
        (["track_click"], "track_click needs an EVENT; EVENT is one of check_code, follow, "),
        (["sideways", "follow"], "no example for a function sideways; FUNCTION is one of "),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert invoke.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"goodword: {said}")
    assert printed.err.count("\n") == 1
