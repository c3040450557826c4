"""Facts about the people of a referral, provider-neutral, each stored once under its own natural key.

A fact is small, immutable and true for ever: facts may arrive in any order and any number of times, and whoever applies
them must end in the same place. Provider ids (Stripe's `cus_`, `sub_`, `in_`, `pi_`, `ch_`, `cs_`) are opaque text; ids
that stand together in one fact belong to one person, which is how a payment that names nobody finds its payer.

Recording a fact answers which users it concerns now. A payment whose person is not known yet is parked, and claimed
when a signup or a link makes the person known. Whoever records first takes the locks of the identities involved
(`lock`), so that a signup and a payment in flight together cannot miss each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from psycopg import Connection

from goodword.core import ids


@dataclass(frozen=True, slots=True)
class IdentityLinked:
    """These provider ids belong to one person: who that is and who sent them, as far as the event says."""

    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class PaymentSucceeded:
    """Money arrived, once per `key`: whatever events report the same sale report the same key.

    `net_amount` is what was paid in minor units without its tax, after discounts and credit, and always above zero.
    `period_start` is when the billing period that was paid for begins; None where nothing recurs.
    The other fields repeat the event's IdentityLinked, so that a payment can be applied by itself.
    """

    key: str
    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    currency: str | None
    net_amount: int
    paid_at: datetime
    period_start: datetime | None


@dataclass(frozen=True, slots=True)
class ObjectsLinked:
    """These provider ids are parts of one sale: how a payment's later refund is recognised as that sale's."""

    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """What a provider knows of a person: fills in what the app has not told, and never overwrites it.

    `whop_user_id` becomes the user's where neither has another.
    """

    objects: tuple[str, ...]
    whop_user_id: str
    username: str | None
    email: str | None
    avatar_url: str | None


Fact: TypeAlias = IdentityLinked | PaymentSucceeded | ObjectsLinked | ProfileSeen

NAMING = (IdentityLinked, PaymentSucceeded)

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

_RECORD_PAYMENT = """
    WITH recorded AS (
        INSERT INTO payments (company_id, id, provider, payment_key, objects, external_id, click_ref, code_ref,
            currency, net_amount, paid_at, period_start, recorded_at)
        VALUES (%(company_id)s, %(id)s, %(provider)s, %(key)s, %(objects)s, %(external_id)s, %(click_id)s, %(code)s,
            %(currency)s, %(net_amount)s, %(paid_at)s, %(period_start)s, company_now(%(company_id)s))
        ON CONFLICT ON CONSTRAINT payments_key_uq DO NOTHING
        RETURNING *
    )
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    SELECT company_id, %(outbox_id)s, 'payment.succeeded', jsonb_build_object(
        'id', public_id('pay', id), 'provider', provider, 'currency', currency, 'net_amount', net_amount,
        'paid_at', rfc3339(paid_at)), recorded_at
    FROM recorded
"""

# Who is meant by these objects: a link of one of them, or of one that stands on the same sale; of several people the
# one who was linked first.
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

# A payment that names its person is that person's; one that does not is of whoever its objects are linked to.
_CLAIM_PARKED = """
    WITH person AS (
        SELECT id, external_id, stripe_customer_id, whop_user_id FROM users
        WHERE company_id = %(company_id)s AND external_id = %(external_id)s
    ), linked AS (
        SELECT provider, object_id FROM identity_links
        WHERE company_id = %(company_id)s AND external_id = %(external_id)s
        UNION
        SELECT 'stripe', stripe_customer_id FROM person WHERE stripe_customer_id IS NOT NULL
        UNION
        SELECT 'whop', whop_user_id FROM person WHERE whop_user_id IS NOT NULL
    ), related AS (
        SELECT provider, object_id FROM linked
        UNION
        SELECT provider, other_id FROM object_links JOIN linked USING (provider, object_id)
        WHERE object_links.company_id = %(company_id)s
    ), objects AS (
        SELECT provider, array_agg(object_id) AS object_ids FROM related GROUP BY provider
    )
    UPDATE payments SET user_id = person.id FROM person
    WHERE payments.company_id = %(company_id)s AND payments.user_id IS NULL
        AND (payments.external_id = person.external_id
            OR (payments.external_id IS NULL AND EXISTS (
                SELECT 1 FROM objects
                WHERE objects.provider = payments.provider AND payments.objects && objects.object_ids)))
    RETURNING person.id
"""


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

    Returns the users whose referrals may now stand differently, and whether a payment was left parked.
    """
    objects = {object_id for fact in facts for object_id in fact.objects}
    named = next((fact.external_id for fact in facts if isinstance(fact, NAMING) and fact.external_id), None)
    lock(connection, company_id, provider, objects, None)
    connection.execute(_LOCK_PARTNERS, {"company_id": company_id, "provider": provider, "objects": sorted(objects)})
    for fact in facts:
        _store(connection, company_id, provider, fact)
    person = named or _person_of(connection, company_id, provider, objects)
    has_payment = any(isinstance(fact, PaymentSucceeded) for fact in facts)
    if person is None:
        return [], has_payment
    lock(connection, company_id, provider, (), person)
    claimed = _claimed(connection, company_id, person)
    for fact in facts:
        if isinstance(fact, ProfileSeen):
            _fill_in(connection, company_id, person, fact)
    known = bool(claimed) or _is_known(connection, company_id, person)
    return claimed, has_payment and not known


def claim(connection: Connection, company_id: UUID, external_id: str) -> None:
    """Give a person who has just become known the payments that are theirs; costs no trip of its own."""
    connection.execute(_CLAIM_PARKED, {"company_id": company_id, "external_id": external_id})


def _claimed(connection: Connection, company_id: UUID, external_id: str) -> list[UUID]:
    rows = connection.execute(_CLAIM_PARKED, {"company_id": company_id, "external_id": external_id}).fetchall()
    return sorted({row[0] for row in rows})


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
                    "click_id": fact.click_id,
                    "code": fact.code,
                    "currency": fact.currency,
                    "net_amount": fact.net_amount,
                    "paid_at": fact.paid_at,
                    "period_start": fact.period_start,
                },
            )
        case _:
            pass


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


def _is_known(connection: Connection, company_id: UUID, external_id: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s",
            {"company_id": company_id, "external_id": external_id},
        ).fetchone()
        is not None
    )
