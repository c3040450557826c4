"""Asking the providers what they could not deliver, of endpoints that were given a key for it.

What a provider lists goes the way of a delivery, event by event, each in its own transaction, so what was delivered is
a duplicate and nothing can count twice. Providers are asked outside of transactions, page by page; until when a company
is reconciled moves only after its last page was stored. A run that is killed, late, doubled or concurrent finds what
the one before has stored and goes on.

How long ago a provider was asked is machinery, and so real time. When something happened is what it says itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast
from uuid import UUID

from psycopg import Connection

from goodword.core import clock, database, fetching, ids, query, secrets_manager
from goodword.core.errors import Unavailable
from goodword.core.fetching import NotAnswered
from goodword.core.jobs import Batch
from goodword.core.observability import logger
from goodword.core.settings import settings
from goodword.payments import reception
from goodword.payments.inbox import Outcome, Recipient
from goodword.payments.provider import Ask, Delivery, Listing, ListUnreadable, Missed, NotAnEvent
from goodword.payments.reading import Object
from goodword.payments.registry import PROVIDERS

JOB: Final = "reconcile_payments"
OVERLAP: Final = timedelta(days=1)
"""How far before the last time is asked: providers show some things late, and their clocks are not ours."""
AT_FIRST: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Account:
    """What to ask a provider for: with which key, about which company. `provider_company` is Whop's own id of it."""

    company_id: UUID
    endpoint_company_id: UUID
    endpoint_id: UUID
    provider: str
    livemode: bool
    api_key: str = field(repr=False)
    provider_company: str | None
    reconciled_until: datetime | None


# The account that has waited longest comes first, so that a large company cannot keep all others waiting for ever.
_ACCOUNTS = """
    SELECT company.id AS company_id, endpoint.company_id AS endpoint_company_id, endpoint.id AS endpoint_id,
        endpoint.provider, company.livemode, endpoint.api_key, company.whop_company_id AS provider_company,
        done.reconciled_until
    FROM provider_endpoints AS endpoint
    JOIN companies AS own ON own.id = endpoint.company_id
    JOIN companies AS company ON CASE endpoint.scope
        WHEN 'app' THEN company.livemode = own.livemode AND company.whop_company_id IS NOT NULL
        ELSE company.id = own.id END
    LEFT JOIN reconciliations AS done ON done.company_id = company.id AND done.endpoint_id = endpoint.id
    WHERE endpoint.reconciles AND (endpoint.scope = 'company' OR %(allows_app)s)
    ORDER BY done.asked_at NULLS FIRST, endpoint.id, company.id
"""

_NOTE = """
    INSERT INTO reconciliations AS known (company_id, endpoint_company_id, endpoint_id, reconciled_until, asked_at)
    VALUES (%(company_id)s, %(endpoint_company_id)s, %(endpoint_id)s, %(until)s, clock_timestamp())
    ON CONFLICT ON CONSTRAINT reconciliations_pk DO UPDATE
        SET reconciled_until = greatest(known.reconciled_until, excluded.reconciled_until), asked_at = excluded.asked_at
"""

_OUTCOMES = """
    SELECT event_id, outcome FROM inbox_events
    WHERE provider = %(provider)s AND endpoint_id = %(endpoint_id)s AND event_id = ANY (%(event_ids)s)
"""

_ENDED = """
    SELECT subscription_key FROM subscriptions
    WHERE company_id = %(company_id)s AND provider = %(provider)s AND status = 'ended'
        AND subscription_key = ANY (%(subscriptions)s)
"""


def steps() -> Iterator[Batch]:
    """One page of one provider after the other. A provider that does not answer is left for the next run."""
    for account in database.once(query.every, Account, _ACCOUNTS, allows_app=settings().allow_app_endpoints):
        began_at = clock.real_now()
        _note(account, None)
        try:
            for page in _pages(account, began_at):
                yield Batch(counts=_store(account, page), more=True)
        except (NotAnswered, ListUnreadable) as fault:
            logger.error(
                "a provider does not tell what was missed",
                extra={
                    "endpoint": ids.public("whe", account.endpoint_id),
                    "company": ids.public("cmp", account.company_id),
                    "provider": account.provider,
                    "fault": str(fault),
                },
            )
            yield Batch(counts={"unanswered": 1}, more=True)
        else:
            _note(account, began_at)
            yield Batch(counts={"reconciled": 1}, more=True)


def _pages(account: Account, now: datetime) -> Iterator[Sequence[Delivery]]:
    since = account.reconciled_until - OVERLAP if account.reconciled_until else now - AT_FIRST
    missed = Missed(since, account.provider_company, partial(_ended, account))
    listing = PROVIDERS[account.provider].listing
    return listing.pages(_asking(account, listing), missed)


def _asking(account: Account, listing: Listing) -> Ask:
    url, key = listing.url(account.livemode), _key(account)

    def ask(path: str) -> Object:
        answer = fetching.fetch_json(f"{url}{path}", key, listing.headers)
        if not isinstance(answer, dict) or not isinstance(cast("Object", answer).get("data"), list):
            raise NotAnswered("no_list")
        return cast("Object", answer)

    return ask


def _key(account: Account) -> str:
    try:
        return secrets_manager.resolved([account.api_key])[0]
    except Unavailable:
        raise NotAnswered("key_unavailable") from None


def _store(account: Account, page: Sequence[Delivery]) -> dict[str, int]:
    """Keep what is on a page; how many events were new, came before, or are none."""
    provider = PROVIDERS[account.provider]
    events = [(provider.read(delivery), delivery) for delivery in page]
    event_ids = [event.id for event, _ in events if not isinstance(event, NotAnEvent)]
    known = database.once(_outcomes, account, event_ids)
    counts = {"events": 0, "duplicates": 0, "malformed": 0}
    for event, delivery in events:
        if isinstance(event, NotAnEvent):
            counts["malformed"] += 1
        elif event.company in {None, account.provider_company}:
            recipient = _recipient(account, known.get(event.id))
            counts["duplicates" if reception.keep(provider, event, delivery, recipient).duplicate else "events"] += 1
    return counts


def _recipient(account: Account, outcome: Outcome | None) -> Recipient:
    return Recipient(
        endpoint_id=account.endpoint_id,
        own_company_id=account.endpoint_company_id,
        company_id=account.company_id,
        livemode=account.livemode,
        secrets=(),
        outcome=outcome,
    )


def _outcomes(connection: Connection, account: Account, event_ids: Sequence[str]) -> dict[str, Outcome]:
    values = {"provider": account.provider, "endpoint_id": account.endpoint_id, "event_ids": event_ids}
    return dict(connection.execute(_OUTCOMES, values).fetchall())


def _ended(account: Account, subscriptions: Sequence[str]) -> set[str]:
    values = {"company_id": account.company_id, "provider": account.provider, "subscriptions": subscriptions}
    return {key for (key,) in database.once(lambda connection: connection.execute(_ENDED, values).fetchall())}


def _note(account: Account, until: datetime | None) -> None:
    values = {
        "company_id": account.company_id,
        "endpoint_company_id": account.endpoint_company_id,
        "endpoint_id": account.endpoint_id,
        "until": until,
    }
    database.once(lambda connection: connection.execute(_NOTE, values))
