"""Recording facts: each is stored once under its own natural key, and answers which users it concerns now.

A payment whose person is not known yet is parked, and claimed when a signup or a link makes the person known; so is
what is somebody's by e-mail (`by_email`), from them. Whoever records first takes the locks of the identities involved
(`lock`), so that a signup and a payment in flight together cannot miss each other.
"""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from psycopg import Connection

from goodword.core import ids
from goodword.referral import by_email
from goodword.referral.facts import (
    NAMING,
    OF_A_SALE,
    Fact,
    IdentityLinked,
    ObjectsLinked,
    PaymentSucceeded,
    ProfileSeen,
    SubscriptionChanged,
    TakenBack,
)

_LOCK = "SELECT lock_identities(%(company_id)s, %(identities)s)"

# Objects of one sale are joined to a person through each other, so whoever touches one holds them all. These come
# after the objects themselves and so out of order; a deadlock this makes possible is repeated like any other.
_LOCK_PARTNERS = """
    SELECT lock_identities(%(company_id)s, ARRAY(
        SELECT %(provider)s || ':' || other_id FROM object_links
        WHERE company_id = %(company_id)s AND provider = %(provider)s AND object_id = ANY (%(objects)s)))
"""

_LINK_PERSON = """
    INSERT INTO identity_links AS link (company_id, provider, object_id, external_id, linked_at)
    SELECT %(company_id)s, %(provider)s, object_id, %(external_id)s, %(at)s
    FROM unnest(%(objects)s::text[]) AS object_id
    ON CONFLICT ON CONSTRAINT identity_links_pk DO UPDATE
        SET external_id = excluded.external_id, linked_at = excluded.linked_at
        WHERE (excluded.linked_at, excluded.external_id) < (link.linked_at, link.external_id)
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
        INSERT INTO payments AS known (company_id, id, provider, payment_key, objects, external_id, currency,
            gross_amount, net_amount, other_amount, other_currency, paid_at, period_start, is_proration, stands_in_for,
            recorded_at)
        VALUES (%(company_id)s, %(id)s, %(provider)s, %(key)s, %(objects)s, %(external_id)s, %(currency)s,
            %(gross_amount)s, %(net_amount)s, %(other_amount)s, %(other_currency)s, %(paid_at)s, %(period_start)s,
            %(is_proration)s, %(stands_in_for)s, company_now(%(company_id)s))
        ON CONFLICT ON CONSTRAINT payments_key_uq DO UPDATE
            SET objects = ARRAY(SELECT DISTINCT unnest(known.objects || excluded.objects)),
                external_id = coalesce(known.external_id, excluded.external_id),
                other_amount = coalesce(known.other_amount, excluded.other_amount),
                other_currency = coalesce(known.other_currency, excluded.other_currency)
            WHERE NOT known.objects @> excluded.objects
                OR (known.external_id IS NULL AND excluded.external_id IS NOT NULL)
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

# Whose profile stands beside these objects: a link of one of them, or of one that stands on the same sale; of several
# people the one who was linked first.
_PERSON_OF = """
    WITH related AS (
        SELECT unnest(%(objects)s::text[]) AS object_id
        UNION
        SELECT other_id FROM object_links
        WHERE company_id = %(company_id)s AND provider = %(provider)s AND object_id = ANY (%(objects)s)
    )
    SELECT external_id FROM (
        SELECT external_id, linked_at FROM identity_links JOIN related USING (object_id)
        WHERE company_id = %(company_id)s AND provider = %(provider)s
        UNION ALL
        SELECT external_id, NULL FROM users
        WHERE company_id = %(company_id)s AND (
            (%(provider)s = 'stripe' AND stripe_customer_id = ANY (%(objects)s))
            OR (%(provider)s = 'whop' AND whop_user_id = ANY (%(objects)s)))
    ) AS people
    ORDER BY linked_at NULLS LAST, external_id LIMIT 1
"""

_CLAIM = "SELECT concerned, is_payer FROM claim(%(company_id)s, %(provider)s, %(objects)s)"

_CLAIM_OF = "SELECT concerned FROM claim_of(%(company_id)s, %(external_id)s, %(hashes)s::bytea[])"

# Whether anything was told of a person by name, before they sign up.
_NAMED = """
    SELECT EXISTS (SELECT FROM identity_links WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM payments WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM subscriptions WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
"""

_ID_OF = "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s"

# The identity is locked, so nobody else can take it between the look and the write.
_FILL_IN = """
    UPDATE users SET username = coalesce(username, %(username)s), email = coalesce(email, %(email)s),
        avatar_url = coalesce(avatar_url, %(avatar_url)s), whop_user_id = %(whop_user_id)s
    WHERE company_id = %(company_id)s AND external_id = %(external_id)s
        AND coalesce(whop_user_id, %(whop_user_id)s) = %(whop_user_id)s
        AND NOT EXISTS (SELECT 1 FROM users AS other WHERE other.company_id = %(company_id)s
            AND other.whop_user_id = %(whop_user_id)s AND other.external_id <> %(external_id)s)
"""


def lock(connection: Connection, company_id: UUID, provider: str, objects: Iterable[str], person: str | None) -> None:
    """Serialise with everything else about these objects, then this person. Always in this order."""
    if identities := [f"{provider}:{object_id}" for object_id in objects]:
        connection.execute(_LOCK, {"company_id": company_id, "identities": identities})
    if person is not None:
        connection.execute(_LOCK, {"company_id": company_id, "identities": [f"user:{person}"]})


def record(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> tuple[list[UUID], bool]:
    """Store what one event told.

    Returns the users whose referrals may now stand differently, and whether money was left parked: a payment without
    its person, or a refund or dispute without its payment or that one's person.
    """
    objects = {object_id for fact in facts for object_id in fact.objects}
    named = next((fact.external_id for fact in facts if isinstance(fact, NAMING) and fact.external_id), None)
    emails = by_email.shown(connection, facts)
    lock(connection, company_id, provider, objects, None)
    scope = {"company_id": company_id, "provider": provider, "objects": sorted(objects)}
    connection.execute(_LOCK_PARTNERS, scope)
    by_email.lock(connection, company_id, provider, objects, [email for _, email in emails])
    for fact in facts:
        _store(connection, company_id, provider, fact)
    for beside, email in emails:
        by_email.record(connection, company_id, provider, beside, email)
    concerned: set[UUID] = set()
    if any(isinstance(fact, OF_A_SALE) for fact in facts):
        concerned.update(user_id for (user_id,) in connection.execute(_MATCH, scope))
    has_payment = any(isinstance(fact, PaymentSucceeded) for fact in facts)
    is_back_without_payment = not concerned and any(isinstance(fact, TakenBack) for fact in facts)
    person, seen = named, next((fact for fact in facts if isinstance(fact, ProfileSeen)), None)
    if person is None and seen is not None:
        person = _person_of(connection, company_id, provider, objects)
    if person is not None:
        lock(connection, company_id, provider, (), person)
        if seen is not None:
            _fill_in(connection, company_id, person, seen)
    owners = dict(connection.execute(_CLAIM, scope).fetchall())
    _announce_subscriptions(connection, company_id, provider, facts)
    if named is None:
        return sorted(concerned.union(owners)), not any(owners.values()) if has_payment else is_back_without_payment
    known = connection.execute(_ID_OF, {"company_id": company_id, "external_id": named}).fetchone()
    concerned.update(owners, known or ())
    return sorted(concerned), known is None if has_payment else is_back_without_payment


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
        case IdentityLinked(external_id=str() as external_id):
            connection.execute(_LINK_PERSON, {**scope, "external_id": external_id, "at": fact.at})
        case PaymentSucceeded():
            connection.execute(
                _RECORD_PAYMENT,
                {
                    **scope,
                    "id": ids.new_id(),
                    "outbox_id": ids.new_id(),
                    "key": fact.key,
                    "external_id": fact.external_id,
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


def _fill_in(connection: Connection, company_id: UUID, person: str, seen: ProfileSeen) -> None:
    connection.execute(
        _FILL_IN,
        {
            "company_id": company_id,
            "external_id": person,
            "whop_user_id": seen.whop_user_id,
            "username": seen.username,
            "email": seen.email,
            "avatar_url": seen.avatar_url,
        },
    )


def _person_of(connection: Connection, company_id: UUID, provider: str, objects: set[str]) -> str | None:
    row = connection.execute(
        _PERSON_OF, {"company_id": company_id, "provider": provider, "objects": sorted(objects)}
    ).fetchone()
    return row[0] if row else None
