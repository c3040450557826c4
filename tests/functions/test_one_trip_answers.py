"""What one-trip use cases answer is built by their SQL, and promised by models: here the one is held against the other.

Each request is sent twice under one key, so that what is replayed is held against the model as well.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from pydantic import BaseModel

from goodword.access.entitlements import Entitlement
from local.client import Answer
from tests.support import points as support
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.points import REWARD, UNLOCK, buy, give, offer, refund
from tests.support.requests import ROUTES

REDEEM = "POST /v1/users/{user_id}/redemptions"
REFUND = "POST /v1/redemptions/{id}/refund"
FULFIL = "POST /v1/redemptions/{id}/fulfil"
FAIL = "POST /v1/redemptions/{id}/fail"
ADJUST = "POST /v1/users/{user_id}/points"
CONSUME = "POST /v1/users/{user_id}/usage"
RETURN = "POST /v1/users/{user_id}/usage/{usage_id}/return"

PROBLEM = {"type", "title", "status", "detail", "code", "request_id"}
LIMIT = Entitlement.model_fields.keys() - {"feature", "allowed", "reason"}


class Case(NamedTuple):
    """A request to a route; names in `{…}` are those of the scene."""

    route: str
    path: str
    body: dict[str, Any] | None = None


class Refusal(NamedTuple):
    """A request that is refused, and the fields that its problem has besides the usual ones."""

    case: Case
    status: int
    code: str
    fields: frozenset[str] = frozenset()


def redeem(option: str, quantity: int = 1, user: str = "ada") -> Case:
    return Case(REDEEM, f"/v1/users/{user}/redemptions", {"option_id": f"{{{option}}}", "quantity": quantity})


def adjust(points: int, user: str = "ada", **fields: object) -> Case:
    return Case(ADJUST, f"/v1/users/{user}/points", {"points": points, "note": "by hand", **fields})


def consume(feature: str, quantity: int = 1, user: str = "ada") -> Case:
    return Case(CONSUME, f"/v1/users/{user}/usage", {"feature": feature, "quantity": quantity})


def give_back(redemption: str) -> Case:
    return Case(REFUND, f"/v1/redemptions/{{{redemption}}}/refund")


def undo(usage: str, user: str = "ada", **fields: object) -> Case:
    return Case(RETURN, f"/v1/users/{user}/usage/{{{usage}}}/return", fields)


def decide(decision: str, redemption: str) -> Case:
    return Case(
        f"POST /v1/redemptions/{{id}}/{decision}", f"/v1/redemptions/{{{redemption}}}/{decision}", {"note": "by hand"}
    )


DONE = [
    redeem("unlock", 2),
    redeem("reward"),
    give_back("unlocked"),
    decide("fulfil", "waiting"),
    decide("fail", "waiting"),
    redeem("limited", 2),
    redeem("plenty"),
    give_back("bought"),
    adjust(5),
    adjust(5, expires_at="8000-01-15T12:00:00Z", priority=5),
    adjust(-5),
    consume("photos", 2),
    consume("weight_entries"),
    consume("ai_calls"),
    undo("use", quantity=1),
    undo("use"),
]

BALANCE = frozenset({"balance", "required"})
REFUSED = [
    Refusal(redeem("plenty", user="nobody"), 404, "user_not_found"),
    Refusal(redeem("nothing"), 404, "option_not_found"),
    Refusal(redeem("inactive"), 422, "option_inactive"),
    Refusal(redeem("limited", 4), 422, "out_of_stock"),
    Refusal(redeem("limited", 3), 422, "limit_reached"),
    Refusal(redeem("plenty", 1000), 422, "insufficient_points", BALANCE),
    Refusal(redeem("unlock", 2000), 422, "invalid_request", frozenset({"errors"})),
    Refusal(give_back("failed"), 409, "redemption_failed"),
    Refusal(decide("fulfil", "nobodys"), 404, "redemption_not_found"),
    Refusal(decide("fulfil", "bought"), 409, "redemption_not_pending"),
    Refusal(decide("fail", "nobodys"), 404, "redemption_not_found"),
    Refusal(decide("fail", "failed"), 409, "redemption_not_pending"),
    Refusal(give_back("nobodys"), 404, "redemption_not_found"),
    Refusal(give_back("refunded"), 409, "redemption_refunded"),
    Refusal(adjust(5, user="nobody"), 404, "user_not_found"),
    Refusal(adjust(5, expires_at="2001-01-15T12:00:00Z"), 422, "expires_in_the_past"),
    Refusal(adjust(-1000), 422, "insufficient_points", BALANCE),
    Refusal(consume("photos", user="nobody"), 404, "user_not_found"),
    Refusal(consume("teleport"), 422, "feature_unknown"),
    Refusal(consume("export_csv"), 422, "feature_disabled"),
    Refusal(consume("photos", 6), 422, "limit_reached", frozenset(LIMIT)),
    Refusal(undo("use", user="nobody"), 404, "user_not_found"),
    Refusal(undo("nobodys_use"), 404, "usage_not_found"),
    Refusal(undo("use", quantity=3), 422, "return_exceeds_usage", frozenset({"returnable"})),
]


class Scene:
    """Ada with points, bought quota, a use, and options that can and cannot be bought."""

    def __init__(self, company: Company) -> None:
        self.company = company
        company.sign_up("ada")
        give(company, 500, key="start")
        company.sign_up("bob")
        give(company, 50, key="bobs", user="bob")
        refunded = buy(company, key="refunded")
        refund(company, refunded, key="refund")
        failed = buy(company, REWARD, key="failed")
        support.decide(company, failed, "fail")
        self.names = {
            "plenty": offer(company),
            "limited": offer(company, stock=3, per_user_limit=2),
            "inactive": offer(company, active=False),
            "unlock": offer(company, UNLOCK, cost_points=1),
            "reward": offer(company, REWARD),
            "unlocked": buy(company, UNLOCK, key="unlocked", user="bob"),
            "waiting": buy(company, REWARD, key="waiting"),
            "failed": failed,
            "nothing": f"opt_{'0' * 32}",
            "bought": buy(company, key="bought"),
            "kept": buy(company, key="kept"),
            "refunded": refunded,
            "nobodys": f"red_{'0' * 32}",
            "use": company.ok("POST", "/v1/users/ada/usage", {"feature": "photos", "quantity": 2})["usage_id"],
            "nobodys_use": f"use_{'0' * 32}",
        }

    def send(self, case: Case, key: str) -> Answer:
        """The answer to a request under a key."""
        body = case.body and {
            name: value.format(**self.names) if name == "option_id" else value for name, value in case.body.items()
        }
        path = case.path.format(**self.names)
        return self.company.api.send("POST", path, body, headers={"idempotency-key": key})

    def twice(self, case: Case, key: str = "same-key") -> tuple[Answer, Answer]:
        """The answer to a request, and the one to its repetition."""
        return self.send(case, key), self.send(case, key)


@pytest.fixture
def scene(company: Company) -> Scene:
    return Scene(company)


@pytest.fixture(scope="module")
def refusing(server: str, opener: psycopg.Connection) -> Iterator[Scene]:
    """A scene for all refusals, which change nothing of it."""
    company = Company.write(opener, server)
    yield Scene(company)
    company.close()


def assert_is(model: type[BaseModel], answer: Answer) -> None:
    """An answer has the fields of its model and no other, each written as the model writes it."""
    read = model.model_validate_json(answer.raw)
    assert json.loads(read.model_dump_json(by_alias=True)) == answer.json


@pytest.mark.parametrize("case", DONE, ids=lambda case: f"{case.path} {case.body}")
def test_an_answer_and_its_replay_are_what_the_document_promises(scene: Scene, case: Case) -> None:
    first, again = scene.twice(case)
    status, model = next(iter(ROUTES[case.route].answers.items()))
    assert (first.status, again.status) == (status, status), first.raw
    for answer in (first, again):
        assert answer.headers["content-type"] == "application/json"
        assert_is(model, answer)
    assert (again.raw, again.headers["idempotent-replay"]) == (first.raw, "true")


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: f"{refusal.case.path} {refusal.code}")
def test_a_refusal_and_its_replay_are_problems_with_their_own_fields(refusing: Scene, refusal: Refusal) -> None:
    for answer in refusing.twice(refusal.case, key=f"refused-{REFUSED.index(refusal)}"):
        assert problem(answer, refusal.status, refusal.code).keys() == PROBLEM | refusal.fields


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (redeem("plenty"), redeem("plenty", 2)),
        (give_back("bought"), give_back("kept")),
        (adjust(5), adjust(6)),
        (consume("photos"), consume("photos", 2)),
        (undo("use", quantity=1), undo("use", quantity=2)),
    ],
    ids=lambda case: case.route,
)
def test_a_key_that_was_used_for_something_else_is_a_problem_of_every_route(
    scene: Scene, superuser: psycopg.Connection, first: Case, other: Case
) -> None:
    assert scene.send(first, "same-key").status < 300
    assert problem(scene.send(other, "same-key"), 409, "idempotency_key_reused").keys() == PROBLEM
    superuser.execute("UPDATE idempotent_answers SET body = NULL WHERE company_id = %s", (scene.company.id,))
    assert problem(scene.send(first, "same-key"), 409, "idempotency_answer_expired").keys() == PROBLEM


def test_every_route_that_is_one_trip_is_among_them() -> None:
    tried = {case.route for case in DONE}
    assert {refusal.case.route for refusal in REFUSED} == tried
    assert tried == {REDEEM, REFUND, FULFIL, FAIL, ADJUST, CONSUME, RETURN}
