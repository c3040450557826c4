"""What is known of people, in any order; the only room that takes identity locks. `keep` is its door for events."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.query import Later
from goodword.facts import by_email, locks, ownership, promotions, recording, touches
from goodword.facts.kinds import (
    NAMING,
    OF_A_SALE,
    REFERRING,
    STORED_BEFORE,
    Fact,
    PaymentSucceeded,
    ProfileSeen,
    PromotionCodeTold,
    TakenBack,
)

KEPT: LiteralString = """keep_event(%(company_id)s, %(provider)s, %(objects)s, %(names)s, %(hashes)s::bytea[],
        %(links)s, %(emails)s, %(payments)s, %(is_of_sale)s) AS kept"""
"""Keeps an event within a statement that is asked by `keep_by`; `kept` reads its columns."""

_KEEP: LiteralString = f"SELECT kept.* FROM {KEPT}"  # noqa: S608 - it stands above


class Kept(NamedTuple):
    """What keeping the facts of an event came to.

    `concerned` are the users whose referrals may stand differently now. `parked`: money waits, a payment for its
    person, or a refund or dispute for its payment or for that one's person.
    """

    concerned: frozenset[UUID]
    parked: bool


def keep(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> Kept:
    """Keep what one event says, under the locks of all identities that it is about, which it takes."""
    (row,) = keep_by(connection, company_id, provider, facts, _KEEP)()
    return kept(row, facts)


def hold(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Take the locks under which `keep` keeps an event, for who has to read something before that."""
    hashes = [digest for email in by_email.shown(connection, facts) for digest in email.hashed.hashes]
    locks.hold_event(connection, company_id, provider, _objects_of(facts), _named_by(facts), hashes)


def kept(row: Mapping[str, Any], facts: Sequence[Fact]) -> Kept:
    """What the columns of KEPT say."""
    is_without_payment = _has_any(facts, (TakenBack,)) and not row["matched"]
    parked = row["has_parked"] if _has_any(facts, (PaymentSucceeded,)) else is_without_payment
    return Kept(frozenset(row["concerned"]), parked)


def keep_by(
    connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact], statement: LiteralString
) -> Later[list[dict[str, Any]]]:
    """Keep what one event says by a statement that asks more than KEPT; its rows are read later.

    KEPT takes the locks, stores links, e-mails and payments, joins what belongs to one sale, and gives everything to
    its owner. What else an event says is stored before it, under the same locks, or after it; most say nothing else.
    """
    objects, names = _objects_of(facts), _named_by(facts)
    emails = by_email.shown(connection, facts)
    hashes = [digest for email in emails for digest in email.hashed.hashes]
    if _has_any(facts, STORED_BEFORE):
        locks.hold_event(connection, company_id, provider, objects, names, hashes)
        _store(connection, company_id, provider, facts, objects, names)
    values = {
        "company_id": company_id,
        "provider": provider,
        "objects": objects,
        "names": names,
        "hashes": hashes,
        "links": query.as_json(recording.links(facts)),
        "emails": query.as_json(by_email.rows(emails)),
        "payments": query.as_json(recording.payments(facts)),
        "is_of_sale": _has_any(facts, OF_A_SALE),
    }
    rows_later = query.records_later(connection, statement, **values)
    touches.record(connection, company_id, provider, facts)
    return rows_later


def _store(
    connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact], objects: Sequence[str],
    names: Sequence[str],
) -> None:  # fmt: skip
    """Store what KEPT does not, but is to know."""
    promotions.hold(connection, company_id, provider, facts)
    for fact in facts:
        recording.store(connection, company_id, provider, fact)
        if isinstance(fact, ProfileSeen):
            ownership.fill_in(connection, company_id, provider, objects, names, fact)
    promotions.learn(connection, company_id, provider, facts)


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
