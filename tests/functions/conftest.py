"""What the tests of the functions share besides a company: a second one, a live one, and one for many questions."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from goodword.core import database
from goodword.core.settings import settings
from goodword.program.document import Program
from local import setup
from local.setup import Prepared
from tests.support import books
from tests.support.companies import Company
from tests.support.requests import Asked
from tests.support.suspects import NOON, OpenShop


@pytest.fixture
def other(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    """Another company, which must never see or touch the first one's things."""
    fresh = Company.write(opener, server)
    yield fresh
    fresh.close()


@pytest.fixture
def judging(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    """A company that judges who comes as the program does by default."""
    fresh = Company.write(opener, server, program=Program())
    yield fresh
    fresh.close()


@pytest.fixture
def live(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    """A company whose payments are real."""
    fresh = Company.write(opener, server, livemode=True)
    yield fresh
    fresh.close()


@pytest.fixture
def open_shop(server: str, opener: psycopg.Connection) -> Iterator[OpenShop]:
    """Opens companies under a program, at NOON; in the end their books are right."""
    opened = list[Company]()

    def write(program: Program) -> Company:
        company = Company.write(opener, server, program=program)
        opened.append(company)
        company.set_clock(NOON)
        return company

    yield write
    for company in opened:
        assert books.faults(opener, company.id) == []
        company.close()


@pytest.fixture
def shared(asked: Asked) -> Company:
    """The company of `asked`, for a test that changes nothing."""
    return asked.company


@pytest.fixture(scope="module")
def asked(server: str, opener: psycopg.Connection) -> Iterator[Asked]:
    """A company that a whole module of tests asks without changing it."""
    company = Company.write(opener, server)
    yield Asked(company)
    company.close()


@contextmanager
def as_role(role: str, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a function of that role: its environment, and nothing kept from before or for after."""
    names = {
        "DATABASE_HOST": prepared.parameters["DatabaseHost"],
        "DATABASE_PORT": prepared.parameters["DatabasePort"],
        "DATABASE_NAME": prepared.parameters["DatabaseName"],
        "DATABASE_USER": f"goodword_{role}",
        "DATABASE_IAM_AUTHENTICATION": "false",
        "PRIVACY_SECRET": setup.PRIVACY_SECRET,
        "DATABASE_CA_FILE": "",
        "PGPASSFILE": prepared.environment["PGPASSFILE"],
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    database.forget_connection()
    yield
    settings.cache_clear()
    database.forget_connection()


@pytest.fixture
def as_jobs(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a scheduled function."""
    with as_role("jobs", prepared, monkeypatch):
        yield
