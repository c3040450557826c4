"""Touches to be decided on: those of a person who signs up, and those of users whom nobody has referred.

A promotion code is mostly carried by its id, and its text is told by an event of its own, earlier or later. Until then
the code is no touch. A question that meets one without a text shares its lock and is asked again: the event that tells
the text then shows by now, or comes later and finds what was done here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import NewUser
from goodword.core import query
from goodword.core.query import Later
from goodword.facts import locks, promotions
from goodword.facts.kinds import Fact
from goodword.facts.touches import Touch

MOST = 20
"""How many touches of one person are looked at: nobody honest has as many."""

T = TypeVar("T")


class _Carried(NamedTuple):
    """A touch, or a promotion code without a text."""

    kind: Literal["click", "code", "promotion"]
    ref: str
    carried_at: datetime


class _Undecided(NamedTuple):
    """A user on whom something is to be decided: whether there is a touch, and promotion codes without a text."""

    external_id: str
    has_touch: bool
    promotions: list[str]


class _Waiting(NamedTuple):
    id: UUID


_OF_NEWCOMER = """
    SELECT kind, ref, carried_at
    FROM touches_of(
        %(company_id)s, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s, %(email_hashes)s::bytea[])
    ORDER BY carried_at, kind DESC, ref LIMIT %(most)s
"""

_AMONG = "SELECT external_id, has_touch, promotions FROM undecided_among(%(company_id)s, %(user_ids)s)"

_OF_USER = """
    SELECT touch.kind, touch.ref, touch.carried_at
    FROM users CROSS JOIN LATERAL
        touches_of(users.company_id, users.external_id, users.stripe_customer_id, users.whop_user_id) AS touch
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s AND touch.kind <> 'promotion'
        AND NOT EXISTS (SELECT 1 FROM touch_decisions AS decided
            WHERE decided.company_id = users.company_id AND decided.user_id = users.id
                AND decided.kind = touch.kind AND decided.ref = touch.ref AND decided.carried_at <= touch.carried_at)
    ORDER BY touch.carried_at, touch.kind DESC, touch.ref LIMIT %(most)s
"""

_WAITING = """
    SELECT id FROM waiting_for_promotion(%(company_id)s, %(provider)s, %(promotion)s, %(code)s, %(most)s)
"""


def of_newcomer(
    connection: Connection, company_id: UUID, user: NewUser, email_hashes: Sequence[bytes]
) -> Later[list[Touch]]:
    """Ask for the touches of a person who signs up; `email_hashes` are those of the e-mail that they have verified."""

    def ask() -> Later[list[_Carried]]:
        return query.every_later(
            connection, _Carried, _OF_NEWCOMER, company_id=company_id, external_id=user.external_id,
            stripe_customer_id=user.stripe_customer_id, whop_user_id=user.whop_user_id, email_hashes=list(email_hashes),
            most=MOST,
        )  # fmt: skip

    carried_later = _sharing_promotions(
        connection, company_id, ask, lambda carried: [each.ref for each in carried if each.kind == "promotion"]
    )
    return lambda: [Touch(each.kind, each.ref, each.carried_at) for each in carried_later() if each.kind != "promotion"]


def among(connection: Connection, company_id: UUID, user_ids: Sequence[UUID]) -> list[str]:
    """Who of these users, referred by nobody, has touches to be decided on, by external id."""

    def ask() -> Later[list[_Undecided]]:
        return query.every_later(connection, _Undecided, _AMONG, company_id=company_id, user_ids=list(user_ids))

    users_later = _sharing_promotions(
        connection, company_id, ask, lambda users: [promotion for user in users for promotion in user.promotions]
    )
    return [user.external_id for user in users_later() if user.has_touch]


def of_user(connection: Connection, company_id: UUID, external_id: str) -> Later[list[Touch]]:
    """Ask for the touches of a user on which nothing was decided."""
    return query.every_later(connection, Touch, _OF_USER, company_id=company_id, external_id=external_id, most=MOST)


def waiting(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> set[UUID]:
    """The users whom nobody has referred and who have used a promotion code whose text an event tells.

    Needs: the text kept, and its lock, which holds these users too.
    """
    return {
        user.id
        for promotion in promotions.in_facts(facts)
        for user in query.every(
            connection, _Waiting, _WAITING, company_id=company_id, provider=provider, promotion=promotion.id,
            code=promotion.code, most=promotions.MOST_AT_ONCE,
        )
    }  # fmt: skip


def _sharing_promotions(
    connection: Connection,
    company_id: UUID,
    ask: Callable[[], Later[list[T]]],
    without_text: Callable[[list[T]], list[str]],
) -> Later[list[T]]:
    """Ask now, and once more under the shared locks of the promotion codes that the first answer has no text of."""
    first = ask()

    def read() -> list[T]:
        rows = first()
        if codes := without_text(rows):
            locks.share_promotions(connection, company_id, codes)
            return ask()()
        return rows

    return read
