"""Subscriptions as they give access: the company's systems hear of each change by the plans that it is about."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword import facts
from goodword.core import ids, query
from goodword.core.query import Later
from goodword.facts.kinds import Fact, SubscriptionChanged


class _Owner(NamedTuple):
    owner: UUID
    subscribed: list[str]


# Only the status that stands is announced, and only once the subscription's user is known.
_ANNOUNCE = """
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    SELECT known.company_id, %(outbox_id)s, 'subscription.changed', jsonb_build_object(
        'id', subscription_key, 'provider', provider, 'user_id', users.external_id, 'status', status,
        'plans', to_jsonb(ARRAY(SELECT plan_id FROM plan_prices AS price
            WHERE price.company_id = known.company_id AND price.provider = known.provider
                AND price.price_ref = ANY (known.price_refs) ORDER BY plan_id)),
        'period_ends_at', rfc3339(period_ends_at), 'cancels_at', rfc3339(cancels_at), 'ended_at', rfc3339(ended_at)),
        company_now(known.company_id)
    FROM subscriptions AS known JOIN users ON users.company_id = known.company_id AND users.id = known.user_id
    WHERE known.company_id = %(company_id)s AND known.provider = %(provider)s AND known.subscription_key = %(key)s
        AND known.status_at = %(at)s AND known.status = %(status)s
"""


# What else whoever has, or will have, the subscription is subscribed to.
_SUBSCRIBED = """
    SELECT own.owner, ARRAY(
        SELECT plan_id FROM subscribed_plans(%(company_id)s, own.owner, company_now(%(company_id)s))) AS subscribed
    FROM owner_of(%(company_id)s, %(provider)s, %(external_id)s, NULL, %(objects)s) AS own
    WHERE own.owner IS NOT NULL
"""

_SUBSCRIBED_BY = """
    SELECT ARRAY(SELECT plan_id FROM subscribed_plans(%(company_id)s, %(user_id)s, company_now(%(company_id)s)))
"""

_RECORD = """
    SELECT record_subscribed_change(%(company_id)s, %(user_id)s, %(subscribed)s::text[], company_now(%(company_id)s))
"""


def ask_plans(
    connection: Connection, company_id: UUID, provider: str, event: Sequence[Fact]
) -> Later[Mapping[UUID, Sequence[str]]]:
    """Ask for the plans to which those are subscribed whom an event is about, before it is kept.

    Locks: what it is about.
    """
    told = [fact for fact in event if isinstance(fact, SubscriptionChanged)]
    if told:
        facts.hold(connection, company_id, provider, event)
    asked = [
        query.one_later(
            connection, _Owner, _SUBSCRIBED, company_id=company_id, provider=provider, external_id=fact.external_id,
            objects=list(fact.objects),
        )
        for fact in told
    ]  # fmt: skip
    return lambda: {owner.owner: owner.subscribed for read in asked if (owner := read()) is not None}


def announce(
    connection: Connection, company_id: UUID, provider: str, event: Sequence[Fact],
    plans: Mapping[UUID, Sequence[str]],
) -> None:  # fmt: skip
    """Tell the outbox of the subscriptions that the facts of an event have changed; costs no trip of its own.

    Whose plan is another than by the subscriptions in `plans` has it among their activity. Needs: the facts kept, with
    what they claimed.
    """
    for fact in event:
        if isinstance(fact, SubscriptionChanged):
            values = {"provider": provider, "key": fact.key, "status": fact.status, "at": fact.at}
            connection.execute(_ANNOUNCE, {"company_id": company_id, "outbox_id": ids.new_id(), **values})
    for user_id, subscribed in plans.items():
        record_plan(connection, company_id, user_id, subscribed)


def ask_plans_of(connection: Connection, company_id: UUID, user_id: UUID) -> Later[Sequence[str]]:
    """Ask for the plans to which a user is subscribed."""
    cursor = connection.execute(_SUBSCRIBED_BY, {"company_id": company_id, "user_id": user_id})
    return lambda: cursor.fetchall()[0][0]


def record_plan(connection: Connection, company_id: UUID, user_id: UUID, subscribed: Sequence[str]) -> None:
    """Note in a user's activity that other subscriptions than before change the plan of their profile.

    Costs no trip of its own. Needs: what the subscriptions are of, held since `subscribed` was asked for.
    """
    values = {"company_id": company_id, "user_id": user_id, "subscribed": list(subscribed)}
    connection.execute(_RECORD, values)
