"""What failed is tried again: by the job with ever longer pauses, or by an operator at once; or it is given up.

An event is read again from its own bytes as they came, so what was a defect of ours yesterday is applied today.
Applying an event twice changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg import Connection

from goodword.core import database, query
from goodword.core.errors import Conflict
from goodword.core.jobs import Batch
from goodword.facts.kinds import Fact
from goodword.payments import events, inbox
from goodword.payments.bodies import EventUnreadable
from goodword.payments.events import InboxEvent
from goodword.payments.inbox import Outcome
from goodword.payments.provider import Delivery, NotAnEvent
from goodword.payments.registry import PROVIDERS

JOB = "replay_webhooks"


@dataclass(frozen=True, slots=True)
class LockedEvent:
    """An event whose row is locked. `body` is None once it is past its retention."""

    company_id: UUID
    id: UUID
    provider: str
    outcome: Outcome
    body: bytes | None


_EVENTS: LiteralString = "SELECT company_id, id, provider, outcome, body FROM inbox_events"

_LOCK = f"""{_EVENTS}
    WHERE company_id = %(company_id)s AND id = %(id)s FOR NO KEY UPDATE
"""

_LOCK_DUE = f"""{_EVENTS}
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


def replay(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    """Apply an event again now. Raises NotFound, and Conflict where its body is past its retention."""
    event = query.one(connection, LockedEvent, _LOCK, company_id=company_id, id=event_id)
    if event is None:
        raise events.not_found()
    if event.body is None:
        raise Conflict("inbox_event_redacted", "The body of this event is past its retention.")
    if event.outcome != "ignored":
        _apply_again(connection, event)
    return events.one(connection, company_id, event_id)


def discard(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    """Give a failed event up. Raises NotFound, and Conflict for one that did not fail."""
    discarded = connection.execute(_DISCARD, {"company_id": company_id, "id": event_id}).fetchone()
    event = events.one(connection, company_id, event_id)
    if discarded is None and not (event.note or "").startswith("discarded"):
        raise Conflict("inbox_event_not_failed", "Only an event that failed can be discarded.")
    return event


def batch(connection: Connection) -> Batch:
    """Try a failed event again that is due: one, because two in a transaction take their locks in no common order."""
    event = query.one(connection, LockedEvent, _LOCK_DUE)
    if event is None:
        return Batch(counts={"events": 0, "applied": 0}, more=False)
    return Batch(counts={"events": 1, "applied": int(_apply_again(connection, event))}, more=True)


def _apply_again(connection: Connection, event: LockedEvent) -> bool:
    """Whether it worked; where not, nothing of it is done but to say why and when to try again."""
    key = {"company_id": event.company_id, "id": event.id}
    try:
        with connection.transaction():
            facts = _facts(event)
            outcome = inbox.apply(connection, event.company_id, event.provider, facts) if facts else "ignored"
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


def _facts(event: LockedEvent) -> Sequence[Fact]:
    """What the bytes of an event say today. Raises EventMalformed and EventUnreadable."""
    provider = PROVIDERS[event.provider]
    read_event = provider.read(Delivery(event.body or b""))
    if isinstance(read_event, NotAnEvent):
        raise read_event.fault
    if read_event.error:
        raise EventUnreadable(read_event.error)
    return provider.facts(read_event.content)
