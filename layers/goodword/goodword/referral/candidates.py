"""Finding what a person may have come by: a code that is named, and a click that is brought, with those before it.

Both may also have been carried by a provider's events (`touches`): a code was then used when it was carried first.

Taking the winner uses its code up by one where uses are capped, so what `choose` chose is to be bound.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from goodword.accounts.users import Identity, NewUser
from goodword.core import ids
from goodword.facts import touches
from goodword.facts.touches import Touch
from goodword.program.versions import Terms
from goodword.referral.attribution import Candidate, Reason, Verdict
from goodword.referral.clicks import normal_code

_HOLD_CAPS = "SELECT hold_caps(%(company_id)s, false)"

# Two accounts are one payer's where a provider has linked what the one names to the other.
_BY_CODE = """
    SELECT codes.id AS code_id, codes.max_uses, code_refusal(codes, %(at)s) AS refusal,
        users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id,
        EXISTS (
            SELECT 1 FROM identity_links AS link
            WHERE link.company_id = codes.company_id AND link.external_id = users.external_id
                AND (link.provider = 'stripe' AND link.object_id = %(stripe_customer_id)s
                    OR link.provider = 'whop' AND link.object_id = %(whop_user_id)s)
        ) OR EXISTS (
            SELECT 1 FROM identity_links AS link
            WHERE link.company_id = codes.company_id AND link.external_id = %(external_id)s
                AND (link.provider = 'stripe' AND link.object_id = users.stripe_customer_id
                    OR link.provider = 'whop' AND link.object_id = users.whop_user_id)
        ) AS is_same_payer
    FROM codes LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    WHERE codes.company_id = %(company_id)s AND codes.code = %(code)s
"""

# A click stands for itself and for those before it in its chain, never for one that came after: its id stands in URLs
# that strangers see. Each id says in which partition its click lies; LIMIT has each looked up by itself.
_BY_CLICK = """
    WITH RECURSIVE chain AS (
        SELECT company_id, id, previous_id, code_id, occurred_at, 1 AS place FROM clicks
        WHERE company_id = %(company_id)s AND received_at = %(given_at)s AND id = %(click_id)s
        UNION ALL
        SELECT earlier.*, place + 1 FROM chain CROSS JOIN LATERAL (
            SELECT company_id, id, previous_id, code_id, occurred_at FROM clicks
            WHERE company_id = chain.company_id AND received_at = received_at_of(chain.previous_id)
                AND id = chain.previous_id
            LIMIT 1
        ) AS earlier
        WHERE place < %(longest)s
    )
    SELECT touch.id AS click_id, touch.occurred_at, codes.id AS code_id, codes.code, codes.max_uses, codes.uses,
        users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id,
        EXISTS (
            SELECT 1 FROM identity_links AS link
            WHERE link.company_id = codes.company_id AND link.external_id = users.external_id
                AND (link.provider = 'stripe' AND link.object_id = %(stripe_customer_id)s
                    OR link.provider = 'whop' AND link.object_id = %(whop_user_id)s)
        ) OR EXISTS (
            SELECT 1 FROM identity_links AS link
            WHERE link.company_id = codes.company_id AND link.external_id = %(external_id)s
                AND (link.provider = 'stripe' AND link.object_id = users.stripe_customer_id
                    OR link.provider = 'whop' AND link.object_id = users.whop_user_id)
        ) AS is_same_payer
    FROM chain AS touch
    JOIN codes ON codes.company_id = touch.company_id AND codes.id = touch.code_id
    LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    ORDER BY touch.place
"""
LONGEST_CHAIN = 100
"""How many clicks of a chain are looked at: nobody honest has as many inside a window."""


# A capped code is used exactly as often as it allows; an uncapped one has no counter for signups to queue at.
_USE_CODE = """
    UPDATE codes SET uses = uses + 1, updated_at = %(at)s
    WHERE company_id = %(company_id)s AND id = %(code_id)s AND uses < max_uses
    RETURNING uses
"""


def find(
    connection: Connection, company_id: UUID, user: NewUser | Identity, code: str | None, click_id: str | None,
    terms: Terms,
) -> list[Candidate]:  # fmt: skip
    """What may have brought this user, best first; one trip for all of it. Its caps hold until the transaction ends."""
    if code is not None or click_id is not None:
        connection.execute(_HOLD_CAPS, {"company_id": company_id})
    asked = [
        *([_ask_code(connection, company_id, user, code, terms)] if code is not None else []),
        *([_ask_click(connection, company_id, user, click_id, terms)] if click_id is not None else []),
    ]
    return [candidate for read in asked for candidate in read()]


def carried(
    connection: Connection, company_id: UUID, user: NewUser | Identity, touched: Sequence[Touch], terms: Terms
) -> list[tuple[Touch, Candidate]]:
    """What may have brought this user of what events carried, best first; one trip where there is anything.

    What is no code or click of the company's is none: a provider's promotion code need not be a referral code.
    """
    if not touched:
        return []
    connection.execute(_HOLD_CAPS, {"company_id": company_id})
    ordered = touches.ordered(touched, terms.program.attribution.model)
    asked = [
        _ask_code(connection, company_id, user, touch.ref, terms, touch.carried_at)
        if touch.kind == "code"
        else _ask_click(connection, company_id, user, touch.ref, terms)
        for touch in ordered
    ]
    found = [(touch, candidate) for touch, read in zip(ordered, asked, strict=True) for candidate in read()]
    return [(touch, candidate) for touch, candidate in found if candidate.code_id is not None]


def choose(
    connection: Connection, company_id: UUID, verdicts: Sequence[Verdict], at: datetime
) -> tuple[Candidate | None, list[Verdict]]:
    """The first valid candidate, its use counted where uses are capped; and the verdicts as they are then."""
    seen: list[Verdict] = []
    for position, verdict in enumerate(verdicts):
        candidate = verdict.candidate
        if verdict.reason is not None:
            seen.append(verdict)
            continue
        if candidate.max_uses is not None:
            used = connection.execute(
                _USE_CODE, {"company_id": company_id, "code_id": candidate.code_id, "at": at}
            ).fetchone()
            if used is None:
                seen.append(Verdict(candidate, "code_used_up"))
                continue
        return candidate, [*seen, *verdicts[position:]]
    return None, seen


def _who(user: NewUser | Identity) -> dict[str, object]:
    return {
        "external_id": user.external_id,
        "whop_user_id": user.whop_user_id,
        "stripe_customer_id": user.stripe_customer_id,
    }


def _ask_code(
    connection: Connection, company_id: UUID, user: NewUser | Identity, text: str, terms: Terms,
    used_at: datetime | None = None,
) -> Callable[[], list[Candidate]]:  # fmt: skip
    code, at = normal_code(text), used_at or terms.at
    cursor = connection.cursor(row_factory=dict_row).execute(
        _BY_CODE, {"company_id": company_id, "code": code, "at": at, **_who(user)}
    )

    def read() -> list[Candidate]:
        row = cursor.fetchone()
        if row is None:
            return [Candidate("code", code, None, None, at, refusal="unknown_code")]
        return [
            Candidate(
                "code",
                code,
                row["code_id"],
                _owner(row),
                at,
                refusal=_as_reason(row["refusal"]),
                max_uses=row["max_uses"],
                is_same_payer=row["is_same_payer"],
            )
        ]

    return read


def _ask_click(
    connection: Connection, company_id: UUID, user: NewUser | Identity, text: str, terms: Terms
) -> Callable[[], list[Candidate]]:
    click_id = ids.parse("clk", text.strip())
    if click_id is None:
        return lambda: [Candidate("click", "", None, None, terms.at, refusal="unknown_code")]
    # never made here, or beyond the clicks' retention: longer ago than any window
    unknown = Candidate("click", "", None, None, terms.at, click_id=click_id, refusal="outside_window")
    if not ids.is_in_time(click_id):
        return lambda: [unknown]
    cursor = connection.cursor(row_factory=dict_row).execute(
        _BY_CLICK,
        {
            "company_id": company_id,
            "click_id": click_id,
            "given_at": ids.time_of(click_id),
            "longest": LONGEST_CHAIN,
            **_who(user),
        },
    )
    return lambda: [_clicked(touch) for touch in _in_order(cursor.fetchall(), terms)] or [unknown]


def _in_order(chain: Sequence[Mapping[str, Any]], terms: Terms) -> list[Mapping[str, Any]]:
    """The clicks of a chain, latest first, as the model wants them; those outside the window come after all others."""
    wanted = chain if terms.program.attribution.model == "last_touch" else reversed(chain)
    oldest = terms.at - timedelta(days=terms.program.attribution.window_days)
    return sorted(wanted, key=lambda touch: touch["occurred_at"] < oldest)


def _clicked(touch: Mapping[str, Any]) -> Candidate:
    """A click made while its code was good outlives the code; only the number of uses is judged now."""
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
        is_same_payer=touch["is_same_payer"],
    )


def _as_reason(refusal: str | None) -> Reason | None:
    reasons: Mapping[str | None, Reason] = {
        "inactive": "inactive_code", "expired": "expired_code", "used_up": "code_used_up",
    }  # fmt: skip
    return reasons.get(refusal)


def _owner(row: Mapping[str, Any]) -> Identity | None:
    if row["id"] is None:
        return None
    return Identity(row["id"], row["external_id"], row["email"], row["whop_user_id"], row["stripe_customer_id"])
