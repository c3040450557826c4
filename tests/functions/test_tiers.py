"""Tiers: what a referrer's awards are multiplied by, by the other referrals of theirs that count."""

from datetime import UTC, datetime

import psycopg
import pytest

from tests.support import books, rows
from tests.support.companies import Company
from tests.support.growth import Referrer, amend

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
LADDER = [
    {"name": "bronze", "from": 0, "multiplier_bps": 10_000}, {"name": "silver", "from": 2, "multiplier_bps": 15_000},
    {"name": "gold", "from": 3, "multiplier_bps": 30_000},
]  # fmt: skip


@pytest.fixture
def ada(company: Company) -> Referrer:
    """A referrer in a company where silver begins with two referrals, and gold with three."""
    company.set_clock(NOON)
    amend(company, tiers=LADDER)
    return Referrer(company, now=NOON)


def test_the_fifth_qualified_award_is_bronze_and_the_sixth_silver(company: Company) -> None:
    """By the program as every company begins with it."""
    ada = Referrer(company)
    for number in range(6):
        ada.qualify(f"user_{number}")
    found = [(each["points"], each["multiplier"], each["tier"]) for each in ada.awards(event="qualified")]
    assert found == [(25, 1.0, "bronze")] * 5 + [(38, 1.5, "silver")]
    assert ada.profile() == (6, "silver")


def test_an_award_goes_by_the_referrals_that_counted_beside_its_own(
    ada: Referrer, superuser: psycopg.Connection
) -> None:
    ada.qualify("ben")
    ada.qualify("cleo")
    assert ada.profile() == (2, "silver")
    ada.bring("dora")
    ada.pay("dora")
    ada.pay("ben", 2)
    company = ada.company
    assert [(each["event"], each["tier"], each["points"]) for each in ada.awards()] == [
        ("registered", "bronze", 5), ("qualified", "bronze", 25),  # ben's: nobody else counts
        ("registered", "bronze", 5), ("qualified", "bronze", 25),  # cleo's: ben does
        ("registered", "silver", 8), ("qualified", "silver", 38),  # dora's: both do
        ("recurring", "gold", 30),  # ben's: cleo and dora, and ben, who has paid before
    ]  # fmt: skip
    counted = rows.find(
        superuser, "SELECT counted FROM awards WHERE company_id = %(id)s AND user_id <> ("
        "SELECT referee_id FROM referrals WHERE id = awards.referral_id) ORDER BY created_at, id", id=company.id,
    )  # fmt: skip
    assert [row["counted"] for row in counted] == [0, 0, 1, 1, 2, 2, 2]
    assert [(each["tier"], each["multiplier"]) for each in ada.awards("dora", event="welcome")] == [(None, 1.0)]
    assert books.faults(superuser, company.id) == []


def test_refunds_take_a_referrer_below_a_tier_and_back(ada: Referrer, superuser: psycopg.Connection) -> None:
    """What was awarded keeps its tier; what is awarded then goes by what counts then."""
    for person in ("ben", "cleo", "dora"):
        ada.qualify(person)
    assert ada.profile() == (3, "gold")
    before = [(each["tier"], each["points"]) for each in ada.awards()]
    ada.refund("cleo")
    assert ada.profile() == (2, "silver")
    ada.refund("dora")
    assert ada.profile() == (1, "bronze")
    assert ada.bring("eve")["awards"][0]["tier"] == "bronze"
    ada.refund("dora", status="failed")
    ada.refund("cleo", status="failed")
    assert ada.profile() == (3, "gold")
    assert ada.bring("fay")["awards"][0]["tier"] == "gold"
    assert [(each["tier"], each["points"]) for each in ada.awards()][: len(before)] == before
    assert books.faults(superuser, ada.company.id) == []


def test_a_new_table_is_for_referrals_to_come_and_for_the_profile(ada: Referrer) -> None:
    ada.qualify("ben")
    ada.bring("cleo")
    amend(
        ada.company,
        tiers=[
            {"name": "friend", "from": 0, "multiplier_bps": 5000},
            {"name": "hero", "from": 1, "multiplier_bps": 40_000},
        ],
    )
    assert ada.profile() == (1, "hero")
    ada.pay("cleo")
    assert [(each["tier"], each["points"]) for each in ada.awards(event="qualified")][1:] == [("bronze", 25)]
    assert [(each["tier"], each["points"]) for each in ada.bring("dora")["awards"][:1]] == [("hero", 20)]


def test_a_referral_that_is_cancelled_counts_no_more_for_its_own_awards_either(ada: Referrer) -> None:
    """The order of one referral's facts changes no tier: another purchase goes by the others as before."""
    for person in ("ben", "cleo"):
        ada.qualify(person)
    ada.refund("ben")
    ada.pay("ben", 2)
    found = [(each["tier"], each["points"], each["status"]) for each in ada.awards(event="qualified")]
    assert found == [("bronze", 25, "paid"), ("bronze", 25, "paid")]
    assert ada.profile() == (2, "silver")


def step(name: str, at: int) -> dict[str, object]:
    return {"name": name, "from": at, "multiplier_bps": 1}


@pytest.mark.parametrize(
    ("tiers", "field"),
    [
        ([], "tiers"),
        ([step("a", 1)], "tiers.0.from"),
        ([step("a", 0), step("b", 0)], "tiers.1.from"),
        ([step("a", 0), step("a", 1)], "tiers.1.name"),
    ],
)
def test_a_table_that_is_no_ladder_is_refused(company: Company, tiers: list[dict[str, object]], field: str) -> None:
    program = company.ok("GET", "/v1/program")["program"]
    answer = company.api.send("PUT", "/v1/program", {**program, "tiers": tiers})
    assert answer.status == 422, answer.raw
    assert [each["field"] for each in answer.json["errors"]] == [field]
