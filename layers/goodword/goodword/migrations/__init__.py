"""The schema as plain numbered SQL, and the small runner that applies it.

Each file is one transaction, applied once, in order, under a lock, with its checksum kept: a changed file is an error,
never a silent difference. A migration must work with the code of the release before it. Roles are no migration: they
belong to the cluster, not to the database, and are made once by `goodword.migrations.roles`.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from psycopg import Connection, sql

from goodword.core.faults import Fault

FILE_NAME = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")
ROLE = re.compile(r':"([a-z]+)"')

CREATE_HISTORY = """
    CREATE TABLE IF NOT EXISTS goodword.schema_migrations (
        name        text PRIMARY KEY,
        sha256      bytea NOT NULL,
        applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""


class MigrationError(Fault):
    """The schema and the migrations at hand do not belong together."""


@dataclass(frozen=True)
class Migration:
    """One file; `script` names roles as psql does, `:"app"`, so that psql can run it too."""

    name: str
    script: str

    @property
    def checksum(self) -> bytes:
        """SHA-256 of the file as written, before any role is filled in."""
        return hashlib.sha256(self.script.encode()).digest()


def migrations() -> list[Migration]:
    """All migrations of this release, in order."""
    files = [file for file in resources.files(__name__).iterdir() if FILE_NAME.match(file.name)]
    return [
        Migration(file.name, file.read_text(encoding="utf-8")) for file in sorted(files, key=lambda file: file.name)
    ]


def migrate(connection: Connection, role_prefix: str) -> list[str]:
    """Apply what is missing and return the names applied. The connection is the migrator's, in autocommit.

    Two runs at once wait for each other at the history's lock. Raises MigrationError for a changed or unknown file.
    """
    known = migrations()
    applied: list[str] = []
    with connection.transaction():
        # both runs of a first deploy may create the schema; the loser of that race must wait, not fail
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('goodword.schema_migrations', 0))")
        connection.execute("CREATE SCHEMA IF NOT EXISTS goodword")
        connection.execute(CREATE_HISTORY)
    for migration in known:
        with connection.transaction():
            connection.execute("SET LOCAL search_path = goodword")
            connection.execute("LOCK TABLE goodword.schema_migrations IN EXCLUSIVE MODE")
            history = dict(connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall())
            unknown = sorted(set(history) - {each.name for each in known})
            if unknown:
                raise MigrationError(f"the database is newer than this release: it has {unknown[-1]}")
            if migration.name in history:
                if history[migration.name] != migration.checksum:
                    raise MigrationError(f"{migration.name} was changed after it had been applied")
                continue
            connection.execute(_with_roles(migration.script, role_prefix, connection))
            connection.execute(
                "INSERT INTO schema_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)",
                {"name": migration.name, "sha256": migration.checksum},
            )
            applied.append(migration.name)
    return applied


def _with_roles(script: str, role_prefix: str, connection: Connection) -> bytes:
    def role(match: re.Match[str]) -> str:
        return sql.Identifier(f"{role_prefix}_{match[1]}").as_string(connection)

    return ROLE.sub(role, script).encode()
