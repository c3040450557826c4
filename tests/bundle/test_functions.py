"""The built functions with the built layer answer as their sources do, in AWS's Runtime Interface Emulator."""

import psycopg
import pytest

from local import events
from tests.bundle.emulator import Emulators
from tests.bundle.support import FUNCTIONS, needs_linux
from tests.support import examples
from tests.support.companies import Company


def test_every_function_has_an_event() -> None:
    assert {events.logical_id(name) for name in events.names()} == FUNCTIONS.keys()


@needs_linux
@pytest.mark.parametrize("name", events.names())
def test_an_event(company: Company, superuser: psycopg.Connection, emulators: Emulators, name: str) -> None:
    examples.play(name, company, superuser, emulators.invoke)
