"""What tests of points do over HTTP again and again: give them, offer something for them, spend them, get them back."""

from collections.abc import Mapping
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import Connection

from local.client import Answer
from tests.support.companies import Company

OPTION = {"kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "cost_points": 30}
UNLOCK = {"kind": "unlock", "name": "Premium for a month", "plan": "premium", "days": 30, "cost_points": 30}
REWARD = {"kind": "reward", "name": "A mug", "cost_points": 30}


def give(company: Company, points: int, *, key: str, user: str = "ada", **fields: object) -> Any:  # noqa: ANN401
    """Give points by hand, or take some; `key` is the note too."""
    return company.ok("POST", f"/v1/users/{user}/points", {"points": points, "note": key, **fields}, key=key)


def offer(company: Company, option: Mapping[str, object] = OPTION, /, **changed: object) -> str:
    """The id of a new option, of quota unless said."""
    return company.ok("POST", "/v1/redemption-options", {**option, **changed})["id"]


def redeem(company: Company, option_id: str, *, key: str, user: str = "ada", **fields: object) -> Answer:
    """Spend points."""
    body = {"option_id": option_id, **fields}
    return company.api.send("POST", f"/v1/users/{user}/redemptions", body, headers={"idempotency-key": key})


def buy(
    company: Company, option: Mapping[str, object] = OPTION, /, *, key: str, user: str = "ada", quantity: int = 1,
    **changed: object,
) -> str:  # fmt: skip
    """The id of a redemption of a new option."""
    answer = redeem(company, offer(company, option, **changed), key=key, user=user, quantity=quantity)
    assert answer.status == 201, answer.raw
    return answer.json["id"]


def refund(company: Company, redemption_id: str, *, key: str, body: object = None) -> Answer:
    """Get spent points back."""
    path = f"/v1/redemptions/{redemption_id}/refund"
    return company.api.send("POST", path, body, headers={"idempotency-key": key})


def decide(
    company: Company, redemption_id: str, decision: Literal["fulfil", "fail"], *, key: str | None = None,
    **body: object,
) -> Answer:  # fmt: skip
    """Say what became of a reward."""
    headers = {"idempotency-key": key} if key else None
    return company.api.send("POST", f"/v1/redemptions/{redemption_id}/{decision}", body, headers=headers)


def stock(company: Company, option_id: str) -> int | None:
    """What is left of an option."""
    return company.ok("GET", f"/v1/redemption-options/{option_id}")["stock"]


def transactions(company: Company, query: str = "", user: str = "ada") -> Any:  # noqa: ANN401
    """A page of a user's entries."""
    return company.ok("GET", f"/v1/users/{user}/transactions{query}")


_POST: LiteralString = """
    SELECT post_entry(%(company_id)s, users.id, %(type)s, %(points)s, %(reference)s, %(occasion)s,
        p_expiry_months => %(months)s)
    FROM users WHERE company_id = %(company_id)s AND external_id = %(user)s
"""


def post(
    superuser: Connection, company_id: UUID, type_: str, points: int, *, reference: str, occasion: str = "",
    months: int | None = None, user: str = "ada",
) -> None:  # fmt: skip
    """Book what no request books by itself: an import, a reversal, a reinstatement."""
    superuser.execute(
        _POST,
        {
            "company_id": company_id, "user": user, "type": type_, "points": points, "reference": reference,
            "occasion": occasion, "months": months,
        },
    )  # fmt: skip
