"""The emulator ends with whoever started it, and tells what went wrong inside of it."""

import os
import select
from pathlib import Path

import pytest

from local.emulator import Emulators, architecture
from local.postgres import children
from local.workers import FunctionError
from tests.bundle.support import needs_linux

pytestmark = needs_linux

PARAMETERS = {"DatabaseHost": "database.example"}
GONE_SECONDS = 30.0


def descendants(parent: int) -> set[int]:
    own = set(children(parent))
    return own.union(*(descendants(child) for child in own))


def test_nothing_is_left_when_it_is_stopped(builds: dict[str, Path], tmp_path: Path) -> None:
    before = descendants(os.getpid())
    emulators = Emulators(builds[architecture()], PARAMETERS, {}, tmp_path)
    with pytest.raises(FunctionError, match="requestContext"):
        emulators.invoke("AnswerUnknownRouteFunction", {})
    processes = [os.pidfd_open(pid) for pid in descendants(os.getpid()) - before]
    assert len(processes) == 3  # guard, emulator, function
    emulators.stop()
    for process in processes:
        assert select.select([process], [], [], GONE_SECONDS)[0]
        os.close(process)


def test_a_function_that_fails_fails_alone(builds: dict[str, Path], tmp_path: Path) -> None:
    """The environment goes on, as Lambda's does: it has started once."""
    emulators = Emulators(builds[architecture()], PARAMETERS, {}, tmp_path)
    for _ in range(2):
        with pytest.raises(FunctionError, match="KeyError"):
            emulators.invoke("AnswerUnknownRouteFunction", {})
    assert len(emulators.initialisations()["AnswerUnknownRouteFunction"]) == 1
    emulators.stop()
