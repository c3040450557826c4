"""The program's document, and its versions: what is put in force, what is refused, and who keeps which."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.program.document import Program
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)

# docs/rules.md, Program, word for word.
DEFAULT: dict[str, Any] = {
    "schema_version": 1,
    "timezone": "UTC",
    "attribution": {"window_days": 90, "model": "last_touch", "signup_grace_days": 7},
    "awards": {
        "registered": {"points": 5, "hold_days": 0},
        "welcome": {"points": 25, "hold_days": 0},
        "activated": {"points": 10, "hold_days": 0},
        "qualified": {"points": 25, "hold_days": 0},
        "recurring": {"points": 10, "hold_days": 0},
        "l2": {"points": 5, "hold_days": 0},
        "retained": {"points": 15, "hold_days": 0},
        "cross_app": {"points": 5, "hold_days": 0},
    },
    "points_per_unit": {"usd": 100},
    "recurring_months": [2, 12],
    "l2_months": [1, 6],
    "tiers": [
        {"name": "bronze", "from": 0, "multiplier_bps": 10_000},
        {"name": "silver", "from": 5, "multiplier_bps": 15_000},
        {"name": "gold", "from": 15, "multiplier_bps": 20_000},
        {"name": "platinum", "from": 30, "multiplier_bps": 30_000},
    ],
    "timing": {
        "activation_min_minutes": 5, "qualification_min_hours": 24, "retention_days": 30, "pending_expiry_days": 90,
        "risk_hold_hours": 48, "review_days": 7,
    },
    "apps": None,
    "expects_activations": False,
    "fraud": {
        "signals": {
            "same_ip": 30, "same_device": 50, "disposable_email": 20, "similar_email": 25, "rapid_registration": 15,
            "bulk_registrations": 40, "vpn_proxy": 20, "new_account_referrer": 15, "instant_qualification": 35,
            "minimal_activity": 25,
        },
        "thresholds": {"hold": 30, "review": 60, "reject": 90},
        "windows": {
            "shared_days": 30, "rapid_minutes": 10, "rapid_registrations": 3, "bulk_hours": 24,
            "bulk_registrations": 10, "new_account_hours": 24,
        },
        "shared_ip_referees": 5, "shared_device_referees": 3, "behavioural_cap": 59, "on_registration_limit": "review",
    },
    "limits": {
        "code_validations_per_minute": 20, "code_creations_per_hour": 10, "registrations_per_code_per_day": 50,
        "registrations_per_referrer_per_day": 20, "award_claims_per_day": 100,
    },
    "caps": {"per_user_points": None, "per_user_per_day_points": None},
    "points_expiry_months": 12,
}  # fmt: skip


@pytest.fixture
def company(server: str, opener: psycopg.Connection) -> Iterator[Company]:
    """A company that begins as every company does."""
    fresh = Company.write(opener, server, program=Program())
    yield fresh
    fresh.close()


def changed(path: str, value: object) -> dict[str, Any]:
    """The default document with one value replaced, or added; numbers in the path are places in a list."""
    document = copy.deepcopy(DEFAULT)
    inside: Any = document
    *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in way:
        inside = inside[name]
    inside[last] = value
    return document


def put(company: Company, document: dict[str, Any]) -> Any:  # noqa: ANN401 - the JSON of the answer
    return company.ok("PUT", "/v1/program", document, status=200)


def time_zone(superuser: psycopg.Connection, company: Company) -> str:
    return rows.find_one(superuser, "SELECT time_zone FROM companies WHERE id = %(id)s", id=company.id)["time_zone"]


def test_a_company_begins_with_the_default_document(company: Company) -> None:
    assert company.ok("GET", "/v1/program")["program"] == DEFAULT


def test_a_put_document_is_the_next_version_and_in_force(company: Company) -> None:
    company.set_clock(NOON)
    document = {
        **copy.deepcopy(DEFAULT),
        "timezone": "America/Argentina/Buenos_Aires",
        "points_per_unit": {"eur": 120, "jpy": 1},
        "awards": {**DEFAULT["awards"], "recurring": {"bps": 1000, "hold_days": 14}},
        "tiers": [{"name": "all", "from": 0, "multiplier_bps": 12_500}],
        "apps": ["chat", "picture"],
        "caps": {"per_user_points": 5000, "per_user_per_day_points": 100},
        "points_expiry_months": None,
    }
    answer = put(company, document)
    assert answer.keys() == {"version", "created_at", "program"}
    assert (answer["version"], time_of(answer["created_at"]), answer["program"]) == (2, NOON, document)
    assert company.ok("GET", "/v1/program") == answer
    assert put(company, document)["version"] == 3


def test_what_a_document_leaves_out_takes_its_default(company: Company) -> None:
    put(company, changed("timing.retention_days", 60))
    assert put(company, {"awards": {"registered": {"points": 7}}})["program"] == changed(
        "awards.registered", {"points": 7, "hold_days": 0}
    )


@pytest.mark.parametrize(
    ("path", "value", "wrong"),
    [
        ("schema_version", 2, "schema_version"),
        ("schema_version", True, "schema_version"),
        ("timezone", "", "timezone"),
        ("timezone", None, "timezone"),
        ("attribution.window_days", 0, "attribution.window_days"),
        ("attribution.window_days", "90", "attribution.window_days"),
        ("attribution.window_days", 90.0, "attribution.window_days"),
        ("attribution.window_days", True, "attribution.window_days"),
        ("attribution.model", "any_touch", "attribution.model"),
        ("attribution.signup_grace_days", 3651, "attribution.signup_grace_days"),
        ("awards.registered", {}, "awards.registered"),
        ("awards.registered", {"points": 5, "bps": 100}, "awards.registered"),
        ("awards.registered", {"points": None}, "awards.registered"),
        ("awards.registered", {"points": -1}, "awards.registered.points"),
        ("awards.registered", {"bps": 0}, "awards.registered.bps"),
        *(
            (f"awards.{event}", {"bps": 100}, f"awards.{event}.bps")
            for event in ("registered", "welcome", "activated", "cross_app")
        ),
        ("awards.registered", {"points": 5, "hold_days": -1}, "awards.registered.hold_days"),
        ("awards.invited", {"points": 5}, "awards.invited"),
        ("points_per_unit.EUR", 100, "points_per_unit.EUR"),
        ("points_per_unit.euro", 100, "points_per_unit.euro"),
        ("points_per_unit.usd", 0, "points_per_unit.usd"),
        ("points_per_unit.usd", 0.5, "points_per_unit.usd"),
        ("recurring_months", [2], "recurring_months.1"),
        ("recurring_months", [0, 12], "recurring_months.0"),
        ("recurring_months", [12, 2], "recurring_months"),
        ("l2_months", [7, 6], "l2_months"),
        ("tiers.0.from", 1, "tiers.0.from"),
        ("tiers.2.from", 5, "tiers.2.from"),
        ("tiers.2.from", 4, "tiers.2.from"),
        ("tiers.2.name", "bronze", "tiers.2.name"),
        ("tiers.2.multiplier_bps", 1.5, "tiers.2.multiplier_bps"),
        ("tiers.2.from_", 15, "tiers.2.from_"),
        ("timing.pending_expiry_days", 0, "timing.pending_expiry_days"),
        ("timing.retention_days", 10**6, "timing.retention_days"),
        ("apps", "chat", "apps"),
        ("apps", ["chat", "a b"], "apps.1"),
        ("expects_activations", "no", "expects_activations"),
        ("fraud.signals.same_ip", -1, "fraud.signals.same_ip"),
        ("fraud.signals.same_shoes", 1, "fraud.signals.same_shoes"),
        ("fraud.thresholds.review", 29, "fraud.thresholds.review"),
        ("fraud.thresholds.reject", 59, "fraud.thresholds.reject"),
        ("fraud.thresholds", {"hold": 61, "reject": 90}, "fraud.thresholds.review"),
        ("fraud.on_registration_limit", "ignore", "fraud.on_registration_limit"),
        ("limits.code_creations_per_hour", None, "limits.code_creations_per_hour"),
        ("caps.per_user_points", -1, "caps.per_user_points"),
        ("points_expiry_months", 0, "points_expiry_months"),
        ("colour", "blue", "colour"),
    ],
)
def test_a_document_that_cannot_be_is_refused_by_its_field(
    shared: Company, superuser: psycopg.Connection, path: str, value: object, wrong: str
) -> None:
    before = rows.count(superuser, shared.id)
    assert fields(shared.api.send("PUT", "/v1/program", changed(path, value))) == {wrong}
    assert rows.count(superuser, shared.id) == before


def test_every_wrong_field_is_named_at_once(shared: Company) -> None:
    document = {
        "attribution": {"window_days": 400, "model": "best"},
        "awards": {"welcome": {"points": 1, "bps": 1}, "l2": {"points": 2, "percent": 3}},
        "points_per_unit": {"USD": 1, "eur": 0},
        "recurring_months": [3, 2],
        "tiers": [{"name": "a", "from": 1, "multiplier_bps": 1}, {"name": "a", "from": 1, "multiplier_bps": 1}],
        "fraud": {"thresholds": {"hold": 50, "review": 40, "reject": 30}},
    }
    assert fields(shared.api.send("PUT", "/v1/program", document)) == {
        "attribution.window_days", "attribution.model", "awards.welcome", "awards.l2.percent",
        "points_per_unit.eur", "recurring_months", "tiers.0.from", "tiers.1.from", "tiers.1.name",
        "fraud.thresholds.review", "fraud.thresholds.reject",
    }  # fmt: skip


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus_Mons", "europe/berlin", "Europe", "CEST", "EST5EDT4", "UTC+3", "+03", "posix", "localtime/x"]
)
def test_a_time_zone_that_the_database_does_not_know_is_refused(
    shared: Company, superuser: psycopg.Connection, zone: str
) -> None:
    before = rows.count(superuser, shared.id)
    assert fields(shared.api.send("PUT", "/v1/program", changed("timezone", zone))) == {"timezone"}
    assert (rows.count(superuser, shared.id), time_zone(superuser, shared)) == (before, "UTC")


def test_points_and_uses_go_by_the_programs_time_zone(company: Company) -> None:
    company.set_clock(datetime(2027, 3, 1, 2, tzinfo=UTC))  # in New York it is still February
    company.sign_up("ada")
    put(company, changed("timezone", "America/New_York"))
    company.ok("POST", "/v1/users/ada/points", {"points": 1, "note": ""}, key="there")
    assert company.ok("GET", "/v1/users/ada/entitlements/ai_calls")["resets_at"] == "2027-03-01T05:00:00.000000Z"
    put(company, changed("timezone", "UTC"))
    company.ok("POST", "/v1/users/ada/points", {"points": 2, "note": ""}, key="here")
    assert company.ok("GET", "/v1/users/ada/entitlements/ai_calls")["resets_at"] == "2027-04-01T00:00:00.000000Z"
    assert company.ok("GET", "/v1/users/ada/balance")["expiring"] == [
        {"points": 1, "expires_at": "2028-02-29T02:00:00.000000Z"},  # 28 February, 21:00, a year later
        {"points": 2, "expires_at": "2028-03-01T02:00:00.000000Z"},
    ]


def test_versions_are_listed_newest_first_and_page_by_page(company: Company, other: Company) -> None:
    company.set_clock(NOON)
    written = [put(company, changed("timing.review_days", days)) for days in (1, 2, 3, 4)]
    put(other, DEFAULT)
    pages = [company.ok("GET", "/v1/program/versions?limit=2")]
    put(company, changed("timing.review_days", 5))
    while pages[-1]["has_more"]:
        pages.append(company.ok("GET", f"/v1/program/versions?limit=2&after={pages[-1]['data'][-1]['version']}"))
    assert [[each["version"] for each in page["data"]] for page in pages] == [[5, 4], [3, 2], [1]]
    listed = [each for page in pages for each in page["data"]]
    assert listed[:4] == written[::-1]
    assert listed[4]["program"] == DEFAULT
    assert company.ok("GET", "/v1/program/versions?after=1") == {"data": [], "has_more": False}
    assert fields(other.api.send("GET", "/v1/program/versions?after=5")) == {"after"}


def test_a_version_is_announced(company: Company, superuser: psycopg.Connection) -> None:
    put(company, DEFAULT)
    announced = rows.find(
        superuser,
        "SELECT data FROM outbox_events WHERE company_id = %(id)s AND type = 'program.updated'",
        id=company.id,
    )
    assert announced == [{"data": {"version": 2}}]


def test_a_referral_keeps_the_version_it_began_under(company: Company) -> None:
    """Also for what comes after the edit: its activation, its first payment, the end of its wait."""
    company.set_clock(NOON)
    known_to_the_app = {"external_id": "ada", "created_at": (NOON - timedelta(days=3)).isoformat()}
    code = company.sign_up("ada", user=known_to_the_app)["user"]["referral_code"]
    before = company.sign_up("ben", referral_code=code)
    document = changed("awards.registered", {"points": 1})
    document["awards"]["activated"] = {"points": 2}
    document["awards"]["qualified"] = {"points": 3}
    document["timing"]["pending_expiry_days"] = 1
    put(company, document)
    after = company.sign_up("cleo", referral_code=code)
    company.sign_up("dan", referral_code=code)
    assert [answer["referral"]["program_version"] for answer in (before, after)] == [1, 2]
    company.set_clock(NOON + timedelta(hours=1))
    for person in ("ben", "cleo"):
        company.ok("POST", "/v1/activations", {"user_id": person})
    company.set_clock(NOON + timedelta(hours=25))
    for number, person in enumerate(("ben", "cleo")):
        company.deliver(invoice_paid(f"evt_{number}", f"in_{number}", user=person, customer=f"cus_{number}"))
    assert company.balance("ada") == (5 + 10 + 25) + (1 + 2 + 3) + 1
    company.set_clock(NOON + timedelta(days=2))
    stages = {each["referee"]: each["stage"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]}
    assert stages == {"ben": "qualified", "cleo": "qualified", "dan": "expired"}


def test_another_companys_program_is_its_own(company: Company, other: Company, superuser: psycopg.Connection) -> None:
    put(company, changed("timezone", "Asia/Tokyo"))
    assert other.ok("GET", "/v1/program")["version"] == 1
    assert (time_zone(superuser, company), time_zone(superuser, other)) == ("Asia/Tokyo", "UTC")


def test_a_put_program_needs_no_idempotency_key_and_heeds_none(company: Company) -> None:
    headers = {"idempotency-key": "program"}
    answers = [company.api.send("PUT", "/v1/program", DEFAULT, headers=headers) for _ in range(2)]
    assert [answer.json["version"] for answer in answers] == [2, 3]
    problem(company.api.send("PUT", "/v1/program"), 400, "malformed_body")
