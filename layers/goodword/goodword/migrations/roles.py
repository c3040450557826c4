"""The seven Postgres roles of a deployment, by trust. A step per cluster, run once by a superuser, never a migration.

    python -m goodword.migrations.roles postgresql://master@host/goodword goodword

`<prefix>_click`, `_webhook`, `_app`, `_admin`, `_jobs` and `_migrator` may log in; nobody can log in as `_ledger`,
which owns the functions that post points. Settings stand in the role and not in the connection, because a SET per
connection pins a connection of RDS Proxy.
"""

import sys
from collections.abc import Mapping

import psycopg
from psycopg import Connection, sql

SERVING = ("click", "webhook", "app", "admin")
LOGIN = (*SERVING, "jobs", "migrator")
LEDGER = "ledger"

_TIMEOUTS: Mapping[str, Mapping[str, str]] = {
    **{role: {"statement_timeout": "5s", "lock_timeout": "2s"} for role in SERVING},
    "jobs": {"statement_timeout": "60s", "lock_timeout": "2s"},
    "migrator": {"lock_timeout": "5s"},
}

# A request finds its rows by an index. A plan that was made while a table was small, and is kept, would read all of it.
_PLANS: Mapping[str, str] = {"enable_seqscan": "off", "jit": "off", "max_parallel_workers_per_gather": "0"}


def create_roles(connection: Connection, prefix: str, passwords: Mapping[str, str] | None = None) -> None:
    """Create or update the roles for the database of this connection (a superuser's, in autocommit).

    `passwords` by role name without its prefix, where the cluster asks for them; with IAM nobody has one.
    """
    with connection.transaction():
        existing = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        iam = "rds_iam" in existing
        for role in (*LOGIN, LEDGER):
            name = sql.Identifier(f"{prefix}_{role}")
            if f"{prefix}_{role}" not in existing:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
            if role in LOGIN:
                connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(name))
                if iam:
                    connection.execute(sql.SQL("GRANT rds_iam TO {}").format(name))
            for setting, value in _settings(role).items():
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
                )
            if passwords and role in passwords:
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(passwords[role])))
        migrator, ledger = (sql.Identifier(f"{prefix}_{role}") for role in ("migrator", LEDGER))
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(database, migrator))
        connection.execute(sql.SQL("GRANT {} TO {}").format(ledger, migrator))


def _settings(role: str) -> dict[str, str]:
    if role == LEDGER:
        return {}
    return {
        "search_path": "goodword",
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "10s",
        **_TIMEOUTS[role],
        **(_PLANS if role in SERVING else {}),
    }


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1], autocommit=True) as superuser:
        create_roles(superuser, sys.argv[2])
