"""Codes of campaigns: who joins by one, and that nobody is lost who comes by one that is not in force."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.functions.test_campaigns import END, NEW, NOON, START, change, code_of, launch, make, read
from tests.functions.test_codes import click, unique
from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
BEFORE, WITHIN, AFTER = START - DAY, NOON, END + DAY
OWN = {"welcome": {"points": 40}}
"""What the campaigns here give in place of the program's 25."""


@pytest.fixture
def shop(company: Company) -> Company:
    company.set_clock(BEFORE - 2 * DAY)
    company.sign_up("ada")
    return company


@pytest.fixture
def campaign(shop: Company) -> Any:  # noqa: ANN401 - the JSON of the answer
    return launch(shop, rules={"awards": OWN})


def joined(answer: dict[str, Any]) -> tuple[str | None, int]:
    """The campaign that a signup joined, and the welcome that it was given."""
    assert answer["attribution"]["outcome"] == "attributed", answer["attribution"]
    (welcome,) = [each for each in answer["awards"] if each["event"] == "welcome"]
    return answer["referral"]["campaign_id"], welcome["points"]


def test_codes_of_campaigns_count_under_no_limit_of_codes(shop: Company, campaign: dict[str, Any]) -> None:
    shop.ok("PUT", "/v1/program", {"limits": {"code_creations_per_hour": 1}})
    given = {"type": "campaign", "user_id": "ada", "campaign_id": campaign["id"]}
    for _ in range(3):
        shop.ok("POST", "/v1/codes", {**given, "code": unique()}, status=201)
    shop.ok("POST", "/v1/codes", {"type": "custom", "user_id": "ada", "code": unique()}, status=201)


def test_a_campaigns_code_names_its_campaign_and_its_owner(
    shop: Company, campaign: dict[str, Any], superuser: psycopg.Connection
) -> None:
    given = {"type": "campaign", "code": unique(), "user_id": "ada", "campaign_id": campaign["id"]}
    code = shop.ok("POST", "/v1/codes", given, status=201)
    assert {name: code[name] for name in given} == given
    assert shop.ok("GET", f"/v1/codes?campaign_id={campaign['id']}")["data"] == [code]
    assert shop.ok("GET", f"/v1/codes?campaign_id=cam_{'0' * 32}")["data"] == []
    assert fields(shop.api.send("GET", "/v1/codes?campaign_id=cam_1")) == {"campaign_id"}
    before = rows.count(superuser, shop.id)
    for wrong, expected in (
        ({"campaign_id": None}, {"campaign_id"}),
        ({"user_id": None}, {"user_id"}),
        ({"campaign_id": None, "user_id": None}, {"campaign_id", "user_id"}),
        ({"campaign_id": "cam_1"}, {"campaign_id"}),
        ({"type": "custom"}, {"campaign_id"}),
    ):
        body = given | {"code": unique()} | wrong
        assert fields(shop.api.send("POST", "/v1/codes", body)) == expected
        left_out = {name: value for name, value in body.items() if value is not None}
        assert fields(shop.api.send("POST", "/v1/codes", left_out)) == expected
    for name, value in (("campaign_id", campaign["id"]), ("user_id", "ada"), ("type", "custom")):
        assert fields(shop.api.send("PATCH", f"/v1/codes/{code['code']}", {name: value})) == {name}
    assert rows.count(superuser, shop.id) - before == {}


def test_a_code_is_made_for_no_campaign_of_another_company(shop: Company, other: Company) -> None:
    theirs = other.ok("POST", "/v1/campaigns", NEW)["id"]
    for campaign_id in (theirs, f"cam_{'0' * 32}"):
        body = {"type": "campaign", "code": unique(), "user_id": "ada", "campaign_id": campaign_id}
        problem(shop.api.send("POST", "/v1/codes", body), 404, "campaign_not_found")


def test_a_campaign_may_have_any_number_of_codes_of_one_user(shop: Company, campaign: dict[str, Any]) -> None:
    """The limit on custom codes is not on these."""
    codes = [code_of(shop, campaign, "ada") for _ in range(12)]
    shop.ok("POST", "/v1/codes", {"code": unique(), "user_id": "ada"}, status=201)
    assert len(shop.ok("GET", f"/v1/codes?campaign_id={campaign['id']}&limit=100")["data"]) == len(codes)


def test_a_code_is_worth_its_campaigns_welcome_while_that_is_in_force(shop: Company, campaign: dict[str, Any]) -> None:
    code = code_of(shop, campaign, "ada")
    silent = code_of(shop, launch(shop, rules={"awards": {"qualified": {"points": 9}}}), "ada")
    nothing = code_of(shop, launch(shop, rules={"awards": {"welcome": {"points": 0}}}), "ada")
    for at, worth in ((START - MOMENT, 25), (START, 40), (END - MOMENT, 40), (END, 25)):
        shop.set_clock(at)
        assert shop.ok("GET", f"/v1/codes/{code}")["welcome_points"] == worth
        assert shop.ok("GET", f"/v1/codes/{silent}")["welcome_points"] == 25
        assert shop.ok("GET", f"/v1/codes/{nothing}")["welcome_points"] == (0 if worth == 40 else 25)


@pytest.mark.parametrize(("at", "joins"), [(START - MOMENT, False), (START, True), (END - MOMENT, True), (END, False)])
def test_whoever_types_a_code_joins_between_its_campaigns_dates(
    shop: Company, campaign: dict[str, Any], at: datetime, *, joins: bool
) -> None:
    code = code_of(shop, campaign, "ada")
    shop.set_clock(at)
    answer = shop.sign_up("ben", referral_code=code)
    assert joined(answer) == ((campaign["id"], 40) if joins else (None, 25))
    assert (answer["referral"]["referrer"], answer["referral"]["code"]) == ("ada", code)
    explained = shop.ok("GET", f"/v1/referrals/{answer['referral']['id']}/explain")
    assert explained["referral"]["campaign_id"] == explained["attribution"]["candidates"][0]["campaign_id"]
    assert explained["referral"]["campaign_id"] == answer["referral"]["campaign_id"]
    listed = shop.ok("GET", f"/v1/referrals?campaign_id={campaign['id']}")["data"]
    assert listed == ([answer["referral"]] if joins else [])
    assert read(shop, campaign)["total_referrals"] == joins


@pytest.mark.parametrize("status", [None, "archived"])
def test_a_draft_and_an_archived_campaign_take_nobody_and_cost_nobody(shop: Company, status: str | None) -> None:
    campaign = make(shop, rules={"awards": OWN})
    code = code_of(shop, campaign, "ada")
    shop.set_clock(WITHIN)
    if status:
        change(shop, campaign, status=status)
    click_id = click(shop, code)
    assert shop.ok("GET", f"/v1/codes/{code}")["welcome_points"] == 25
    assert joined(shop.sign_up("ben", referral_code=code)) == (None, 25)
    assert joined(shop.sign_up("cleo", click_id=click_id)) == (None, 25)
    (shown,) = shop.ok("GET", f"/v1/codes?campaign_id={campaign['id']}")["data"]
    assert (shown["clicks"], shown["uses"]) == (1, 2)


def test_one_that_is_activated_late_is_in_force_from_then_on(shop: Company) -> None:
    campaign = make(shop, rules={"awards": OWN})
    code = code_of(shop, campaign, "ada")
    shop.set_clock(WITHIN)
    click_id = click(shop, code)
    assert joined(shop.sign_up("ben", referral_code=code)) == (None, 25)
    shop.set_clock(WITHIN + DAY)
    change(shop, campaign, status="active")
    assert joined(shop.sign_up("cleo", referral_code=code)) == (campaign["id"], 40)
    assert joined(shop.sign_up("dan", click_id=click_id)) == (campaign["id"], 40)


@pytest.mark.parametrize(
    ("clicked_at", "at", "joins"),
    [
        (BEFORE, BEFORE, False),
        (BEFORE, WITHIN, True),
        (WITHIN, WITHIN, True),
        (WITHIN, AFTER, True),
        (END, AFTER, False),
        (BEFORE, AFTER, False),
    ],
)
def test_a_click_joins_if_it_or_the_signup_lies_between_the_dates(
    shop: Company, campaign: dict[str, Any], clicked_at: datetime, at: datetime, *, joins: bool
) -> None:
    code = code_of(shop, campaign, "ada")
    shop.set_clock(clicked_at)
    click_id = click(shop, code)
    shop.set_clock(at)
    assert joined(shop.sign_up("ben", click_id=click_id)) == ((campaign["id"], 40) if joins else (None, 25))


def test_a_chain_joins_by_the_click_that_wins(shop: Company, campaign: dict[str, Any]) -> None:
    """The latest click is on Ben's own code: whoever comes by it joins nothing. Once that is used up, Ada's wins."""
    shop.set_clock(WITHIN)
    ben = shop.sign_up("ben")["user"]["referral_code"]
    first = click(shop, code_of(shop, campaign, "ada"))
    latest = shop.ok("POST", "/v1/clicks", {"code": ben, "previous_click_id": first})["id"]
    shop.set_clock(AFTER)
    assert joined(shop.sign_up("cleo", click_id=latest)) == (None, 25)
    shop.ok("PATCH", f"/v1/codes/{ben}", {"max_uses": 1})
    answer = shop.sign_up("dan", click_id=latest)
    assert joined(answer) == (campaign["id"], 40)
    assert answer["referral"]["referrer"] == "ada"


def by_request(shop: Company, user: str, code: str) -> None:
    shop.ok("PUT", f"/v1/users/{user}/referrer", {"referral_code": code, "reason": "told us"})


def by_payment(shop: Company, user: str, code: str) -> None:
    named = {"goodword_user": user, "goodword_code": code}
    event = invoice_paid(f"evt_{user}", f"in_{user}", named=named, paid_at=datetime.now(UTC))
    assert shop.deliver(event).json["outcome"] == "applied"


@pytest.mark.parametrize("bind", [by_request, by_payment])
@pytest.mark.parametrize(
    ("signed_up_at", "bound_at", "joins"),
    [(WITHIN, WITHIN + DAY, True), (END - DAY, AFTER, True), (BEFORE, WITHIN, False), (END, AFTER, False)],
)
def test_who_is_bound_late_joins_what_was_in_force_at_their_signup(
    shop: Company, campaign: dict[str, Any], bind: Callable[[Company, str, str], None], signed_up_at: datetime,
    bound_at: datetime, *, joins: bool,
) -> None:  # fmt: skip
    code = code_of(shop, campaign, "ada")
    shop.set_clock(signed_up_at)
    shop.sign_up("ben")
    shop.set_clock(bound_at)
    bind(shop, "ben", code)
    (referral,) = shop.ok("GET", "/v1/referrals")["data"]
    assert (referral["campaign_id"], referral["referee"]) == (campaign["id"] if joins else None, "ben")
    welcome = [each["points"] for each in shop.ok("GET", "/v1/users/ben/awards")["data"]]
    assert welcome == [40 if joins else 25]


def test_who_is_bound_late_by_a_click_joins_by_when_it_was_made(shop: Company, campaign: dict[str, Any]) -> None:
    code = code_of(shop, campaign, "ada")
    shop.set_clock(END - DAY)
    click_id = click(shop, code)
    shop.set_clock(AFTER)
    shop.sign_up("ben")
    named = {"goodword_user": "ben", "goodword_click": click_id}
    event = invoice_paid("evt_1", "in_1", named=named, paid_at=AFTER)
    assert shop.deliver(event).json["outcome"] == "applied"
    (referral,) = shop.ok("GET", "/v1/referrals")["data"]
    assert (referral["campaign_id"], referral["source"]) == (campaign["id"], "click")


def test_a_coupon_joins_by_the_code_that_it_names(shop: Company, campaign: dict[str, Any]) -> None:
    coupon = {"type": "period", "plan": "premium", "duration_days": 3, "code": "SNOW", "referral_code": ""}
    shop.ok("POST", "/v1/coupons", coupon | {"referral_code": code_of(shop, campaign, "ada")}, status=201)
    shop.set_clock(WITHIN)
    assert joined(shop.sign_up("ben", coupon_code="SNOW")) == (campaign["id"], 40)


def test_who_has_joined_keeps_the_terms_for_good(shop: Company) -> None:
    """What is earned after the end, and under another program, is still by the campaign where that says something."""
    campaign = launch(shop, rules={"awards": {"qualified": {"points": 70}, "recurring": {"points": 33}}})
    code = code_of(shop, campaign, "ada")
    shop.set_clock(WITHIN)
    shop.sign_up("ben", referral_code=code)
    shop.ok("PUT", "/v1/program", {"awards": {"qualified": {"points": 1}, "recurring": {"points": 1}}})
    shop.set_clock(AFTER + 60 * DAY)
    for number, paid_at in enumerate((AFTER, AFTER + 32 * DAY)):
        event = invoice_paid(f"evt_{number}", f"in_{number}", user="ben", paid_at=paid_at)
        assert shop.deliver(event).json["outcome"] == "applied"
    awards = {each["event"]: each["points"] for each in shop.ok("GET", "/v1/users/ada/awards")["data"]}
    assert awards == {"registered": 5, "qualified": 70, "recurring": 33}


def test_an_event_with_no_points_in_a_campaign_gives_no_award(shop: Company) -> None:
    campaign = launch(shop, rules={"awards": {"registered": {"points": 0}, "welcome": {"points": 3, "hold_days": 2}}})
    code = code_of(shop, campaign, "ada")
    shop.set_clock(WITHIN)
    (award,) = shop.sign_up("ben", referral_code=code)["awards"]
    assert (award["event"], award["points"], award["status"]) == ("welcome", 3, "pending")
