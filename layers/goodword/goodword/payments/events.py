"""The events that came in, as an operator sees them: never a body, which holds other people's data."""

from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.core import ids, paging
from goodword.core import query as queries
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant, RequestModel
from goodword.core.ids import EndpointId, InboxEventId
from goodword.core.paging import Page, PageQuery
from goodword.payments.inbox import Outcome, ProviderName


class InboxEvent(AnswerModel):
    """One event as it was kept; never its body, which holds other people's data."""

    id: InboxEventId
    provider: ProviderName
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


class InboxList(Page[InboxEvent]):
    """A page of events, newest first."""


class InboxFilter(RequestModel):
    """Which events GET /v1/inbox is asked for; `status` is the outcome."""

    status: Outcome | None = None
    provider: ProviderName | None = None


class InboxQuery(PageQuery, InboxFilter):
    """How GET /v1/inbox is asked."""

    after: str | None = Field(default=None, pattern=r"^inb_[0-9a-f]{32}$")


_EVENTS: LiteralString = """
    SELECT id, provider, endpoint_id, event_id, type, livemode, outcome, error, note, attempts, next_attempt_at,
        received_at, handled_at
    FROM inbox_events"""

_LIST = f"""{_EVENTS}
    WHERE company_id = %(company_id)s
        AND (%(status)s::text IS NULL OR outcome = %(status)s)
        AND (%(provider)s::text IS NULL OR provider = %(provider)s)
        AND (%(after)s::uuid IS NULL OR (received_at, id) < (
            SELECT received_at, id FROM inbox_events WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY received_at DESC, id DESC LIMIT %(limit)s + 1
"""  # noqa: S608 - from constants of this module

_ONE = f"{_EVENTS} WHERE company_id = %(company_id)s AND id = %(id)s"


def listed(connection: Connection, company_id: UUID, query: InboxQuery) -> InboxList:
    """A page of the company's events, newest first. Raises Refused for an `after` that is none of them."""
    after = ids.parse("inb", query.after) if query.after else None
    values = {**query.model_dump(), "after": after}
    events = queries.every(connection, InboxEvent, _LIST, company_id=company_id, **values)
    if after and not events:
        paging.refuse_unknown(connection, _ONE, "is no event of this company", company_id=company_id, id=after)
    return InboxList.of(events, query.limit)


def one(connection: Connection, company_id: UUID, event_id: UUID | None) -> InboxEvent:
    """One event of the company. Raises NotFound."""
    event = queries.one(connection, InboxEvent, _ONE, company_id=company_id, id=event_id)
    if event is None:
        raise not_found()
    return event


def not_found() -> NotFound:
    """The answer about an event that the company does not have."""
    return NotFound("inbox_event_not_found", "There is no such event.")
