"""The floor of the benchmarks writes what an attributed signup writes (tests/benchmarks/floor.py)."""

from collections import Counter
from collections.abc import Iterator

import pytest
from psycopg import Connection, sql

from local import setup
from local.postgres import Cluster
from tests.benchmarks import floor
from tests.benchmarks.cost import Stage
from tests.benchmarks.floor import Floor
from tests.support import rows
from tests.support.companies import Company

_COUNT = sql.SQL("SELECT count(*) FROM floor.{table}")


@pytest.fixture
def laid(cluster: Cluster, superuser: Connection) -> Iterator[Floor]:
    running = Floor(cluster.superuser_url(setup.DATABASE))
    yield running
    running.close()
    superuser.execute("DROP SCHEMA floor CASCADE")


def test_the_floor_has_a_row_for_every_row_of_an_attributed_signup(
    company: Company, superuser: Connection, laid: Floor
) -> None:
    ada = company.sign_up("ada")["user"]["referral_code"]
    stage = Stage(company.line, [ada], option_id="")
    before, floor_before = rows.count(superuser, company.id), _count(superuser)
    stage.sign_up(1)
    laid.sign_up()
    stage.close()
    written = rows.count(superuser, company.id) - before
    assert _count(superuser) - floor_before == written


def _count(superuser: Connection) -> Counter[str]:
    counted = {
        table: superuser.execute(_COUNT.format(table=sql.Identifier(table))).fetchall()[0][0] for table in floor.TABLES
    }
    return Counter(counted)
