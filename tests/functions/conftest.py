"""What the tests of the functions share besides a company: a second one, a live one, and one for many questions."""

from collections.abc import Iterator

import pytest

from tests.support.companies import Company
from tests.support.requests import Asked


@pytest.fixture
def other(server: str) -> Iterator[Company]:
    """Another company, which must never see or touch the first one's things."""
    fresh = Company.open(server)
    yield fresh
    fresh.close()


@pytest.fixture
def live(server: str) -> Iterator[Company]:
    """A company whose payments are real."""
    fresh = Company.open(server, livemode=True)
    yield fresh
    fresh.close()


@pytest.fixture
def shared(asked: Asked) -> Company:
    """The company of `asked`, for a test that changes nothing; with new connections, because idle ones end."""
    asked.company.close()
    return asked.company


@pytest.fixture(scope="module")
def asked(server: str) -> Iterator[Asked]:
    """A company that a whole module of tests asks without changing it."""
    company = Company.open(server)
    yield Asked(company)
    company.close()
