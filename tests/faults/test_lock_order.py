"""Every kind of request takes its locks in the one order of docs/architecture.md, The lock order.

What a request runs is read on the wire. A function of the database takes the locks that its own text takes, in that
order. Of each kind the first lock counts: later ones of it are held by then, or come after it by name.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import psycopg
import pytest

from local import setup
from local.postgres import Cluster
from local.setup import Prepared
from tests.conftest import serve
from tests.faults.test_payments_at_once import session_completed
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment
from tests.support.wire_proxy import Statement, WireProxy

ORDER = (
    "answer or event", "objects", "e-mails", "people", "promotion codes", "bindings", "caps", "registrations", "code",
    "referrals", "campaigns", "scores", "stock", "grants", "wallets", "lots",
)  # fmt: skip

TABLES = {
    "inbox_events": "answer or event", "idempotent_answers": "answer or event",
    "payments": "payments", "subscriptions": "payments", "takebacks": "payments",
    "codes": "code", "referrals": "referrals", "campaigns": "campaigns", "scores": "scores",
    "redemptions": "stock", "redemption_options": "stock",
    "usage_counters": "stock", "quota_grants": "stock",
    "coupons": "stock", "grant_schedules": "grants", "wallets": "wallets", "lots": "lots",
}  # fmt: skip
FUNCTIONS = {
    "lock_objects": ["objects"], "lock_emails": ["e-mails"], "lock_people": ["people"], "lock_newcomer": ["people"],
    "lock_promotion": ["people", "promotion codes"], "share_identities": ["promotion codes"], "hold_caps": ["caps"],
    "begin_trial": [],  # at a signup: nobody else knows the user yet
    "fraud_evidence": ["registrations"],
    "claim_idempotency_key": ["answer or event"], "answer_of_key": ["answer or event"],
}  # fmt: skip

# A row is locked by its change, by a conflict with it, and where a statement asks for it.
_LOCKING = re.compile(
    r"(?<!FOR )(?<!KEY )(?<!DO )\bUPDATE (?P<changed>\w+)"
    r"|INSERT INTO (?P<met>\w+)(?=[^;]* ON CONFLICT [^;]* DO UPDATE)"
    r"|FROM (?P<asked>\w+)(?= (?:(?!FROM \w)[^;])*FOR (?:NO KEY )?UPDATE)"
    r"|\b(?P<called>\w+) ?\("
)


class Reader(NamedTuple):
    """Reads the kinds of locks out of statements, by the texts of the database's functions."""

    functions: Mapping[str, str]

    def kinds(self, statement: Statement) -> list[str]:
        """The kinds that a statement takes, in order."""
        if "lock_identities(" in statement.text:
            return [_identities(statement)]
        return list(self._of_text(statement.text))

    def _of_text(self, text: str) -> Iterator[str]:
        for found in _LOCKING.finditer(re.sub(r"\s+", " ", re.sub(r"--.*", "", text))):
            table = found["changed"] or found["met"] or found["asked"]
            if table in TABLES:
                yield TABLES[table]
            elif (name := found["called"]) in FUNCTIONS:
                yield from FUNCTIONS[name]
            elif name in self.functions:
                yield from self._of_text(self.functions[name])


def _identities(statement: Statement) -> str:
    if "'late-attribution'" in statement.text:
        return "bindings"
    return "people" if b"user:" in statement.parameters else "objects"


def _locking(statements: Sequence[Statement]) -> Iterator[Statement]:
    """The statements; of referrals that are asked for only if everybody is referred, none is locked if somebody is not.

    Then it is asked later who of them is undecided.
    """
    texts = [statement.text for statement in statements]
    for number, statement in enumerate(statements):
        if "kept.concerned" in statement.text and any("undecided_among(" in text for text in texts[number:]):
            yield replace(statement, text=statement.text.replace("known_referrals(", "("))
        else:
            yield statement


Locks = Callable[[Callable[[], object]], list[str]]


@pytest.fixture(scope="module")
def watched(proxy: WireProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A company whose bundle speaks to PostgreSQL through the proxy."""
    url = f"postgresql://postgres@/{setup.DATABASE}?host={proxy.folder}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOODWORD_WORKERS", "1")
        with serve(url, tmp_path_factory.mktemp("watched")) as base_url:
            company = Company.open(base_url).trust()
            yield company
            company.close()


@pytest.fixture(scope="module")
def reader(cluster: Cluster, prepared: Prepared) -> Reader:
    del prepared  # the schema must be there
    with psycopg.connect(cluster.superuser_url(setup.DATABASE)) as connection:
        sources = connection.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'goodword'::regnamespace"
        ).fetchall()
    return Reader(dict(sources))


@pytest.fixture
def locks(proxy: WireProxy, reader: Reader) -> Locks:
    """The kinds of locks that a request takes, each once, in the order in which it takes them."""

    def taken(request: Callable[[], object]) -> list[str]:
        with proxy.recording() as statements:
            request()
        return list(dict.fromkeys(kind for statement in _locking(statements) for kind in reader.kinds(statement)))

    return taken


def assert_ordered(kinds: Sequence[str], *expected: str) -> None:
    """The kinds stand in the one order, with the expected ones among them.

    Payments may be taken anywhere between their people and the referrals: only a holder of the people locks them.
    """
    assert set(expected) <= set(kinds), kinds
    ranks = [ORDER.index(kind) for kind in kinds if kind != "payments"]
    assert all(rank < next_rank for rank, next_rank in pairwise(ranks)), kinds
    if "payments" in kinds:
        before, after = kinds[: kinds.index("payments")], kinds[kinds.index("payments") :]
        assert "people" in before, kinds
        assert "referrals" not in before, kinds
        assert not {"objects", "e-mails"} & set(after), kinds


def invoice(person: str, **fields: object) -> dict[str, Any]:
    """A person's own invoice, with a customer and a subscription of their own."""
    event = invoice_paid(f"evt_{person}", f"in_{person}", user=person, customer=f"cus_{person}")
    event["data"]["object"]["parent"]["subscription_details"]["subscription"] = f"sub_{person}"
    event["data"]["object"] |= fields
    return event


@pytest.fixture(scope="module")
def code(watched: Company) -> str:
    """Ada's code, under a cap; she has points."""
    code = watched.sign_up("ada")["user"]["referral_code"]
    watched.ok("POST", "/v1/users/ada/points", {"points": 1000, "note": ""}, key="ada's")
    watched.ok("PATCH", f"/v1/codes/{code}", {"max_uses": 1000})
    return code


def stripe(event_id: str, event_type: str, **value: object) -> dict[str, Any]:
    now = int(time.time())
    event = {"id": event_id, "object": "event", "type": event_type, "livemode": False, "created": now}
    return event | {"data": {"object": {"created": now, "currency": "usd", **value}}}


def test_a_signup_that_claims_what_was_paid_before_it(watched: Company, code: str, locks: Locks) -> None:
    watched.deliver(invoice("eve"))
    user = {"external_id": "eve", "stripe_customer_id": "cus_eve", "email": "e@x.example", "email_verified": True}
    body = {"user": user, "referral_code": code}
    kinds = locks(lambda: watched.ok("POST", "/v1/signups", body, key="eve", status=201))
    assert_ordered(
        kinds, "answer or event", "objects", "e-mails", "people", "caps", "code", "payments", "referrals", "wallets"
    )


def test_a_signup_of_somebody_of_whom_nothing_is_known(watched: Company, code: str, locks: Locks) -> None:
    body = {"user": {"external_id": "ned"}, "referral_code": code}
    kinds = locks(lambda: watched.ok("POST", "/v1/signups", body, status=201))
    assert_ordered(kinds, "caps", "registrations", "code", "wallets")


def test_a_user_who_is_changed_to_whom_their_payments_are_found_by(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("uma")
    event = invoice_paid("evt_uma", "in_uma", customer="cus_uma", named={"goodword_code": code})
    watched.deliver(event)
    body = {"stripe_customer_id": "cus_uma", "email": "u@x.example", "email_verified": True}
    kinds = locks(lambda: watched.ok("PATCH", "/v1/users/uma", body))
    assert_ordered(
        kinds, "objects", "e-mails", "people", "payments", "bindings", "caps", "code", "referrals", "wallets"
    )


def test_an_activation(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("ann", referral_code=code)
    body = {"user_id": "ann", "app_id": "chat"}
    kinds = locks(lambda: watched.ok("POST", "/v1/activations", body, key="ann"))
    assert_ordered(kinds, "answer or event", "people", "referrals")


def test_a_late_attribution(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("lee")
    body = {"referral_code": code, "reason": "asked for it"}
    kinds = locks(lambda: watched.ok("PUT", "/v1/users/lee/referrer", body))
    assert_ordered(kinds, "people", "bindings", "caps", "code", "payments", "referrals", "wallets")


def test_a_payment_its_refund_and_its_dispute(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("pat", referral_code=code)
    paid = invoice("pat", payment_intent="pi_pat", customer_email="pat@x.example")
    kinds = locks(lambda: watched.deliver(paid))
    assert_ordered(kinds, "answer or event", "objects", "e-mails", "people", "payments", "referrals", "wallets")
    part = {"payment_intent": "pi_pat", "amount": 500}
    refund = stripe("evt_refund", "refund.created", id="re_pat", status="succeeded", **part)
    dispute = stripe("evt_dispute", "charge.dispute.created", id="dp_pat", status="needs_response", **part)
    for event in (refund, dispute):
        kinds = locks(lambda event=event: watched.deliver(event))
        assert_ordered(kinds, "answer or event", "objects", "people", "payments", "referrals")


def test_a_payment_that_names_the_code_by_which_its_user_came(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("una")
    kinds = locks(lambda: watched.deliver(invoice("una", metadata={"goodword_code": code})))
    assert_ordered(kinds, "objects", "people", "payments", "bindings", "caps", "code", "referrals", "wallets")


def test_a_subscription(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("sue", referral_code=code)
    session = session_completed("evt_sue", "cs_sue", customer="cus_sue", subscription="sub_sue", user="sue")
    assert_ordered(locks(lambda: watched.deliver(session)), "objects", "people", "payments", "referrals")
    price = {"id": "price_1", "recurring": {"interval": "month"}}
    items = {"data": [{"id": "si_1", "price": price, "current_period_end": int(time.time()) + 86_400}]}
    changed = stripe(
        "evt_sub", "customer.subscription.updated", id="sub_sue", customer="cus_sue", status="active", items=items
    )
    assert_ordered(locks(lambda: watched.deliver(changed)), "objects", "people", "payments", "referrals")


def test_a_promotion_code_that_is_used_before_its_text_is_known(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("pip")
    used = invoice("pip", discounts=[{"id": "di_1", "promotion_code": "promo_1"}])
    assert_ordered(locks(lambda: watched.deliver(used)), "objects", "people", "promotion codes")
    text = stripe("evt_promo", "promotion_code.created", id="promo_1", code=code)
    kinds = locks(lambda: watched.deliver(text))
    assert_ordered(kinds, "people", "promotion codes", "bindings", "caps", "code", "referrals")


def test_a_payment_at_whop(watched: Company, code: str, locks: Locks) -> None:
    watched.ok("POST", "/v1/signups", {"user": {"external_id": "wes"}, "referral_code": code})
    kinds = locks(lambda: watched.deliver_whop(whop_payment("msg_wes", "pay_wes", user="wes")))
    assert_ordered(kinds, "answer or event", "objects", "people", "payments", "referrals", "wallets")


@pytest.mark.usefixtures("code")
def test_a_redemption_and_its_refund(watched: Company, locks: Locks) -> None:
    option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": 10, "stock": 9}
    body = {"option_id": watched.ok("POST", "/v1/redemption-options", option)["id"]}
    bought: list[str] = []
    path = "/v1/users/ada/redemptions"
    kinds = locks(lambda: bought.append(watched.ok("POST", path, body, key="buy")["id"]))
    assert_ordered(kinds, "answer or event", "stock", "wallets", "lots")
    kinds = locks(lambda: watched.ok("POST", f"/v1/redemptions/{bought[0]}/refund", key="back"))
    assert_ordered(kinds, "answer or event", "stock", "wallets", "lots")


@pytest.mark.usefixtures("code")
def test_an_unlock_its_refund_and_a_reward_that_cannot_be_given(watched: Company, locks: Locks) -> None:
    unlock = {"kind": "unlock", "name": "Premium", "plan": "premium", "days": 30, "cost_points": 10, "stock": 9}
    reward = {"kind": "reward", "name": "A mug", "cost_points": 10, "stock": 9}
    bought: list[str] = []

    def redeem(key: str, body: dict[str, object]) -> None:
        bought.append(watched.ok("POST", "/v1/users/ada/redemptions", body, key=key)["id"])

    for option, key in ((unlock, "unlock"), (reward, "reward")):
        body = {"option_id": watched.ok("POST", "/v1/redemption-options", option)["id"]}
        kinds = locks(partial(redeem, key, body))
        assert_ordered(kinds, "answer or event", "stock", "grants", "wallets", "lots")
    kinds = locks(lambda: watched.ok("POST", f"/v1/redemptions/{bought[0]}/refund", key="unlock-back"))
    assert_ordered(kinds, "answer or event", "stock", "grants", "wallets", "lots")
    kinds = locks(lambda: watched.ok("POST", f"/v1/redemptions/{bought[1]}/fail", {}, key="reward-back"))
    assert_ordered(kinds, "answer or event", "stock", "wallets", "lots")


@pytest.mark.usefixtures("code")
def test_a_coupon_and_an_end_of_its_grant(watched: Company, locks: Locks) -> None:
    coupon = {"type": "wellpass", "plan": "premium", "duration_days": 3, "code": "PASS-1"}
    watched.ok("POST", "/v1/coupons", coupon)
    given: list[str] = []
    path = "/v1/users/ada/coupons"
    kinds = locks(lambda: given.append(watched.ok("POST", path, {"code": "PASS-1"}, key="pass")["grant"]["id"]))
    assert_ordered(kinds, "answer or event", "stock", "grants")
    kinds = locks(lambda: watched.ok("POST", f"/v1/users/ada/grants/{given[0]}/end", {"reason": "enough"}))
    assert_ordered(kinds, "grants")


def test_a_milestone_that_is_reached_claimed_and_delivered(watched: Company, locks: Locks) -> None:
    code = watched.sign_up("mia")["user"]["referral_code"]
    watched.sign_up("max", referral_code=code)
    unlock = {"reward_type": "product_unlock", "reward_data": {"plan": "premium", "days": 3}}
    points = {"reward_type": "points", "reward_data": {"points": 5}}
    offered = [
        watched.ok("POST", "/v1/milestones", {"name": "x", "threshold": 1, **reward, "auto_apply": applies})["id"]
        for reward, applies in ((unlock, True), (unlock, False), (points, False))
    ]
    kinds = locks(lambda: watched.deliver(invoice("max")))
    assert_ordered(kinds, "answer or event", "people", "referrals", "scores", "grants", "wallets")
    by_itself, *claimed = (f"/v1/users/mia/milestones/{each}/claim" for each in offered)
    for path, reward in zip(claimed, ("grants", "wallets"), strict=True):
        kinds = locks(lambda path=path: watched.ok("POST", path, key=path))
        assert_ordered(kinds, "answer or event", "scores", reward)
    assert_ordered(locks(lambda: watched.ok("POST", by_itself)), "scores")
    assert_ordered(locks(lambda: watched.ok("POST", f"/v1/milestones/{offered[0]}/users/mia/fulfil")), "scores")
    for each in offered:
        watched.ok("PATCH", f"/v1/milestones/{each}", {"active": False})


def test_a_cap_that_changes(watched: Company, code: str, locks: Locks) -> None:
    assert_ordered(locks(lambda: watched.ok("PATCH", f"/v1/codes/{code}", {"max_uses": 900})), "caps", "code")


def test_a_replay(watched: Company, code: str, locks: Locks) -> None:
    watched.sign_up("ray", referral_code=code)
    watched.deliver(invoice("ray"))
    (event,) = [each for each in watched.ok("GET", "/v1/inbox?limit=100")["data"] if each["event_id"] == "evt_ray"]
    kinds = locks(lambda: watched.ok("POST", f"/v1/inbox/{event['id']}/replay"))
    assert_ordered(kinds, "answer or event", "objects", "people", "payments", "referrals")


def test_a_campaign_under_a_cap(watched: Company, locks: Locks) -> None:
    dates = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "8000-01-01T00:00:00Z"}
    campaign = watched.ok("POST", "/v1/campaigns", {"name": "Winter", **dates})["id"]
    path = f"/v1/campaigns/{campaign}"
    watched.ok("PATCH", path, {"status": "active"})
    watched.sign_up("cam")
    body = {"type": "campaign", "code": "LOCKS-WINTER", "user_id": "cam", "campaign_id": campaign}
    watched.ok("POST", "/v1/codes", body)
    assert_ordered(locks(lambda: watched.ok("PATCH", path, {"rules": {"points_cap": 1000}})), "campaigns")
    signup = {"user": {"external_id": "by-cam"}, "referral_code": "LOCKS-WINTER"}
    kinds = locks(lambda: watched.ok("POST", "/v1/signups", signup, key="by-cam", status=201))
    assert_ordered(kinds, "answer or event", "caps", "referrals", "campaigns", "scores", "wallets")
    kinds = locks(lambda: watched.deliver(invoice("by-cam")))
    assert_ordered(kinds, "answer or event", "people", "payments", "referrals", "campaigns", "scores", "wallets")
