"""What the benchmarks lay down by COPY is a ledger as postings would have left it (tests/benchmarks/ledgers.py)."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.postgres import Cluster
from tests.benchmarks import ground, ledgers
from tests.benchmarks.ground import Ground
from tests.support import books

NAME = "laid_ledger"


@pytest.fixture
def fresh(cluster: Cluster, tmp_path: Path) -> Iterator[Ground]:
    """A database of its own, for a ledger's ids are its own."""
    with ground.database(cluster, tmp_path, NAME) as made:
        yield made
    with psycopg.connect(cluster.superuser_url(), autocommit=True) as superuser:
        superuser.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


def test_a_laid_ledger_has_right_books(fresh: Ground) -> None:
    ledgers.lay(fresh, 400)
    assert books.faults(fresh.superuser, fresh.company_id) == []
    (counted,) = fresh.superuser.execute("SELECT count(*) FROM entries").fetchall()
    assert counted[0] == 400
