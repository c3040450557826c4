"""What subscriptions and memberships lead to: whether a referral is retained, and whose they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from local.client import Client
from tests.support import rows, stripe_objects, whop_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def referred(company: Company) -> Company:
    """Ada brought Ben, at NOON."""
    company.set_clock(NOON)
    company.refer("ada", "ben")
    return company


def stripe(event_id: str, event_type: str, value: dict[str, Any], at: datetime) -> dict[str, Any]:
    return stripe_objects.event(event_type, value, sent_at=at, id=event_id)


def subscription(status: str, **fields: object) -> dict[str, Any]:
    """A subscription that names nobody: its customer does, by the invoice."""
    paid_for = stripe_objects.item(ends=NOON + 31 * DAY)
    return stripe_objects.subscription(paid_for, status=status, created=NOON) | fields


def membership(message_id: str, event_type: str, status: str, at: datetime, **fields: object) -> dict[str, Any]:
    value = whop_objects.membership(status=status, created_at=NOON) | fields
    return whop_objects.event(event_type, value, sent_at=at, id=message_id)


def outcome(company: Company, event: dict[str, Any]) -> str:
    answer = company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)
    assert (answer.status, answer.json["duplicate"]) == (200, False), answer.raw
    return answer.json["outcome"]


def stage_after(company: Company, time: timedelta) -> str:
    """The stage once so much time has passed since NOON, and the job has come by."""
    company.set_clock(NOON + time)
    client = Client(company.url)
    answer = client.send("POST", "/_local/functions/AdvanceReferralsFunction/invocations", {})
    client.close()
    assert answer.status == 200, answer.raw
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return referral["stage"]


def stored(superuser: psycopg.Connection, company: Company) -> dict[str, Any]:
    statement = "SELECT * FROM subscriptions WHERE company_id = %(id)s"
    return rows.find_one(superuser, statement, id=company.id)


@pytest.mark.parametrize(
    ("events", "stage"),
    [
        pytest.param([], "retained", id="no subscription"),
        pytest.param([("updated", subscription("active"), 0)], "retained", id="it goes on"),
        pytest.param([("updated", subscription("active", cancel_at_period_end=True), 9)], "retained", id="it will end"),
        pytest.param([("updated", subscription("past_due"), 9)], "retained", id="it is not paid yet"),
        pytest.param(
            [("deleted", subscription("canceled", ended_at=int((NOON + 9 * DAY).timestamp())), 9)],
            "qualified",
            id="it has ended",
        ),
        pytest.param(
            [("deleted", subscription("canceled", ended_at=int((NOON + 31 * DAY).timestamp())), 31)],
            "retained",
            id="it ends after thirty days",
        ),
        pytest.param(
            [("deleted", subscription("canceled"), 9), ("updated", subscription("active"), 8)],
            "qualified",
            id="an earlier status comes later",
        ),
    ],
)
@pytest.mark.parametrize("paid_first", [True, False])
def test_a_referral_is_retained_where_its_subscription_goes_on(
    referred: Company, events: list[tuple[str, dict[str, Any], int]], stage: str, *, paid_first: bool
) -> None:
    stripe_events = [
        stripe(f"evt_{number}", f"customer.subscription.{name}", value, NOON + days * DAY)
        for number, (name, value, days) in enumerate(events)
    ]
    paid = invoice_paid("evt_paid", "in_1", user="ben", paid_at=NOON)
    for event in (paid, *stripe_events) if paid_first else (*stripe_events, paid):
        assert outcome(referred, event) == "applied"
    assert stage_after(referred, 32 * DAY) == stage


def test_a_subscription_is_kept_as_last_told(referred: Company, superuser: psycopg.Connection) -> None:
    named = subscription("trialing", metadata={"goodword_user": "ben"})
    outcome(referred, stripe("evt_1", "customer.subscription.created", named, NOON))
    outcome(referred, stripe("evt_2", "customer.subscription.updated", subscription("active"), NOON + 14 * DAY))
    outcome(referred, stripe("evt_3", "customer.subscription.trial_will_end", named, NOON + 11 * DAY))
    row = stored(superuser, referred)
    assert (row["status"], row["price_refs"], row["external_id"]) == ("active", ["price_1"], "ben")
    assert (row["status_at"], row["period_ends_at"]) == (NOON + 14 * DAY, NOON + 31 * DAY)
    assert row["user_id"] is not None


def test_a_subscription_waits_for_its_person(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    outcome(company, stripe("evt_1", "customer.subscription.deleted", subscription("canceled"), NOON + 9 * DAY))
    outcome(company, invoice_paid("evt_2", "in_1", paid_at=NOON))
    assert stored(superuser, company)["user_id"] is None
    code = company.sign_up("ada")["user"]["referral_code"]
    ben = {"user": {"external_id": "ben", "stripe_customer_id": "cus_1"}, "referral_code": code}
    assert company.ok("POST", "/v1/signups", ben)["referral"]["stage"] == "qualified"
    assert stored(superuser, company)["user_id"] is not None
    assert stage_after(company, 32 * DAY) == "qualified"


def test_a_customer_says_late_who_it_is(referred: Company) -> None:
    assert outcome(referred, invoice_paid("evt_1", "in_1", paid_at=NOON)) == "parked"
    customer = {"id": "cus_1", "object": "customer", "metadata": {"goodword_user": "ben"}}
    assert outcome(referred, stripe("evt_2", "customer.updated", customer, NOON + DAY)) == "applied"
    assert referred.balance("ada") == 5 + 25


@pytest.mark.parametrize(
    ("events", "stage"),
    [
        pytest.param([("activated", "active", 0)], "retained", id="it goes on"),
        pytest.param([("activated", "completed", 0)], "retained", id="bought once and for all"),
        pytest.param([("cancel_at_period_end_changed", "canceling", 9)], "retained", id="it will end"),
        pytest.param([("deactivated", "expired", 9)], "qualified", id="it has ended"),
        pytest.param([("updated", "canceled", 9)], "qualified", id="it was canceled"),
        pytest.param([("deactivated", "past_due", 9), ("activated", "active", 12)], "retained", id="it came back"),
        pytest.param([("activated", "active", 12), ("deactivated", "past_due", 9)], "retained", id="told late"),
    ],
)
def test_a_referral_is_retained_where_its_membership_goes_on(
    referred: Company, events: list[tuple[str, str, int]], stage: str
) -> None:
    at = NOON.isoformat()
    assert outcome(referred, whop_payment("msg_paid", "pay_1", user="ben", created_at=at, paid_at=at)) == "applied"
    for number, (name, status, days) in enumerate(events):
        whop_event = membership(f"msg_{number}", f"membership.{name}", status, NOON + days * DAY)
        assert outcome(referred, whop_event) == "applied"
    assert stage_after(referred, 32 * DAY) == stage
