"""What tests share: one PostgreSQL for the run, the served bundle, and a fresh company per test.

Companies cannot see each other, so tests share a database and still begin with nothing. Where the tests are dealt to
several processes (`-n auto --dist loadscope --no-loadscope-reorder`), each has a PostgreSQL of its own, and a bundle
where it needs one.
"""

import gc
import json
import os
import select
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from xdist.remote import Producer

from local import setup
from local.postgres import Cluster, installations
from local.setup import Prepared
from tests.support import dealing, log_lines
from tests.support.companies import Company
from tests.support.connections import AsRole, Connections
from tests.support.providers import Providers
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60 * PATIENCE

# for tests that hash as the functions do, in this process
os.environ["PRIVACY_SECRET"] = setup.PRIVACY_SECRET

# machines are shared: no assertion about time
settings.register_profile("goodword", deadline=None, stateful_step_count=30, max_examples=30)
settings.register_profile("brief", deadline=None, stateful_step_count=30, max_examples=10)  # one more PostgreSQL
settings.register_profile("soak", deadline=None, stateful_step_count=50, max_examples=10_000)
settings.load_profile("goodword")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", type=int, default=18, help="major version of the PostgreSQL to test on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        dealing.order(items)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: looking through it for garbage takes an eighth of a run."""
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A report goes from process to process; by which names its test could have been chosen, nobody asks any more."""
    report = yield
    if hasattr(item.config, "workerinput"):
        report.keywords = {}
    return report


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> dealing.Dealer:
    return dealing.Dealer(config, log)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    major = pytestconfig.getoption("postgres")
    assert major in installations(), f"PostgreSQL {major} is not installed"
    running = Cluster(tmp_path_factory.mktemp("cluster") / "postgres", major=major, durable=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def prepared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    setup.create_database(cluster.superuser_url())
    return setup.prepare(
        cluster.superuser_url(setup.DATABASE), role_prefix="goodword", home=tmp_path_factory.mktemp("home")
    )


@pytest.fixture(scope="session")
def connections(cluster: Cluster, prepared: Prepared) -> Iterator[Connections]:
    """Connections of the deployment's own roles and, as "superuser", of nobody in production."""

    def connect(role: str) -> psycopg.Connection:
        if role == "superuser":
            url = cluster.superuser_url(setup.DATABASE)
            return psycopg.connect(url, autocommit=True, options="-c search_path=goodword")
        return psycopg.connect(
            host=prepared.parameters["DatabaseHost"],
            port=prepared.parameters["DatabasePort"],
            dbname=prepared.parameters["DatabaseName"],
            user=f"{prepared.parameters['DatabaseRolePrefix']}_{role}",
            passfile=prepared.environment["PGPASSFILE"],
            autocommit=True,
        )

    kept = Connections(connect)
    yield kept
    kept.close()


@pytest.fixture(scope="session")
def opener(connections: Connections) -> Iterator[psycopg.Connection]:
    """The connection over which companies are opened."""
    with connections.lending() as lend:
        yield lend("superuser")


@pytest.fixture
def superuser(connections: Connections) -> Iterator[psycopg.Connection]:
    """The database as nobody in production sees it: to look at rows, and to break them."""
    with connections.lending() as lend:
        yield lend("superuser")


@pytest.fixture
def as_role(connections: Connections) -> Iterator[AsRole]:
    """Connections as the deployment's own roles: `as_role("app")`."""
    with connections.lending() as lend:
        yield lend


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """Stripe's and Whop's APIs, as the served bundle asks them."""
    with Providers() as running:
        yield running


@pytest.fixture(scope="session")
def bundle(
    cluster: Cluster, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory, providers: Providers
) -> "Iterator[serve]":
    """The bundle, served as `make serve` serves it."""
    database_url = cluster.superuser_url(prepared.parameters["DatabaseName"])
    variables = {**providers.variables, "ALLOW_APP_ENDPOINTS": "true"}
    with (running := serve(database_url, tmp_path_factory.mktemp("served"), variables=variables)):
        yield running


@pytest.fixture(scope="session")
def server(bundle: "serve") -> str:
    """The base URL of the served bundle."""
    return bundle.url


class serve:  # noqa: N801 - used as a function in `with`
    """`make serve` on a database, for as long as the block lasts; gives the base URL, which is `url` too.

    What its functions write is in `log`, and must be lines that Lambda can read.
    """

    url: str

    def __init__(
        self, database_url: str, home: Path, *, prepares: bool = True, variables: Mapping[str, str] | None = None
    ) -> None:
        home.mkdir(exist_ok=True)
        self.log = home / "serve.log"
        self._environment = {
            **os.environ,
            **(variables or {}),
            "PYTHONPATH": str(ROOT / "layers/goodword"),
            "DATABASE_URL": database_url,
            "GOODWORD_HOME": str(home),
            "PORT": "0",
            "LOG_LEVEL": "INFO",
            "DATABASE_PREPARED_STATEMENTS": str(prepares).lower(),
        }

    def __enter__(self) -> str:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local", "serve"],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        assert line, f"the server did not print its line: {self.log.read_text()}"
        self.url = json.loads(line)["url"]
        return self.url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        log_lines.assert_readable(self.log)


@pytest.fixture
def company(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    """A fresh test company with its keys and endpoints."""
    fresh = Company.write(opener, server)
    yield fresh
    fresh.close()
