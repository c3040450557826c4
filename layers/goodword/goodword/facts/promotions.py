"""Promotion codes: the texts that customers type in, which a provider's other events show by id alone.

Goodword asks no provider, so a text is known once an event tells it, which may be after the code was used. Then the
touches that have waited for the text are those of people who may have signed up long ago, and are decided on as any
late touch is. A promotion code that is no referral code means nothing.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.facts import locks
from goodword.facts.kinds import Fact, PromotionCodeTold

MOST_AT_ONCE = 100
"""How many people one text decides on: the others follow with their own next event, or when it is told again."""

_RECORD = """
    INSERT INTO promotion_codes (company_id, provider, object_id, code)
    VALUES (%(company_id)s, %(provider)s, %(promotion)s, %(code)s)
    ON CONFLICT ON CONSTRAINT promotion_codes_pk DO NOTHING
"""


class Promotion(NamedTuple):
    """A promotion code: the provider's id of it, and its text in upper case."""

    id: str
    code: str


def in_facts(facts: Sequence[Fact]) -> Iterator[Promotion]:
    """The promotion codes whose texts an event tells."""
    for fact in facts:
        if isinstance(fact, PromotionCodeTold):
            yield from (Promotion(object_id, fact.code.upper()) for object_id in fact.objects)


def hold(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Hold the promotion codes whose texts an event tells, after the people who wait for them."""
    for promotion in in_facts(facts):
        locks.hold_promotion(connection, company_id, provider, promotion.id, promotion.code, MOST_AT_ONCE)


def learn(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Keep the texts that an event tells. Needs: their locks, so that nobody relies on not knowing a text."""
    for promotion in in_facts(facts):
        values = {"provider": provider, "promotion": promotion.id, "code": promotion.code}
        query.do(connection, _RECORD, company_id=company_id, **values)
