"""The environment variables of the local runner, read and checked before anything is started.

libpq's own, `PG*`, are forgotten: what the shell says of somebody's other Postgres must not change ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from local.pool import DEFAULT_WORKERS

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 3000
DEFAULT_DESTINATION = "https://app.example.com/welcome"
PARAMETERS = {
    "LOG_LEVEL": "LogLevel",
    "DATABASE_PREPARED_STATEMENTS": "DatabasePreparedStatements",
    "ALLOW_APP_ENDPOINTS": "AllowAppEndpoints",
    "STRIPE_API_URL": "StripeApiUrl",
    "WHOP_API_URL": "WhopApiUrl",
    "WHOP_SANDBOX_API_URL": "WhopSandboxApiUrl",
}
"""The variables that are parameters of the template, by their names there."""


class UsageError(Exception):
    """An environment variable makes no sense; the message is one line that says why."""


@dataclass(frozen=True)
class Settings:
    """What the variables say; `parameters` are the template's, and only those that are given."""

    port: int
    home: Path
    destination: str
    database_url: str | None
    workers: int
    once: bool
    parameters: Mapping[str, str]


def read(parameters: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Read the variables; `parameters` are those of the template, as it declares them. Raises UsageError."""
    return Settings(
        port=_number("PORT", DEFAULT_PORT, least=0),
        home=Path(os.environ.get("GOODWORD_HOME") or ROOT / ".goodword").absolute(),
        destination=os.environ.get("DESTINATION") or DEFAULT_DESTINATION,
        database_url=_database_url(os.environ.get("DATABASE_URL")),
        workers=_number("GOODWORD_WORKERS", DEFAULT_WORKERS, least=1),
        once=os.environ.get("ONCE") == "1",
        parameters={
            name: _one_of(variable, value, parameters[name].get("AllowedValues"))
            for variable, name in PARAMETERS.items()
            if (value := os.environ.get(variable))
        },
    )


def forget_libpq() -> None:
    """Take libpq's variables out of this process, and so out of all that it starts."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _number(variable: str, default: int, *, least: int) -> int:
    text = os.environ.get(variable, "")
    if text and not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{variable} is not a whole number: {text}")
    value = int(text or default)
    if value < least:
        raise UsageError(f"{variable} is {value}, and must be at least {least}")
    return value


def _one_of(variable: str, value: str, allowed: list[str] | None) -> str:
    if allowed is not None and value not in allowed:
        raise UsageError(f"{variable} is {value}, and must be one of {', '.join(allowed)}")
    return value


def _database_url(url: str | None) -> str | None:
    """The URL if libpq can read it. What it says of one that it cannot may show the password, so its words are lost."""
    if not url:
        return None
    refusal = UsageError(
        "DATABASE_URL is not as postgresql://user:password@host:5432/database, "
        "where / ? # % @ and : in a password are percent-encoded"
    )
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        raise refusal from None
    # where the rest of a password that is not encoded ends up
    misread = "@" in f"{parts.get('host')}{parts.get('dbname')}"
    ports = str(parts.get("port") or "").replace(",", "")
    if misread or not (ports or "0").isdecimal():
        raise refusal
    return url
