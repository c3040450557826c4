"""What may be said of a fault, of a request or of a job: its class, SQLSTATE, constraint and frames.

Never its message: Postgres puts the values of a row into it, libpq hosts and users, pydantic what it was given. And the
log, the answer of a function and the queue of failures are read by people who may not read the database.
"""

import traceback
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from pydantic import ValidationError

from goodword.core.errors import DomainError
from goodword.core.observability import logger

# What libpq and psycopg say of a connection that failed, whichever host, user and database it was; the first counts.
_KINDS = (
    ("host_unknown", ("failed to resolve host", "could not translate host name")),
    ("certificate", ("certificate", "SSL error")),
    ("tls_refused", ("does not support SSL", "SSL negotiation", "no encryption")),
    ("password", ("password authentication failed", "PAM authentication failed", "no password supplied")),
    ("not_permitted", ("pg_hba.conf", "is not permitted to log in", "permission denied for database")),
    ("role_or_database_unknown", ("does not exist\n", '" does not exist')),
    ("too_many_connections", ("too many", "remaining connection slots")),
    ("starting_or_stopping", ("is starting up", "is shutting down", "in recovery mode", "not accepting connections")),
    ("read_only", ("session is read-only", "server is in hot standby mode")),
    ("timed_out", ("timeout expired", "timed out")),
    ("refused", ("Connection refused", "No such file or directory")),
    ("unreachable", ("No route to host", "Network is unreachable", "Network unreachable")),
    ("hung_up", ("closed the connection unexpectedly", "connection is lost", "Connection reset", "Broken pipe")),
)


class Fault(Exception):
    """Something that should not happen; its message may be read by anybody."""


def described(fault: BaseException) -> dict[str, object]:
    """What may be said of a fault, for a line of the log."""
    description: dict[str, object] = {"fault": type(fault).__name__}
    if isinstance(fault, psycopg.Error):
        description |= {"sqlstate": fault.sqlstate, "constraint": fault.diag.constraint_name}
        if fault.sqlstate is None and isinstance(fault, psycopg.OperationalError):
            description["connection"] = connection_failure(fault)
    elif isinstance(fault, DomainError):
        description["code"] = fault.code
    elif isinstance(fault, ValidationError):
        description["fields"] = ", ".join(sorted(_wrong_fields(fault)))
    return description


def _wrong_fields(invalid: ValidationError) -> set[str]:
    """What is wrong with which fields of a model; a field that the model does not have may have any name."""
    problems = invalid.errors(include_url=False, include_context=False, include_input=False)
    return {
        f"{problem['loc'][0]} {problem['type']}"
        if problem["loc"] and problem["type"] != "extra_forbidden"
        else problem["type"]
        for problem in problems
    }


def connection_failure(fault: psycopg.OperationalError) -> str:
    """Why there is no connection, without the host, the user and the database that the message names."""
    message = str(fault)
    return next((kind for kind, signs in _KINDS if any(sign in message for sign in signs)), "other")


def logged(fault: Exception, **where: object) -> Fault:
    """Write the error line of a fault, with `where` it happened; what to raise in its place, `from None`.

    The frames go along: Lambda reports them with the class and the message of what is raised.
    """
    description = described(fault)
    frames = [line.strip() for line in traceback.format_tb(fault.__traceback__)]
    logger.error("fault", extra={**where, **description, "frames": frames})
    return Fault(" ".join(str(value) for value in description.values() if value)).with_traceback(fault.__traceback__)


def log_outage(outage: DomainError, **where: object) -> None:
    """Write the error line of an answer that tells of something we depend on, with its cause; once a request."""
    if outage.__cause__ is not None:
        logger.error(outage.code.replace("_", " "), extra={**where, **described(outage.__cause__)})


@contextmanager
def without_values(**where: object) -> Generator[None]:
    """Raise whatever is raised inside as a Fault that has been logged."""
    try:
        yield
    except Fault:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, its message may hold values
        raise logged(fault, **where) from None
