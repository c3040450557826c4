"""The guide to the providers: its lists are exactly what is read, and each of its snippets does what it says.

What an app gives to Stripe or Whop comes back in events; these are made here as the provider would make them.
"""

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from goodword.payments.stripe import events as stripe
from goodword.payments.whop import events as whop
from tests.support import stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

GUIDE = Path(__file__).resolve().parents[2] / "docs/providers.md"
FENCE = re.compile(r"^( *)```(json|text) ([\w-]+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TRIED = {
    "endpoint", "endpoint-answer", "secrets", "key", "stripe-subscription", "stripe-payment", "stripe-intent",
    "stripe-customer", "whop-checkout", "plan-prices", "receipt", "inbox-event",
}  # fmt: skip
numbers = itertools.count()


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The page's blocks in a language: their names and texts."""
    for _, found, name, text in FENCE.findall(GUIDE.read_text(encoding="utf-8")):
        if found == language:
            yield name, dedent(text)


def snippets(name: str) -> list[Any]:
    return [json.loads(text) for found, text in blocks("json") if found == name]


def snippet(name: str, **instead: str) -> Any:  # noqa: ANN401 - any JSON value
    """The one snippet of a name, with the placeholders filled in."""
    (text,) = [text for found, text in blocks("json") if found == name]
    for placeholder, value in instead.items():
        text = text.replace({"click": "clk_…", "code": "ADAS-CODE"}[placeholder], value)
    return json.loads(text)


def event(type_: str, **fields: object) -> dict[str, Any]:
    value = {"created": int(time.time()), "currency": "usd", "customer": "cus_ben", **fields}
    return stripe_objects.event(type_, value, id=f"evt_{next(numbers)}")


def session(parameters: dict[str, Any], **made: object) -> dict[str, Any]:
    """What Stripe tells of a finished session with these parameters: nothing but the session's own."""
    own = {name: parameters.get(name) for name in ("mode", "client_reference_id", "metadata")}
    return event("checkout.session.completed", id="cs_1", payment_status="paid", amount_total=1900, **own, **made)


def alike(shown: Any, real: Any) -> bool:  # noqa: ANN401 - any JSON values
    """Whether an answer is as the page shows it; `…` stands for anything."""
    if isinstance(shown, dict):
        return shown.keys() == real.keys() and all(alike(value, real[name]) for name, value in shown.items())
    if isinstance(shown, str):
        return real is not None and bool(re.fullmatch(".*".join(map(re.escape, shown.split("…"))), real))
    return shown == real


def outcome(company: Company, sent: dict[str, Any]) -> str:
    answer = company.deliver(sent)
    assert answer.status == 200, answer.raw
    return answer.json["outcome"]


@pytest.fixture
def ada(company: Company) -> dict[str, str]:
    """Ada's code, and a click on it: the page's placeholders."""
    code = company.sign_up("ada")["user"]["referral_code"]
    return {"code": code, "click": company.ok("POST", "/v1/clicks", {"code": code})["id"]}


def came_through(company: Company, by: str) -> None:
    """Ben came through Ada by a click or a code, and his payment counts."""
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert (referral["referee"], referral["source"], referral["stage"]) == ("ben", by, "qualified")
    assert company.balance("ada") == 5 + 25


def test_every_snippet_is_tried() -> None:
    assert {name for name, _ in blocks("json")} == TRIED
    assert GUIDE.read_text(encoding="utf-8").count("```") == 2 * len([*blocks("json"), *blocks("text")])


@pytest.mark.parametrize(
    ("name", "readers"),
    [("stripe-events", stripe.HANDLED), ("whop-events", whop.HANDLED)],
)
def test_the_events_to_tick_are_those_that_are_read(name: str, readers: dict[str, object]) -> None:
    (text,) = [text for found, text in blocks("text") if found == name]
    assert text.split() == list(readers)


def test_an_endpoint_is_made_and_given_its_secrets_as_shown(company: Company) -> None:
    for body in snippets("endpoint"):
        made = company.ok("POST", "/v1/provider-endpoints", body, status=201)
        if body["provider"] == "stripe":
            assert alike(snippet("endpoint-answer"), {**made, "url": made["url"].replace("http:", "https:")})
        for secrets in snippets("secrets"):
            assert company.ok("PATCH", f"/v1/provider-endpoints/{made['id']}", secrets)["id"] == made["id"]
        for key in snippets("key"):
            changed = company.ok("PATCH", f"/v1/provider-endpoints/{made['id']}", key)
            assert changed["reconciles"] is (key["api_key"] is not None)


@pytest.mark.parametrize("signs_up_first", [False, True])
@pytest.mark.parametrize("invoice_first", [False, True])
def test_a_subscription_is_known_by_what_its_checkout_was_given(
    company: Company, ada: dict[str, str], *, signs_up_first: bool, invoice_first: bool
) -> None:
    given = snippet("stripe-subscription", **ada)
    if signs_up_first:
        company.sign_up("ben")
    invoice = invoice_paid("evt_invoice", "in_1", customer="cus_ben")
    invoice["data"]["object"]["parent"]["subscription_details"] = {
        "subscription": "sub_1", "metadata": given["subscription_data"]["metadata"],
    }  # fmt: skip
    events = [session(given, subscription="sub_1", invoice="in_1"), invoice]
    for each in reversed(events) if invoice_first else events:
        outcome(company, each)
    if not signs_up_first:
        company.sign_up("ben")
    came_through(company, "code")


@pytest.mark.parametrize("told_by", ["session", "intent", "both"])
def test_a_purchase_is_known_by_what_its_checkout_was_given(
    company: Company, ada: dict[str, str], told_by: str
) -> None:
    given = snippet("stripe-payment", **ada)
    if told_by != "session":
        metadata = given["payment_intent_data"]["metadata"]
        outcome(company, event("payment_intent.succeeded", id="pi_1", amount_received=1900, metadata=metadata))
    if told_by != "intent":
        outcome(company, session(given, payment_intent="pi_1"))
    company.sign_up("ben")
    came_through(company, "click")


def test_a_payment_intent_of_the_apps_own_counts_where_it_names_somebody(company: Company, ada: dict[str, str]) -> None:
    given = snippet("stripe-intent", **ada)
    own = {"currency": given["currency"], "amount_received": given["amount"]}
    assert outcome(company, event("payment_intent.succeeded", id="pi_0", **own, metadata={})) == "ignored"
    paid = event("payment_intent.succeeded", id="pi_1", **own, metadata=given["metadata"])
    assert outcome(company, paid) == "parked"
    company.sign_up("ben")
    came_through(company, "code")


def test_a_customer_says_once_who_it_is(company: Company, ada: dict[str, str]) -> None:
    company.sign_up("ben", referral_code=ada["code"])
    customer = {"id": "cus_ben", "object": "customer", **snippet("stripe-customer")}
    assert outcome(company, event("customer.created", **customer)) == "applied"
    assert outcome(company, invoice_paid("evt_invoice", "in_1", customer="cus_ben")) == "applied"
    came_through(company, "code")


def test_a_refund_of_a_subscription_waits_for_the_event_that_must_not_be_missing(
    company: Company, ada: dict[str, str]
) -> None:
    company.sign_up("ben", referral_code=ada["code"])
    assert outcome(company, invoice_paid("evt_invoice", "in_1", user="ben")) == "applied"
    refund = {"id": "re_1", "amount": 1900, "payment_intent": "pi_1", "charge": "ch_1", "status": "succeeded"}
    assert outcome(company, event("refund.created", **refund)) == "parked"
    assert company.balance("ada") == 5 + 25
    paid = {"id": "inpay_1", "invoice": "in_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}
    assert outcome(company, event("invoice_payment.paid", **paid)) == "applied"
    assert company.balance("ada") == 5


@pytest.mark.parametrize("signs_up_first", [False, True])
def test_whops_checkout_metadata_comes_back_with_its_payments(
    company: Company, ada: dict[str, str], *, signs_up_first: bool
) -> None:
    given = snippet("whop-checkout", **ada)
    if signs_up_first:
        company.sign_up("ben")
    plan = {"id": given["plan_id"]}
    assert company.deliver_whop(whop_payment("msg_1", "pay_1", metadata=given["metadata"], plan=plan)).status == 200
    if not signs_up_first:
        company.sign_up("ben")
    came_through(company, "code")


def test_a_subscription_opens_the_plan_that_is_sold_as_its_price(company: Company) -> None:
    company.ok("PATCH", "/v1/plans/premium", snippet("plan-prices"))
    company.sign_up("ben")
    price = snippet("stripe-subscription", code="", click="")["line_items"][0]["price"]
    metadata = {"goodword_user": "ben"}
    items = {"data": [{"id": "si_1", "price": {"id": price}}]}
    subscription = {"id": "sub_1", "status": "active", "customer": "cus_ben", "items": items, "metadata": metadata}
    assert outcome(company, event("customer.subscription.created", **subscription)) == "applied"
    assert company.ok("GET", "/v1/users/ben")["plan"] == "premium"


def test_an_event_is_answered_and_a_failed_one_is_listed_as_shown(company: Company, ada: dict[str, str]) -> None:
    company.sign_up("ben", referral_code=ada["code"])
    assert company.deliver(invoice_paid("evt_1", "in_1", user="ben")).json == snippet("receipt")
    broken = invoice_paid("evt_2", "in_2", user="ben")
    broken["data"]["object"]["amount_paid"] = "a lot"
    assert outcome(company, broken) == "failed"
    (listed,) = company.ok("GET", "/v1/inbox?status=failed&provider=stripe")["data"]
    assert alike(snippet("inbox-event"), listed), listed
    assert company.ok("POST", f"/v1/inbox/{listed['id']}/replay")["outcome"] == "failed"
    assert company.ok("POST", f"/v1/inbox/{listed['id']}/discard")["outcome"] == "ignored"
