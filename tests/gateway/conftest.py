"""Gateways that all tests of this folder share: they keep nothing between two requests."""

from collections.abc import Iterator

import pytest

from tests.gateway.support import TEMPLATE, WITH_CORS, WITH_DEFAULT, Client, serving


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway whose template has a $default route."""
    with serving(tmp_path_factory.mktemp("gateway"), WITH_DEFAULT) as client:
        yield client


@pytest.fixture(scope="session")
def strict_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway whose template has no $default route."""
    with serving(tmp_path_factory.mktemp("strict"), TEMPLATE) as client:
        yield client


@pytest.fixture(scope="session")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway that lets one other origin in."""
    with serving(tmp_path_factory.mktemp("open"), WITH_CORS) as client:
        yield client
