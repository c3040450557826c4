"""Whatever a provider ever sent: every JSON of a corpus is signed and sent, and none brings a 5xx or is left failed.

Bare objects are wrapped as every kind of event that shows such an object.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.companies import Company
from tests.support.corpus import folder

STRIPE_EVENTS = {
    "charge": ("charge.succeeded", "charge.refunded", "charge.updated"),
    "checkout.session": (
        "checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.expired",
        "checkout.session.async_payment_failed",
    ),
    "customer": ("customer.created", "customer.updated", "customer.deleted"),
    "discount": ("customer.discount.created", "customer.discount.updated", "customer.discount.deleted"),
    "dispute": (
        "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    ),
    "invoice": ("invoice.paid", "invoice.payment_succeeded", "invoice.voided", "invoice.marked_uncollectible"),
    "invoice_payment": ("invoice_payment.paid",),
    "payment_intent": ("payment_intent.succeeded", "payment_intent.payment_failed"),
    "promotion_code": ("promotion_code.created", "promotion_code.updated"),
    "refund": ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"),
    "subscription": (
        "customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
        "customer.subscription.paused", "customer.subscription.resumed", "customer.subscription.trial_will_end",
    ),
}  # fmt: skip
WHOP_EVENTS = {
    "payment": ("payment.succeeded", "payment.failed", "payment_succeeded"),
    "refund": ("refund.created", "refund.updated"),
    "dispute": ("dispute.created", "dispute.updated"),
    "membership": (
        "membership.activated", "membership.deactivated", "membership.updated", "membership.went_valid",
        "membership.cancel_at_period_end_changed", "membership.trial_ending_soon",
    ),
}  # fmt: skip


def corpus() -> list[Path]:
    return sorted(folder().rglob("*.json"))


def bodies(path: Path) -> Iterator[Any]:
    """What a file holds that a provider could have sent: itself, and what is wrapped in it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(document, dict) and isinstance(document.get("body"), str):
        document = json.loads(document["body"])  # one of our own examples: the gateway's event around it
    yield document
    if isinstance(document, dict) and isinstance(document.get("object"), dict):
        yield document["object"]
    if isinstance(document, dict) and isinstance(document.get("resources"), dict):
        yield from document["resources"].values()


def stripe_events(body: Any) -> Iterator[Any]:  # noqa: ANN401 - whatever JSON holds
    yield body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("data"), dict):
        yield {**body, "livemode": False}
    for event_type in STRIPE_EVENTS.get(str(body.get("object")), ("unknown.thing",)):
        yield {
            "id": f"evt_{body.get('id')}_{event_type}", "object": "event", "type": event_type, "livemode": False,
            "created": 1_790_000_000, "data": {"object": body},
        }  # fmt: skip


def whop_events(body: Any, path: Path) -> Iterator[Any]:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(body, dict) or not {"whop", "events"} & set(path.parts):
        return
    if "data" in body:
        yield {"id": f"msg_{path.stem}", **body}
        return
    for kind, types in WHOP_EVENTS.items():
        if kind in path.stem:
            for number, event_type in enumerate(types):
                yield {
                    "id": f"msg_{path.stem}_{number}", "type": event_type, "api_version": "v1",
                    "timestamp": "2026-09-02T10:00:00Z", "company_id": "biz_1", "data": body,
                }  # fmt: skip


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_whatever_a_provider_sends_is_answered_and_nothing_is_left_failed(company: Company, path: Path) -> None:
    company.refer("ada", "ben")
    answers = 0
    for body in bodies(path):
        for event in stripe_events(body):
            assert_answered(company, company.deliver(event), event)
            answers += 1
        for event in whop_events(body, path):
            assert_answered(company, company.deliver_whop(event), event)
            answers += 1
    assert answers > 0


def assert_answered(company: Company, answer: Any, event: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    context = (event.get("type") if isinstance(event, dict) else event, answer.status, answer.raw)
    assert answer.status in {200, 400}, context
    if answer.status == 200 and answer.json["outcome"] == "failed":
        failed = company.ok("GET", "/v1/inbox?status=failed")["data"]
        assert {each["error"] for each in failed} == {"thin_event"}, (context, failed)
