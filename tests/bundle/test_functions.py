"""The built functions with the built layer answer as their sources do, in AWS's Runtime Interface Emulator."""

import psycopg
import pytest

from local import events
from tests.bundle.emulator import Emulators
from tests.bundle.support import FUNCTIONS, needs_linux
from tests.support import examples
from tests.support.examples import Scenes


def test_every_function_has_an_event() -> None:
    assert {events.logical_id(name) for name in events.names()} == FUNCTIONS.keys()


@pytest.fixture(scope="module")
def scenes(server: str, opener: psycopg.Connection) -> Scenes:
    return Scenes(opener, server)


@needs_linux
@pytest.mark.parametrize("name", events.names())
def test_an_event(scenes: Scenes, superuser: psycopg.Connection, emulators: Emulators, name: str) -> None:
    examples.play(name, scenes.of(name), superuser, emulators.invoke)
