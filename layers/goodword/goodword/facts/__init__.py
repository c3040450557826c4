"""What is known of people, in any order; the only room that takes identity locks. `keep` is its door for events."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.facts import by_email, locks, ownership, promotions, recording, touches
from goodword.facts.kinds import (
    NAMING,
    OF_A_SALE,
    REFERRING,
    Fact,
    PaymentSucceeded,
    ProfileSeen,
    PromotionCodeTold,
    TakenBack,
)


class Kept(NamedTuple):
    """What keeping the facts of an event came to.

    `concerned` are the users whose referrals may stand differently now. `parked`: money waits, a payment for its
    person, or a refund or dispute for its payment or for that one's person.
    """

    concerned: frozenset[UUID]
    parked: bool


def keep(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> Kept:
    """Keep what one event says, under the locks of all identities that it is about, which it takes.

    First what the facts say is stored, then what belongs to one sale is joined, then everything is given to its owner.
    """
    objects, names = _objects_of(facts), _named_by(facts)
    shown = by_email.shown(connection, facts)
    hashes = [digest for email in shown for digest in email.hashed.hashes]
    locks.hold_objects(connection, company_id, provider, objects)
    locks.hold_emails(connection, company_id, provider, objects, hashes)
    locks.hold_people_beside(connection, company_id, provider, objects, names, hashes)
    promotions.hold(connection, company_id, provider, facts)
    for fact in facts:
        recording.store(connection, company_id, provider, fact)
    for email in shown:
        by_email.record(connection, company_id, provider, email)
    for fact in facts:
        if isinstance(fact, ProfileSeen):
            ownership.fill_in(connection, company_id, provider, objects, names, fact)
    touches.record(connection, company_id, provider, facts)
    promotions.learn(connection, company_id, provider, facts)
    matched = recording.match(connection, company_id, provider, objects) if _has_any(facts, OF_A_SALE) else ()
    claimed = ownership.claim(connection, company_id, provider, objects)
    named = ownership.users_named(connection, company_id, names)
    keys = [fact.key for fact in facts if isinstance(fact, PaymentSucceeded)]
    # read first although asked last: with its answer all the others are there
    has_parked = ownership.has_parked(connection, company_id, provider, keys)
    of_a_sale = _user_ids(matched)
    parked = has_parked if keys else _is_without_payment(facts, of_a_sale)
    return Kept(of_a_sale | _user_ids(claimed) | _user_ids(named), parked)


def _objects_of(facts: Iterable[Fact]) -> list[str]:
    """The objects that an event is about; a promotion code belongs to nobody's sale."""
    facts_of_people = (fact for fact in facts if not isinstance(fact, PromotionCodeTold))
    return sorted({object_id for fact in facts_of_people for object_id in fact.objects})


def _named_by(facts: Iterable[Fact]) -> list[str]:
    """The external ids that an event names, with those that a checkout's reference may be."""
    words = [fact.external_id for fact in facts if isinstance(fact, NAMING)]
    references = [fact.reference for fact in facts if isinstance(fact, REFERRING)]
    return sorted({word for word in (*words, *references) if word})


def _is_without_payment(facts: Iterable[Fact], of_a_sale: Collection[UUID]) -> bool:
    """Whether a refund or dispute that came alone has found nobody's payment."""
    return not of_a_sale and _has_any(facts, (TakenBack,))


def _has_any(facts: Iterable[Fact], kinds: tuple[type[Fact], ...]) -> bool:
    return any(isinstance(fact, kinds) for fact in facts)


def _user_ids(rows: Iterable[tuple[UUID]]) -> frozenset[UUID]:
    return frozenset(user_id for (user_id,) in rows)
