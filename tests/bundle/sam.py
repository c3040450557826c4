"""`sam local` on a build: one function by `invoke`, the whole API by `start-api`, each in containers of its own.

`sam local` gives containers only the variables that a template declares, and no password is among the bundle's. So it
reads a copy of the built template that declares PGPASSWORD too, and finds each role's own in the file that `--env-vars`
names; both last as long as their folder. The built files are used where they are.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml

from local.guard import __file__ as GUARD_SCRIPT  # noqa: N812 - a constant of that module
from local.template import Function, Node, load
from tests.bundle.emulator import SAM, architecture

START_SECONDS = 120.0
INVOKE_SECONDS = 600.0
POLL_SECONDS = 0.1
CONTAINER = re.compile(r"SAM_CONTAINER_ID: ([0-9a-f]+)")


class SamError(Exception):
    """`sam local` does not do what it should; the message is one line that says why."""


class Sam:
    """`sam local` on one build, and every container that it has started so far."""

    def __init__(self, build: Path, parameters: Mapping[str, str], passwords: Mapping[str, str], home: Path) -> None:
        """`parameters` of the template; `passwords` by the names of the Postgres roles; `home`: a private folder."""
        self.functions = load(build / "template.yaml").functions(parameters)
        self.containers: set[str] = set()
        self._home = home
        # its locks are kept in TMPDIR: one that was left by a killed run would be waited for, for minutes
        self._environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "TMPDIR": str(home)}
        self._template = home / "template.json"
        self._template.write_text(json.dumps(_with_password(build)))
        self._variables = home / "variables.json"
        self._variables.touch(mode=0o600)
        self._variables.write_text(
            json.dumps({name: _variables(function, passwords) for name, function in self.functions.items()})
        )

    def invoke(self, logical_id: str, event: object) -> Any:  # noqa: ANN401 - whatever the function answers
        """Run a function on an event. Raises SamError."""
        run = subprocess.run(
            [*self._command("invoke"), logical_id, "--event", "-"],
            input=json.dumps(event),
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
            timeout=INVOKE_SECONDS,
        )
        self.containers.update(CONTAINER.findall(run.stderr))
        answered = run.stdout.strip().splitlines()
        if run.returncode != 0 or not answered:
            raise SamError(f"sam local invoke {logical_id}: {_last_line(run.stderr)}")
        return json.loads(answered[-1])

    @contextmanager
    def start_api(self) -> Iterator[str]:
        """Serve the API for as long as the block lasts; gives its base URL. Raises SamError."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*self._command("start-api"), "--host", "127.0.0.1", "--port", str(port), "--warm-containers", "LAZY"]
        log = self._home / "start-api.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD_SCRIPT, *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for us: sam ends with the block
            )
        try:
            _wait_until_it_listens(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.communicate()  # the end of its input is the guard's order to stop
            self.containers.update(CONTAINER.findall(log.read_text()))

    def _command(self, name: str) -> list[str]:
        own = ["--template", str(self._template), "--env-vars", str(self._variables), "--skip-pull-image"]
        own += ["--parameter-overrides", f"Architecture={architecture()}", "--layer-cache-basedir", str(self._home)]
        return [str(SAM / "bin/python"), "-m", "samcli", "local", name, *own]


def _with_password(build: Path) -> Node:
    """The built template, declaring PGPASSWORD, for use from another folder."""
    template = cast("Node", yaml.safe_load((build / "template.yaml").read_text()))
    template["Globals"]["Function"]["Environment"]["Variables"]["PGPASSWORD"] = ""
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = str(build / resource["Properties"][name])
    return template


def _variables(function: Function, passwords: Mapping[str, str]) -> dict[str, str]:
    role = function.environment.get("DATABASE_USER")
    return {**function.environment, **({"PGPASSWORD": passwords[role]} if role else {})}


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(POLL_SECONDS)
        else:
            return
    raise SamError(f"sam local start-api does not start: {_last_line(log.read_text())}")


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]
