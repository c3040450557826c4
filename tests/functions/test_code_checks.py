"""Checking a code: what a stranger learns of it, and how often a browser may ask."""

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Answer
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.links import REFUSALS, refuse


@pytest.fixture
def code(company: Company) -> str:
    """The code that Ada shares."""
    user = {"external_id": "ada", "username": "Ada"}
    return company.ok("POST", "/v1/signups", {"user": user})["user"]["referral_code"]


def test_a_good_code_is_valid_and_names_who_shares_it(company: Company, code: str) -> None:
    assert company.ok("GET", f"/v1/codes/{code.lower()}") == {
        "code": code, "valid": True, "reason": None, "referrer": {"display_name": "Ada"}, "welcome_points": 25,
    }  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_code_that_may_not_be_used_is_not_valid(
    company: Company, code: str, superuser: psycopg.Connection, refusal: str
) -> None:
    refuse(superuser, company, refusal)
    found = company.ok("GET", f"/v1/codes/{code}")
    assert (found["valid"], found["reason"]) == (False, refusal)


def test_a_code_is_unknown_to_every_other_company(company: Company, other: Company, code: str) -> None:
    assert other.ok("GET", f"/v1/codes/{code}") == {
        "code": code, "valid": False, "reason": "unknown", "referrer": None, "welcome_points": 25,
    }  # fmt: skip
    assert company.ok("GET", "/v1/codes/NO-SUCH-CODE")["reason"] == "unknown"


def test_a_browser_checks_twenty_codes_a_minute_and_a_server_as_many_as_it_likes(
    company: Company, other: Company, code: str, superuser: psycopg.Connection
) -> None:
    assert [check(company, code).status for _ in range(20)] == [200] * 20
    refused = check(company, code)
    problem(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert company.api.send("GET", f"/v1/codes/{code}").status == 200
    assert check(other, code).status == 200
    superuser.execute(
        "UPDATE rate_windows SET hits = ARRAY(SELECT h - interval '1 minute' FROM unnest(hits) AS h)"
        " WHERE company_id = %(id)s",
        {"id": company.id},
    )
    assert check(company, code).status == 200


def check(of: Company, code: str, *, key: str | None = None) -> Answer:
    return of.browser.send("GET", f"/v1/codes/{code}?key={key or of.pub}")


def report(of: Company, code: str, **headers: str) -> Answer:
    return of.browser.send("POST", f"/v1/clicks?key={of.pub}", {"code": code}, headers=headers)


def test_whoever_guesses_codes_by_reporting_clicks_is_stopped_where_checks_are(company: Company, code: str) -> None:
    assert [check(company, "GUESS").status for _ in range(10)] == [200] * 10
    guesses = [report(company, f"GUESS-{number}") for number in range(11)]
    assert [each.status for each in guesses] == [422] * 10 + [429]
    problem(guesses[-1], 429, "rate_limited")
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 60
    problem(check(company, code), 429, "rate_limited")


def test_an_idempotency_key_hides_no_guess(company: Company) -> None:
    def guess(number: int) -> int:
        return report(company, f"GUESS-{number}", **{"idempotency-key": str(number)}).status

    assert [guess(number) for number in range(21)] == [422] * 20 + [429]
    assert guess(0) == 429


def test_people_who_click_are_not_guessing(company: Company, code: str, superuser: psycopg.Connection) -> None:
    """Many share one address, and so does who is stopped."""
    assert [report(company, code).status for _ in range(25)] == [201] * 25
    assert [report(company, "GUESS").status for _ in range(21)] == [422] * 20 + [429]
    assert report(company, code).status == 201
    refuse(superuser, company, "inactive")
    problem(report(company, code), 422, "inactive_code")


def test_a_server_guesses_as_much_as_it_likes(company: Company) -> None:
    statuses = {company.api.send("POST", "/v1/clicks", {"code": f"GUESS-{number}"}).status for number in range(25)}
    assert statuses == {422}


def test_each_publishable_key_has_a_window_of_its_own(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    second = api_keys.create(superuser, company.id, livemode=False, scope=Scope.PUBLISHABLE)
    assert [check(company, code).status for _ in range(21)] == [200] * 20 + [429]
    assert check(company, code, key=second).status == 200


def test_a_page_on_another_origin_learns_when_it_may_ask_again(company: Company, code: str) -> None:
    origin = {"origin": "https://shop.example"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}
    preflight = company.browser.send("OPTIONS", "/v1/clicks", headers=asked)
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"].split(",")
    for _ in range(20):
        check(company, code)
    refused = company.browser.send("GET", f"/v1/codes/{code}?key={company.pub}", headers=origin)
    problem(refused, 429, "rate_limited")
    readable = set(refused.headers["access-control-expose-headers"].split(","))
    assert readable == {"retry-after", "idempotent-replay", "apigw-requestid"}
    assert {"retry-after", "apigw-requestid"} <= refused.headers.keys()
    assert refused.headers["access-control-allow-origin"] == "*"
