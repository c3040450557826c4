"""Promotion codes: the texts that customers type in for what a provider's other events show by id alone.

Goodword asks no provider, so a text is known once an event tells it, which may be after the code was used. Then the
touches that were waiting for it are those of people who may have signed up long ago, and are decided on as any late
touch is. A promotion code that is no referral code means nothing.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from goodword.facts.kinds import Fact, PromotionCodeTold

MOST_AT_ONCE = 100
"""How many people one telling decides on: the others follow with their own next event, or when it is told again."""

_RECORD = """
    INSERT INTO promotion_codes (company_id, provider, object_id, code)
    VALUES (%(company_id)s, %(provider)s, %(promotion)s, %(code)s)
    ON CONFLICT ON CONSTRAINT promotion_codes_pk DO NOTHING
"""

_WAITING = """
    SELECT id FROM waiting_for_promotion(%(company_id)s, %(provider)s, %(promotion)s, %(code)s, %(most)s)
"""

_LOCK = "SELECT lock_promotion(%(company_id)s, %(provider)s, %(promotion)s, %(code)s, %(most)s)"


def hold(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Lock the promotion codes that are told, after the people who wait for them, as everybody else does."""
    for scope in _told(company_id, provider, facts):
        connection.execute(_LOCK, scope)


def learn(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> list[UUID]:
    """Keep the texts that are told. Returns users who have used these codes and on whom nothing was decided.

    Whoever calls holds the locks of `facts`: nobody who relies on not knowing a text is under way.
    """
    waiting: list[UUID] = []
    for scope in _told(company_id, provider, facts):
        connection.execute(_RECORD, scope)
        waiting += [user_id for (user_id,) in connection.execute(_WAITING, scope)]
    return waiting


def _told(company_id: UUID, provider: str, facts: Sequence[Fact]) -> list[dict[str, object]]:
    scope = {"company_id": company_id, "provider": provider, "most": MOST_AT_ONCE}
    return [
        {**scope, "promotion": promotion, "code": fact.code.upper()}
        for fact in facts if isinstance(fact, PromotionCodeTold) for promotion in fact.objects
    ]  # fmt: skip
