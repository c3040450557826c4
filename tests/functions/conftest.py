"""What the tests of the functions share besides a company: a second one, a live one, and weaker keys."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Client
from tests.support.companies import Company


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
def client_of(superuser: psycopg.Connection) -> Iterator[Callable[[Company, Scope], Client]]:
    """Clients with keys of lesser scopes: `client_of(company, Scope.READ)`."""
    opened: list[Client] = []

    def with_scope(company: Company, scope: Scope) -> Client:
        key = api_keys.create(superuser, company.id, livemode=False, scope=scope)
        opened.append(Client(company.url, key))
        return opened[-1]

    yield with_scope
    for client in opened:
        client.close()
