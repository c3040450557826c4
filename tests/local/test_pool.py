"""local/pool.py: functions run in their own processes, as Lambda promises."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local import processes
from local.pool import FunctionError, FunctionPools, PatienceError, PayloadTooLargeError, UnknownFunctionError
from local.postgres import children
from local.template import load
from tests.local.support import wait_until_gone, workers

ROOT = Path(__file__).resolve().parent.parent.parent

HANDLER = """
import os, re, sys, threading

def lambda_handler(event, context):
    match event:
        case {"env": _}: return dict(os.environ)
        case {"raise": text}: raise ValueError(text)
        case {"exit": code}: sys.exit(code)
        case {"sleep": seconds, "touch": path}:
            with open(path, "a") as marks: marks.write("begin\\n")
            threading.Event().wait(seconds)
            with open(path, "a") as marks: marks.write("end\\n")
        case {"sleep": seconds}: threading.Event().wait(seconds)
        case {"object": _}: return object()
        case {"large": size}: return "x" * size
        case {"context": _}:
            return {
                "function_name": context.function_name,
                "memory": context.memory_limit_in_mb,
                "arn": context.invoked_function_arn,
                "remaining": context.get_remaining_time_in_millis(),
                "id": context.aws_request_id,
                "path": sys.path[:2],
                "folder": os.getcwd(),
                "stdin": sys.stdin.read(),
            }
        case {"import": name}: return __import__(name).__file__
        case {"print": text}: print(text)
        case {"stuck": "computing"}: re.match("(a+)+$", "a" * 64 + "b")
        case {"stuck": "waiting"}: threading.Event().wait()
    return os.getpid()
"""

TEMPLATE = """
Globals: {Function: {Handler: app.lambda_handler, Timeout: 1, Layers: [!Ref Shared]}}
Resources:
  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer/}}
  FirstFunction:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: code/, MemorySize: 256, Environment: {Variables: {GIVEN: "1", TZ: "Mars"}}}
  PatientFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: code/, Timeout: 20}}
  BrokenFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: code/, Handler: nothing.lambda_handler}}
"""

SERVER = """
import asyncio, sys
from pathlib import Path
from local.template import load
from local.pool import FunctionPools

async def main():
    pools = FunctionPools(load(Path(sys.argv[1])), {}, {})
    await pools.invoke("PatientFunction", {})
    stuck = asyncio.create_task(pools.invoke("PatientFunction", {"stuck": sys.argv[2]}))
    await asyncio.sleep(0)
    print("stuck", flush=True)
    await stuck

asyncio.run(main())
"""

# Where the kernel does not end the worker, a thread does, which needs a turn of the interpreter.
STUCK = ["waiting", *(["computing"] if sys.platform == "linux" else [])]

Play = Callable[[Callable[[FunctionPools], Awaitable[Any]]], Any]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The template of a bundle with its functions and their layer."""
    for folder, name, text in (("code", "app", HANDLER), ("layer", "shared", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text)
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE)
    return template


@pytest.fixture(params=["forked", "spawned"] if processes.FORKS else ["spawned"])
def play(bundle: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a scene in an event loop, with pools of at most two processes."""
    monkeypatch.setattr(processes, "FORKS", request.param == "forked")
    monkeypatch.setattr(processes, "LIBRARIES", ())  # these functions need none

    def run(scene: Callable[[FunctionPools], Awaitable[Any]]) -> Any:  # noqa: ANN401 - whatever the scene answers
        async def with_pools() -> Any:  # noqa: ANN401 - the same
            pools = FunctionPools(load(bundle), {}, {"PGPASSFILE": "/a"}, workers=2)
            try:
                return await asyncio.wait_for(scene(pools), 20)
            finally:
                await pools.close()

        return asyncio.run(with_pools())

    return run


def failure(play: Play, function: str, event: object) -> dict[str, Any]:
    """The report of a failing invocation; the function must work again afterwards."""

    async def scene(pools: FunctionPools) -> dict[str, Any]:
        with pytest.raises(FunctionError) as error:
            await pools.invoke(function, event)
        if function != "BrokenFunction":
            assert isinstance(await pools.invoke(function, {}), int)
        return error.value.report

    return play(scene)


def test_the_environment_is_the_templates_and_lambdas(play: Play, tmp_path: Path) -> None:
    environment = play(lambda pools: pools.invoke("FirstFunction", {"env": 1}))
    assert environment == {
        "GIVEN": "1",
        "TZ": "Mars",
        "PGPASSFILE": "/a",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "FirstFunction",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "LAMBDA_TASK_ROOT": str(tmp_path / "code"),
        "_HANDLER": "app.lambda_handler",
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "code"), str(tmp_path / "layer"))),
        "PATH": os.environ["PATH"],
        "HOME": environment["HOME"],
        "LANG": "C.UTF-8",
    }


def test_the_context_is_lambdas(play: Play, tmp_path: Path) -> None:
    context = play(lambda pools: pools.invoke("FirstFunction", {"context": 1}))
    assert (context["function_name"], context["memory"]) == ("FirstFunction", "256")
    assert context["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:FirstFunction"
    assert 500 < context["remaining"] <= 1000
    assert len(context["id"]) == 36
    assert context["path"] == [str(tmp_path / "code"), str(tmp_path / "layer")]
    assert (context["folder"], context["stdin"]) == (str(tmp_path / "code"), "")


def test_a_handler_can_import_its_layer_and_nothing_of_the_server(play: Play, tmp_path: Path) -> None:
    assert play(lambda pools: pools.invoke("FirstFunction", {"import": "shared"})) == str(tmp_path / "layer/shared.py")
    for module in ("gateway", "local", "tests"):
        assert failure(play, "FirstFunction", {"import": module})["errorType"] == "ModuleNotFoundError"


def test_a_handler_that_raises_has_failed_and_its_process_goes_on(play: Play) -> None:
    async def scene(pools: FunctionPools) -> tuple[int, dict[str, Any], int]:
        before = await pools.invoke("FirstFunction", {})
        with pytest.raises(FunctionError) as error:
            await pools.invoke("FirstFunction", {"raise": "no"})
        return before, error.value.report, await pools.invoke("FirstFunction", {})

    before, report, after = play(scene)
    assert (report["errorType"], report["errorMessage"]) == ("ValueError", "no")
    assert "raise ValueError(text)" in "".join(report["stackTrace"])
    assert before == after


@pytest.mark.parametrize(
    ("code", "reason"),
    [(3, "Runtime exited with error: exit status 3"), (0, "Runtime exited without providing a reason")],
)
def test_a_process_that_ends_has_failed_and_is_replaced(play: Play, code: int, reason: str) -> None:
    report = failure(play, "FirstFunction", {"exit": code})
    assert report["errorType"] == "Runtime.ExitError"
    assert report["errorMessage"].endswith(f"Error: {reason}")


def test_a_process_that_has_ended_while_it_had_nothing_to_do_is_given_no_event(play: Play) -> None:
    """Even before the server has come to hear of it: it is asked at once."""

    async def scene(pools: FunctionPools) -> tuple[int, int]:
        pid = await pools.invoke("FirstFunction", {})
        os.kill(pid, signal.SIGKILL)
        assert wait_until_gone({pid}) == set()  # the loop waits along
        return pid, await pools.invoke("FirstFunction", {})

    first, second = play(scene)
    assert first != second


@pytest.mark.skipif(not processes.FORKS, reason="no process is forked here")
@pytest.mark.parametrize("play", ["forked"], indirect=True)
def test_a_fork_server_that_ends_takes_its_processes_along_and_is_replaced(play: Play) -> None:
    async def scene(pools: FunctionPools) -> tuple[int, int]:
        before = children(os.getpid())
        pid = await pools.invoke("FirstFunction", {})
        for fork_server in set(children(os.getpid())) - set(before):
            os.kill(fork_server, signal.SIGKILL)
        assert await asyncio.to_thread(wait_until_gone, {pid}) == set()
        with suppress(FunctionError):  # whoever asks before the server has taken note
            await pools.invoke("FirstFunction", {})
        return pid, await pools.invoke("FirstFunction", {})

    first, second = play(scene)
    assert first != second


def test_a_process_that_takes_too_long_has_failed_and_is_replaced(play: Play, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    report = failure(play, "FirstFunction", {"sleep": 2, "touch": str(marks)})
    assert report["errorType"] == "Sandbox.Timedout"
    assert report["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert marks.read_text() == "begin\n"


def test_a_handler_that_cannot_be_imported_has_failed(play: Play) -> None:
    report = failure(play, "BrokenFunction", {})
    assert report["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'nothing'" in report["errorMessage"]


def test_a_result_that_is_no_json_has_failed(play: Play) -> None:
    assert failure(play, "FirstFunction", {"object": 1})["errorType"] == "Runtime.MarshalError"


def test_events_and_results_are_limited(play: Play) -> None:
    assert failure(play, "FirstFunction", {"large": 6_291_556})["errorType"] == "Function.ResponseSizeTooLarge"

    async def scene(pools: FunctionPools) -> int:
        with pytest.raises(PayloadTooLargeError):
            await pools.invoke("FirstFunction", "x" * 6_291_555)
        return len(await pools.invoke("FirstFunction", {"large": 6_000_000}))

    assert play(scene) == 6_000_000


def test_a_function_that_is_not_there_is_named(play: Play) -> None:
    async def scene(pools: FunctionPools) -> None:
        with pytest.raises(UnknownFunctionError, match="ThirdFunction"):
            await pools.invoke("ThirdFunction", {})

    play(scene)


def test_processes_are_started_on_demand_and_run_one_event_at_a_time(play: Play, tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def scene(pools: FunctionPools) -> list[set[int]]:
        seen = [set(children(os.getpid()))]
        for at_once in (1, 5):
            events = ({"sleep": 0.4, "touch": str(marks)} for _ in range(at_once))
            pids = await asyncio.gather(*(pools.invoke("PatientFunction", event) for event in events))
            seen.append(set(pids))
        return seen

    before, first, then = play(scene)
    assert len(first) == 1
    assert first < then
    assert len(then) == 2
    assert then.isdisjoint(before)
    running = most = 0
    for mark in marks.read_text().split():
        running += 1 if mark == "begin" else -1
        most = max(most, running)
    assert most == 2


def test_a_caller_may_give_up_and_the_function_goes_on(play: Play, tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def scene(pools: FunctionPools) -> None:
        # both processes are started before anybody's patience counts
        await asyncio.gather(*(pools.invoke("PatientFunction", {"sleep": 0.1}) for _ in range(2)))
        event = {"sleep": 0.8, "touch": str(marks)}
        calls = (pools.invoke("PatientFunction", event, patience=0.4) for _ in range(2))
        assert [type(result) for result in await asyncio.gather(*calls, return_exceptions=True)] == [PatienceError] * 2
        assert marks.read_text().split() == ["begin", "begin"]
        await pools.invoke("PatientFunction", {})  # which must wait, since both processes are busy
        assert "end" in marks.read_text()

    play(scene)


def test_what_a_handler_prints_is_logged(play: Play, capfd: pytest.CaptureFixture[str]) -> None:
    play(lambda pools: pools.invoke("FirstFunction", {"print": "a log line"}))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "a log line\n")


def test_closing_ends_the_processes_whatever_they_do(play: Play) -> None:
    async def scene(pools: FunctionPools) -> int:
        pid = await pools.invoke("PatientFunction", {})
        busy = asyncio.create_task(pools.invoke("PatientFunction", {"sleep": 9}))
        await asyncio.sleep(0)
        await pools.close()
        with pytest.raises(FunctionError, match="signal: Killed"):
            await busy
        return pid

    assert wait_until_gone({play(scene)}) == set()


@pytest.mark.parametrize("how", STUCK)
def test_a_process_ends_with_its_server_even_if_stuck(bundle: Path, how: str) -> None:
    command = [sys.executable, "-c", SERVER, str(bundle), how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"stuck\n"
        left = workers(server.pid)
        assert len(left) == 1
        server.kill()
    assert wait_until_gone(left) == set()
