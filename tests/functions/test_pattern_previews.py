"""Previews of patterns: whom each would have matched in 90 days, as far as that is known."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.fraud.pattern_previews import MOST_SHOWN
from tests.support import rows
from tests.support.answers import fields
from tests.support.companies import Company

T0 = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

Comes = Callable[..., str]
"""Somebody comes by Ada's code; the id of the referral. Fields are the body's, `email` the user's."""


@pytest.fixture
def comes(company: Company) -> Comes:
    company.set_clock(T0)
    code = company.sign_up("ada")["user"]["referral_code"]
    people = iter(range(1000))

    def come(email: str | None = None, **given: object) -> str:
        user = {"external_id": f"user_{next(people)}", "email": email}
        answer = company.ok("POST", "/v1/signups", {"user": user, "referral_code": code, **given})
        assert answer["attribution"]["outcome"] == "attributed"
        referral_id: str = answer["referral"]["id"]
        return referral_id

    return come


def preview(company: Company, type_: str, value: str, match: str | None = None) -> dict[str, Any]:
    rule = {"type": type_, "value": value} | ({"match": match} if match else {})
    return company.ok("POST", "/v1/fraud-patterns/preview", rule, status=200)


def ids(company: Company, type_: str, value: str, match: str | None = None) -> list[str]:
    found = preview(company, type_, value, match)
    assert (found["evaluated"], found["reason"], found["matched"]) == (True, None, len(found["referral_ids"]))
    return found["referral_ids"]


def test_a_preview_of_a_domain_names_the_referrals_newest_first(company: Company, comes: Comes) -> None:
    first = comes("a@spam.example")
    comes("a@ham.example")
    company.set_clock(T0 + DAY)
    second = comes("b@SPAM.example")
    comes(None)
    assert preview(company, "email_domain", "Spam.example") == {
        "evaluated": True, "reason": None, "matched": 2, "referral_ids": [second, first],
        "from": "2026-12-02T12:00:00.000000Z", "to": "2027-03-02T12:00:00.000000Z",
    }  # fmt: skip
    assert ids(company, "email_domain", "^SPAM|^jam", "regex") == [second, first]
    assert ids(company, "email_domain", "jam.example") == []


def test_a_preview_looks_90_days_back(company: Company, comes: Comes) -> None:
    old = comes("a@spam.example", ip="203.0.113.7")
    company.set_clock(T0 + 90 * DAY - timedelta(microseconds=1))
    assert ids(company, "email_domain", "spam.example") == ids(company, "ip_range", "203.0.113.7") == [old]
    company.set_clock(T0 + 90 * DAY)
    assert ids(company, "email_domain", "spam.example") == ids(company, "ip_range", "203.0.113.7") == []


def test_a_preview_finds_what_a_range_covers_by_hashes(company: Company, comes: Comes) -> None:
    here, beside = comes(ip="203.0.113.7"), comes(ip="203.0.113.200")
    afar, new = comes(ip="203.0.7.1"), comes(ip="2001:db8:1:2::3")
    comes()
    assert ids(company, "ip_range", "203.0.113.7") == ids(company, "ip_range", "203.0.113.7", "exact") == [here]
    assert ids(company, "ip_range", "203.0.113.0/25") == [here]
    assert ids(company, "ip_range", "203.0.113.0/24") == [beside, here]
    assert ids(company, "ip_range", "203.0.0.0/16") == [afar, beside, here]
    assert ids(company, "ip_range", "2001:db8:1::/48") == ids(company, "ip_range", "2001:db8:1:2::/64") == [new]
    assert ids(company, "ip_range", "2001:db8:1:2::9", "exact") == [new]
    assert ids(company, "ip_range", "2001:db8:1:3::/64") == []


@pytest.mark.parametrize(
    ("type_", "value", "match", "reason"),
    [
        ("ip_range", "202.0.0.0/7", "cidr", "range_too_wide"),
        ("ip_range", "2001:db8::/47", "cidr", "range_too_wide"),
        ("ip_range", "2001:db8:1:2::3/128", "cidr", "raw_values_not_kept"),
        ("device_pattern", "firefox", "regex", "raw_values_not_kept"),
    ],
)
def test_what_cannot_be_known_is_not_evaluated(
    company: Company, comes: Comes, type_: str, value: str, match: str, reason: str
) -> None:
    comes(ip="203.0.113.7", user_agent="Firefox/140", device_fingerprint="fp-17")
    found = preview(company, type_, value, match)
    assert (found["evaluated"], found["reason"], found["matched"], found["referral_ids"]) == (False, reason, 0, [])


def test_an_exact_device_is_found_by_its_fingerprint_or_its_user_agent(company: Company, comes: Comes) -> None:
    device = comes(ip="203.0.113.7", user_agent="Firefox/140", device_fingerprint="fp-17")
    other = comes(ip="203.0.114.7", user_agent="Firefox/140", device_fingerprint="fp-18")
    assert ids(company, "device_pattern", "fp-17", "exact") == [device]
    assert ids(company, "device_pattern", "Firefox/140", "exact") == [other, device]
    assert ids(company, "device_pattern", "Firefox", "exact") == []


def test_what_a_referee_did_later_is_not_looked_at(company: Company, comes: Comes) -> None:
    comes(ip="203.0.113.7")
    login = {"action": "login", "ip": "198.51.100.1", "device_fingerprint": "fp-17"}
    company.ok("POST", "/v1/users/user_0/activity", login)
    assert ids(company, "ip_range", "198.51.100.1") == []
    assert ids(company, "device_pattern", "fp-17", "exact") == []


def test_a_preview_shows_100_and_counts_all(company: Company, comes: Comes) -> None:
    for number in range(MOST_SHOWN + 2):
        comes(f"user{number}@spam{number % 3}.example")
    found = preview(company, "email_domain", r"^spam\d\.", "regex")
    assert (found["matched"], len(found["referral_ids"])) == (MOST_SHOWN + 2, MOST_SHOWN)


def test_a_preview_stores_nothing_and_sees_no_other_company(
    company: Company, other: Company, comes: Comes, superuser: psycopg.Connection
) -> None:
    comes("a@spam.example", ip="203.0.113.7")
    before = rows.count(superuser, company.id)
    assert preview(other, "email_domain", "spam.example")["matched"] == 0
    assert preview(other, "ip_range", "203.0.113.7")["matched"] == 0
    assert preview(company, "email_domain", "spam.example")["matched"] == 1
    assert rows.count(superuser, company.id) == before


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"type": "email_domain"}, "value"),
        ({"type": "ip_range", "value": "203.0.113.7/24"}, "value"),
        ({"type": "device_pattern", "value": "(?=a)"}, "value"),
        ({"type": "ip_range", "value": "x", "match": "regex"}, "match"),
        ({"type": "email_domain", "value": "spam.example", "score_impact": 5}, "score_impact"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_as_a_pattern_is(company: Company, rule: dict[str, Any], field: str) -> None:
    assert field in fields(company.api.send("POST", "/v1/fraud-patterns/preview", rule))
