"""What the tests of faults share: clients in processes of their own, and a bundle on a database that may be killed."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from local import setup
from local.postgres import Cluster, children
from local.setup import Prepared
from tests.conftest import serve
from tests.local.support import workers
from tests.support.clients import Clients
from tests.support.companies import Company
from tests.support.waiting import wait_until
from tests.support.wire_proxy import WireProxy

CLIENTS = 64


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    """As many as any test needs; each waits until it is given requests."""
    with Clients(CLIENTS) as started:
        yield started


class Fragile:
    """A served bundle with a durable database of its own, and the ways to break it."""

    def __init__(self, cluster: Cluster, url: str, server: int) -> None:
        self.cluster = cluster
        self.url = url
        self._server = server
        self._turns = count(step=7)

    def superuser(self) -> psycopg.Connection:
        """A new connection: the last one may not have outlived the last fault."""
        connection = psycopg.connect(self.cluster.superuser_url(setup.DATABASE), autocommit=True)
        connection.execute("SET search_path = goodword")
        return connection

    def terminate_backends(self) -> int:
        """End every connection of the functions, whatever it is doing; how many there were."""
        with self.superuser() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'goodword\\_%'"
            ).fetchall()
        return len(ended)

    def crash(self) -> None:
        """Kill every process of the database at once and start it again; it recovers from its log."""
        self.cluster.kill()
        self.cluster.start()

    def kill_one_worker(self) -> None:
        """Kill one process that runs a function, another one each time, and let the gateway take note."""
        if running := sorted(workers(self._server)):
            worker = running[next(self._turns) % len(running)]
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: worker not in workers(self._server), "the gateway takes note of the dead")

    def kill_workers(self) -> int:
        """Kill every process that runs a function, and let the gateway take note; how many there were."""
        running = workers(self._server)
        for worker in running:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not running & workers(self._server), "the gateway takes note of the dead")
        return len(running)


@pytest.fixture(scope="session")
def fragile(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    folder = tmp_path_factory.mktemp("fragile")
    cluster = Cluster(folder / "postgres", major=cluster.major)
    cluster.start()
    setup.create_database(cluster.superuser_url())
    before = set(children(os.getpid()))
    with serve(cluster.superuser_url(setup.DATABASE), folder / "home") as url:
        (server,) = set(children(os.getpid())) - before
        yield Fragile(cluster, url, server)
    cluster.stop()


@pytest.fixture
def shop(fragile: Fragile) -> Iterator[Company]:
    """A company on the bundle that breaks."""
    shop = Company.open(fragile.url).trust()
    yield shop
    shop.close()


@pytest.fixture(scope="module")
def proxy(cluster: Cluster, prepared: Prepared) -> Iterator[WireProxy]:
    """A way to the database on which a test can count, and which it can cut."""
    del prepared  # the schema must be there
    with tempfile.TemporaryDirectory() as folder, WireProxy(Path(folder), cluster.socket_directory) as running:
        yield running


@pytest.fixture
def deadlocks(cluster: Cluster) -> Callable[[], list[str]]:
    """What PostgreSQL has said of deadlocks since the test began."""
    before = cluster.log.stat().st_size

    def said() -> list[str]:
        with cluster.log.open("rb") as log:
            log.seek(before)
            return [line for line in log.read().decode(errors="replace").splitlines() if "deadlock detected" in line]

    return said
