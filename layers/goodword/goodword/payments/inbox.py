"""The inbox: every provider event once, with its raw body, in one transaction with what it caused.

One SELECT brings the endpoint's secrets and the outcome stored for the still unverified event id, so a duplicate costs
one trip. An event that cannot be applied is kept as failed in a second transaction, and applied again when it comes
again. Nothing is acknowledged before it is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from goodword.core import query
from goodword.core.fields import AnswerModel
from goodword.core.query import Later
from goodword.facts.kinds import Fact
from goodword.payments.bodies import EventUnreadable
from goodword.referral import applying

ProviderName = Literal["stripe", "whop"]
Outcome = Literal["applied", "ignored", "parked", "failed"]


class HandledBeforeError(Exception):
    """A twin of the event was in flight and has handled it: nothing of this one is kept."""


class Receipt(AnswerModel):
    """The answer to a provider."""

    received: bool = True
    duplicate: bool
    outcome: Outcome


class Recipient(NamedTuple):
    """The endpoint that an event came in at, with the outcome stored for its id, if it came before.

    `company_id` is the company the event is about; None when an app's endpoint names one that we do not know.
    """

    endpoint_id: UUID
    own_company_id: UUID
    company_id: UUID | None
    livemode: bool
    secrets: Sequence[str]
    outcome: Outcome | None


class KeptEvent(NamedTuple):
    """One authentic event, as it is kept. `note` says why it means nothing here; `error` why it cannot be read."""

    id: UUID
    company_id: UUID
    endpoint_company_id: UUID
    endpoint_id: UUID
    provider: ProviderName
    event_id: str
    type: str
    livemode: bool | None
    headers: Mapping[str, str]
    body: bytes
    note: str | None = None
    error: str | None = None


class _Attempts(NamedTuple):
    attempts: int


_RECIPIENT = """
    SELECT endpoint.id AS endpoint_id, own.id AS own_company_id,
        CASE endpoint.scope WHEN 'app' THEN (SELECT id FROM companies AS named
            WHERE named.whop_company_id = %(provider_company)s::text AND named.livemode = own.livemode)
        ELSE own.id END AS company_id,
        own.livemode, endpoint.secrets,
        (SELECT outcome FROM inbox_events AS event WHERE event.provider = %(provider)s
            AND event.endpoint_id = endpoint.id AND event.event_id = %(event_id)s) AS outcome
    FROM provider_endpoints AS endpoint
    JOIN companies AS own ON own.id = endpoint.company_id
    WHERE endpoint.id = %(endpoint_id)s AND endpoint.provider = %(provider)s AND endpoint.disabled_at IS NULL
        AND (endpoint.scope = 'company' OR %(allows_app)s)
"""

# Waits for a twin in flight. A failed event is taken up again; a handled one returns no row.
_KEEP = """
    INSERT INTO inbox_events AS kept (company_id, id, endpoint_company_id, endpoint_id, provider, event_id, type,
        livemode, headers, body, outcome, error, note, next_attempt_at, handled_at)
    VALUES (%(company_id)s, %(id)s, %(endpoint_company_id)s, %(endpoint_id)s, %(provider)s, %(event_id)s, %(type)s,
        %(livemode)s, %(headers)s, %(body)s, %(outcome)s, %(error)s, %(note)s,
        next_inbox_attempt(%(outcome)s, %(error)s, 1),
        CASE WHEN %(outcome)s <> 'failed' THEN clock_timestamp() END)
    ON CONFLICT ON CONSTRAINT inbox_events_event_uq DO UPDATE
        SET attempts = kept.attempts + 1, outcome = excluded.outcome, error = excluded.error, note = excluded.note,
            next_attempt_at = next_inbox_attempt(excluded.outcome, excluded.error, kept.attempts + 1),
            handled_at = excluded.handled_at
        WHERE kept.outcome = 'failed'
    RETURNING attempts
"""

_OUTCOME = """
    SELECT outcome FROM inbox_events
    WHERE provider = %(provider)s AND endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s
"""

_PARK = """
    UPDATE inbox_events SET outcome = 'parked'
    WHERE provider = %(provider)s AND endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s
"""


def recipient(
    connection: Connection, provider: str, endpoint_id: UUID, event_id: str | None, provider_company: str | None,
    *, allows_app: bool,
) -> Recipient | None:  # fmt: skip
    """The endpoint with its secrets, and the outcome stored for an event id; None where there is none that is on.

    `provider_company` is the provider's own id of the company that the event is about, where it says so. An app's
    endpoint is on where the deployment `allows_app` endpoints.
    """
    return query.one(
        connection, Recipient, _RECIPIENT,
        provider=provider, endpoint_id=endpoint_id, event_id=event_id, provider_company=provider_company,
        allows_app=allows_app,
    )  # fmt: skip


def receive(connection: Connection, event: KeptEvent, facts: Sequence[Fact]) -> Receipt:
    """Keep an event and apply its facts, in the caller's one transaction.

    Whether it was handled before is asked first and read last, for a wait less: a twin that was in flight is rare.
    Raises HandledBeforeError then, and else whatever applying raises; the caller keeps the event as failed in a
    transaction of its own.
    """
    outcome: Outcome = "failed" if event.error else "applied" if facts else "ignored"
    is_kept = _keep(connection, event, outcome, event.error)
    if facts and apply(connection, event.company_id, event.provider, facts) == "parked":
        outcome = "parked"
        query.do(connection, _PARK, **_key(event))
    if not is_kept():
        raise HandledBeforeError
    return Receipt(duplicate=False, outcome=outcome)


def duplicate(connection: Connection, event: KeptEvent) -> Receipt:
    """The receipt of an event that was handled before."""
    row = connection.execute(_OUTCOME, _key(event)).fetchone()
    if row is None:
        raise LookupError("an event that conflicted is there")
    return Receipt(duplicate=True, outcome=row[0])


def apply(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> Outcome:
    """Store facts and bring every referral they concern to what they say."""
    return "parked" if applying.apply(connection, company_id, provider, facts) else "applied"


def keep_failed(connection: Connection, event: KeptEvent, fault: Exception) -> Receipt:
    """Keep an event that could not be applied, with what stood in its way but no data of its body."""
    is_kept = _keep(connection, event, "failed", event.error or error_of(fault))
    return Receipt(duplicate=False, outcome="failed") if is_kept() else duplicate(connection, event)


def error_of(fault: Exception) -> str:
    """What to say of a fault: never its message, into which Postgres puts the values of a row."""
    return str(fault) if isinstance(fault, EventUnreadable) else type(fault).__name__


def _keep(connection: Connection, event: KeptEvent, outcome: Outcome, error: str | None) -> Later[bool]:
    """Keep an event; the answer is whether it was not handled before."""
    columns = {**event._asdict(), "headers": Jsonb(event.headers), "outcome": outcome, "error": error}
    attempts_later = query.one_later(connection, _Attempts, _KEEP, **columns)
    return lambda: attempts_later() is not None


def _key(event: KeptEvent) -> dict[str, object]:
    return {"provider": event.provider, "endpoint_id": event.endpoint_id, "event_id": event.event_id}
