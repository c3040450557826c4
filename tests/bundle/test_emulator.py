"""The emulator ends when it is asked to, and tells what went wrong inside of it."""

import os
from pathlib import Path

import pytest

from local.pool import FunctionError
from tests.bundle.emulator import Emulators, architecture
from tests.bundle.support import needs_linux
from tests.local.support import family, wait_until_gone

pytestmark = needs_linux

PARAMETERS = {"DatabaseHost": "database.example"}


def test_nothing_is_left_when_it_is_stopped(builds: dict[str, Path], tmp_path: Path) -> None:
    before = family(os.getpid())
    emulators = Emulators(builds[architecture()], PARAMETERS, {}, tmp_path)
    with pytest.raises(FunctionError, match="requestContext"):
        emulators.invoke("AnswerUnknownRouteFunction", {})
    started = family(os.getpid()) - before
    assert len(started) == 3  # guard, emulator, function
    emulators.stop()
    assert wait_until_gone(started) == set()


def test_a_function_that_fails_fails_alone(builds: dict[str, Path], tmp_path: Path) -> None:
    """The environment goes on, as Lambda's does: it has started once."""
    emulators = Emulators(builds[architecture()], PARAMETERS, {}, tmp_path)
    for _ in range(2):
        with pytest.raises(FunctionError, match="KeyError"):
            emulators.invoke("AnswerUnknownRouteFunction", {})
    assert len(emulators.initialisations()["AnswerUnknownRouteFunction"]) == 1
    emulators.stop()
