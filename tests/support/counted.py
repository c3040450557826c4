"""Referrals that come to count, and that stop to: what milestones and boards are made of."""

from datetime import UTC, datetime
from typing import Any

from tests.support import stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

T0 = datetime(2027, 3, 1, 12, tzinfo=UTC)
"""When things happen that a test does not date."""


def bring(company: Company, code: str, *referees: str) -> None:
    """Sign up some people through a code."""
    for referee in referees:
        answer = company.sign_up(referee, referral_code=code)
        assert answer["attribution"]["outcome"] == "attributed", answer


def paid(referee: str, paid_at: datetime = T0, **fields: object) -> dict[str, Any]:
    """The event that tells of somebody's payment, which is named for them."""
    own = {"customer": f"cus_{referee}", "subscription": f"sub_{referee}"}
    return invoice_paid(f"evt_{referee}", f"in_{referee}", user=referee, paid_at=paid_at, **{**own, **fields})


def pay(company: Company, *referees: str, paid_at: datetime = T0) -> None:
    """Tell of somebody's payment, by which their referral counts."""
    for referee in referees:
        told(company, paid(referee, paid_at))


def refund(company: Company, referee: str, at: datetime = T0) -> None:
    """Tell that all of somebody's payment went back, by which their referral is cancelled."""
    tied = stripe_objects.invoice_payment(referee)
    told(company, stripe_objects.event("invoice_payment.paid", tied, sent_at=at, id=f"evt_link_{referee}"))
    gone = stripe_objects.refund(referee, created=at)
    told(company, stripe_objects.event("refund.created", gone, sent_at=at, id=f"evt_back_{referee}"))


def told(company: Company, event: dict[str, Any]) -> None:
    """Deliver an event, which must be applied."""
    answer = company.deliver(event)
    assert (answer.status, answer.json.get("outcome")) == (200, "applied"), answer.raw


def qualified_count(company: Company, referrer: str) -> int:
    """How many referrals of a person count."""
    return company.ok("GET", f"/v1/users/{referrer}")["qualified_count"]
