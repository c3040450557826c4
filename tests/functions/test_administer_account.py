"""The account: a test company's clock, and the addresses for providers."""

import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest

from goodword.payments import signatures
from local.client import Answer
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


def put_clock(company: Company, now: datetime | None) -> Answer:
    return company.api.send("PUT", "/v1/test-clock", {"now": now and now.isoformat()})


def set_to(answer: Answer) -> datetime | None:
    assert answer.status == 200, answer.raw
    assert answer.json.keys() == {"now"}
    now = answer.json["now"]
    return now and time_of(now)


def clock(company: Company) -> datetime | None:
    return set_to(company.api.send("GET", "/v1/test-clock"))


def company_time(company: Company) -> datetime:
    """The company's time as a signup sees it."""
    return time_of(company.sign_up(f"user-{time.monotonic_ns()}")["user"]["created_at"])


def test_a_clock_that_was_never_set_shows_real_time(company: Company) -> None:
    assert clock(company) is None
    before = datetime.now(UTC)
    assert before <= company_time(company) <= datetime.now(UTC)


@pytest.mark.parametrize("first", [PAST, FUTURE])
def test_a_set_clock_stands_still(company: Company, first: datetime) -> None:
    assert set_to(put_clock(company, first)) == first
    assert clock(company) == first
    assert {company_time(company) for _ in range(3)} == {first}


def test_a_clock_only_moves_forward(company: Company) -> None:
    put_clock(company, FUTURE)
    problem(put_clock(company, FUTURE - timedelta(microseconds=1)), 422, "clock_backwards")
    assert set_to(put_clock(company, FUTURE)) == FUTURE
    later = FUTURE + timedelta(microseconds=1)
    assert set_to(put_clock(company, later)) == later


def test_null_returns_to_real_time(company: Company) -> None:
    put_clock(company, PAST)
    assert set_to(put_clock(company, None)) is None
    assert clock(company) is None
    assert company_time(company) > datetime.now(UTC) - timedelta(minutes=1)


def test_null_is_a_step_back_while_real_time_lies_behind(company: Company) -> None:
    put_clock(company, FUTURE)
    problem(put_clock(company, None), 422, "clock_backwards")
    assert clock(company) == FUTURE


def test_after_the_return_to_real_time_the_past_is_over(company: Company) -> None:
    put_clock(company, PAST)
    put_clock(company, None)
    problem(put_clock(company, PAST + timedelta(days=1)), 422, "clock_backwards")
    assert set_to(put_clock(company, None)) is None
    assert set_to(put_clock(company, FUTURE)) == FUTURE


def test_null_is_no_first_set(company: Company) -> None:
    assert set_to(put_clock(company, None)) is None
    assert set_to(put_clock(company, PAST)) == PAST


def test_a_live_company_has_no_clock_to_set(live: Company) -> None:
    problem(put_clock(live, FUTURE), 403, "live_company")
    problem(put_clock(live, None), 403, "live_company")
    problem(live.api.send("GET", "/v1/test-clock"), 403, "live_company")
    assert live.line["secret_key"].startswith("gw_live_")


def test_a_clock_is_its_companys_own(company: Company, other: Company) -> None:
    put_clock(company, FUTURE)
    assert clock(other) is None


@pytest.mark.parametrize(
    "now",
    [
        "2027-01-15T12:00:00", "2027-01-15", "1800000000", 1800000000, 1.8e9, True, "now", "", "infinity",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "2027-02-30T12:00:00Z",
        "٢٠٢٧-01-15T12:00:00Z",
    ],
)  # fmt: skip
def test_a_time_needs_a_day_that_exists_and_an_offset(shared: Company, now: object) -> None:
    assert fields(shared.api.send("PUT", "/v1/test-clock", {"now": now})) == {"now"}
    assert clock(shared) is None


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("2027-01-15T13:00:00+01:00", datetime(2027, 1, 15, 12, tzinfo=UTC)),
        ("2027-01-15t12:00:00.5z", datetime(2027, 1, 15, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2027-01-15 12:00:00-00:00", datetime(2027, 1, 15, 12, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("8999-12-31T23:59:59.999999Z", datetime(8999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339_and_everything_works_at_it(company: Company, given: str, means: datetime) -> None:
    assert set_to(company.api.send("PUT", "/v1/test-clock", {"now": given})) == means
    assert company.refer("ada", "ben")["referral"]["stage"] == "registered"
    company.ok("POST", "/v1/activations", {"user_id": "ben"})
    company.ok("POST", "/v1/users/ada/points", {"points": 1, "note": "x"}, key="x")
    assert company.balance("ada") == 5 + 1


@pytest.mark.parametrize("body", [{}, {"now": None, "speed": 2}])
def test_the_body_is_the_time_alone(shared: Company, body: dict[str, object]) -> None:
    assert fields(shared.api.send("PUT", "/v1/test-clock", body)) <= {"now", "speed"}


def test_an_endpoint_is_an_address_whose_secrets_are_never_shown(
    company: Company, superuser: psycopg.Connection
) -> None:
    secret = "whsec_only_the_database_knows"
    answer = company.api.send("POST", "/v1/provider-endpoints", {"provider": "stripe", "secrets": [secret]})
    assert answer.status == 201
    assert answer.json.keys() == {"id", "url"}
    assert answer.json["url"] == f"{company.url}/webhooks/stripe/{answer.json['id']}"
    assert secret not in answer.raw.decode()
    raw = json.dumps(invoice_paid("evt_1", "in_1", user="ben")).encode()
    header = {"stripe-signature": signatures.sign(raw, secret, int(time.time()))}
    assert company.browser.send("POST", urlsplit(answer.json["url"]).path, raw=raw, headers=header).status == 200
    stored = rows.find(superuser, "SELECT body FROM idempotent_answers WHERE company_id = %(id)s", id=company.id)
    assert not any(secret.encode() in row["body"] for row in stored)


def test_an_endpoint_is_made_once_per_key(company: Company, superuser: psycopg.Connection) -> None:
    body = {"provider": "whop", "secrets": ["ws_0123456789"], "scope": "app"}
    headers = {"idempotency-key": "endpoint-1"}
    before = rows.count(superuser, company.id)["provider_endpoints"]
    first, again = (company.api.send("POST", "/v1/provider-endpoints", body, headers=headers) for _ in range(2))
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert rows.count(superuser, company.id)["provider_endpoints"] == before + 1


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"provider": "paypal"}, "provider"),
        ({"secrets": []}, "secrets"),
        ({"secrets": "whsec_0123456789"}, "secrets"),
        ({"secrets": ["short"]}, "secrets.0"),
        ({"secrets": ["whsec_0123456789", ""]}, "secrets.1"),
        ({"secrets": ["whsec_01234 56789"]}, "secrets.0"),
        ({"secrets": ["whsec_0123456789"] * 11}, "secrets"),
        ({"scope": "world"}, "scope"),
        ({"url": "https://example.com"}, "url"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_by_field(
    shared: Company, superuser: psycopg.Connection, change: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, shared.id)
    body = {"provider": "stripe", "secrets": ["whsec_0123456789"]} | change
    answer = shared.api.send("POST", "/v1/provider-endpoints", body)
    assert fields(answer) == {wrong}
    assert b"whsec_0" not in answer.raw
    assert rows.count(superuser, shared.id) == before
