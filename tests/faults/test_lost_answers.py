"""The wire to the database is cut just before, or just after, the server does what it was asked to.

In both cases the function cannot know which it was. It repeats its attempt, and the client sees one success; what was
asked for is done once.
"""

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest

from local import setup
from local.client import Answer
from tests.conftest import serve
from tests.support import books, rows
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.wire_proxy import WireProxy


@pytest.fixture(scope="module")
def reached_through_proxy(proxy: WireProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bundle that speaks to PostgreSQL through the proxy, one process a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOODWORD_WORKERS", "1")
        url = f"postgresql://postgres@/{setup.DATABASE}?host={proxy.folder}"
        # the text of a prepared statement is on the wire once, and the wire is cut at a statement by its text
        with serve(url, tmp_path_factory.mktemp("cut"), prepares=False) as base_url:
            yield base_url


@pytest.fixture
def firm(reached_through_proxy: str, opener: psycopg.Connection) -> Iterator[Company]:
    """A company with Ada, who has 100 points and a code, Ben, whom she referred, Gil, something to buy, and a use."""
    firm = Company.write(opener, reached_through_proxy)
    code = firm.sign_up("ada")["user"]["referral_code"]
    firm.sign_up("ben", referral_code=code)
    firm.sign_up("gil")
    firm.ok("POST", "/v1/users/ada/points", {"points": 100, "note": ""}, key="points")
    option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": 10}
    firm.line["option"] = firm.ok("POST", "/v1/redemption-options", option)["id"]
    bought = firm.ok("POST", "/v1/users/ada/redemptions", {"option_id": firm.line["option"]}, key="first")
    firm.line["redemption"] = bought["id"]
    firm.line["usage"] = firm.ok("POST", "/v1/users/ada/usage", {"feature": "photos", "quantity": 3})["usage_id"]
    firm.line["code"] = code
    reward = {"kind": "reward", "name": "A mug", "cost_points": 10, "stock": 9}
    firm.line["reward_option"] = firm.ok("POST", "/v1/redemption-options", reward)["id"]
    firm.line["campaign"] = firm.ok("POST", "/v1/campaigns", CAMPAIGN)["id"]
    mug = {"option_id": firm.line["reward_option"]}
    firm.line["reward"] = firm.ok("POST", "/v1/users/ada/redemptions", mug, key="mug")["id"]
    yield firm
    firm.close()


def post(path: str, body: dict[str, object], *, key: bool = False, method: str = "POST") -> Callable[[Company], Answer]:
    """A request that is the same each time it is sent; what begins with `$` stands for the firm's own."""
    name = uuid4().hex if key else None

    def send(firm: Company) -> Answer:
        text = json.dumps(body).replace("$code", firm.line["code"]).replace("$option", firm.line["option"])
        to, headers = path, {"idempotency-key": name} if name else None
        for mark in ("code", "redemption", "reward", "usage", "campaign"):
            to = to.replace(f"${mark}", firm.line[mark])
        return firm.api.send(method, to, json.loads(text), headers=headers)

    return send


def pay(firm: Company) -> Answer:
    return firm.deliver(invoice_paid("evt_1", "in_1", user="ben"))


def bind(firm: Company) -> Answer:
    answer = firm.api.send("PUT", "/v1/users/gil/referrer", {"referrer_id": "ada", "reason": "he said so"})
    assert answer.json["attribution"]["outcome"] == "attributed"
    return answer


SIGNUP = {"user": {"external_id": "eve", "stripe_customer_id": "cus_9"}, "referral_code": "$code"}
OPTION = {"kind": "quota", "name": "More", "feature": "ai_calls", "quantity": 1, "cost_points": 1}
DATES = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "8000-01-01T00:00:00Z"}
CAMPAIGN: dict[str, object] = {"name": "Winter", **DATES}
ENDPOINT = {"provider": "stripe", "secrets": ["whsec_another"]}

# what is sent, in which statement the wire is cut, the status, and the rows that must come of it
WRITES = {
    "redemption": (
        post("/v1/users/ada/redemptions", {"option_id": "$option"}, key=True), b"redeem(", 201,
        {"redemptions": 1, "entries": 1, "quota_grants": 1, "allocations": 1, "idempotent_answers": 1},
    ),
    "refund": (
        post("/v1/redemptions/$redemption/refund", {}, key=True), b"refund_redemption(", 200,
        {"entries": 1, "allocations": 2, "idempotent_answers": 1},  # of two lots: the referral's and the gift's
    ),
    "decision": (
        post("/v1/redemptions/$reward/fail", {}, key=False), b"decide_reward(", 200, {"entries": 1, "allocations": 1},
    ),
    "decision with a key": (
        post("/v1/redemptions/$reward/fulfil", {}, key=True), b"decide_reward(", 200, {"idempotent_answers": 1},
    ),
    "activity": (
        post("/v1/users/ada/activity", {"action": "login"}, key=False), b"COMMIT", 201, {"logins": 1},
    ),
    "points given": (
        post("/v1/users/ada/points", {"points": 7, "note": ""}, key=True), b"adjust_points(", 201,
        {"entries": 1, "entry_notes": 1, "lots": 1, "idempotent_answers": 1},
    ),
    "use": (
        post("/v1/users/ada/usage", {"feature": "ai_calls"}, key=False), b"consume_usage(", 200,
        {"usages": 1, "usage_counters": 1, "quota_uses": 1},
    ),
    "use with a key": (
        post("/v1/users/ada/usage", {"feature": "ai_calls"}, key=True), b"consume_usage(", 200,
        {"usages": 1, "usage_counters": 1, "quota_uses": 1, "idempotent_answers": 1},
    ),
    "return": (
        post("/v1/users/ada/usage/$usage/return", {"quantity": 1}, key=False), b"return_usage(", 200,
        {"usage_returns": 1},
    ),
    "return with a key": (
        post("/v1/users/ada/usage/$usage/return", {"quantity": 1}, key=True), b"return_usage(", 200,
        {"usage_returns": 1, "idempotent_answers": 1},
    ),
    "click": (post("/v1/clicks", {"code": "$code"}, key=False), b"record_click(", 201, {"clicks": 1}),
    "signup": (
        post("/v1/signups", SIGNUP, key=False), b"COMMIT", 201,
        {"users": 1, "signups": 1, "codes": 1, "referrals": 1, "judgements": 1, "awards": 2, "entries": 2, "lots": 2,
         "wallets": 1, "scores": 1},
    ),
    "signup with a key": (
        post("/v1/signups", SIGNUP, key=True), b"COMMIT", 201,
        {"users": 1, "signups": 1, "codes": 1, "referrals": 1, "judgements": 1, "awards": 2, "entries": 2, "lots": 2,
         "wallets": 1, "scores": 1, "idempotent_answers": 1},
    ),
    "late attribution": (
        bind, b"COMMIT", 200,
        {"referrals": 1, "judgements": 1, "awards": 2, "entries": 2, "lots": 2, "wallets": 1, "scores": 1},
    ),
    "activation": (
        post("/v1/activations", {"user_id": "ben", "app_id": "chat"}, key=False), b"COMMIT", 200, {"activations": 1},
    ),
    "option": (
        post("/v1/redemption-options", OPTION, key=False), b"COMMIT", 201, {"redemption_options": 1},
    ),
    "campaign": (post("/v1/campaigns", CAMPAIGN), b"COMMIT", 201, {"campaigns": 1}),
    "campaign that becomes active": (
        post("/v1/campaigns/$campaign", {"status": "active"}, method="PATCH"), b"COMMIT", 200, {},
    ),
    "program": (
        post("/v1/program", {"timezone": "Europe/Berlin"}, method="PUT"), b"COMMIT", 200, {"program_versions": 1},
    ),
    "code": (
        post("/v1/codes", {"code": "new-$code", "user_id": "ada"}), b"COMMIT", 201, {"codes": 1, "rate_windows": 1},
    ),
    "code with a key": (
        post("/v1/codes", {"code": "new-$code", "user_id": "ada"}, key=True), b"COMMIT", 201,
        {"codes": 1, "rate_windows": 1, "idempotent_answers": 1},
    ),
    "code changed": (
        post("/v1/codes/$code", {"max_uses": 9}, method="PATCH"), b"COMMIT", 200, {},
    ),
    "endpoint": (
        post("/v1/provider-endpoints", ENDPOINT, key=True), b"COMMIT", 201,
        {"provider_endpoints": 1, "idempotent_answers": 1},
    ),
    "payment": (
        pay, b"COMMIT", 200, {"inbox_events": 1, "payments": 1, "awards": 1, "entries": 1, "lots": 1},
    ),
}  # fmt: skip
# tables that only tell of the others
TELLING = {"outbox_events", "activity", "identity_links", "object_links"}


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("write", WRITES)
def test_what_was_asked_for_is_done_once(
    firm: Company, proxy: WireProxy, superuser: psycopg.Connection, write: str, lost: str
) -> None:
    send, statement, status, made = WRITES[write]
    before = rows.count(superuser, firm.id)
    if lost == "request":
        proxy.lose_request(statement)
    else:
        proxy.lose_answer(statement)
    answer = send(firm)
    assert proxy.has_cut, "the wire was never cut"
    assert answer.status == status, answer.raw
    stored = rows.count(superuser, firm.id) - before
    assert {table: number for table, number in stored.items() if table not in TELLING} == made
    assert stored["outbox_events"] <= len(made) + 2
    assert books.faults(superuser, firm.id) == []


@pytest.mark.parametrize("statement", [b"BEGIN", b"look_for_signup(", b"code_refusal(", b"write_signup("])
@pytest.mark.parametrize("write", ["signup", "signup with a key"])
def test_a_transaction_cut_anywhere_is_begun_anew(
    firm: Company, proxy: WireProxy, superuser: psycopg.Connection, write: str, statement: bytes
) -> None:
    send, _, status, made = WRITES[write]
    before = rows.count(superuser, firm.id)
    proxy.lose_request(statement)
    assert send(firm).status == status
    assert proxy.has_cut, "the wire was never cut"
    stored = rows.count(superuser, firm.id) - before
    assert {table: number for table, number in stored.items() if table not in TELLING} == made
    assert books.faults(superuser, firm.id) == []


@pytest.mark.parametrize(
    "write", ["redemption", "points given", "use with a key", "return with a key", "signup with a key", "endpoint"]
)
def test_the_answer_whose_first_copy_was_lost_is_the_one_that_is_replayed(
    firm: Company, proxy: WireProxy, write: str
) -> None:
    send, statement, _, _ = WRITES[write]
    proxy.lose_answer(statement)
    first = send(firm)
    again = send(firm)
    assert (again.status, again.raw) == (first.status, first.raw)
    assert again.headers["idempotent-replay"] == "true"


def test_a_payment_whose_answer_was_lost_is_a_duplicate_ever_after(firm: Company, proxy: WireProxy) -> None:
    proxy.lose_answer(b"COMMIT")
    assert pay(firm).json["outcome"] == "applied"
    assert pay(firm).json == {"received": True, "duplicate": True, "outcome": "applied"}
    assert firm.balance("ada") == 80 + 5 + 25
