"""Touches: the clicks and codes that providers' events carry, kept until the person they are about is known.

A checkout's metadata may name a click or a code, and a promotion code may be a referral code. They say who sent the
person, never who the person is: whose they are follows from what else the event names. A touch counts for the signup of
a person, or, where the signup came first and was attributed to nobody, is decided on once (`late_attribution`), and
again only if it turns out to have been carried earlier.

A promotion code is mostly carried by its id, and its text told by an event of its own (`promotions`), earlier or later.
Until it is told it is no touch. Whoever finds one untold holds its identity and looks again, so that the telling either
shows by then or comes after, and finds what was done here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.accounts.users import NewUser
from goodword.facts.kinds import NAMING, REFERRING, Fact, PaymentSucceeded, PromotionUsed

MOST = 20
"""How many touches of one person are looked at: nobody honest has as many."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A click or a code, and since when an event has carried it."""

    kind: Literal["click", "code"]
    ref: str
    carried_at: datetime


@dataclass(frozen=True, slots=True)
class _Told:
    kind: Literal["click", "code", "promotion"]
    ref: str
    carried_at: datetime


@dataclass(frozen=True, slots=True)
class _Undecided:
    external_id: str
    touched: bool
    untold: list[str]


_RECORD = """
    INSERT INTO touches AS known (company_id, provider, object_id, external_id, by_reference, kind, ref, carried_at)
    SELECT %(company_id)s, %(provider)s, object_id, %(external_id)s, %(by_reference)s, kind, ref, %(at)s
    FROM unnest(%(objects)s::text[]) AS object_id,
        (VALUES ('click', %(click_id)s::text), ('code', %(code)s::text), ('promotion', %(promotion)s::text))
            AS carried (kind, ref)
    WHERE ref IS NOT NULL
    ON CONFLICT ON CONSTRAINT touches_pk DO UPDATE
        SET by_reference = known.by_reference AND excluded.by_reference,
            carried_at = least(known.carried_at, excluded.carried_at)
        WHERE excluded.carried_at < known.carried_at OR known.by_reference AND NOT excluded.by_reference
"""

_OF_PERSON = """
    SELECT kind, ref, carried_at
    FROM touches_of(
        %(company_id)s, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s, %(email_hashes)s::bytea[])
    ORDER BY carried_at, kind DESC, ref LIMIT %(most)s
"""

_SHARE = "SELECT share_identities(%(company_id)s, %(identities)s)"

# Of whoever signed up before it came, is referred by nobody, and on which nothing was decided.
_UNDECIDED = """
    SELECT users.external_id, bool_or(touch.kind <> 'promotion') AS touched,
        coalesce(array_agg(touch.ref) FILTER (WHERE touch.kind = 'promotion'), '{}') AS untold
    FROM users CROSS JOIN LATERAL
        touches_of(users.company_id, users.external_id, users.stripe_customer_id, users.whop_user_id) AS touch
    WHERE users.company_id = %(company_id)s AND users.id = ANY (%(user_ids)s)
        AND NOT EXISTS (SELECT 1 FROM referrals
            WHERE referrals.company_id = users.company_id AND referrals.referee_id = users.id)
        AND NOT EXISTS (SELECT 1 FROM touch_decisions AS decided
            WHERE decided.company_id = users.company_id AND decided.user_id = users.id
                AND decided.kind = touch.kind AND decided.ref = touch.ref AND decided.carried_at <= touch.carried_at)
    GROUP BY users.external_id ORDER BY users.external_id
"""

_UNDECIDED_OF = """
    SELECT touch.kind, touch.ref, touch.carried_at
    FROM users CROSS JOIN LATERAL
        touches_of(users.company_id, users.external_id, users.stripe_customer_id, users.whop_user_id) AS touch
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s AND touch.kind <> 'promotion'
        AND NOT EXISTS (SELECT 1 FROM touch_decisions AS decided
            WHERE decided.company_id = users.company_id AND decided.user_id = users.id
                AND decided.kind = touch.kind AND decided.ref = touch.ref AND decided.carried_at <= touch.carried_at)
    ORDER BY touch.carried_at, touch.kind DESC, touch.ref LIMIT %(most)s
"""

_DECIDE = """
    INSERT INTO touch_decisions AS known (company_id, user_id, kind, ref, carried_at, outcome, reason, trace,
        decided_at)
    SELECT %(company_id)s, %(user_id)s, kind, ref, carried_at, CASE WHEN reason IS NOT NULL THEN 'rejected'
        WHEN wins THEN 'attributed' ELSE 'passed_over' END, reason, %(trace)s, %(at)s
    FROM jsonb_to_recordset(%(decisions)s) AS decision (
        kind text, ref text, carried_at timestamptz, reason text, wins boolean)
    ON CONFLICT ON CONSTRAINT touch_decisions_pk DO UPDATE
        SET carried_at = excluded.carried_at, outcome = excluded.outcome, reason = excluded.reason,
            trace = excluded.trace, decided_at = excluded.decided_at
        WHERE excluded.carried_at < known.carried_at
"""


def record(connection: Connection, company_id: UUID, provider: str, facts: Sequence[Fact]) -> None:
    """Keep what the facts of one event carry; costs no trip of its own. Whoever calls holds the locks of `facts`."""
    for fact in facts:
        if isinstance(fact, NAMING):
            carried = (fact.click_id, fact.code, None)
        elif isinstance(fact, PromotionUsed):
            carried = (None, None, fact.promotion)
        else:
            continue
        if fact.objects and any(carried):
            click_id, code, promotion = carried
            reference = fact.reference if isinstance(fact, REFERRING) else None
            connection.execute(
                _RECORD,
                {
                    "company_id": company_id,
                    "provider": provider,
                    "objects": list(fact.objects),
                    "external_id": fact.external_id or reference or "",
                    "by_reference": fact.external_id is None and reference is not None,
                    "click_id": click_id,
                    "code": code,
                    "promotion": promotion,
                    "at": fact.paid_at if isinstance(fact, PaymentSucceeded) else fact.at,
                },
            )


def ask(
    connection: Connection, company_id: UUID, user: NewUser, email_hashes: Sequence[bytes]
) -> Callable[[], list[Touch]]:
    """The touches of a person who signs up; asked now, read later, so that it rides along.

    `email_hashes` are those of the e-mail that the person has verified.
    """
    whose = {
        "company_id": company_id,
        "external_id": user.external_id,
        "stripe_customer_id": user.stripe_customer_id,
        "whop_user_id": user.whop_user_id,
        "email_hashes": list(email_hashes),
        "most": MOST,
    }
    cursor = connection.cursor(row_factory=class_row(_Told)).execute(_OF_PERSON, whose)

    def read() -> list[Touch]:
        told = cursor.fetchall()
        if untold := [touch.ref for touch in told if touch.kind == "promotion"]:
            connection.execute(_SHARE, {"company_id": company_id, "identities": untold})
            told = cursor.execute(_OF_PERSON, whose).fetchall()
        return [Touch(touch.kind, touch.ref, touch.carried_at) for touch in told if touch.kind != "promotion"]

    return read


def ask_undecided(connection: Connection, company_id: UUID, user_ids: Sequence[UUID]) -> Callable[[], list[str]]:
    """Who of these users has touches to be decided on, by external id; asked now, read later."""
    whose = {"company_id": company_id, "user_ids": list(user_ids)}
    cursor = connection.cursor(row_factory=class_row(_Undecided)).execute(_UNDECIDED, whose)

    def read() -> list[str]:
        found = cursor.fetchall()
        if untold := [identity for each in found for identity in each.untold]:
            connection.execute(_SHARE, {"company_id": company_id, "identities": untold})
            found = cursor.execute(_UNDECIDED, whose).fetchall()
        return [each.external_id for each in found if each.touched]

    return read


def ask_undecided_of(connection: Connection, company_id: UUID, external_id: str) -> Callable[[], list[Touch]]:
    """The touches of a user on which nothing was decided; asked now, read later."""
    return (
        connection.cursor(row_factory=class_row(Touch))
        .execute(_UNDECIDED_OF, {"company_id": company_id, "external_id": external_id, "most": MOST})
        .fetchall
    )


def decide(
    connection: Connection, company_id: UUID, user_id: UUID, decisions: Sequence[Mapping[str, object]],
    trace: Mapping[str, object], at: datetime,
) -> None:  # fmt: skip
    """Write what was decided on touches: of each what it is, the reason against it, and whether it wins."""
    connection.execute(
        _DECIDE,
        {
            "company_id": company_id,
            "user_id": user_id,
            "decisions": Jsonb(to_jsonable_python(decisions)),
            "trace": Jsonb(to_jsonable_python(trace)),
            "at": at,
        },
    )


def ordered(touched: Sequence[Touch], model: Literal["last_touch", "first_touch"]) -> list[Touch]:
    """By the time they were carried, as the model wants it; of one moment a code before a click."""
    by_name = sorted(touched, key=lambda touch: (touch.kind != "code", touch.ref))
    return sorted(by_name, key=lambda touch: touch.carried_at, reverse=model == "last_touch")
