"""What every benchmark stands on: a durable PostgreSQL of its own, the schema, a company, and pgbench."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from local import setup
from local.postgres import Cluster, installations
from local.setup import Prepared

ROOT = Path(__file__).resolve().parents[2]
MAJOR = 18
CLIENTS = 8
SECONDS = 1

_ADD_USERS = """
    INSERT INTO users (company_id, id, external_id, created_at)
    SELECT %(company_id)s, lpad(to_hex(n), 32, '0')::uuid, 'user_' || n, clock_timestamp()
    FROM generate_series(0, %(users)s - 1) AS n
"""


class BenchmarkError(Exception):
    """A benchmark cannot be run; the message says why."""


@dataclass(frozen=True)
class Ground:
    """A running database with one test company, whose clock is the real one. `superuser` is in autocommit."""

    home: Path
    cluster: Cluster
    prepared: Prepared
    superuser: psycopg.Connection
    line: Mapping[str, str]

    @property
    def company_id(self) -> UUID:
        """The company's id inside."""
        return UUID(hex=self.line["company"].removeprefix("cmp_"))

    @property
    def superuser_url(self) -> str:
        """The database, for who may do everything in it."""
        return self.cluster.superuser_url(self.prepared.parameters["DatabaseName"])

    def connect(self, role: str) -> psycopg.Connection:
        """A connection as the functions of a role have it."""
        parameters = self.prepared.parameters
        return psycopg.connect(
            host=parameters["DatabaseHost"], port=parameters["DatabasePort"], dbname=parameters["DatabaseName"],
            user=f"{parameters['DatabaseRolePrefix']}_{role}", passfile=self.prepared.environment["PGPASSFILE"],
            autocommit=True, prepare_threshold=None,
        )  # fmt: skip

    def add_users(self, users: int) -> None:
        """So many users, `user_0` and on; the id of each is its number in hexadecimal."""
        self.superuser.execute(_ADD_USERS, {"company_id": self.company_id, "users": users})

    def settle(self) -> None:
        """Let nothing of what was loaded be left to do during the rounds.

        Never on empty tables: their statistics would have every foreign key looked up by reading the whole table.
        """
        self.superuser.execute("VACUUM ANALYZE")
        self.superuser.execute("CHECKPOINT")

    def log_position(self) -> int:
        """How many bytes the server's write-ahead log has come to."""
        (row,) = self.superuser.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchall()
        return row[0]

    def pgbench(self, script: str, *, role: str, variables: Mapping[str, object], clients: int = CLIENTS) -> float:
        """Transactions a second of a script; the role is one of the deployment's own."""
        path = self.home / "pgbench.sql"
        path.write_text(script)
        parameters = self.prepared.parameters
        options = [f"--define={name}={value}" for name, value in variables.items()]
        result = subprocess.run(
            [
                str(installations()[MAJOR] / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={clients}",
                "--jobs=2", f"--time={SECONDS}", f"--file={path}", *options,
                f"--host={parameters['DatabaseHost']}", f"--port={parameters['DatabasePort']}",
                f"--username={parameters['DatabaseRolePrefix']}_{role}", parameters["DatabaseName"],
            ],
            env={**os.environ, **self.prepared.environment},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        found = re.search(r"^tps = ([0-9.]+)", result.stdout, re.MULTILINE)
        if result.returncode != 0 or found is None:
            raise BenchmarkError(f"pgbench failed: {result.stderr.strip()}")
        return float(found[1])


@contextmanager
def ground() -> Iterator[Ground]:
    """A fresh one, for as long as the block lasts. It lies beside the demo's data: the disk counts."""
    beside = ROOT / ".goodword"
    beside.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=beside) as folder:
        cluster = Cluster(Path(folder) / "postgres", major=MAJOR, durable=True)
        cluster.start()
        try:
            with database(cluster, Path(folder), setup.DATABASE) as fresh:
                yield fresh
        finally:
            cluster.stop()


@contextmanager
def database(cluster: Cluster, home: Path, name: str) -> Iterator[Ground]:
    """A database of the cluster with the schema and a company."""
    setup.create_database(cluster.superuser_url(), name)
    prepared = setup.prepare(cluster.superuser_url(name), role_prefix="goodword", home=home)
    line = setup.open_company(
        prepared, name="Benchmark", livemode=False, destination_url="https://shop.example/start",
        base_url="http://localhost",
    )  # fmt: skip
    with psycopg.connect(cluster.superuser_url(name), autocommit=True) as superuser:
        superuser.execute("SET search_path = goodword")
        yield Ground(home, cluster, prepared, superuser, line)
