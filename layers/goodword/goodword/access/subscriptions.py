"""Subscriptions as they give access: the company's systems hear of each change by the plans that it is about."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from goodword.core import ids
from goodword.facts.kinds import Fact, SubscriptionChanged

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


def announce(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Tell the outbox of the subscriptions that the facts of an event have changed; costs no trip of its own.

    Needs: the facts kept, with what they claimed.
    """
    for fact in facts:
        if isinstance(fact, SubscriptionChanged):
            values = {"provider": provider, "key": fact.key, "status": fact.status, "at": fact.at}
            connection.execute(_ANNOUNCE, {"company_id": company_id, "outbox_id": ids.new_id(), **values})
