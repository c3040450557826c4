"""Promotion codes: the texts that customers type in for what a provider's other events show by id alone.

Goodword asks no provider, so a text is known once an event tells it, which may be after the code was used. Then the
touches that were waiting for it are those of people who may have signed up long ago, and are decided on as any late
touch is. A promotion code that is no referral code means nothing.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from goodword.referral.facts import Fact, PromotionCodeTold

MOST_AT_ONCE = 100
"""How many people one telling decides on: the others follow with their own next event, or when it is told again."""

_RECORD = """
    INSERT INTO promotion_codes (company_id, provider, object_id, code)
    VALUES (%(company_id)s, %(provider)s, %(promotion)s, %(code)s)
    ON CONFLICT ON CONSTRAINT promotion_codes_pk DO NOTHING
"""

# touches_of, the other way round: who is meant by the objects on which it was used. What was told first stands.
_WAITING = """
    WITH used AS (
        SELECT touches.object_id, touches.external_id, touches.carried_at, codes.code,
            touches.external_id = '' OR touches.by_reference AND NOT EXISTS (
                SELECT FROM users
                WHERE users.company_id = touches.company_id AND users.external_id = touches.external_id
            ) AS is_anybodys
        FROM touches
        LEFT JOIN promotion_codes AS known ON known.company_id = touches.company_id
            AND known.provider = touches.provider AND known.object_id = touches.ref
        JOIN codes ON codes.company_id = touches.company_id AND codes.code = coalesce(known.code, %(code)s)
        WHERE touches.company_id = %(company_id)s AND touches.provider = %(provider)s AND touches.kind = 'promotion'
            AND touches.ref = %(promotion)s
    ), objects AS (
        SELECT object_id, carried_at, code FROM used WHERE is_anybodys
        UNION
        SELECT other_id, carried_at, code FROM object_links JOIN used USING (object_id)
        WHERE object_links.company_id = %(company_id)s AND object_links.provider = %(provider)s
            AND is_anybodys
    ), people AS (
        SELECT external_id, carried_at, code FROM used WHERE external_id <> ''
        UNION
        SELECT external_id, carried_at, code FROM identity_links JOIN objects USING (object_id)
        WHERE identity_links.company_id = %(company_id)s AND identity_links.provider = %(provider)s
    ), waiting AS (
        SELECT id, external_id, carried_at, code FROM users JOIN people USING (external_id)
        WHERE company_id = %(company_id)s
        UNION
        SELECT id, external_id, carried_at, code FROM users JOIN objects ON stripe_customer_id = object_id
        WHERE company_id = %(company_id)s AND %(provider)s = 'stripe'
        UNION
        SELECT id, external_id, carried_at, code FROM users JOIN objects ON whop_user_id = object_id
        WHERE company_id = %(company_id)s AND %(provider)s = 'whop'
        UNION
        SELECT users.id, users.external_id, carried_at, code FROM objects
        JOIN payments ON payments.objects && ARRAY[objects.object_id]
        JOIN users ON users.company_id = payments.company_id AND users.id = payments.user_id
        WHERE payments.company_id = %(company_id)s AND payments.provider = %(provider)s AND claimed_by = 'email'
        UNION
        SELECT users.id, users.external_id, carried_at, code FROM objects
        JOIN subscriptions ON subscriptions.objects && ARRAY[objects.object_id]
        JOIN users ON users.company_id = subscriptions.company_id AND users.id = subscriptions.user_id
        WHERE subscriptions.company_id = %(company_id)s AND subscriptions.provider = %(provider)s
            AND claimed_by = 'email'
    )
    SELECT DISTINCT id, external_id FROM waiting
    WHERE NOT EXISTS (SELECT 1 FROM referrals WHERE company_id = %(company_id)s AND referee_id = waiting.id)
        AND NOT EXISTS (SELECT 1 FROM touch_decisions AS decided
            WHERE decided.company_id = %(company_id)s AND decided.user_id = waiting.id AND decided.kind = 'code'
                AND decided.ref = waiting.code AND decided.carried_at <= waiting.carried_at)
    ORDER BY id LIMIT %(most)s
"""

_LOCK_PEOPLE = "SELECT lock_identities(%(company_id)s, %(identities)s)"


def hold(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Lock the people who wait for what is told. Before the promotion codes themselves, as everybody else does.

    Costs no trip where no promotion code is told.
    """
    for scope in _told(company_id, provider, facts):
        if people := [f"user:{external_id}" for _, external_id in connection.execute(_WAITING, scope)]:
            connection.execute(_LOCK_PEOPLE, {"company_id": company_id, "identities": people})


def learn(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> list[UUID]:
    """Keep the texts that are told. Returns users who have used these codes and on whom nothing was decided.

    Whoever calls holds the locks of `facts`: nobody who relies on not knowing a text is under way.
    """
    waiting: list[UUID] = []
    for scope in _told(company_id, provider, facts):
        connection.execute(_RECORD, scope)
        waiting += [user_id for user_id, _ in connection.execute(_WAITING, scope)]
    return waiting


def _told(company_id: UUID, provider: str, facts: Sequence[Fact]) -> list[dict[str, object]]:
    scope = {"company_id": company_id, "provider": provider, "most": MOST_AT_ONCE}
    return [
        {**scope, "promotion": promotion, "code": fact.code.upper()}
        for fact in facts if isinstance(fact, PromotionCodeTold) for promotion in fact.objects
    ]  # fmt: skip
