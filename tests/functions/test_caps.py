"""Caps: the most points that one person is awarded, all in all and in a day. An award fits whole or earns nothing."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import books
from tests.support.companies import Company
from tests.support.growth import FLAT, Referrer, amend
from tests.support.jobs import run_job

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
GIVEN, REFUSED = ("paid", None), ("rejected", "budget_exhausted")


@pytest.fixture
def ada(company: Company) -> Referrer:
    """A referrer at NOON, in a company of one tier."""
    company.set_clock(NOON)
    amend(company, tiers=FLAT)
    return Referrer(company, now=NOON)


def outcomes(ada: Referrer, user: str = "ada") -> list[tuple[str, tuple[str, str | None]]]:
    return [(each["event"], (each["status"], each["reason"])) for each in ada.awards(user)]


def test_an_award_that_does_not_fit_whole_earns_nothing_and_a_smaller_one_may(
    ada: Referrer, superuser: psycopg.Connection
) -> None:
    amend(ada.company, caps={"per_user_points": 40})
    ada.qualify("ben")
    ada.qualify("cleo")
    ada.bring("dora")
    assert outcomes(ada) == [
        ("registered", GIVEN), ("qualified", GIVEN),  # 5, 30
        ("registered", GIVEN), ("qualified", REFUSED),  # 35, and 25 are too many
        ("registered", GIVEN),  # 40
    ]  # fmt: skip
    assert ada.bring("eve")["awards"][0]["reason"] == "budget_exhausted"
    assert ada.company.balance("ada") == 40
    rejected = ada.awards(event="qualified")[1]
    assert (rejected["points"], rejected["reversed_points"], rejected["transaction_id"]) == (25, 0, None)
    assert ada.profile()[0] == 2  # a stage is a matter of facts
    assert books.faults(superuser, ada.company.id) == []


def test_a_cap_of_nothing_gives_nothing_to_anybody_and_null_is_none(ada: Referrer) -> None:
    amend(ada.company, caps={"per_user_points": 0})
    ada.qualify("ben")
    assert {outcome for _, outcome in outcomes(ada) + outcomes(ada, "ben")} == {REFUSED}
    amend(ada.company, caps={"per_user_points": None})
    ada.qualify("cleo")
    assert [outcome for _, outcome in outcomes(ada)][2:] == [GIVEN, GIVEN]


def test_a_cap_is_the_recipients_whatever_awards_them(ada: Referrer) -> None:
    """Ben is welcomed, refers, and is Ada's; Zoe, whom nobody awarded anything yet, is above them."""
    amend(ada.company, caps={"per_user_points": 34})
    ada.bring("ben")  # 25 of 34
    ben = Referrer.known(ada.company, "ben", now=NOON)
    ben.qualify("cleo")  # 5 fit, 25 do not
    ben.bring("dora")  # 5 more would be 35
    assert outcomes(ada, "ben") == [
        ("welcome", GIVEN), ("registered", GIVEN), ("qualified", REFUSED), ("registered", REFUSED),
    ]  # fmt: skip
    for month in (2, 3, 4, 5, 6):
        ben.pay("cleo", month)
    assert [outcome for event, outcome in outcomes(ada) if event == "l2"] == [GIVEN] * 5 + [REFUSED]  # 30 of 34


def test_what_a_refund_frees_can_be_awarded_and_what_comes_back_comes_back_past_the_cap(
    ada: Referrer, superuser: psycopg.Connection
) -> None:
    amend(ada.company, caps={"per_user_points": 55})
    ada.qualify("ben")
    ada.bring("cleo")
    ada.bring("dora")  # 40
    ada.refund("ben", amount=950)  # 27: half of the 25, up
    ada.pay("cleo")  # 52
    ada.refund("ben", status="failed")  # 65, past the cap
    ada.pay("dora")
    assert [(each["status"], each["reversed_points"]) for each in ada.awards(event="qualified")] == [
        ("paid", 0), ("paid", 0), ("rejected", 0),
    ]  # fmt: skip
    assert ada.company.balance("ada") == 65
    assert books.faults(superuser, ada.company.id) == []


def test_what_waits_is_reserved_and_what_is_taken_back_before_its_time_is_free(ada: Referrer) -> None:
    program = ada.company.ok("GET", "/v1/program")["program"]
    waiting = {**program["awards"], "qualified": {"points": 25, "hold_days": 14}}
    amend(ada.company, awards=waiting, caps={"per_user_points": 45})
    ada.qualify("ben")  # 5, and 25 that wait
    ada.qualify("cleo")  # 35; 25 more do not fit
    ada.refund("ben")  # 10
    ada.qualify("dora")  # 40
    assert [(each["status"], each["reason"]) for each in ada.awards(event="qualified")] == [
        ("reversed", None), REFUSED, ("pending", None),
    ]  # fmt: skip


def test_what_was_awarded_before_there_was_a_cap_counts_and_a_referral_keeps_the_caps_it_began_under(
    ada: Referrer,
) -> None:
    ada.qualify("ben")
    ada.bring("cleo")
    amend(ada.company, caps={"per_user_points": 36})
    assert ada.bring("dora")["awards"][0]["reason"] == "budget_exhausted"
    ada.pay("cleo")
    assert [(each["status"], each["reason"]) for each in ada.awards(event="qualified")] == [GIVEN, GIVEN]


def test_a_days_cap_is_of_the_day_in_the_programs_zone(ada: Referrer) -> None:
    """In Auckland, where 12 UTC is one in the morning, the day ends at 11 UTC."""
    amend(ada.company, timezone="Pacific/Auckland", caps={"per_user_per_day_points": 12})
    company = ada.company
    refusals = [ada.bring(f"user_{number}")["awards"][0]["reason"] for number in range(3)]
    company.set_clock(NOON + timedelta(hours=23, microseconds=-1))
    refusals.append(ada.bring("user_3")["awards"][0]["reason"])
    company.set_clock(NOON + timedelta(hours=23))
    refusals += [ada.bring(f"user_{number}")["awards"][0]["reason"] for number in (4, 5, 6)]
    assert refusals == [None, None, "budget_exhausted", "budget_exhausted", None, None, "budget_exhausted"]


def test_people_who_are_retained_in_one_run_share_the_day_of_their_referrer_in_whatever_zone(ada: Referrer) -> None:
    """At noon it is the same day in both, though it began apart."""
    amend(ada.company, caps={"per_user_per_day_points": 30})
    ada.qualify("ben")
    ada.company.set_clock(NOON + timedelta(days=1))
    amend(ada.company, timezone="Europe/Berlin")
    ada.qualify("cleo")
    ada.company.set_clock(NOON + timedelta(days=40))
    amend(ada.company, caps={"per_user_per_day_points": None})
    ada.bring("dora")  # 5 on this day
    run_job(ada.company.url, "AdvanceReferralsFunction")
    assert sorted(each["status"] for each in ada.awards(event="retained")) == [
        "paid",
        "rejected",
    ]  # 20; 35 would be too many


def test_what_is_taken_back_is_free_on_the_day_on_which_it_was_awarded(ada: Referrer) -> None:
    amend(ada.company, caps={"per_user_per_day_points": 35})
    ada.qualify("ben")  # 30
    ada.company.set_clock(NOON + timedelta(days=1))
    ada.qualify("cleo")  # 30
    ada.refund("ben")
    ada.qualify("dora")  # 35; what ben's had is free on the day before
    assert ada.awards(event="qualified")[-1]["reason"] == "budget_exhausted"
    ada.refund("cleo")
    ada.qualify("eve")  # 10, 15, and 40 would be too many
    assert [each["reason"] for each in ada.awards(event="registered")] == [None] * 4
    assert ada.awards(event="qualified")[-1]["reason"] == "budget_exhausted"


def test_caps_are_asked_only_by_what_is_awarded(ada: Referrer) -> None:
    """Points that an administrator gives are outside, and what earns nothing for another reason reserves nothing."""
    amend(ada.company, caps={"per_user_points": 30}, points_per_unit={"eur": 100})
    ada.company.ok("POST", "/v1/users/ada/points", {"points": 1000, "note": ""}, key="gift")
    ada.qualify("ben")
    assert [outcome for _, outcome in outcomes(ada)] == [GIVEN, GIVEN]
