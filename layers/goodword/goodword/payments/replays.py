"""What failed is tried again: by the job with ever longer pauses, or by an operator at once; or it is given up.

An event is read again from its own bytes as they came, so what was a defect of ours yesterday is applied today.
Applying an event twice changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import class_row
from pydantic import Field

from goodword.core import database, ids
from goodword.core.errors import Conflict, NotFound, invalid_fields
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import EndpointId, InboxEventId
from goodword.core.jobs import Batch
from goodword.facts.kinds import Fact
from goodword.payments import inbox
from goodword.payments.bodies import EventUnreadable
from goodword.payments.inbox import Outcome
from goodword.payments.stripe import events as stripe
from goodword.payments.whop import events as whop

JOB = "replay_webhooks"
RETENTION_JOB = "enforce_retention"
BODIES_PER_BATCH = 1000
BODY_DAYS = 90
"""How long the body of a handled event is kept: providers' own replays and every question come sooner."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An event whose row is locked. `body` is None once it is past its retention."""

    company_id: UUID
    id: UUID
    provider: str
    outcome: Outcome
    body: bytes | None


class InboxEvent(AnswerModel):
    """One event as it was kept; never its body, which holds other people's data."""

    id: InboxEventId
    provider: Literal["stripe", "whop"]
    endpoint_id: EndpointId
    event_id: str
    type: str
    livemode: bool | None
    outcome: Outcome
    error: str | None
    note: str | None
    attempts: int
    next_attempt_at: Instant | None
    received_at: Instant
    handled_at: Instant | None


class InboxList(AnswerModel):
    """A page of events, newest first."""

    data: list[InboxEvent]
    has_more: bool


class InboxQuery(RequestModel):
    """How GET /v1/inbox is asked; `status` is the outcome."""

    status: Outcome | None = None
    provider: Literal["stripe", "whop"] | None = None
    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, pattern=r"^inb_[0-9a-f]{32}$")


_LIST = """
    SELECT id, provider, endpoint_id, event_id, type, livemode, outcome, error, note, attempts, next_attempt_at,
        received_at, handled_at
    FROM inbox_events
    WHERE company_id = %(company_id)s AND (%(id)s::uuid IS NULL OR id = %(id)s)
        AND (%(status)s::text IS NULL OR outcome = %(status)s)
        AND (%(provider)s::text IS NULL OR provider = %(provider)s)
        AND (%(after)s::uuid IS NULL OR (received_at, id) < (
            SELECT received_at, id FROM inbox_events WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY received_at DESC, id DESC LIMIT %(limit)s + 1
"""

_TAKE = """
    SELECT company_id, id, provider, outcome, body FROM inbox_events
    WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_TAKE_DUE = """
    SELECT company_id, id, provider, outcome, body FROM inbox_events
    WHERE outcome = 'failed' AND next_attempt_at <= clock_timestamp() AND body IS NOT NULL
    ORDER BY next_attempt_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""

_HANDLED = """
    UPDATE inbox_events SET outcome = %(outcome)s, error = NULL, attempts = attempts + 1, next_attempt_at = NULL,
        handled_at = clock_timestamp()
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_FAILED_AGAIN = """
    UPDATE inbox_events SET outcome = 'failed', error = %(error)s, attempts = attempts + 1,
        next_attempt_at = next_inbox_attempt('failed', %(error)s, attempts + 1)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""

_DISCARD = """
    UPDATE inbox_events SET outcome = 'ignored', note = 'discarded: ' || error, error = NULL, next_attempt_at = NULL,
        handled_at = clock_timestamp()
    WHERE company_id = %(company_id)s AND id = %(id)s AND outcome = 'failed'
    RETURNING id
"""

_REDACT = """
    UPDATE inbox_events SET body = NULL, headers = '{}' WHERE (company_id, id) IN (
        SELECT company_id, id FROM inbox_events
        WHERE body IS NOT NULL AND outcome <> 'failed' AND received_at < clock_timestamp() - %(age)s
        ORDER BY received_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id
"""


def events(connection: Connection, company_id: UUID, query: InboxQuery) -> InboxList:
    """A page of the company's events, newest first. Raises Refused for an `after` that is none of them."""
    after = ids.parse("inb", query.after) if query.after else None
    rows = _listed(connection, company_id, None, query.status, query.provider, after, query.limit)
    if after and not rows and not _listed(connection, company_id, after, None, None, None, 1):
        raise invalid_fields(("after", "is no event of this company"))
    return InboxList(data=rows[: query.limit], has_more=len(rows) > query.limit)


def replay(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    """Apply an event again now. Raises NotFound, and Conflict where its body is past its retention."""
    taken = (
        connection.cursor(row_factory=class_row(Taken))
        .execute(_TAKE, {"company_id": company_id, "id": event_id})
        .fetchone()
    )
    if taken is None:
        raise NotFound("inbox_event_not_found", "There is no such event.")
    if taken.body is None:
        raise Conflict("inbox_event_redacted", "The body of this event is past its retention.")
    if taken.outcome != "ignored":
        _apply_again(connection, taken)
    return _one(connection, company_id, event_id)


def discard(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    """Give a failed event up. Raises NotFound, and Conflict for one that did not fail."""
    discarded = connection.execute(_DISCARD, {"company_id": company_id, "id": event_id}).fetchone()
    event = _one(connection, company_id, event_id)
    if discarded is None and not (event.note or "").startswith("discarded"):
        raise Conflict("inbox_event_not_failed", "Only an event that failed can be discarded.")
    return event


def redact(connection: Connection) -> Batch:
    """Remove the bodies of handled events that are past their retention; the event itself is known for ever."""
    age = timedelta(days=BODY_DAYS)
    redacted = connection.execute(_REDACT, {"age": age, "limit": BODIES_PER_BATCH}).fetchall()
    return Batch(counts={"bodies": len(redacted)}, more=len(redacted) == BODIES_PER_BATCH)


def batch(connection: Connection) -> Batch:
    """Try a failed event again that is due: one, because two in a transaction take their locks in no common order."""
    taken = connection.cursor(row_factory=class_row(Taken)).execute(_TAKE_DUE).fetchone()
    if taken is None:
        return Batch(counts={"events": 0, "applied": 0}, more=False)
    return Batch(counts={"events": 1, "applied": int(_apply_again(connection, taken))}, more=True)


def _apply_again(connection: Connection, taken: Taken) -> bool:
    """Whether it worked; where not, nothing of it is done but to say why and when to try again."""
    key = {"company_id": taken.company_id, "id": taken.id}
    try:
        with connection.transaction():
            facts = _facts(taken.provider, taken.body or b"")
            outcome = inbox.apply(connection, taken.company_id, taken.provider, facts) if facts else "ignored"
            connection.execute(_HANDLED, {**key, "outcome": outcome})
    except psycopg.Error as fault:
        if fault.sqlstate is None or fault.sqlstate in database.TRANSIENT:
            raise
        error = inbox.error_of(fault)
    except (ValueError, LookupError, ArithmeticError) as fault:
        error = inbox.error_of(fault)
    else:
        return True
    connection.execute(_FAILED_AGAIN, {**key, "error": error})
    return False


def _facts(provider: str, body: bytes) -> Sequence[Fact]:
    if provider == "whop":
        return whop.facts(whop.read_event(body))
    event = stripe.read_event(body)
    if event.thin:
        raise EventUnreadable("thin_event")
    return stripe.facts(event)


def _one(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    rows = _listed(connection, company_id, event_id, None, None, None, 1) if event_id else []
    if not rows:
        raise NotFound("inbox_event_not_found", "There is no such event.")
    return rows[0]


def _listed(
    connection: Connection,
    company_id: UUID,
    event_id: UUID | None,
    status: str | None,
    provider: str | None,
    after: UUID | None,
    limit: int,
) -> list[InboxEvent]:
    return (
        connection.cursor(row_factory=class_row(InboxEvent))
        .execute(
            _LIST,
            {
                "company_id": company_id,
                "id": event_id,
                "status": status,
                "provider": provider,
                "after": after,
                "limit": limit,
            },
        )
        .fetchall()
    )
