"""What a referral earns by the payments that are kept: paid twice, refunded, bought again, changed within a month."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from tests.support import books, stripe_objects
from tests.support.companies import Company
from tests.support.jobs import run_job

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)

Awards = dict[tuple[str, int | None], int]


@pytest.fixture
def referred(company: Company) -> Company:
    """Zoe brought Ada, who brought Ben, at NOON."""
    company.set_clock(NOON)
    company.refer("zoe", "ada")
    company.refer("ada", "ben")
    company.set_clock(NOON + 70 * DAY)
    return company


def amend(company: Company, **changed: Any) -> None:  # noqa: ANN401 - JSON
    """The next program version, before anybody signs up; `awards` by event."""
    program = company.ok("GET", "/v1/program")["program"]
    program["awards"] |= {event: {"hold_days": 0} | terms for event, terms in changed.pop("awards", {}).items()}
    company.ok("PUT", "/v1/program", program | changed)


def event(event_id: str, event_type: str, at: datetime, value: dict[str, Any]) -> dict[str, Any]:
    return stripe_objects.event(event_type, value, sent_at=at, id=event_id, api_version=stripe_objects.BEFORE_BASIL)


def invoice(
    sale: str, days: float, *, amount: int = 2900, proration: bool = False, currency: str = "usd"
) -> dict[str, Any]:
    """A paid invoice of Ben's; one for an upgrade has nothing but prorations."""
    at = NOON + timedelta(days=days)
    kind, amounts = ("invoiceitem", (amount - 9900, 9900)) if proration else ("subscription", (amount,))
    lines = [stripe_objects.line_before_basil(at, kind, proration=proration, amount=each) for each in amounts]
    value = stripe_objects.invoice_before_basil(
        id=f"in_{sale}", amount=amount, currency=currency, customer="cus_ben", subscription="sub_ben", lines=lines,
        payment_intent=f"pi_{sale}", charge=f"ch_{sale}", named={"goodword_user": "ben"}, created=at,
    )  # fmt: skip
    return event(f"evt_{sale}", "invoice.paid", at, value)


def refund(
    sale: str, days: float, *, amount: int = 2900, status: str = "succeeded", status_after: int = 0
) -> dict[str, Any]:
    """A refund that began so many days after NOON, `status_after` days later to have this status."""
    began = NOON + timedelta(days=days)
    value = stripe_objects.refund(sale, amount=amount, status=status, created=began)
    return event(f"evt_re_{sale}_{status}_{status_after}", "refund.updated", began + status_after * DAY, value)


def deliver(company: Company, *events: dict[str, Any]) -> None:
    for each in events:
        answer = company.deliver(each)
        assert (answer.status, answer.json["outcome"]) in {(200, "applied"), (200, "parked")}, answer.raw


def awards(company: Company, user: str = "ada") -> Awards:
    """What is left of a user's awards for payments, by event and period; those of which nothing is left are out."""
    points: Awards = {}
    for each in company.ok("GET", f"/v1/users/{user}/awards?limit=100")["data"]:
        left = each["points"] - each["reversed_points"]
        if each["period"] and left:
            assert (each["status"], (each["event"], each["period"]) in points) == ("paid", False), each
            points[each["event"], each["period"]] = left
    return points


def stage(company: Company) -> str:
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return referral["stage"]


def test_a_payment_in_shillings_counts_by_stripes_two_decimals(company: Company) -> None:
    company.set_clock(NOON)
    amend(company, awards={"qualified": {"bps": 1000}}, points_per_unit={"ugx": 1})
    company.refer("ada", "ben")
    deliver(company, invoice("1", 0, amount=380_000, currency="ugx"))
    assert awards(company) == {("qualified", 1): 380}


@pytest.mark.parametrize("back", ["1", "2"])
def test_a_month_paid_twice_and_refunded_once_earns_whole(referred: Company, back: str) -> None:
    deliver(referred, invoice("1", 0), invoice("2", 0.01), refund(back, 1))
    assert awards(referred) == {("qualified", 1): 25}
    assert awards(referred, "zoe") == {("l2", 1): 5}


def test_a_month_refunded_for_a_year_that_is_kept_earns_whole(referred: Company) -> None:
    deliver(referred, invoice("1", 0, amount=900), invoice("2", 3, amount=9000), refund("1", 3, amount=900))
    assert awards(referred) == {("qualified", 1): 25}


def test_a_percentage_is_of_what_was_bought_again_and_kept(company: Company, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    amend(company, awards={"qualified": {"bps": 2000}})
    company.refer("ada", "ben")
    company.set_clock(NOON + 5 * DAY)
    deliver(company, invoice("1", 0, amount=10_000), refund("1", 1, amount=10_000))
    assert (awards(company), stage(company)) == ({}, "cancelled")
    deliver(company, invoice("2", 2, amount=10_000))
    assert (awards(company), stage(company)) == ({("qualified", 1): 2000}, "qualified")
    deliver(company, refund("1", 1, amount=10_000, status="failed", status_after=3))
    assert awards(company) == {("qualified", 1): 2000}
    assert company.balance("ada") == 5 + 2000
    assert books.faults(superuser, company.id) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_was_bought_again_a_month_later_qualifies_in_its_own_month_and_does_not_recur_there(
    referred: Company, superuser: psycopg.Connection, order: tuple[int, ...]
) -> None:
    events = [invoice("1", 0), refund("1", 3), invoice("2", 45)]
    deliver(referred, *(events[position] for position in order))
    assert awards(referred) == {("qualified", 2): 25}
    assert awards(referred, "zoe") == {("l2", 2): 5}
    # the refund fails after all: the first month qualifies, and the second recurs
    deliver(referred, refund("1", 3, status="failed", status_after=60))
    assert awards(referred) == {("qualified", 1): 25, ("recurring", 2): 10}
    assert awards(referred, "zoe") == {("l2", 1): 5, ("l2", 2): 5}
    assert books.faults(superuser, referred.id) == []


@pytest.mark.parametrize("day", [10, 20])
def test_an_upgrade_within_the_first_month_is_of_the_first_month(company: Company, day: int) -> None:
    company.set_clock(NOON)
    company.refer("ada", "ben")
    amend(company, awards={"recurring": {"bps": 2000}})
    company.refer("dan", "cleo")
    company.set_clock(NOON + 30 * DAY)
    for sale in (invoice("1", 0), invoice("2", day, amount=6600, proration=True)):
        deliver(company, sale)
        value = sale["data"]["object"]
        cleos = {"subscription_details": {"metadata": {"goodword_user": "cleo"}}, "customer": "cus_cleo"}
        shown = value | cleos | {name: f"{value[name]}c" for name in ("id", "payment_intent", "charge")}
        deliver(company, sale | {"id": f"{sale['id']}c", "data": {"object": shown}})
    assert awards(company) == {("qualified", 1): 25}
    assert awards(company, "dan") == {("qualified", 1): 25, ("recurring", 1): 1320}


def test_who_is_refunded_after_being_retained_and_buys_again_is_retained_anew(
    referred: Company, server: str, superuser: psycopg.Connection
) -> None:
    def retained() -> list[tuple[str, int]]:
        given = referred.ok("GET", "/v1/users/ada/awards?limit=100")["data"]
        return [(each["status"], each["reversed_points"]) for each in given if each["event"] == "retained"]

    deliver(referred, invoice("1", 0))
    run_job(server, "AdvanceReferralsFunction")
    assert (stage(referred), retained()) == ("retained", [("paid", 0)])
    deliver(referred, refund("1", 40))
    assert (stage(referred), retained()) == ("cancelled", [("reversed", 15)])
    deliver(referred, invoice("2", 45))
    assert (stage(referred), retained()) == ("qualified", [("reversed", 15)])
    referred.set_clock(NOON + 76 * DAY)
    deliver(referred, invoice("3", 76))
    assert stage(referred) == "qualified"  # until the job has come by
    run_job(server, "AdvanceReferralsFunction")
    assert (stage(referred), retained()) == ("retained", [("paid", 0)])
    (referral,) = referred.ok("GET", "/v1/users/ada/referrals")["data"]
    assert referral["retained_at"].startswith("2031-03-31T12:00")  # thirty days after the purchase of 1 March
    assert books.faults(superuser, referred.id) == []
