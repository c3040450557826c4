"""Recording facts: each is stored once under its own natural key, and answers which users it concerns now.

A payment whose person is not known yet is parked, and claimed when a signup or a link makes the person known; so is
what is somebody's by e-mail (`by_email`), from them.

Whoever joins objects to people first takes the locks of all identities involved, so that a signup and a payment in
flight together cannot miss each other. The order is one for all, and nobody takes a lock of an earlier kind after one
of a later kind (docs/decisions/0017): the event in the inbox; of identities the objects with their partners, e-mails,
people, promotion codes, the company's bindings; payments and subscriptions; caps, code, referrals, wallets, lots.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import NewUser
from goodword.core import ids
from goodword.facts import by_email
from goodword.facts.by_email import Hashed
from goodword.facts.kinds import (
    NAMING,
    OF_A_SALE,
    REFERRING,
    Fact,
    IdentityLinked,
    ObjectsLinked,
    PaymentSucceeded,
    ProfileSeen,
    SubscriptionChanged,
    TakenBack,
)

_LOCK_OBJECTS = "SELECT lock_objects(%(company_id)s, %(provider)s, %(objects)s)"

_LOCK_PEOPLE = "SELECT lock_people(%(company_id)s, %(provider)s, %(objects)s, %(names)s, %(hashes)s::bytea[])"

_LOCK = "SELECT lock_identities(%(company_id)s, %(identities)s)"

_LOCK_NEWCOMER = """
    SELECT lock_newcomer(
        %(company_id)s, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s, %(hashes)s::bytea[])
"""

_LINK_PERSON = """
    INSERT INTO identity_links AS link (company_id, provider, object_id, external_id, by_reference, linked_at)
    SELECT %(company_id)s, %(provider)s, object_id, %(external_id)s, %(by_reference)s, %(at)s
    FROM unnest(%(objects)s::text[]) AS object_id
    ON CONFLICT ON CONSTRAINT identity_links_pk DO UPDATE
        SET by_reference = link.by_reference AND excluded.by_reference,
            linked_at = least(link.linked_at, excluded.linked_at)
        WHERE excluded.linked_at < link.linked_at OR link.by_reference AND NOT excluded.by_reference
"""

_LINK_OBJECTS = """
    INSERT INTO object_links (company_id, provider, object_id, other_id)
    SELECT %(company_id)s, %(provider)s, one, other
    FROM unnest(%(objects)s::text[]) AS one, unnest(%(objects)s::text[]) AS other WHERE one <> other
    ON CONFLICT ON CONSTRAINT object_links_pk DO NOTHING
"""

# Another event of a sale that is known tells nothing new of the money, but may name more of its objects or its person.
_RECORD_PAYMENT = """
    WITH recorded AS (
        INSERT INTO payments AS known (company_id, id, provider, payment_key, objects, external_id, reference,
            currency, gross_amount, net_amount, other_amount, other_currency, paid_at, period_start, is_proration,
            stands_in_for, recorded_at)
        VALUES (%(company_id)s, %(id)s, %(provider)s, %(key)s, %(objects)s, %(external_id)s, %(reference)s,
            %(currency)s, %(gross_amount)s, %(net_amount)s, %(other_amount)s, %(other_currency)s, %(paid_at)s,
            %(period_start)s, %(is_proration)s, %(stands_in_for)s, company_now(%(company_id)s))
        ON CONFLICT ON CONSTRAINT payments_key_uq DO UPDATE
            SET objects = ARRAY(SELECT DISTINCT unnest(known.objects || excluded.objects)),
                external_id = coalesce(known.external_id, excluded.external_id),
                reference = coalesce(known.reference, excluded.reference),
                other_amount = coalesce(known.other_amount, excluded.other_amount),
                other_currency = coalesce(known.other_currency, excluded.other_currency)
            WHERE NOT known.objects @> excluded.objects
                OR (known.external_id IS NULL AND excluded.external_id IS NOT NULL)
                OR (known.reference IS NULL AND excluded.reference IS NOT NULL)
                OR (known.other_amount IS NULL AND excluded.other_amount IS NOT NULL)
        RETURNING *
    )
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    SELECT company_id, %(outbox_id)s, 'payment.succeeded', jsonb_build_object(
        'id', public_id('pay', id), 'provider', provider, 'currency', currency, 'net_amount', net_amount,
        'paid_at', rfc3339(paid_at)), recorded_at
    FROM recorded WHERE id = %(id)s
"""

# Of all statuses told the latest stands, and at one instant the further one; an earlier one that comes later changes
# nothing but by what its payment may be found.
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
                ) AS told (status, at, amount, currency, other_amount, other_currency)
                ORDER BY at DESC, takeback_rank(status) DESC, other_amount DESC NULLS LAST, amount DESC, currency,
                    other_currency LIMIT 1)
"""

_MATCH = "SELECT match_takebacks(%(company_id)s, %(provider)s, %(objects)s)"

# The latest telling stands, and at one instant the further one; an earlier one that comes later only says since when.
_RECORD_SUBSCRIPTION = """
    INSERT INTO subscriptions AS known (company_id, provider, subscription_key, objects, external_id, status,
        price_refs, period_ends_at, cancel_at_period_end, cancels_at, began_at, ended_at, status_at, recorded_at)
    VALUES (%(company_id)s, %(provider)s, %(key)s, %(objects)s, %(external_id)s, %(status)s, %(price_refs)s,
        %(period_ends_at)s, %(cancel_at_period_end)s, %(cancels_at)s, %(at)s, %(ended_at)s, %(at)s,
        company_now(%(company_id)s))
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
                ) AS told (status, price_refs, period_ends_at, cancel_at_period_end, cancels_at, ended_at, at)
                ORDER BY at DESC, subscription_rank(status) DESC, period_ends_at DESC NULLS LAST,
                    cancel_at_period_end DESC, cancels_at, ended_at, price_refs LIMIT 1)
"""

# To whoever keeps what a user may use: only the telling that stands, and once its user is known.
_ANNOUNCE_SUBSCRIPTION = """
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

_CLAIM = "SELECT claim(%(company_id)s, %(provider)s, %(objects)s)"

_CLAIM_OF = "SELECT claim_of(%(company_id)s, %(external_id)s, %(hashes)s::bytea[])"

# Whether anything was told of a person by name, before they sign up.
_NAMED = """
    SELECT EXISTS (SELECT FROM identity_links WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM payments WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM subscriptions WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
"""

_IDS_OF = "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = ANY (%(names)s)"

_IS_PARKED = """
    SELECT EXISTS (SELECT FROM payments WHERE company_id = %(company_id)s AND provider = %(provider)s
        AND payment_key = ANY (%(keys)s) AND user_id IS NULL)
"""

# Whose profile stands beside these objects: whom the event names; else a link of one of them, or of one that stands on
# the same sale, of several people the one who was linked first; else whose own they are.
# The identity is locked, so nobody else can take it between the look and the write.
_FILL_IN = """
    WITH related AS (
        SELECT unnest(with_partners(%(company_id)s, %(provider)s, %(objects)s)) AS object_id
    ), person AS (
        SELECT external_id FROM (
            SELECT external_id, 1 AS rank, NULL AS linked_at FROM unnest(%(names)s::text[]) AS external_id
            UNION ALL
            SELECT external_id, 2, linked_at FROM identity_links JOIN related USING (object_id)
            WHERE company_id = %(company_id)s AND provider = %(provider)s
            UNION ALL
            SELECT external_id, 3, NULL FROM users
            WHERE company_id = %(company_id)s AND whop_user_id IN (SELECT object_id FROM related)
        ) AS people
        ORDER BY rank, linked_at, external_id LIMIT 1
    )
    UPDATE users SET username = coalesce(username, %(username)s), email = coalesce(email, %(email)s),
        avatar_url = coalesce(avatar_url, %(avatar_url)s), whop_user_id = %(whop_user_id)s
    FROM person
    WHERE company_id = %(company_id)s AND users.external_id = person.external_id
        AND coalesce(whop_user_id, %(whop_user_id)s) = %(whop_user_id)s
        AND NOT EXISTS (SELECT 1 FROM users AS other WHERE other.company_id = %(company_id)s
            AND other.whop_user_id = %(whop_user_id)s AND other.id <> users.id)
"""


def lock_users(connection: Connection, company_id: UUID, external_ids: Iterable[str]) -> None:
    """Serialise with signups and payments of these people."""
    people = [f"user:{external_id}" for external_id in external_ids]
    connection.execute(_LOCK, {"company_id": company_id, "identities": people})


def lock_newcomer(connection: Connection, company_id: UUID, user: NewUser, email: Hashed | None) -> None:
    """Serialise with everything else about a person who signs up, and about those beside what will be theirs."""
    own = (("stripe", user.stripe_customer_id), ("whop", user.whop_user_id))
    if identities := [f"{provider}:{object_id}" for provider, object_id in own if object_id]:
        connection.execute(_LOCK, {"company_id": company_id, "identities": identities})
    if email:
        by_email.lock(connection, company_id, "", (), [email])
    connection.execute(
        _LOCK_NEWCOMER,
        {
            "company_id": company_id,
            "external_id": user.external_id,
            "stripe_customer_id": user.stripe_customer_id,
            "whop_user_id": user.whop_user_id,
            "hashes": email.hashes if email else [],
        },
    )


def record(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> tuple[list[UUID], bool]:
    """Store what one event told, under the locks of all identities that it is about.

    Returns the users whose referrals may now stand differently, and whether money was left parked: a payment without
    its person, or a refund or dispute without its payment or that one's person.
    """
    names = [fact.external_id for fact in facts if isinstance(fact, NAMING)]
    names += [fact.reference for fact in facts if isinstance(fact, REFERRING)]
    scope = {
        "company_id": company_id,
        "provider": provider,
        "objects": sorted({object_id for fact in facts for object_id in fact.objects}),
        "names": sorted({name for name in names if name}),
        "keys": [fact.key for fact in facts if isinstance(fact, PaymentSucceeded)],
    }
    emails = by_email.shown(connection, facts)
    _lock(connection, company_id, scope, [email for _, email in emails])
    for fact in facts:
        _store(connection, company_id, provider, fact)
    for beside, email in emails:
        by_email.record(connection, company_id, provider, beside, email)
    for fact in facts:
        if isinstance(fact, ProfileSeen):
            _fill_in(connection, scope, fact)
    matched = connection.execute(_MATCH, scope) if any(isinstance(fact, OF_A_SALE) for fact in facts) else None
    claimed = connection.execute(_CLAIM, scope)
    _announce_subscriptions(connection, company_id, provider, facts)
    named = connection.execute(_IDS_OF, scope)
    parked = connection.execute(_IS_PARKED, scope).fetchone()  # the last first: with it all are there, in one trip
    of_a_sale = {user_id for (user_id,) in matched} if matched else set[UUID]()
    concerned = of_a_sale.union(user_id for found in (claimed, named) for (user_id,) in found)
    is_back_without_payment = not of_a_sale and any(isinstance(fact, TakenBack) for fact in facts)
    return sorted(concerned), parked == (True,) if scope["keys"] else is_back_without_payment


def _lock(connection: Connection, company_id: UUID, scope: Mapping[str, Any], emails: Sequence[Hashed]) -> None:
    """Serialise with everything else about what an event is about."""
    connection.execute(_LOCK_OBJECTS, scope)
    by_email.lock(connection, company_id, scope["provider"], scope["objects"], emails)
    connection.execute(_LOCK_PEOPLE, {**scope, "hashes": [digest for email in emails for digest in email.hashes]})


def ask_named(connection: Connection, company_id: UUID, external_id: str) -> Callable[[], bool]:
    """Whether anything was told of a person by name; asked now, read later. Whoever calls holds the person's lock."""
    cursor = connection.execute(_NAMED, {"company_id": company_id, "external_id": external_id})
    return lambda: cursor.fetchall() == [(True,)]


def claim_of(connection: Connection, company_id: UUID, external_id: str, hashes: Sequence[bytes]) -> list[UUID]:
    """Give a user what is theirs, also by the hashes of an e-mail that they have verified; who is to be settled.

    Whoever calls holds the locks of the user's own ids, of the e-mail and of the user.
    """
    whose = {"company_id": company_id, "external_id": external_id, "hashes": list(hashes)}
    return [user_id for (user_id,) in connection.execute(_CLAIM_OF, whose)]


def _store(connection: Connection, company_id: UUID, provider: str, fact: Fact) -> None:
    scope: dict[str, object] = {"company_id": company_id, "provider": provider, "objects": list(fact.objects)}
    match fact:
        case ObjectsLinked():
            connection.execute(_LINK_OBJECTS, scope)
        case IdentityLinked() if name := fact.external_id or fact.reference:
            linked = {"external_id": name, "by_reference": fact.external_id is None, "at": fact.at}
            connection.execute(_LINK_PERSON, {**scope, **linked})
        case PaymentSucceeded():
            connection.execute(
                _RECORD_PAYMENT,
                {
                    **scope,
                    "id": ids.new_id(),
                    "outbox_id": ids.new_id(),
                    "key": fact.key,
                    "external_id": fact.external_id,
                    "reference": fact.reference,
                    "currency": fact.currency,
                    "gross_amount": fact.gross_amount,
                    "net_amount": fact.net_amount,
                    "paid_at": fact.paid_at,
                    "period_start": fact.period_start,
                    "is_proration": fact.is_proration,
                    "other_amount": fact.other_amount,
                    "other_currency": fact.other_currency,
                    "stands_in_for": fact.stands_in_for,
                },
            )
        case TakenBack():
            connection.execute(
                _RECORD_TAKEBACK,
                {
                    **scope,
                    "kind": fact.kind,
                    "key": fact.key,
                    "amount": fact.amount,
                    "currency": fact.currency,
                    "status": fact.status,
                    "began_at": fact.began_at,
                    "at": fact.at,
                    "other_amount": fact.other_amount,
                    "other_currency": fact.other_currency,
                },
            )
        case SubscriptionChanged():
            connection.execute(
                _RECORD_SUBSCRIPTION,
                {
                    **scope,
                    "key": fact.key,
                    "external_id": fact.external_id,
                    "status": fact.status,
                    "price_refs": list(fact.price_refs),
                    "period_ends_at": fact.period_ends_at,
                    "cancel_at_period_end": fact.cancel_at_period_end,
                    "cancels_at": fact.cancels_at,
                    "ended_at": fact.ended_at,
                    "at": fact.at,
                },
            )
        case _:
            pass


def _announce_subscriptions(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    for fact in facts:
        if isinstance(fact, SubscriptionChanged):
            connection.execute(
                _ANNOUNCE_SUBSCRIPTION,
                {
                    "company_id": company_id,
                    "outbox_id": ids.new_id(),
                    "provider": provider,
                    "key": fact.key,
                    "status": fact.status,
                    "at": fact.at,
                },
            )


def _fill_in(connection: Connection, scope: Mapping[str, object], seen: ProfileSeen) -> None:
    connection.execute(
        _FILL_IN,
        {
            **scope,
            "whop_user_id": seen.whop_user_id,
            "username": seen.username,
            "email": seen.email,
            "avatar_url": seen.avatar_url,
        },
    )
