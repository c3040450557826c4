"""Touches: the clicks and codes that providers' events carry, kept until the person they are about is known.

A checkout's metadata may name a click or a code, and a promotion code may be a referral code. They say who sent the
person, never who the person is: whose they are follows from what else the event names. A touch counts for the signup of
a person, or, where the signup came first and was attributed to nobody, is decided on once (`referral/undecided`), and
again only if it turns out to have been carried earlier.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.core import query
from goodword.facts.kinds import NAMING, REFERRING, Fact, PaymentSucceeded, PromotionUsed


class Touch(NamedTuple):
    """A click or a code, and since when an event has carried it."""

    kind: Literal["click", "code"]
    ref: str
    carried_at: datetime


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
    """Keep what the facts of one event carry; costs no trip of its own. Needs: the locks of the facts' identities."""
    for fact in facts:
        if fact.objects and (carried := _carried(fact)):
            values = {"company_id": company_id, "provider": provider, "objects": list(fact.objects), **carried}
            query.do(connection, _RECORD, **values)


def _carried(fact: Fact) -> dict[str, object] | None:
    """What a fact carries, of whom and since when; None where it carries nothing."""
    if isinstance(fact, NAMING):
        carried = {"click_id": fact.click_id, "code": fact.code, "promotion": None}
    elif isinstance(fact, PromotionUsed):
        carried = {"click_id": None, "code": None, "promotion": fact.promotion}
    else:
        return None
    reference = fact.reference if isinstance(fact, REFERRING) else None
    return (
        {
            **carried,
            "external_id": fact.external_id or reference or "",
            "by_reference": fact.external_id is None and reference is not None,
            "at": fact.paid_at if isinstance(fact, PaymentSucceeded) else fact.at,
        }
        if any(carried.values())
        else None
    )


def decide(
    connection: Connection, company_id: UUID, user_id: UUID, decisions: Sequence[Mapping[str, object]],
    trace: Mapping[str, object], at: datetime,
) -> None:  # fmt: skip
    """Write what was decided on touches: of each its kind and text, the reason against it, and whether it wins."""
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


def ordered(touches: Sequence[Touch], model: Literal["last_touch", "first_touch"]) -> list[Touch]:
    """By the time they were carried, as the model wants it; of one moment a code before a click."""
    by_name = sorted(touches, key=lambda touch: (touch.kind != "code", touch.ref))
    return sorted(by_name, key=lambda touch: touch.carried_at, reverse=model == "last_touch")
