"""What is known of people, in any order; the only room that takes identity locks. `keep` is its door for events."""

from collections.abc import Iterable, Sequence
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
    locks.hold_event(connection, company_id, provider, objects, names, hashes)
    promotions.hold(connection, company_id, provider, facts)
    for email in shown:
        by_email.record(connection, company_id, provider, email)
    recording.store(connection, company_id, provider, facts)
    for fact in facts:
        if isinstance(fact, ProfileSeen):
            ownership.fill_in(connection, company_id, provider, objects, names, fact)
    touches.record(connection, company_id, provider, facts)
    promotions.learn(connection, company_id, provider, facts)
    keys = [fact.key for fact in facts if isinstance(fact, PaymentSucceeded)]
    is_of_sale = _has_any(facts, OF_A_SALE)
    found = ownership.find(connection, company_id, provider, objects, names, keys, is_of_sale=is_of_sale)
    parked = found.has_parked if keys else _has_any(facts, (TakenBack,)) and not found.matched
    return Kept(frozenset(found.concerned), parked)


def _objects_of(facts: Iterable[Fact]) -> list[str]:
    """The objects that an event is about; a promotion code belongs to nobody's sale."""
    facts_of_people = (fact for fact in facts if not isinstance(fact, PromotionCodeTold))
    return sorted({object_id for fact in facts_of_people for object_id in fact.objects})


def _named_by(facts: Iterable[Fact]) -> list[str]:
    """The external ids that an event names, with those that a checkout's reference may be."""
    words = [fact.external_id for fact in facts if isinstance(fact, NAMING)]
    references = [fact.reference for fact in facts if isinstance(fact, REFERRING)]
    return sorted({word for word in (*words, *references) if word})


def _has_any(facts: Iterable[Fact], kinds: tuple[type[Fact], ...]) -> bool:
    return any(isinstance(fact, kinds) for fact in facts)
