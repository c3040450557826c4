"""Finding what a signup may be attributed to: the code it names, and the click it brings, by its chain."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.accounts.users import Identity
from goodword.core import clock, ids
from goodword.referral.attribution import Candidate, Reason
from goodword.referral.clicks import normal_code
from goodword.referral.program import LONGEST_WINDOW_DAYS, Terms

_BY_CODE = """
    SELECT codes.id AS code_id, codes.max_uses, code_refusal(codes, %(at)s) AS refusal,
        users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id
    FROM codes LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    WHERE codes.company_id = %(company_id)s AND codes.code = %(code)s
"""

# Any id of a chain stands for the whole of it. The bounds on received_at name the partitions to look into.
_BY_CLICK = """
    SELECT touch.id AS click_id, touch.occurred_at, codes.id AS code_id, codes.code, codes.max_uses, codes.uses,
        users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id
    FROM clicks AS given
    JOIN clicks AS touch ON touch.company_id = given.company_id AND touch.chain_id = given.chain_id
        AND touch.received_at BETWEEN %(from)s AND %(to)s
    JOIN codes ON codes.company_id = touch.company_id AND codes.id = touch.code_id
    LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    WHERE given.company_id = %(company_id)s AND given.received_at = %(given_at)s AND given.id = %(click_id)s
    ORDER BY touch.occurred_at, touch.received_at, touch.id
"""


def find(
    connection: Connection, company_id: UUID, code: str | None, click_id: str | None, terms: Terms
) -> list[Candidate]:
    """The candidates of a signup, best first; one trip for all of them."""
    asked = [
        *([_ask_code(connection, company_id, code, terms)] if code is not None else []),
        *([_ask_click(connection, company_id, click_id, terms)] if click_id is not None else []),
    ]
    return [candidate() for candidate in asked]


def _ask_code(connection: Connection, company_id: UUID, text: str, terms: Terms) -> Callable[[], Candidate]:
    code = normal_code(text)
    cursor = connection.cursor(row_factory=dict_row).execute(
        _BY_CODE, {"company_id": company_id, "code": code, "at": terms.at}
    )

    def read() -> Candidate:
        row = cursor.fetchone()
        if row is None:
            return Candidate("code", code, None, None, terms.at, refusal="unknown_code")
        refusal = _as_reason(row["refusal"])
        return Candidate("code", code, row["code_id"], _owner(row), terms.at, refusal=refusal, max_uses=row["max_uses"])

    return read


def _ask_click(connection: Connection, company_id: UUID, text: str, terms: Terms) -> Callable[[], Candidate]:
    click_id = ids.parse("clk", text)
    # never made here, or beyond the clicks' retention: longer ago than any window
    unknown = Candidate("click", "", None, None, terms.at, click_id=click_id, refusal="outside_window")
    if click_id is None or not ids.is_in_time(click_id):
        return lambda: unknown
    given_at = ids.time_of(click_id)
    cursor = connection.cursor(row_factory=dict_row).execute(
        _BY_CLICK,
        {
            "company_id": company_id,
            "click_id": click_id,
            "given_at": given_at,
            "from": given_at - timedelta(days=LONGEST_WINDOW_DAYS),
            "to": clock.real_now() + timedelta(minutes=1),
        },
    )

    def read() -> Candidate:
        touches = cursor.fetchall()
        oldest = terms.at - timedelta(days=terms.program.attribution.window_days)
        inside = [touch for touch in touches if touch["occurred_at"] >= oldest] or touches
        if not inside:
            return unknown
        touch = inside[0] if terms.program.attribution.model == "first_touch" else inside[-1]
        # a click made while its code was good outlives the code; only the number of uses is judged now
        used_up = touch["max_uses"] is not None and touch["uses"] >= touch["max_uses"]
        return Candidate(
            "click",
            touch["code"],
            touch["code_id"],
            _owner(touch),
            touch["occurred_at"],
            click_id=touch["click_id"],
            refusal="code_used_up" if used_up else None,
            max_uses=touch["max_uses"],
        )

    return read


def _as_reason(refusal: str | None) -> Reason | None:
    reasons: Mapping[str | None, Reason] = {
        "inactive": "inactive_code", "expired": "expired_code", "used_up": "code_used_up",
    }  # fmt: skip
    return reasons.get(refusal)


def _owner(row: Mapping[str, Any]) -> Identity | None:
    if row["id"] is None:
        return None
    return Identity(row["id"], row["external_id"], row["email"], row["whop_user_id"], row["stripe_customer_id"])
