"""Preparing a database: by several at once, and by several clones."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from local import setup
from local.postgres import Cluster
from local.setup import Prepared, SetupError


def test_three_clones_that_begin_at_once_share_a_database_and_its_passwords(cluster: Cluster, tmp_path: Path) -> None:
    setup.create_database(cluster.superuser_url(), "shared")
    together = threading.Barrier(3)

    def prepare(clone: str) -> Prepared:
        together.wait()
        return setup.prepare(cluster.superuser_url("shared"), home=tmp_path / clone)

    with ThreadPoolExecutor() as clones:
        prepared = list(clones.map(prepare, ("one", "two", "three")))
    assert len({Path(each.environment["PGPASSFILE"]).read_text() for each in prepared}) == 1
    for each in prepared:
        company = setup.open_company(
            each, name="Test", livemode=False, destination_url="https://shop.example/", base_url="http://127.0.0.1"
        )
        assert company["secret_key"].startswith("gw_test_")


def test_another_database_of_the_server_has_roles_of_its_own() -> None:
    assert setup.role_prefix_of("goodword") == "goodword"
    prefixes = {setup.role_prefix_of(name) for name in ("goodword", "one", "two")}
    assert len(prefixes) == 3


def test_the_passwords_are_for_those_who_prepare_the_database(cluster: Cluster, prepared: Prepared) -> None:
    database, prefix = prepared.parameters["DatabaseName"], prepared.parameters["DatabaseRolePrefix"]
    with psycopg.connect(cluster.superuser_url(database), autocommit=True) as superuser:
        superuser.execute(f"SET ROLE {prefix}_admin".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            superuser.execute("SELECT password FROM goodword_local.role_passwords")


def test_a_database_that_cannot_hold_every_character_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    with psycopg.connect(cluster.superuser_url(), autocommit=True) as superuser:
        superuser.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(SetupError, match=r"^the database ascii has the encoding SQL_ASCII, and must have UTF8"):
        setup.prepare(cluster.superuser_url("ascii"), home=tmp_path)
