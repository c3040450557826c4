"""Clicks: following a link, reporting a click, checking a code."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest

from local.client import Answer
from tests.support import rows
from tests.support.answers import problem, time_of
from tests.support.companies import DESTINATION, Company

NOON = datetime(2100, 1, 15, 12, tzinfo=UTC)  # no machine is there yet
REFUSALS: dict[str, LiteralString] = {
    "inactive": "UPDATE codes SET active = false WHERE company_id = %(id)s",
    "expired": "UPDATE codes SET expires_at = company_now(company_id) WHERE company_id = %(id)s",
    "used_up": "UPDATE codes SET max_uses = 3, uses = 3 WHERE company_id = %(id)s",
}


@pytest.fixture
def code(company: Company) -> str:
    """The code that Ada shares."""
    user = {"external_id": "ada", "username": "Ada"}
    return company.ok("POST", "/v1/signups", {"user": user})["user"]["referral_code"]


def follow(company: Company, path: str, **headers: str) -> Answer:
    """A visitor's request; underscores in header names stand for hyphens."""
    return company.browser.send("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


def location(answer: Answer) -> tuple[str, dict[str, str]]:
    """Where a redirect leads, and its parameters."""
    assert answer.status == 302, answer.raw
    parts = urlsplit(answer.headers["location"])
    return parts._replace(query="").geturl(), dict(parse_qsl(parts.query, keep_blank_values=True))


def clicks(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    return rows.find(
        superuser, "SELECT * FROM clicks WHERE company_id = %(company_id)s ORDER BY id", company_id=company.id
    )


def refuse(superuser: psycopg.Connection, company: Company, refusal: str) -> None:
    superuser.execute(REFUSALS[refusal], {"id": company.id})


def own_destination(superuser: psycopg.Connection, company: Company, url: str) -> None:
    superuser.execute(
        "UPDATE codes SET destination_url = %(url)s WHERE company_id = %(id)s", {"url": url, "id": company.id}
    )


def test_following_a_link_leads_to_the_company_and_says_which_click_it_was(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    to, parameters = location(follow(company, f"/r/{code}"))
    (click,) = clicks(superuser, company)
    assert (to, parameters) == (DESTINATION, {"gw_click": f"clk_{click['id'].hex}"})


def test_a_code_with_a_destination_of_its_own_leads_there(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    own_destination(superuser, company, "https://shop.example/spring?sale=1#top")
    to, parameters = location(follow(company, f"/r/{code}"))
    assert to == "https://shop.example/spring#top"
    assert parameters.keys() == {"sale", "gw_click"}


def test_parameters_are_passed_on_unless_they_would_overwrite(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    own_destination(superuser, company, "https://shop.example/spring?plan=pro&gw_click=old")
    to, parameters = location(follow(company, f"/r/{code}?plan=free&utm_source=a%20b&empty=&gw_click=mine"))
    assert to == "https://shop.example/spring"
    assert parameters.pop("gw_click") not in {"old", "mine"}
    assert parameters == {"plan": "pro", "utm_source": "a b", "empty": ""}


def test_the_key_is_never_passed_on(company: Company, code: str) -> None:
    _, parameters = location(follow(company, f"/r/{code}?key={company.pub}&utm_source=x"))
    assert parameters.keys() == {"utm_source", "gw_click"}


@pytest.mark.parametrize("name", ["url", "destination", "destination_url", "redirect", "next"])
def test_the_destination_never_comes_from_the_query(company: Company, code: str, name: str) -> None:
    to, _ = location(follow(company, f"/r/{code}?{name}=https://evil.example/"))
    assert to == DESTINATION


def test_the_cookie_lives_as_long_as_the_window(company: Company, code: str) -> None:
    answer = follow(company, f"/r/{code}")
    click = location(answer)[1]["gw_click"]
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert cookie == f"gw_click={click}"
    assert {"Secure", "SameSite=Lax", f"Max-Age={90 * 86_400}", "Path=/"} == set(attributes)


def test_codes_are_compared_without_regard_to_case(company: Company, code: str) -> None:
    assert "gw_click" in location(follow(company, f"/r/{code.lower()}"))[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_purpose": "prefetch"},
        {"sec_purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"user_agent": "facebookexternalhit/1.1"},
        {"user_agent": "WhatsApp/2.25.31.76 A"},
        {"user_agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
    ],
    ids=lambda headers: next(iter(headers.values()))[:24],
)
def test_what_no_person_did_is_redirected_and_not_counted(
    company: Company, code: str, superuser: psycopg.Connection, headers: dict[str, str]
) -> None:
    answer = follow(company, f"/r/{code}?utm_source=x", **headers)
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert "set-cookie" not in answer.headers
    assert clicks(superuser, company) == []


def test_head_is_redirected_and_not_counted(company: Company, code: str, superuser: psycopg.Connection) -> None:
    answer = company.browser.send("HEAD", f"/r/{code}")
    assert location(answer) == (DESTINATION, {})
    assert clicks(superuser, company) == []


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_code_that_may_not_be_used_leads_to_the_company_without_a_click(
    company: Company, code: str, superuser: psycopg.Connection, refusal: str
) -> None:
    own_destination(superuser, company, "https://shop.example/spring")
    refuse(superuser, company, refusal)
    answer = follow(company, f"/r/{code}?utm_source=x")
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert "set-cookie" not in answer.headers
    assert clicks(superuser, company) == []


@pytest.mark.parametrize("path", ["/r/NO-SUCH-CODE", "/r/%00", "/r/" + "A" * 200, "/r/%F0%9F%A6%86"])
def test_an_unknown_code_is_not_found(company: Company, path: str) -> None:
    problem(follow(company, path), 404, "unknown_code")


def test_an_unknown_code_leads_to_the_company_that_a_publishable_key_names(
    company: Company, superuser: psycopg.Connection
) -> None:
    answer = follow(company, f"/r/NO-SUCH-CODE?key={company.pub}&utm_source=x")
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert clicks(superuser, company) == []


@pytest.mark.parametrize("key", ["", "nonsense", "gw_pub_nonsense", "secret"])
def test_an_unknown_code_is_not_found_where_the_key_names_no_company(company: Company, key: str) -> None:
    sent = company.line["secret_key"] if key == "secret" else key
    problem(follow(company, f"/r/NO-SUCH-CODE?key={sent}"), 404, "unknown_code")


def test_a_click_holds_no_address_in_the_clear_and_no_query_of_the_referer(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    follow(company, f"/r/{code}", referer="https://news.example/42?reader=7#part", user_agent="Firefox/140")
    (click,) = clicks(superuser, company)
    assert click["referrer_url"] == "https://news.example/42"
    hashes = [click["ip_hash"], click["agent_hash"]]
    assert [len(each) for each in hashes] == [32, 32]
    assert click["device_hash"] is None


def test_a_click_holds_the_companys_time(company: Company, code: str, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    follow(company, f"/r/{code}")
    (click,) = clicks(superuser, company)
    assert (click["occurred_at"], click["expires_at"]) == (NOON, NOON + timedelta(days=90))
    assert click["received_at"] < NOON


def test_the_next_click_of_a_browser_joins_its_chain(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    first = location(follow(company, f"/r/{code}"))[1]["gw_click"]
    second = location(follow(company, f"/r/{code}", cookie=f"theme=dark; gw_click={first}"))[1]["gw_click"]
    reported = company.ok("POST", "/v1/clicks", {"code": code, "previous_click_id": second})["id"]
    found = {f"clk_{click['id'].hex}": f"clk_{click['chain_id'].hex}" for click in clicks(superuser, company)}
    assert found == {first: first, second: first, reported: first}


@pytest.mark.parametrize("previous", ["", "clk_", "nonsense", "clk_" + "f" * 32, "clk_" + "0" * 32, "ref_" + "0" * 32])
def test_a_made_up_cookie_starts_a_chain_of_its_own(
    company: Company, code: str, superuser: psycopg.Connection, previous: str
) -> None:
    location(follow(company, f"/r/{code}", cookie=f"gw_click={previous}"))
    company.ok("POST", "/v1/clicks", {"code": code, "previous_click_id": previous})
    assert all(click["chain_id"] == click["id"] for click in clicks(superuser, company))


def test_another_companys_click_starts_no_chain(
    company: Company, other: Company, code: str, superuser: psycopg.Connection
) -> None:
    theirs = other.sign_up("eve")["user"]["referral_code"]
    click = location(follow(other, f"/r/{theirs}"))[1]["gw_click"]
    follow(company, f"/r/{code}", cookie=f"gw_click={click}")
    (ours,) = clicks(superuser, company)
    assert ours["chain_id"] == ours["id"]


def test_a_page_can_report_a_click(company: Company, code: str, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    body = {
        "code": code.lower(), "landing_url": "https://shop.example/?a=1", "referrer_url": "https://news.example/",
        "device_fingerprint": "fp", "app_id": "web",
    }  # fmt: skip
    answer = company.browser.send("POST", "/v1/clicks", body, headers={"authorization": f"Bearer {company.pub}"})
    assert answer.status == 201
    (click,) = clicks(superuser, company)
    assert answer.json.keys() == {"id", "code", "expires_at"}
    assert (answer.json["id"], answer.json["code"]) == (f"clk_{click['id'].hex}", code)
    assert time_of(answer.json["expires_at"]) == NOON + timedelta(days=90)
    assert (click["landing_url"], click["app_id"]) == ("https://shop.example/?a=1", "web")
    assert click["ip_hash"] is not None
    assert click["device_hash"] is not None


def test_a_publishable_key_may_stand_in_the_query(company: Company, code: str) -> None:
    assert company.browser.send("POST", f"/v1/clicks?key={company.pub}", {"code": code}).status == 201


def test_a_click_that_a_server_reports_has_nobodys_address(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    company.ok("POST", "/v1/clicks", {"code": code}, status=201)
    (click,) = clicks(superuser, company)
    assert (click["ip_hash"], click["agent_hash"]) == (None, None)


def test_an_unknown_code_cannot_be_clicked(company: Company, other: Company, code: str) -> None:
    problem(company.api.send("POST", "/v1/clicks", {"code": "NO-SUCH-CODE"}), 422, "unknown_code")
    problem(other.api.send("POST", "/v1/clicks", {"code": code}), 422, "unknown_code")


@pytest.mark.parametrize(
    ("refusal", "reason"), [("inactive", "inactive_code"), ("expired", "expired_code"), ("used_up", "code_used_up")]
)
def test_a_code_that_may_not_be_used_cannot_be_clicked(
    company: Company, code: str, superuser: psycopg.Connection, refusal: str, reason: str
) -> None:
    refuse(superuser, company, refusal)
    problem(company.api.send("POST", "/v1/clicks", {"code": code}), 422, reason)
    assert clicks(superuser, company) == []


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
    def check(of: Company) -> Answer:
        return of.browser.send("GET", f"/v1/codes/{code}?key={of.pub}")

    assert [check(company).status for _ in range(20)] == [200] * 20
    refused = check(company)
    problem(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert company.api.send("GET", f"/v1/codes/{code}").status == 200
    assert check(other).status == 200
    superuser.execute(
        "UPDATE rate_windows SET hits = ARRAY(SELECT h - interval '1 minute' FROM unnest(hits) AS h)"
        " WHERE company_id = %(id)s",
        {"id": company.id},
    )
    assert check(company).status == 200


def test_a_reported_click_under_one_key_is_one_click(company: Company, superuser: psycopg.Connection) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]

    def report(body: dict[str, object], authorization: str) -> Answer:
        headers = {"authorization": f"Bearer {authorization}", "idempotency-key": "once"}
        return company.browser.send("POST", "/v1/clicks", body, headers=headers)

    first, again = report({"code": code}, company.pub), report({"code": code}, company.pub)
    assert (first.status, again.status) == (201, 201)
    assert again.raw == first.raw
    assert again.headers["idempotent-replay"] == "true"
    assert report({"code": code, "app_id": "chat"}, company.pub).json["code"] == "idempotency_key_reused"
    # a browser's key is not a server's: whoever holds the publishable key cannot take it
    assert report({"code": code}, company.line["secret_key"]).json["id"] != first.json["id"]
    assert (
        rows.find_one(superuser, "SELECT count(*) FROM clicks WHERE company_id = %(id)s", id=company.id)["count"] == 2
    )
