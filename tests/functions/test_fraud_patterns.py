"""Patterns by the admin API: what each is, what it cannot be, and that an edit counts from the next signup on."""

from typing import Any

import psycopg
import pytest

from goodword.fraud import matching
from goodword.fraud.patterns import MOST_ACTIVE
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company

PATH = "/v1/fraud-patterns"
SPAM: dict[str, Any] = {"type": "email_domain", "value": "spam.example", "score_impact": 30}

_FILL = """
    INSERT INTO fraud_patterns (company_id, id, type, match, value, severity, score_impact, active, created_at,
        updated_at)
    SELECT %(company_id)s, gen_random_uuid(), 'device_pattern', 'exact', 'device-' || number, 'low', 1, %(active)s,
        clock_timestamp(), clock_timestamp()
    FROM generate_series(1, %(many)s) AS number
"""


def fill(superuser: psycopg.Connection, company: Company, many: int, *, active: bool = True) -> None:
    """Patterns that were made before."""
    superuser.execute(_FILL, {"company_id": company.id, "many": many, "active": active})


def events(superuser: psycopg.Connection, company: Company, type_: str) -> list[dict[str, Any]]:
    """The data of the company's events of a type."""
    select = "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = %(type)s"
    return [each["data"] for each in rows.find(superuser, select, id=company.id, type=type_)]


def make(company: Company, **given: object) -> dict[str, Any]:
    return company.ok("POST", PATH, SPAM | given, status=201)


def test_a_pattern_is_shown_whole(company: Company, superuser: psycopg.Connection) -> None:
    made = make(company, severity="high", description="bought in bulk")
    assert made == {
        "id": made["id"], "type": "email_domain", "match": "exact", "value": "spam.example", "severity": "high",
        "score_impact": 30, "description": "bought in bulk", "active": True, "created_by": made["created_by"],
        "created_at": made["created_at"], "updated_at": made["created_at"],
    }  # fmt: skip
    assert made["id"].startswith("pat_")
    assert time_of(made["created_at"])
    assert made["created_by"] in {key["id"] for key in company.ok("GET", "/v1/api-keys")["data"]}
    assert company.ok("GET", f"{PATH}/{made['id']}") == made
    (event,) = events(superuser, company, "fraud_pattern.created")
    assert event == {name: value for name, value in made.items() if name not in {"value", "description"}}


@pytest.mark.parametrize(
    ("type_", "value", "match", "stored"),
    [
        ("email_domain", "Spam.EXAMPLE.", "exact", "spam.example"),
        ("email_domain", "bücher.example", "exact", "xn--bcher-kva.example"),
        ("ip_range", "2001:DB8::/32", "cidr", "2001:db8::/32"),
        ("ip_range", "203.0.113.7", "cidr", "203.0.113.7/32"),
        ("device_pattern", "Headless(Chrome)?", "regex", "Headless(Chrome)?"),
    ],
)
def test_a_pattern_matches_as_its_type_does_unless_it_says_how(
    company: Company, type_: str, value: str, match: str, stored: str
) -> None:
    made = make(company, type=type_, value=value)
    assert (made["match"], made["value"], made["severity"], made["active"]) == (match, stored, "medium", True)


@pytest.mark.parametrize(
    ("type_", "match", "value", "stored"),
    [
        ("email_domain", "regex", r"^mail\d+\.", r"^mail\d+\."),
        ("ip_range", "exact", "::ffff:203.0.113.7", "203.0.113.7"),
        ("ip_range", "exact", " 2001:DB8::1 ", "2001:db8::1"),
        ("device_pattern", "exact", "FP-17", "FP-17"),
    ],
)
def test_a_pattern_may_match_in_another_way(company: Company, type_: str, match: str, value: str, stored: str) -> None:
    made = make(company, type=type_, match=match, value=value)
    assert (made["match"], made["value"]) == (match, stored)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"type": "email"}, "type"),
        ({"match": "cidr"}, "match"),
        ({"type": "ip_range", "match": "regex", "value": ".*"}, "match"),
        ({"type": "device_pattern", "match": "cidr", "value": "10.0.0.0/8"}, "match"),
        ({"match": "prefix"}, "match"),
        ({"value": ""}, "value"),
        ({"value": "a@spam.example"}, "value"),
        ({"value": "localhost"}, "value"),
        ({"value": "a" * 2001}, "value"),
        ({"value": "spam\x00.example"}, "value"),
        ({"type": "ip_range", "value": "203.0.113.7/24"}, "value"),
        ({"type": "ip_range", "value": "2001:db8::1/32"}, "value"),
        ({"type": "ip_range", "value": "203.0.113.0/255.255.255.0"}, "value"),
        ({"type": "ip_range", "value": "fe80::1%eth0"}, "value"),
        ({"type": "ip_range", "match": "exact", "value": "203.0.113.0/24"}, "value"),
        ({"type": "device_pattern", "value": "a" * 257}, "value"),
        ({"type": "device_pattern", "value": r"(a)\1"}, "value"),
        ({"type": "device_pattern", "value": "(?=a)"}, "value"),
        ({"type": "device_pattern", "value": "(?<!a)b"}, "value"),
        ({"type": "device_pattern", "value": "("}, "value"),
        ({"type": "device_pattern", "value": "(.{90}){90}"}, "value"),
        ({"match": "regex", "value": "[z-a]"}, "value"),
        ({"score_impact": -1}, "score_impact"),
        ({"score_impact": 101}, "score_impact"),
        ({"score_impact": "30"}, "score_impact"),
        ({"score_impact": None}, "score_impact"),
        ({"severity": "grave"}, "severity"),
        ({"description": "a" * 2001}, "description"),
        ({"active": "yes"}, "active"),
        ({"created_by": "me"}, "created_by"),
    ],
)
def test_what_a_pattern_cannot_be_is_refused_by_its_field(
    company: Company, superuser: psycopg.Connection, given: dict[str, object], field: str
) -> None:
    assert fields(company.api.send("POST", PATH, SPAM | given)) == {field}
    assert rows.count(superuser, company.id)["fraud_patterns"] == 0


def test_an_expression_has_room_for_256_characters_and_an_impact_for_all_scores(company: Company) -> None:
    make(company, type="device_pattern", value="a" * 256, score_impact=100)
    make(company, value="nothing.example", score_impact=0)


def test_a_pattern_changes_in_how_much_it_weighs_and_whether_it_counts(
    company: Company, superuser: psycopg.Connection
) -> None:
    made = make(company, description="bought in bulk")
    path = f"{PATH}/{made['id']}"
    changed = company.ok("PATCH", path, {"score_impact": 90, "severity": "critical", "description": None})
    expected = {"score_impact": 90, "severity": "critical", "description": None, "updated_at": changed["updated_at"]}
    assert changed == made | expected
    off = company.ok("PATCH", path, {"active": False})
    assert off == changed | {"active": False, "updated_at": off["updated_at"]}
    assert company.ok("PATCH", path, {}) == off
    assert company.ok("GET", path) == off
    assert len(events(superuser, company, "fraud_pattern.updated")) == 2
    for field, value in (("type", "ip_range"), ("match", "regex"), ("value", "ham.example"), ("id", made["id"])):
        assert fields(company.api.send("PATCH", path, {field: value})) == {field}
    for field in ("score_impact", "severity", "active"):
        assert fields(company.api.send("PATCH", path, {field: None})) == {field}


def test_there_is_no_deleting(company: Company) -> None:
    assert company.api.send("DELETE", f"{PATH}/{make(company)['id']}").status == 404


def test_the_same_pattern_twice_is_a_conflict_and_another_match_of_it_is_not(company: Company) -> None:
    made = make(company)
    problem(company.api.send("POST", PATH, SPAM), 409, "pattern_exists")
    problem(company.api.send("POST", PATH, SPAM | {"value": "SPAM.example.", "severity": "low"}), 409, "pattern_exists")
    company.ok("PATCH", f"{PATH}/{made['id']}", {"active": False})
    problem(company.api.send("POST", PATH, SPAM), 409, "pattern_exists")
    make(company, match="regex")


def test_the_same_request_under_one_key_makes_one_pattern(company: Company) -> None:
    once = company.ok("POST", PATH, SPAM, key="spam", status=201)
    assert company.ok("POST", PATH, SPAM, key="spam", status=201) == once
    assert company.ok("GET", PATH)["data"] == [once]


def test_patterns_are_listed_newest_first(company: Company) -> None:
    made = [make(company, value=f"spam{number}.example") for number in range(3)]
    first = company.ok("GET", f"{PATH}?limit=2")
    assert (first["data"], first["has_more"]) == ([made[2], made[1]], True)
    last = company.ok("GET", f"{PATH}?limit=2&after={made[1]['id']}")
    assert (last["data"], last["has_more"]) == ([made[0]], False)
    assert fields(company.api.send("GET", f"{PATH}?after=pat_{'0' * 32}")) == {"after"}
    assert fields(company.api.send("GET", f"{PATH}?active=true")) == {"active"}


def test_another_companys_pattern_is_not_there(company: Company, other: Company) -> None:
    path = f"{PATH}/{make(company)['id']}"
    problem(other.api.send("GET", path), 404, "fraud_pattern_not_found")
    problem(other.api.send("PATCH", path, {"active": False}), 404, "fraud_pattern_not_found")
    assert other.ok("GET", PATH)["data"] == []
    make(other)
    assert fields(company.api.send("GET", f"{PATH}/spam")) == {"id"}


def test_a_company_has_500_active_patterns_and_any_number_of_others(
    company: Company, other: Company, superuser: psycopg.Connection
) -> None:
    fill(superuser, company, MOST_ACTIVE - 1)
    last = make(company)
    refused = company.api.send("POST", PATH, SPAM | {"value": "one-more.example"})
    assert problem(refused, 422, "too_many_patterns")["most"] == MOST_ACTIVE
    spare = make(company, value="spare.example", active=False)
    problem(company.api.send("PATCH", f"{PATH}/{spare['id']}", {"active": True}), 422, "too_many_patterns")
    company.ok("PATCH", f"{PATH}/{last['id']}", {"score_impact": 5, "active": True})  # it is one of the 500
    company.ok("PATCH", f"{PATH}/{last['id']}", {"active": False})
    company.ok("PATCH", f"{PATH}/{spare['id']}", {"active": True})
    make(other)


def test_every_edit_raises_the_version_and_a_refused_one_does_not(
    company: Company, superuser: psycopg.Connection
) -> None:
    def version() -> int:
        query = "SELECT patterns_version FROM companies WHERE id = %(id)s"
        return superuser.execute(query, {"id": company.id}).fetchall()[0][0]

    assert version() == matching.NEVER_EDITED
    made = make(company)
    assert version() == 1
    company.ok("PATCH", f"{PATH}/{made['id']}", {"active": False})
    assert version() == 2
    company.ok("PATCH", f"{PATH}/{made['id']}", {})
    assert company.api.send("POST", PATH, SPAM).status == 409
    assert company.api.send("PATCH", f"{PATH}/pat_{'0' * 32}", {"active": False}).status == 404
    assert version() == 2
