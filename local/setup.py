"""Prepares a database for the bundle, as a deployment would: roles, then migrations, then a company.

Roles get random passwords, kept in the database for all who prepare it, where only who prepared it may read them, and
in libpq's own password file under GOODWORD_HOME. The functions' environment names users but no secret, exactly as in
AWS, where a token signed on the spot takes the password's place.
"""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import ValidationError

from goodword.accounts.companies import NewCompany
from goodword.core import ids, refusals
from goodword.migrations import MigrationError, migrate
from goodword.migrations.roles import LOGIN, create_roles
from goodword.payments import endpoints
from goodword.payments.endpoints import NewEndpoint
from goodword.program import onboarding
from goodword.program.document import Program

DATABASE = "goodword"

PRIVACY_SECRET = "of-this-machine-alone-and-no-secret-at-all"  # noqa: S105 - it says so itself
"""Fixed, so that what one run has hashed the next one recognises."""

_LOCK = "SELECT pg_advisory_lock(hashtextextended('goodword.local.setup', 0))"
_CREATE_STORE = """
    CREATE SCHEMA IF NOT EXISTS goodword_local;
    CREATE TABLE IF NOT EXISTS goodword_local.role_passwords (role text PRIMARY KEY, password text NOT NULL)
"""
_STORE = """
    INSERT INTO goodword_local.role_passwords (role, password) VALUES (%(role)s, %(password)s) ON CONFLICT DO NOTHING
"""
_STORED = "SELECT role, password FROM goodword_local.role_passwords"


class SetupError(OSError):
    """The database cannot be prepared; the message is one line that says why."""


@dataclass(frozen=True)
class Prepared:
    """A migrated database: template.yaml's parameters for it, and what a process needs besides to log in."""

    parameters: Mapping[str, str]
    environment: Mapping[str, str]
    migrator_url: str


def prepare(admin_url: str, *, home: Path, role_prefix: str | None = None) -> Prepared:
    """Make roles and schema where they are missing. `admin_url` may create roles. Raises SetupError.

    Whoever prepares the same database at the same time waits.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            _needs_utf8(admin)
            admin.execute(_LOCK)
            host, port, database = admin.info.host, admin.info.port, admin.info.dbname
            prefix = role_prefix or role_prefix_of(database)
            with admin.transaction():
                passwords = _passwords(admin, prefix)
                create_roles(admin, prefix, passwords)
            passfile = _write_passfile(home / f"{prefix}.pgpass", prefix, passwords)
            migrator_url = make_conninfo(
                **_shared(admin_url), host=host, port=port, dbname=database, user=f"{prefix}_migrator",
                passfile=str(passfile),
            )  # fmt: skip
            with psycopg.connect(migrator_url, autocommit=True) as migrator:
                migrate(migrator, prefix)
    except (psycopg.Error, MigrationError) as fault:
        raise SetupError(f"the database cannot be prepared: {' '.join(str(fault).split())}") from fault
    return Prepared(
        parameters={
            "DatabaseHost": host,
            "DatabasePort": str(port),
            "DatabaseName": database,
            "DatabaseRolePrefix": prefix,
            "DatabaseIamAuthentication": "false",
            "DatabaseCaFile": "",
            "PrivacySecret": PRIVACY_SECRET,
        },
        environment={"PGPASSFILE": str(passfile)},
        migrator_url=migrator_url,
    )


def create_database(admin_url: str, name: str = DATABASE) -> None:
    """Create the embedded server's database unless it is there."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %(name)s", {"name": name}).fetchone() is None:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def open_company(
    prepared: Prepared, *, name: str, livemode: bool, destination_url: str, base_url: str
) -> dict[str, str]:
    """A new company with an endpoint for each provider: the line of docs/api.md, The local server.

    Raises ValueError for a name or a destination that cannot be.
    """
    company = new_company(name=name, livemode=livemode, destination_url=destination_url)
    with psycopg.connect(prepared.migrator_url, autocommit=True) as connection:
        return write_company(connection, company, base_url)


def new_company(*, name: str, livemode: bool, destination_url: str) -> NewCompany:
    """A company to open. Raises ValueError for a name or a destination that cannot be."""
    try:
        return NewCompany(name=name, livemode=livemode, destination_url=destination_url)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise ValueError(f"{first['loc'][0]} {refusals.words_for(first)}") from None


def write_company(
    connection: psycopg.Connection, company: NewCompany, base_url: str, program: Program | None = None
) -> dict[str, str]:
    """What `open_company` writes and gives, over a connection that may: the migrator's, or a superuser's."""
    stripe_secret, whop_secret = f"whsec_{secrets.token_urlsafe(24)}", f"ws_{secrets.token_hex(32)}"
    with connection.transaction():
        opened = onboarding.open_company(connection, company, program)
        stripe = endpoints.create(
            connection, opened.id, ids.new_id(), NewEndpoint(provider="stripe", secrets=[stripe_secret]), base_url
        )
        whop = endpoints.create(
            connection, opened.id, ids.new_id(), NewEndpoint(provider="whop", secrets=[whop_secret]), base_url
        )
    return {
        "url": base_url,
        "company": ids.public("cmp", opened.id),
        "secret_key": opened.secret_key,
        "publishable_key": opened.publishable_key,
        "stripe_endpoint": stripe.url,
        "stripe_secret": stripe_secret,
        "whop_endpoint": whop.url,
        "whop_secret": whop_secret,
    }


def _shared(admin_url: str) -> dict[str, str]:
    """What the administrator's connection says about the way to the server, not about who is asking."""
    return {
        name: str(value)
        for name, value in conninfo_to_dict(admin_url).items()
        if name in {"sslmode", "sslrootcert", "connect_timeout"}
    }


def role_prefix_of(database: str) -> str:
    """The start of the roles' names. Roles belong to the server, and its other databases may be other clones'."""
    return DATABASE if database == DATABASE else f"{DATABASE}_{hashlib.sha256(database.encode()).hexdigest()[:8]}"


def _needs_utf8(admin: psycopg.Connection) -> None:
    encoding = admin.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise SetupError(
            f"the database {admin.info.dbname} has the encoding {encoding}, and must have UTF8: "
            "CREATE DATABASE goodword ENCODING 'UTF8' TEMPLATE template0"
        )


def _passwords(admin: psycopg.Connection, role_prefix: str) -> dict[str, str]:
    """The roles' passwords, which every clone that uses this database shares; new ones where there are none."""
    admin.execute(_CREATE_STORE)
    for role in LOGIN:
        admin.execute(_STORE, {"role": f"{role_prefix}_{role}", "password": secrets.token_hex(24)})
    kept = dict(admin.execute(_STORED).fetchall())
    return {role: kept[f"{role_prefix}_{role}"] for role in LOGIN}


def _write_passfile(path: Path, role_prefix: str, passwords: Mapping[str, str]) -> Path:
    lines = [f"*:*:*:{role_prefix}_{role}:{password}\n" for role, password in passwords.items()]
    _write_private(path, "".join(lines))
    return path


def _write_private(path: Path, text: str) -> None:
    """Write a file that is whole at any time: another server may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)
