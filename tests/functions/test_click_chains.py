"""Clicks of one browser, one after the other: which of them brought the person who signs up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.companies import Company
from tests.support.links import follow, location
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)

models = pytest.mark.parametrize("model", ["last_touch", "first_touch"])


@pytest.fixture
def codes(company: Company) -> dict[str, str]:
    """The codes of Ada, Bob and Cleo, who share at noon."""
    company.set_clock(NOON)
    return {name: company.sign_up(name)["user"]["referral_code"] for name in ("ada", "bob", "cleo")}


def choose(company: Company, model: str) -> None:
    """The company's next program, under another model of attribution."""
    program = company.ok("GET", "/v1/program")["program"]
    program["attribution"]["model"] = model
    company.ok("PUT", "/v1/program", program)


def click(company: Company, code: str, *, after: str | None = None) -> str:
    return company.ok("POST", "/v1/clicks", {"code": code, "previous_click_id": after})["id"]


def use_up(company: Company, code: str, by: str) -> None:
    company.ok("PATCH", f"/v1/codes/{code}", {"max_uses": 1})
    assert company.sign_up(by, referral_code=code)["attribution"]["outcome"] == "attributed"


def referrer(answer: dict[str, Any]) -> str | None:
    return answer["referral"] and answer["referral"]["referrer"]


def candidates(superuser: psycopg.Connection, company: Company, person: str) -> list[tuple[str, str | None]]:
    """What was seen of a signup: each click, and what stood against it."""
    found = rows.find_one(
        superuser,
        """
        SELECT trace FROM signups JOIN users ON users.company_id = signups.company_id AND users.id = signups.user_id
        WHERE signups.company_id = %(id)s AND external_id = %(person)s
        """,
        id=company.id, person=person,
    )  # fmt: skip
    return [(seen["click_id"], seen["reason"]) for seen in found["trace"]["candidates"]]


@pytest.mark.parametrize(("model", "brought_by"), [("last_touch", "bob"), ("first_touch", "ada")])
def test_the_model_chooses_among_the_clicks_before(
    company: Company, codes: dict[str, str], model: str, brought_by: str
) -> None:
    choose(company, model)
    first = click(company, codes["ada"])
    second = click(company, codes["bob"], after=first)
    answer = company.sign_up("dan", click_id=second)
    assert referrer(answer) == brought_by
    assert answer["attribution"]["click_id"] == {"ada": first, "bob": second}[brought_by]


@models
def test_who_chains_a_click_to_a_strangers_id_takes_no_signup(
    company: Company, codes: dict[str, str], model: str
) -> None:
    """Bob saw the id in the address of a page. Whether the browser comes by it or goes on, his click is none of its."""
    choose(company, model)
    seen = click(company, codes["ada"])
    location(follow(company, f"/r/{codes['bob']}", cookie=f"gw_click={seen}"))
    company.browser.send("POST", f"/v1/clicks?key={company.pub}", {"code": codes["bob"], "previous_click_id": seen})
    assert referrer(company.sign_up("dan", click_id=seen)) == "ada"
    later = click(company, codes["cleo"], after=seen)
    use_up(company, codes["cleo"], by="finn")
    assert referrer(company.sign_up("eve", click_id=later)) == "ada"


@pytest.mark.parametrize("against", ["code_used_up", "self_referral"])
def test_a_last_click_that_cannot_count_leaves_its_place_to_the_one_before(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection, against: str
) -> None:
    dan = {"external_id": "dan", "email": "dan@app.example"}
    twin = company.ok("POST", "/v1/signups", {"user": {"external_id": "twin", "email": "Dan@App.example"}})
    code = {"code_used_up": codes["bob"], "self_referral": twin["user"]["referral_code"]}[against]
    first = click(company, codes["ada"])
    last = click(company, code, after=first)
    if against == "code_used_up":
        use_up(company, code, by="finn")
    answer = company.ok("POST", "/v1/signups", {"user": dan, "click_id": last}, status=201)
    assert (referrer(answer), answer["attribution"]["click_id"]) == ("ada", first)
    assert candidates(superuser, company, "dan") == [(last, against), (first, None)]


def test_a_visit_by_a_code_that_is_used_up_leaves_the_click_before_in_its_place(
    company: Company, codes: dict[str, str]
) -> None:
    first = location(follow(company, f"/r/{codes['ada']}"))[1]["gw_click"]
    use_up(company, codes["bob"], by="finn")
    again = follow(company, f"/r/{codes['bob']}", cookie=f"gw_click={first}")
    assert "gw_click" not in location(again)[1]
    assert "set-cookie" not in again.headers
    assert referrer(company.sign_up("dan", click_id=first)) == "ada"


def test_a_first_click_that_cannot_count_leaves_its_place_to_the_next(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection
) -> None:
    choose(company, "first_touch")
    first = click(company, codes["ada"])
    second = click(company, codes["bob"], after=first)
    third = click(company, codes["cleo"], after=second)
    use_up(company, codes["ada"], by="finn")
    assert referrer(company.sign_up("dan", click_id=third)) == "bob"
    assert candidates(superuser, company, "dan") == [(first, "code_used_up"), (second, None), (third, None)]


@models
def test_where_no_click_can_count_the_first_ones_reason_is_told(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection, model: str
) -> None:
    choose(company, model)
    first = click(company, codes["ada"])
    company.set_clock(NOON + 80 * DAY)
    second = click(company, codes["bob"], after=first)
    use_up(company, codes["bob"], by="finn")
    company.set_clock(NOON + 100 * DAY)
    answer = company.sign_up("dan", click_id=second)
    assert answer["attribution"] == {
        "outcome": "rejected", "reason": "code_used_up", "source": "click", "click_id": second,
    }  # fmt: skip
    assert candidates(superuser, company, "dan") == [(second, "code_used_up"), (first, "outside_window")]


def test_first_touch_means_the_first_one_inside_the_window(company: Company, codes: dict[str, str]) -> None:
    choose(company, "first_touch")
    first = click(company, codes["ada"])
    company.set_clock(NOON + 60 * DAY)
    second = click(company, codes["bob"], after=first)
    company.set_clock(NOON + 120 * DAY)
    assert referrer(company.sign_up("dan", click_id=second)) == "bob"


def test_a_code_comes_before_every_click_and_the_clicks_stand_in_for_it(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection
) -> None:
    first = click(company, codes["ada"])
    last = click(company, codes["bob"], after=first)
    use_up(company, codes["bob"], by="finn")
    answer = company.sign_up("dan", referral_code="NO-SUCH-CODE", click_id=f" {last} ")
    assert referrer(answer) == "ada"
    assert candidates(superuser, company, "dan") == [(None, "unknown_code"), (last, "code_used_up"), (first, None)]


@pytest.mark.parametrize("signs_up_first", [False, True], ids=["payment_first", "signup_first"])
def test_a_click_that_a_payment_carries_stands_for_those_before_it_too(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection, *, signs_up_first: bool
) -> None:
    first = click(company, codes["ada"])
    last = click(company, codes["bob"], after=first)
    click(company, codes["cleo"], after=last)
    use_up(company, codes["bob"], by="finn")
    event = invoice_paid("evt_1", "in_1", user="dan", paid_at=NOON)
    event["data"]["object"]["parent"]["subscription_details"]["metadata"]["goodword_click"] = last
    if signs_up_first:
        company.sign_up("dan")
    assert company.deliver(event).status == 200
    if not signs_up_first:
        company.sign_up("dan")
    (brought,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert (brought["referee"], brought["stage"]) == ("dan", "qualified")
    found = rows.find(superuser, "SELECT outcome, reason FROM touch_decisions WHERE company_id = %(id)s", id=company.id)
    assert found == ([{"outcome": "attributed", "reason": None}] if signs_up_first else [])


def test_of_a_very_long_chain_the_latest_clicks_are_looked_at(
    company: Company, codes: dict[str, str], superuser: psycopg.Connection
) -> None:
    last = click(company, codes["ada"])
    for _ in range(101):
        last = click(company, codes["bob"], after=last)
    choose(company, "first_touch")
    assert referrer(company.sign_up("dan", click_id=last)) == "bob"
    assert len(candidates(superuser, company, "dan")) == 100
