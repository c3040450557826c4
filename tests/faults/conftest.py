"""What the tests of faults share: clients in processes of their own."""

from collections.abc import Iterator

import pytest

from tests.support.clients import Clients

CLIENTS = 32


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    """As many as any test needs; each waits until it is given requests."""
    with Clients(CLIENTS) as started:
        yield started
