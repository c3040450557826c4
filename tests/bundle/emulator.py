"""An emulator: a built function under AWS's own Runtime Interface Emulator and runtime client, with no container.

Both programs come with .venv-sam. The function sees what it would see in Lambda: its own code, then the layer, then the
runtime client, and no other package of this machine; its environment is the template's, Lambda's, and what it needs to
log in. What differs: the operating system and the processor are this machine's, and nothing is read-only.

A function has one environment, hence one invocation at a time: a second one would crash the emulator.
"""

import http.client
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local.guard import __file__ as GUARD_SCRIPT  # noqa: N812 - a constant of that module
from local.pool import FunctionError, UnknownFunctionError
from local.template import REGION, Function, load

SAM = Path(__file__).resolve().parents[2] / ".venv-sam"
RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""The distributions that make up Lambda's runtime client."""
ARCHITECTURES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
"""What Lambda calls the processors that `uname -m` names."""
INVOCATIONS = "/2015-03-31/functions/function/invocations"
INIT_REPORT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
POLL_SECONDS = 0.02
GRACE_SECONDS = 30.0


class EmulatorError(Exception):
    """The emulator does not start; the message is one line that says why."""


def architecture() -> str:
    """This machine's, as Lambda names it."""
    return ARCHITECTURES[os.uname().machine]


def python() -> Path:
    """The interpreter that .venv-sam was made from: the layer's minor version, with none of the packages."""
    settings = dict(re.findall(r"^(\w+) = (.*)$", (SAM / "pyvenv.cfg").read_text(), re.MULTILINE))
    return Path(settings["executable"])


@cache
def packages() -> Path:
    """Where .venv-sam keeps its packages."""
    (folder,) = (SAM / "lib").glob("python3.*/site-packages")
    return folder


class Emulators:
    """The functions of a build, each with an emulator that starts at its first invocation."""

    def __init__(self, build: Path, parameters: Mapping[str, str], environment: Mapping[str, str], home: Path) -> None:
        """`parameters` of the template; `environment`: variables beyond those that the template and Lambda give."""
        runtime = _runtime(home)
        self._emulators = {
            logical_id: _Emulator(function, {**_environment(function, runtime), **environment}, home)
            for logical_id, function in load(build / "template.yaml").functions(parameters).items()
        }

    def invoke(self, logical_id: str, event: object) -> Any:  # noqa: ANN401 - any JSON value
        """Run a function on an event. Raises FunctionError and UnknownFunctionError."""
        if logical_id not in self._emulators:
            raise UnknownFunctionError(logical_id)
        return self._emulators[logical_id].invoke(event)

    def initialisations(self) -> dict[str, list[float]]:
        """Function → how long each of its cold starts took, in milliseconds."""
        return {logical_id: emulator.initialisations() for logical_id, emulator in self._emulators.items()}

    def stop(self) -> None:
        """End all processes."""
        for emulator in self._emulators.values():
            emulator.stop()


class _Emulator:
    def __init__(self, function: Function, environment: dict[str, str], home: Path) -> None:
        self._function = function
        self._environment = environment
        self._log = home / f"{function.logical_id}.log"
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - any JSON value
        with self._one_at_a_time:
            if self._process is None:
                self._start()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._function.timeout + 10)
            connection.request("POST", INVOCATIONS, json.dumps(event))
            raw = connection.getresponse().read()
            connection.close()
        try:
            result = json.loads(raw)
        except ValueError:  # a timeout is reported in words
            result = {"errorType": "Sandbox.Failure", "errorMessage": raw.decode()}
        if isinstance(result, dict) and "errorType" in result:
            raise FunctionError(result)
        return result

    def initialisations(self) -> list[float]:
        log = self._log.read_text() if self._log.exists() else ""
        return [float(milliseconds) for milliseconds in INIT_REPORT.findall(log)]

    def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(GRACE_SECONDS)
        self._process = None

    def _start(self) -> None:
        emulator = packages() / f"samcli/local/rapid/aws-lambda-rie-{architecture()}"
        self._port, runtime_port = _free_ports()
        options = ["--log-level", "info", "--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"]
        options += ["--runtime-api-address", f"127.0.0.1:{runtime_port}"]
        # -S: the packages of this interpreter are not Lambda's
        runtime = [str(python()), "-S", "-m", "awslambdaric", self._function.handler]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD_SCRIPT, str(emulator), *options, *runtime],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._function.folder,
                start_new_session=True,  # Ctrl-C is for whoever started us
            )
        self._wait_until_it_listens(process)
        self._process = process

    def _wait_until_it_listens(self, process: "subprocess.Popen[bytes]") -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                try:
                    process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
                said = self._log.read_text().strip().splitlines() or ["it said nothing"]
                raise EmulatorError(f"the emulator of {self._function.logical_id} does not start: {said[-1]}") from None
            return


def _runtime(home: Path) -> Path:
    """A folder with Lambda's runtime client and nothing else of .venv-sam."""
    folder = home / "runtime"
    folder.mkdir()
    for distribution in importlib.metadata.distributions(path=[str(packages())]):
        if distribution.name in RUNTIME:
            for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                (folder / name).symlink_to(packages() / name)
    return folder


def _environment(function: Function, runtime: Path) -> dict[str, str]:
    """The template's variables and what Lambda itself gives; nothing of our own environment."""
    path = [function.folder, *(layer / "python" for layer in function.layers), runtime]
    return {
        "PATH": os.defpath,
        "HOME": tempfile.gettempdir(),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_SESSION_TOKEN": "none",
        "AWS_LAMBDA_FUNCTION_NAME": function.logical_id,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": function.environment["LOG_LEVEL"],
        "LAMBDA_TASK_ROOT": str(function.folder),
        "_HANDLER": function.handler,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",  # in Lambda it could not be written either
        **function.environment,
    }


def _free_ports() -> tuple[int, int]:
    """Two ports of this machine that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
