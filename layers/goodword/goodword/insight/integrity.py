"""Whether a company's books are right: GET /v1/integrity.

A company of ordinary size is checked while it asks. One with more entries than that is told what its latest audit found
(`goodword.insight.audit`); each check says as of when. `head` is where the company's chain ends: who notes it elsewhere
can tell later that nothing before it was rewritten.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.core.fields import AnswerModel, Instant
from goodword.insight import checks
from goodword.insight.windows import ENDS, WHOLE, Window

MOST_ENTRIES = 100_000
"""A company with more entries is not checked while it waits."""

SEALS_AT_ONCE = 20_000
"""Seals are the dearest to check: a statement about more of them might take longer than one may."""


class CheckResult(AnswerModel):
    """What one check found, and as of when; `detail` names the rows that contradict it. Null: not checked yet."""

    name: str
    ok: bool | None
    detail: str | None
    checked_at: Instant | None


class Head(AnswerModel):
    """The last seal of a company's chain, its hash in hexadecimal digits."""

    position: int
    hash: str
    sealed_at: Instant


class Integrity(AnswerModel):
    """The answer: `ok` is that of all checks together, and null while one was never made."""

    ok: bool | None
    checks: list[CheckResult]
    head: Head | None


_STANDING = """
    SELECT h.position, encode(h.hash, 'hex') AS hash, h.sealed_at, clock_timestamp() AS now,
        coalesce(h.position, 0) <= %(most)s AND (
            SELECT count(*) FROM (SELECT FROM entries WHERE company_id = %(company_id)s LIMIT %(most)s + 1) AS counted
        ) <= %(most)s AS small
    FROM companies c LEFT JOIN chain_heads h ON h.company_id = c.id
    WHERE c.id = %(company_id)s
"""

_AUDITED = "SELECT name, ok, detail, checked_at FROM integrity_checks WHERE company_id = %(company_id)s"


def report(connection: Connection, company_id: UUID) -> Integrity:
    """Every check with its result, made now or by the latest audit."""
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(_STANDING, {"company_id": company_id, "most": MOST_ENTRIES})
        .fetchone()
    )
    if row is None:
        raise LookupError(f"no company {company_id}")
    position = row["position"]
    head = None if position is None else Head(position=position, hash=row["hash"], sealed_at=row["sealed_at"])
    if row["small"]:
        faults = checks.faults(connection, company_id, _windows(position or 0))
        results = [result(name, faults.get(name, ()), row["now"]) for name in checks.NAMES]
    else:
        results = _audited(connection, company_id)
    return Integrity(ok=_all_ok(results), checks=results, head=head)


def result(name: str, faults: Sequence[str], checked_at: datetime) -> CheckResult:
    """A check's result out of what contradicts it."""
    return CheckResult(name=name, ok=not faults, detail="; ".join(faults) or None, checked_at=checked_at)


def _windows(position: int) -> Iterator[Window]:
    """Every key there is, the seals up to `position` in parts."""
    for window in WHOLE:
        if window.space != "seals":
            yield window
            continue
        first, last = ENDS["seals"]
        for middle in range(SEALS_AT_ONCE, position, SEALS_AT_ONCE):
            yield Window("seals", first, middle)
            first = middle + 1
        yield Window("seals", first, last)


def _audited(connection: Connection, company_id: UUID) -> list[CheckResult]:
    rows = connection.cursor(row_factory=dict_row).execute(_AUDITED, {"company_id": company_id}).fetchall()
    by_name: Mapping[str, dict[str, Any]] = {row["name"]: row for row in rows}
    return [
        CheckResult.model_validate(by_name.get(name, {"name": name, "ok": None, "detail": None, "checked_at": None}))
        for name in checks.NAMES
    ]


def _all_ok(results: Sequence[CheckResult]) -> bool | None:
    """False as soon as one is; None while one is not known."""
    if any(each.ok is False for each in results):
        return False
    return None if any(each.ok is None for each in results) else True
