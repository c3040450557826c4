"""The nightly audit as a job, and the sealing of the ledger, which comes first and every hour.

An audit makes every check of `goodword.insight.checks` on a whole company, window by window, each window a batch of its
own: where it is stopped it goes on. Its results are written when it is through, all at once; GET /v1/integrity shows
those of a company too large to be checked on the spot. A company is audited once a day, from its first midnight (UTC)
on, and whenever an operator asks for it.

Books that do not agree are no failure of the job, which did what it is for: it logs one error line per company, and
that line raises an alarm of its own (template.yaml). Rows are named in the answer of GET /v1/integrity, not in the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, cast
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from goodword.core import database, ids
from goodword.core.errors import NotFound
from goodword.core.jobs import Batch
from goodword.core.observability import logger
from goodword.insight import checks, integrity
from goodword.insight.windows import ENDS, Key, Space, Window

JOB = "audit_ledger"
SEALED_AT_ONCE = 20_000
FAULTS_MESSAGE = "the books do not agree"

SPACES: Final[Sequence[Space]] = ("company", "seals", "entries", "users")
KEYS_PER_WINDOW: Final[Mapping[Space, int]] = {"seals": 20_000, "entries": 20_000, "users": 2_000}

_SEAL = "SELECT sealed, more FROM seal_entries(%(limit)s)"

# One company that is due, begun or gone on with: those under way first, then whoever waits longest. Two runs at once
# (a lease that ran out) wait for each other at the row, and the later one finds it where the earlier one left it.
_TAKE_UP = """
    WITH due AS (
        SELECT c.id
        FROM companies c LEFT JOIN audits a ON a.company_id = c.id
        WHERE CASE WHEN a.company_id IS NULL THEN c.created_at < date_trunc('day', clock_timestamp(), 'UTC')
            ELSE a.space IS NOT NULL OR a.started_at IS NULL
                OR a.started_at < date_trunc('day', clock_timestamp(), 'UTC') END
        ORDER BY a.space IS NULL, a.started_at NULLS FIRST, c.id LIMIT 1
    )
    INSERT INTO audits AS known (company_id, started_at, space) SELECT id, clock_timestamp(), 'company' FROM due
    ON CONFLICT ON CONSTRAINT audits_pk DO UPDATE SET
        started_at = CASE WHEN known.space IS NULL THEN excluded.started_at ELSE known.started_at END,
        faults = CASE WHEN known.space IS NULL THEN '{}' ELSE known.faults END,
        first_key = CASE WHEN known.space IS NULL THEN NULL ELSE known.first_key END,
        space = coalesce(known.space, excluded.space)
    RETURNING company_id, started_at, space, first_key, faults
"""

_ASK = """
    INSERT INTO audits (company_id) SELECT id FROM companies WHERE id = %(company_id)s
    ON CONFLICT ON CONSTRAINT audits_pk DO UPDATE SET started_at = NULL, space = NULL
"""

_LEAVE_AT = """
    UPDATE audits SET space = %(space)s, first_key = %(first_key)s, faults = %(faults)s
    WHERE company_id = %(company_id)s
"""

_KEEP_RESULTS = """
    INSERT INTO integrity_checks (company_id, name, ok, detail, checked_at)
    SELECT %(company_id)s, name, ok, detail, checked_at
    FROM jsonb_to_recordset(%(results)s) AS row (name text, ok boolean, detail text, checked_at timestamptz)
    ON CONFLICT ON CONSTRAINT integrity_checks_pk DO UPDATE
    SET ok = excluded.ok, detail = excluded.detail, checked_at = excluded.checked_at
"""

_HEAD = "SELECT position, encode(hash, 'hex') AS hash FROM chain_heads WHERE company_id = %(company_id)s"

# Where the window after this one begins, if there is one.
_NEXT_KEY: Final[Mapping[Space, LiteralString]] = {
    "seals": """
        SELECT position FROM seals WHERE company_id = %(company_id)s AND position >= %(first)s
        ORDER BY position OFFSET %(keys)s LIMIT 1
    """,
    "entries": """
        SELECT id FROM entries WHERE company_id = %(company_id)s AND id >= %(first)s
        ORDER BY id OFFSET %(keys)s LIMIT 1
    """,
    "users": """
        SELECT user_id FROM wallets WHERE company_id = %(company_id)s AND user_id >= %(first)s
        ORDER BY user_id OFFSET %(keys)s LIMIT 1
    """,
}


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit under way: the space it is in, where its next window begins (None: at the start), and its faults."""

    company_id: UUID
    started_at: datetime
    space: Space
    first_key: str | None
    faults: Mapping[str, Sequence[str]]


def batch(connection: Connection) -> Batch:
    """Seal what can be sealed; once that is done, check one window of one company's books."""
    sealed, more = _sealed(connection)
    if more:
        return Batch({"sealed": sealed}, more=True)
    row = connection.cursor(row_factory=dict_row).execute(_TAKE_UP).fetchone()
    if row is None:
        return Batch({"sealed": sealed}, more=False)
    audit = Audit(**row)
    window, next_key = _window(connection, audit)
    in_window = _faults(connection, audit.company_id, window)
    faults = {
        name: [*audit.faults.get(name, ()), *in_window.get(name, ())][: checks.MOST_NAMED]
        for name in audit.faults.keys() | in_window.keys()
    }
    following = audit.space if next_key else _space_after(audit.space)
    connection.execute(
        _LEAVE_AT,
        {
            "company_id": audit.company_id,
            "space": following,
            "first_key": None if next_key is None else str(next_key),
            "faults": Jsonb(faults),
        },
    )
    counts = {"sealed": sealed, "windows": 1}
    if following is None:
        _finish(connection, audit, faults)
        counts |= {"audited": 1, "disagreeing": int(bool(faults))}
    return Batch(counts, more=True)


def ask_for(connection: Connection, company_id: UUID | None) -> None:
    """Have a company audited by the next run, from the start, whether or not it was today. Raises NotFound."""
    if connection.execute(_ASK, {"company_id": company_id}).rowcount == 0:
        raise NotFound("company_not_found", "There is no such company.")


def _sealed(connection: Connection) -> tuple[int, bool]:
    row = connection.execute(_SEAL, {"limit": SEALED_AT_ONCE}).fetchone()
    if row is None:
        raise LookupError("seal_entries answers one row")
    return row


def _window(connection: Connection, audit: Audit) -> tuple[Window, Key | None]:
    """The audit's next window, and where the one after it begins; None where it is the last of its space."""
    first, last = ENDS[audit.space]
    if audit.first_key is not None:
        first = UUID(audit.first_key) if isinstance(first, UUID) else int(audit.first_key)
    if audit.space not in _NEXT_KEY:
        return Window(audit.space, first, last), None
    row = connection.execute(
        _NEXT_KEY[audit.space],
        {"company_id": audit.company_id, "first": first, "keys": KEYS_PER_WINDOW[audit.space]},
    ).fetchone()
    if row is None:
        return Window(audit.space, first, last), None
    next_key = cast("Key", row[0])
    before = UUID(int=next_key.int - 1) if isinstance(next_key, UUID) else next_key - 1
    return Window(audit.space, first, before), next_key


def _faults(connection: Connection, company_id: UUID, window: Window) -> Mapping[str, Sequence[str]]:
    """The faults in a window. One that cannot be looked at is a fault, too, and keeps no other from being looked at."""
    try:
        with connection.transaction():
            return checks.faults(connection, company_id, [window])
    except psycopg.Error as fault:
        if fault.sqlstate is None or fault.sqlstate in database.TRANSIENT:
            raise
        unseen = f"{window.space} from {window.first} to {window.last} could not be checked: {fault.sqlstate}"
        return {check.name: [unseen] for check in checks.CHECKS if check.space == window.space}


def _space_after(space: Space) -> Space | None:
    later = SPACES[SPACES.index(space) + 1 :]
    return later[0] if later else None


def _finish(connection: Connection, audit: Audit, faults: Mapping[str, Sequence[str]]) -> None:
    """Write the results, as of the audit's start: what changed behind its back since then it may have missed."""
    results = [integrity.result(name, faults.get(name, ()), audit.started_at) for name in checks.NAMES]
    connection.execute(
        _KEEP_RESULTS,
        {"company_id": audit.company_id, "results": Jsonb([each.model_dump(mode="json") for each in results])},
    )
    row = connection.cursor(row_factory=dict_row).execute(_HEAD, {"company_id": audit.company_id}).fetchone()
    subject: dict[str, Any] = {"company": ids.public("cmp", audit.company_id), "head": row}
    if faults:
        logger.error(FAULTS_MESSAGE, extra={**subject, "checks": sorted(faults)})
    else:
        logger.info("the books agree", extra=subject)
