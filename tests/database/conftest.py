"""What the tests of the database share: a company reached without HTTP, and databases to migrate."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from goodword.migrations.roles import create_roles
from local.postgres import Cluster
from tests.support.connections import AsRole, Connections
from tests.support.tenants import Tenant

_numbers = count(1)


@pytest.fixture
def tenant(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Tenant:
    """A fresh test company."""
    return Tenant.open(opener, as_role, superuser)


@pytest.fixture
def other_tenant(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Tenant:
    """A second company in the same database."""
    return Tenant.open(opener, as_role, superuser)


@pytest.fixture(scope="module")
def kept_tenant(opener: psycopg.Connection, connections: Connections) -> Iterator[Tenant]:
    """A company for a whole module of tests, of which nothing that they do stays."""
    with connections.lending() as lend:
        yield Tenant.open(opener, lend, lend("superuser"))


@contextmanager
def an_empty_database(cluster: Cluster) -> Iterator[str]:
    """A database with roles and no schema: the URL of its migrator. Roles are prefixed `other`."""
    name = f"empty_{next(_numbers)}"
    with psycopg.connect(cluster.superuser_url(), autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(cluster.superuser_url(name), autocommit=True) as owner:
            create_roles(owner, "other")
        yield make_conninfo(cluster.superuser_url(name), user="other_migrator")
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty_database(cluster: Cluster) -> Iterator[str]:
    """A database to migrate."""
    with an_empty_database(cluster) as url:
        yield url
