"""Clicks that a page reports itself, and servers on behalf of one."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from local.client import Answer
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.links import clicks, refuse

NOON = datetime(2100, 1, 15, 12, tzinfo=UTC)  # no machine is there yet


@pytest.fixture
def code(company: Company) -> str:
    """The code that Ada shares."""
    user = {"external_id": "ada", "username": "Ada"}
    return company.ok("POST", "/v1/signups", {"user": user})["user"]["referral_code"]


def report(company: Company, body: object, **headers: str) -> Answer:
    """What a browser's request is answered; underscores in header names stand for hyphens."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    return company.browser.send("POST", f"/v1/clicks?key={company.pub}", body, headers=sent)


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


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1) Chrome/143.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/143.0.0.0 Safari/537.36",
        "",
    ],
)
def test_a_crawler_that_runs_the_script_of_a_page_is_answered_without_a_click(
    company: Company, code: str, superuser: psycopg.Connection, user_agent: str
) -> None:
    answer = report(company, {"code": code}, user_agent=user_agent)
    assert (answer.status, answer.json["id"], answer.json["code"]) == (201, None, code)
    assert clicks(superuser, company) == []
    problem(report(company, {"code": "NO-SUCH-CODE"}, user_agent=user_agent), 422, "unknown_code")


def test_a_server_reports_a_persons_click_whatever_program_it_is(company: Company, code: str) -> None:
    answer = company.api.send("POST", "/v1/clicks", {"code": code}, headers={"user-agent": "python-requests/2.32.3"})
    assert answer.json["id"] is not None


@pytest.mark.parametrize("field", ["landing_url", "referrer_url"])
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://shop.example/?q=1", True),
        ("https://shop.example/" + "x" * 1979, True),
        ("https://shop.example/" + "x" * 1980, False),
        ("https://shop.example/" + "x" * 100_000, False),
        ("", False),
        ("android-app://com.google.android.gm/", False),
        ("capacitor://localhost/", False),
        ("file:///index.html", False),
        ("about:blank", False),
        ("https://", False),
        ("https://shop.example/\x00", False),
        ("https://shop.example/a b", False),
        ("no URL at all", False),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_url_that_does_not_fit_costs_no_click(
    company: Company, code: str, superuser: psycopg.Connection, field: str, url: str, *, kept: bool
) -> None:
    assert report(company, {"code": code, field: url}).status == 201
    (click,) = clicks(superuser, company)
    assert click[field] == (url if kept else None)


@pytest.mark.parametrize(("device", "kept"), [("fp", True), ("", False), ("x" * 2001, False), ("f\x00p", False)])
def test_a_fingerprint_that_does_not_fit_costs_no_click(
    company: Company, code: str, superuser: psycopg.Connection, device: str, *, kept: bool
) -> None:
    assert report(company, {"code": code, "device_fingerprint": device}).status == 201
    (click,) = clicks(superuser, company)
    assert (click["device_hash"] is not None) == kept


@pytest.mark.parametrize("text", ["", " ", "x" * 65, "x" * 4096, "A\x00B", "<script>"])
def test_whatever_stands_where_a_code_belongs_is_looked_up(company: Company, text: str) -> None:
    problem(report(company, {"code": text}), 422, "unknown_code")


@pytest.mark.parametrize("behind", [" ", ".", ")", "\u200b", "\ufeff", "/"])
def test_what_is_pasted_along_with_a_code_is_cut(company: Company, code: str, behind: str) -> None:
    assert report(company, {"code": f" {code.lower()}{behind}"}).json["code"] == code


@pytest.mark.parametrize("previous", ["", "x" * 4096, "clk_\x00"])
def test_whatever_stands_where_the_click_before_belongs_starts_a_chain(
    company: Company, code: str, superuser: psycopg.Connection, previous: str
) -> None:
    assert report(company, {"code": code, "previous_click_id": previous}).status == 201
    (click,) = clicks(superuser, company)
    assert click["previous_id"] is None


@pytest.mark.parametrize("wrong", [{"code": 1}, {"landing_url": 1}, {"device_fingerprint": []}, {"app_id": ""}])
def test_what_a_program_gets_wrong_is_refused(company: Company, code: str, wrong: dict[str, object]) -> None:
    assert fields(report(company, {"code": code, **wrong})) == set(wrong)
