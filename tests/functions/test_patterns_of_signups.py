"""Patterns and lists as they count for those who sign up: what each adds, and what it leads to."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import rows
from tests.support.companies import Company

SEEN = {"ip": "203.0.113.7", "user_agent": "Firefox/140", "device_fingerprint": "fp-17"}

Comes = Callable[..., Any]
"""Somebody comes by Ada's code, under an e-mail; the answer. Fields are the body's."""


@pytest.fixture
def comes(company: Company) -> Comes:
    code = company.sign_up("ada")["user"]["referral_code"]
    off = {"new_account_referrer": 0, "same_ip": 0, "same_device": 0, "similar_email": 0, "rapid_registration": 0}
    program = company.ok("GET", "/v1/program")["program"]
    company.ok("PUT", "/v1/program", {**program, "fraud": {**program["fraud"], "signals": off}})

    def come(name: str, email: str | None = None, **given: object) -> Any:  # noqa: ANN401
        return company.ok(
            "POST", "/v1/signups", {"user": {"external_id": name, "email": email}, "referral_code": code, **given}
        )

    return come


def hold(company: Company, type_: str, value: str, impact: int, match: str | None = None) -> str:
    """A pattern of the company; its id."""
    rule = {"type": type_, "value": value, "score_impact": impact} | ({"match": match} if match else {})
    pattern_id: str = company.ok("POST", "/v1/fraud-patterns", rule)["id"]
    return pattern_id


def raised(superuser: psycopg.Connection, company: Company, name: str) -> list[tuple[str, int, Any]]:
    """The checks that speak against somebody: signal, score, and what it was raised for."""
    select = """
        SELECT signal, raised_checks.score, details FROM raised_checks
        JOIN judgements ON judgements.company_id = raised_checks.company_id AND judgements.id = judgement_id
        JOIN users ON users.company_id = judgements.company_id AND users.id = user_id
        WHERE users.company_id = %(id)s AND external_id = %(name)s ORDER BY place
    """
    found = rows.find(superuser, select, id=company.id, name=name)
    return [(each["signal"], each["score"], each["details"]) for each in found]


def test_each_pattern_that_matches_adds_its_score_once(
    company: Company, comes: Comes, superuser: psycopg.Connection
) -> None:
    domain = hold(company, "email_domain", "spam.example", 10)
    hold(company, "email_domain", "ham.example", 40)
    address = hold(company, "ip_range", "203.0.113.0/24", 20)
    device = hold(company, "device_pattern", "firefox|fp", 5)
    assert comes("ben", "ben@spam.example", **SEEN)["attribution"]["outcome"] == "attributed"
    assert raised(superuser, company, "ben") == [
        ("pattern:email_domain", 10, {"pattern_id": domain, "severity": "medium"}),
        ("pattern:ip_range", 20, {"pattern_id": address, "severity": "medium"}),
        ("pattern:device_pattern", 5, {"pattern_id": device, "severity": "medium"}),
    ]
    (referral,) = rows.find(superuser, "SELECT fraud_score FROM referrals WHERE company_id = %(id)s", id=company.id)
    assert referral == {"fraud_score": 35}


def test_a_pattern_counts_from_the_next_signup_after_an_edit_on(company: Company, comes: Comes) -> None:
    assert comes("ben", "ben@spam.example")["attribution"]["outcome"] == "attributed"
    pattern_id = hold(company, "email_domain", "^spam", 90, "regex")
    refused = comes("cy", "cy@spam.example")["attribution"]
    assert (refused["outcome"], refused["reason"]) == ("rejected", "fraud_blocked")
    company.ok("PATCH", f"/v1/fraud-patterns/{pattern_id}", {"score_impact": 10})
    assert comes("dan", "dan@spam.example")["attribution"]["outcome"] == "attributed"


def test_a_listed_address_is_a_hidden_one_unless_the_app_knows_better(
    company: Company, comes: Comes, superuser: psycopg.Connection
) -> None:
    company.ok("PUT", "/v1/ip-ranges/tor", {"cidrs": ["203.0.113.0/24"]})
    comes("ben", **SEEN)
    comes("cy", **SEEN, ip_type="residential")
    assert raised(superuser, company, "ben") == [("vpn_proxy", 20, {"ip_type": "tor"})]
    assert raised(superuser, company, "cy") == []


def test_a_disposable_email_is_one_unless_the_company_allows_its_domain(
    company: Company, comes: Comes, superuser: psycopg.Connection
) -> None:
    comes("ben", "ben@mail.Mailinator.com")
    assert raised(superuser, company, "ben") == [("disposable_email", 20, {"domain": "mailinator.com"})]
    company.ok("PATCH", "/v1/settings", {"not_disposable_domains": ["MAILINATOR.com"]})
    comes("cy", "cy@mail.mailinator.com")
    assert raised(superuser, company, "cy") == []


def test_a_ruinous_expression_delays_nobody(company: Company, comes: Comes) -> None:
    for number, value in enumerate((r"(a+)+$", r"(a|aa)+$", r"(.*a){20}", r"(a?){200}a{200}")):
        hold(company, "device_pattern", value, number)
    said = {"ip": "203.0.113.7", "user_agent": "a" * 1999 + "!", "device_fingerprint": "a" * 150 + "!"}
    assert comes("ben", **said)["attribution"]["outcome"] == "attributed"
