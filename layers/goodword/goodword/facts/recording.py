"""Recording facts: each is stored once, under its own natural key, in whatever order and however often it comes.

Needs: for every function of this module, the locks of all identities that the fact is about (`locks`).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import LiteralString, cast
from uuid import UUID

from psycopg import Connection

from goodword.core import ids, query
from goodword.facts.kinds import (
    Fact,
    IdentityLinked,
    ObjectsLinked,
    PaymentSucceeded,
    SubscriptionChanged,
    TakenBack,
)

_LINK_OBJECTS = """
    INSERT INTO object_links (company_id, provider, object_id, other_id)
    SELECT %(company_id)s, %(provider)s, one, other
    FROM unnest(%(objects)s::text[]) AS one, unnest(%(objects)s::text[]) AS other WHERE one <> other
    ON CONFLICT ON CONSTRAINT object_links_pk DO NOTHING
"""

# Of all reported statuses the latest stands, and at one instant the further one. An earlier status that comes later
# adds nothing but objects by which the payment may be found.
_RECORD_TAKEBACK = """
    INSERT INTO takebacks AS known (company_id, provider, kind, takeback_key, objects, amount, currency, other_amount,
        other_currency, status, began_at, status_at, recorded_at)
    VALUES (%(company_id)s, %(provider)s, %(kind)s, %(key)s, %(objects)s, %(amount)s, %(currency)s, %(other_amount)s,
        %(other_currency)s, %(status)s, %(began_at)s, %(at)s, company_now(%(company_id)s))
    ON CONFLICT ON CONSTRAINT takebacks_pk DO UPDATE
        SET objects = ARRAY(SELECT DISTINCT unnest(known.objects || excluded.objects)),
            began_at = least(known.began_at, excluded.began_at),
            (status, status_at, amount, currency, other_amount, other_currency) = (
                SELECT status, at, amount, currency, other_amount, other_currency
                FROM (VALUES
                    (known.status, known.status_at, known.amount, known.currency, known.other_amount,
                        known.other_currency),
                    (excluded.status, excluded.status_at, excluded.amount, excluded.currency, excluded.other_amount,
                        excluded.other_currency)
                ) AS reported (status, at, amount, currency, other_amount, other_currency)
                ORDER BY at DESC, takeback_rank(status) DESC, other_amount DESC NULLS LAST, amount DESC, currency,
                    other_currency LIMIT 1)
"""

# Of all reported statuses the latest stands, and at one instant the further one. An earlier status that comes later
# only says since when.
_RECORD_SUBSCRIPTION = """
    INSERT INTO subscriptions AS known (company_id, provider, subscription_key, objects, external_id, user_id,
        claimed_by, status, price_refs, period_ends_at, cancel_at_period_end, cancels_at, began_at, ended_at,
        status_at, recorded_at)
    SELECT %(company_id)s, %(provider)s, %(key)s, %(objects)s, %(external_id)s, own.owner, own.claimed_by, %(status)s,
        %(price_refs)s, %(period_ends_at)s, %(cancel_at_period_end)s, %(cancels_at)s, %(at)s, %(ended_at)s, %(at)s,
        company_now(%(company_id)s)
    FROM owner_of(%(company_id)s, %(provider)s, %(external_id)s, NULL, %(objects)s) AS own
    ON CONFLICT ON CONSTRAINT subscriptions_pk DO UPDATE
        SET objects = ARRAY(SELECT DISTINCT unnest(known.objects || excluded.objects)),
            external_id = coalesce(known.external_id, excluded.external_id),
            began_at = least(known.began_at, excluded.began_at),
            (status, price_refs, period_ends_at, cancel_at_period_end, cancels_at, ended_at, status_at) = (
                SELECT status, price_refs, period_ends_at, cancel_at_period_end, cancels_at, ended_at, at
                FROM (VALUES
                    (known.status, known.price_refs, known.period_ends_at, known.cancel_at_period_end,
                        known.cancels_at, known.ended_at, known.status_at),
                    (excluded.status, excluded.price_refs, excluded.period_ends_at, excluded.cancel_at_period_end,
                        excluded.cancels_at, excluded.ended_at, excluded.status_at)
                ) AS reported (status, price_refs, period_ends_at, cancel_at_period_end, cancels_at, ended_at, at)
                ORDER BY at DESC, subscription_rank(status) DESC, period_ends_at DESC NULLS LAST,
                    cancel_at_period_end DESC, cancels_at, ended_at, price_refs LIMIT 1)
"""

# The earliest use counts, in whatever order uses are reported; a use that says nothing new leaves no trace.
_RECORD_USE = """
    WITH used AS (
        INSERT INTO activations AS known (company_id, user_id, app_id, occurred_at)
        VALUES (%(company_id)s, %(user_id)s, %(app_id)s, %(occurred_at)s)
        ON CONFLICT ON CONSTRAINT activations_pk DO UPDATE SET occurred_at = excluded.occurred_at
            WHERE excluded.occurred_at < known.occurred_at
        RETURNING company_id, user_id, app_id
    )
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    SELECT company_id, %(activity_id)s, user_id, 'activated', jsonb_build_object('app_id', nullif(app_id, '')), %(at)s
    FROM used
"""

_STORED: Mapping[type[Fact], LiteralString] = {
    ObjectsLinked: _LINK_OBJECTS,
    TakenBack: _RECORD_TAKEBACK,
    SubscriptionChanged: _RECORD_SUBSCRIPTION,
}
"""What stores a fact, by its kind: its parameters are the fact's own fields. Other kinds are kept elsewhere."""


def store(connection: Connection, company_id: UUID, provider: str, fact: Fact) -> None:
    """Store one fact of an event; its statement travels with the next that is read."""
    if statement := _STORED.get(type(fact)):
        query.do(connection, statement, company_id=company_id, provider=provider, **_values(fact))


def links(facts: Iterable[Fact]) -> list[dict[str, object]]:
    """Whom an event links, as the SQL function `store_links` takes it."""
    return [
        {"objects": fact.objects, "external_id": fact.external_id, "reference": fact.reference, "at": fact.at}
        for fact in facts
        if isinstance(fact, IdentityLinked) and fact.name is not None
    ]


def payments(facts: Iterable[Fact]) -> list[dict[str, object]]:
    """The payments that an event tells of, by their columns, with the id of what announces each."""
    return [
        {
            "id": ids.new_id(),
            "outbox_id": ids.new_id(),
            "payment_key": fact.key,
            "objects": fact.objects,
            "external_id": fact.external_id,
            "reference": fact.reference,
            "currency": fact.currency,
            "gross_amount": fact.gross_amount,
            "net_amount": fact.net_amount,
            "other_amount": fact.other_amount,
            "other_currency": fact.other_currency,
            "paid_at": fact.paid_at,
            "period_start": fact.period_start,
            "is_proration": fact.is_proration,
            "stands_in_for": fact.stands_in_for,
        }
        for fact in facts
        if isinstance(fact, PaymentSucceeded)
    ]


def record_use(
    connection: Connection, company_id: UUID, user_id: UUID, app_id: str | None, occurred_at: datetime, at: datetime
) -> None:
    """Store that a user has used an app; an unknown app is one app."""
    values = {"user_id": user_id, "app_id": app_id or "", "occurred_at": occurred_at, "at": at}
    query.do(connection, _RECORD_USE, company_id=company_id, activity_id=ids.new_id(), **values)


def _values(fact: Fact) -> dict[str, object]:
    """The fields of a fact as parameters: psycopg writes a list as an array, and a tuple as a composite."""
    values: dict[str, object] = fact._asdict()
    arrays = {name: [*cast("tuple[str, ...]", value)] for name, value in values.items() if isinstance(value, tuple)}
    return values | arrays
