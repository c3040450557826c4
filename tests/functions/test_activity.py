"""Activity, as apps report it and as the system writes it; and what a user comes to in numbers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.accounts.activity import LARGEST_DETAILS, OF_THE_SYSTEM
from local.client import Answer
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.growth import Referrer, amend
from tests.support.jobs import run_job
from tests.support.points import give
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PATH = "/v1/users/ada/activity"


@pytest.fixture
def ada(company: Company) -> Company:
    """A company with one user, Ada."""
    company.set_clock(NOON)
    company.sign_up("ada")
    return company


def report(company: Company, action: str, *, key: str | None = None, **body: object) -> Answer:
    headers = {"idempotency-key": key} if key else None
    return company.api.send("POST", PATH, {"action": action, **body}, headers=headers)


def test_what_an_app_reports_is_a_row_without_an_address_or_a_device(
    ada: Company, superuser: psycopg.Connection
) -> None:
    details = {"screen": "home", "tabs": [1, 2.5, None, True, {"ü": "\U0001f98a"}], "big": 10**30}
    answer = report(
        ada, "screen.opened_2", details=details, app_id="web", ip="203.0.113.7", ip_type="vpn", ip_country="de",
        ip_asn="AS3320", user_agent="Firefox/140 of nobody", device_fingerprint="the only one",
    )  # fmt: skip
    assert answer.status == 201
    made = answer.json
    assert made.keys() == {"id", "action", "details", "app_id", "created_at"}
    assert made["id"].startswith("act_")
    assert (made["action"], made["details"], made["app_id"]) == ("screen.opened_2", details, "web")
    assert time_of(made["created_at"]) == NOON
    assert ada.ok("GET", PATH)["data"][0] == made
    (row,) = rows.find(
        superuser, "SELECT to_jsonb(a)::text AS text FROM activity AS a WHERE company_id = %(id)s AND app_id = 'web'",
        id=ada.id,
    )  # fmt: skip
    assert not [sent for sent in ("203.0.113", "Firefox", "only one", "3320") if sent in row["text"]]


def seen(superuser: psycopg.Connection, company: Company) -> list[dict[str, Any]]:
    """Where the company's users were seen, oldest first."""
    return rows.find(
        superuser, "SELECT * FROM user_fingerprints WHERE company_id = %(id)s ORDER BY first_seen_at, last_seen_at",
        id=company.id,
    )  # fmt: skip


def test_who_is_seen_in_an_app_is_known_by_hashes(ada: Company, superuser: psycopg.Connection) -> None:
    report(
        ada, "login", ip="203.0.113.7", ip_type="residential", ip_country="de", ip_asn="AS3320", user_agent="Firefox",
        device_fingerprint="the only one",
    )  # fmt: skip
    (row,) = seen(superuser, ada)
    assert (row["context"], row["referrer_id"], row["first_seen_at"]) == ("login", None, NOON)
    assert (row["ip_type"], row["ip_country"], row["ip_asn"]) == ("residential", "DE", 3320)
    hashes = [row[name] for name in ("ip_hash", "block_hash", "device_hash", "agent_hash")]
    assert [len(digest) for digest in hashes] == [32] * 4
    assert len(set(hashes)) == 4


def test_who_is_seen_at_the_same_place_again_is_seen_later(ada: Company, superuser: psycopg.Connection) -> None:
    place = {"ip": "203.0.113.7", "device_fingerprint": "x"}
    ada.sign_up("ben", **place)
    for hours in (1, 2):
        ada.set_clock(NOON + timedelta(hours=hours))
        answer = ada.api.send("POST", "/v1/users/ben/activity", {"action": "login", **place, "ip_type": "vpn"})
        assert answer.status == 201
    (row,) = seen(superuser, ada)
    assert (row["context"], row["ip_type"]) == ("registration", "vpn")
    assert (row["first_seen_at"], row["last_seen_at"]) == (NOON, NOON + timedelta(hours=2))


def test_an_address_and_a_device_are_seen_each_by_itself_too(ada: Company, superuser: psycopg.Connection) -> None:
    for place in ({"ip": "203.0.113.7"}, {"device_fingerprint": "x"}, {"ip": "203.0.113.7", "device_fingerprint": "x"}):
        assert report(ada, "login", **place).status == 201
    assert len(seen(superuser, ada)) == 3


@pytest.mark.parametrize(
    "nothing", [{"ip": "192.168.1.7"}, {"ip": " "}, {"user_agent": "Firefox"}, {"device_fingerprint": "x" * 2001}, {}]
)
def test_where_nothing_is_said_nobody_is_seen(
    ada: Company, superuser: psycopg.Connection, nothing: dict[str, str]
) -> None:
    assert report(ada, "login", **nothing).status == 201
    assert not seen(superuser, ada)


def test_nobody_unknown_is_seen(ada: Company, superuser: psycopg.Connection) -> None:
    body = {"action": "login", "ip": "203.0.113.7"}
    problem(ada.api.send("POST", "/v1/users/bob/activity", body), 404, "user_not_found")
    assert not seen(superuser, ada)


def test_an_action_is_all_that_is_needed(ada: Company) -> None:
    made = report(ada, "logout").json
    assert (made["details"], made["app_id"]) == ({}, None)


@pytest.mark.parametrize("action", sorted(OF_THE_SYSTEM))
def test_what_the_system_writes_no_app_may(ada: Company, action: str) -> None:
    assert fields(report(ada, action)) == {"action"}


@pytest.mark.parametrize("action", ["", "Login", "1st", ".x", "log in", "log-in", "é", "x" * 65, "login\n", None, 1])
def test_an_action_that_cannot_be_is_refused(ada: Company, action: str) -> None:
    assert fields(report(ada, action)) == {"action"}


def test_details_are_an_object_of_up_to_4_kib(ada: Company, superuser: psycopg.Connection) -> None:
    frame = len(json.dumps({"x": ""}, separators=(",", ":")))
    largest = {"x": "y" * (LARGEST_DETAILS - frame)}
    assert report(ada, "a", details=largest).json["details"] == largest
    before = rows.count(superuser, ada.id)
    for wrong in (
        {"x": "y" * (LARGEST_DETAILS - frame + 1)}, {"x": "é" * (LARGEST_DETAILS // 2)}, {"x": [["a\0b"]]}, {"\0": 1},
        {"x": {"y": float("inf")}}, {"x": float("nan")}, [], "x", 1, None, {"x": "\ud800"},
    ):  # fmt: skip
        assert fields(report(ada, "a", details=wrong)) == {"details"}, wrong
    raw = b'{"action": "a", "details": {"x": 1e999}}'
    assert fields(ada.api.send("POST", PATH, raw=raw)) == {"details"}
    assert rows.count(superuser, ada.id) == before


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("ip", "203.0.113"), ("ip_type", "mobile"), ("ip_country", "DEU"), ("ip_asn", "3320"), ("ip_asn", "AS"),
        ("ip_asn", "AS\u0663"), ("ip_asn", 2**32), ("ip_asn", -1), ("app_id", "a b"), ("occurred_at", "2027-01-15"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_named(ada: Company, field: str, wrong: object) -> None:
    assert fields(ada.api.send("POST", PATH, {"action": "a", field: wrong})) == {field}


def test_a_report_is_kept_once_under_its_key(ada: Company, superuser: psycopg.Connection) -> None:
    first = report(ada, "login", key="k")
    before = rows.count(superuser, ada.id)
    again = report(ada, "login", key="k")
    assert (again.status, again.raw, again.headers["idempotent-replay"]) == (201, first.raw, "true")
    problem(report(ada, "logout", key="k"), 409, "idempotency_key_reused")
    assert rows.count(superuser, ada.id) == before
    assert ada.ok("GET", "/v1/users/ada/stats")["login_count"] == 1


def test_nobodys_activity_is_not_found_and_decides_nothing(ada: Company, other: Company) -> None:
    body, headers = {"action": "login"}, {"idempotency-key": "k"}
    for path in ("/v1/users/bob/activity", "/v1/users/bob/stats"):
        problem(ada.api.send("GET", path), 404, "user_not_found")
    problem(other.api.send("POST", PATH, body), 404, "user_not_found")
    problem(ada.api.send("POST", "/v1/users/bob/activity", body, headers=headers), 404, "user_not_found")
    ada.sign_up("bob")
    assert ada.api.send("POST", "/v1/users/bob/activity", body, headers=headers).status == 201


def test_activity_is_listed_newest_first_and_page_by_page(ada: Company) -> None:
    made = [report(ada, f"step_{number}").json["id"] for number in range(3)]
    ada.set_clock(NOON + DAY)
    give(ada, 5, key="gift")
    listed = ada.ok("GET", PATH)
    assert [each["action"] for each in listed["data"]] == ["points_adjusted", "step_2", "step_1", "step_0", "signed_up"]
    assert not listed["has_more"]
    first = ada.ok("GET", f"{PATH}?limit=2")
    assert (first["data"], first["has_more"]) == (listed["data"][:2], True)
    assert ada.ok("GET", f"{PATH}?after={first['data'][-1]['id']}")["data"] == listed["data"][2:]
    ada.sign_up("ben")
    assert fields(ada.api.send("GET", f"/v1/users/ben/activity?after={made[0]}")) == {"after"}


def test_of_somebody_who_did_nothing_there_is_nothing_to_say(ada: Company) -> None:
    assert ada.ok("GET", "/v1/users/ada/stats") == {
        "last_login": None, "login_count": 0, "counts": {}, "total_data_points": 0, "total_earned_from_referrals": 0,
    }  # fmt: skip


def test_logins_are_counted_for_ever(ada: Company, superuser: psycopg.Connection) -> None:
    for days in range(3):
        ada.set_clock(NOON + days * DAY)
        report(ada, "login")
        report(ada, "logout")
    superuser.execute("DELETE FROM activity WHERE company_id = %s", (ada.id,))  # past their retention
    stats = ada.ok("GET", "/v1/users/ada/stats")
    assert (stats["login_count"], time_of(stats["last_login"])) == (3, NOON + 2 * DAY)


def test_uses_are_counted_by_feature_and_data_points_in_all(ada: Company) -> None:
    for feature, quantity in (("weight_entries", 3), ("photos", 2), ("weight_entries", 4)):
        ada.ok("POST", "/v1/users/ada/usage", {"feature": feature, "quantity": quantity})
    assert ada.api.send("POST", "/v1/users/ada/usage", {"feature": "ai_calls"}).status == 422
    stats = ada.ok("GET", "/v1/users/ada/stats")
    assert (stats["counts"], stats["total_data_points"]) == ({"weight_entries": 7, "photos": 2}, 9)


def test_what_referrals_earned_is_what_was_paid_less_what_was_taken_back(ada: Company) -> None:
    code = ada.ok("GET", "/v1/users/ada")["referral_code"]
    ada.sign_up("ben", referral_code=code)
    paid = invoice_paid("evt_1", "in_1", user="ben", paid_at=NOON)
    ada.deliver(paid)

    def earned(user: str = "ada") -> int:
        return ada.ok("GET", f"/v1/users/{user}/stats")["total_earned_from_referrals"]

    assert earned() == 5 + 25
    assert earned("ben") == 0  # the welcome is not for referring anybody
    refund = {"id": "re_1", "object": "refund", "amount": 1900, "currency": "usd", "status": "succeeded"}
    refund |= {"created": int(NOON.timestamp()), "charge": "ch_1", "payment_intent": "pi_1"}
    event = {"id": "evt_2", "object": "event", "type": "refund.created", "livemode": False}
    linked = invoice_paid("evt_3", "in_1", user="ben", paid_at=NOON, payment_intent="pi_1")
    assert ada.deliver(linked).json["outcome"] == "applied"
    answer = ada.deliver(event | {"created": int(NOON.timestamp()), "data": {"object": refund}})
    assert answer.json["outcome"] == "applied"
    assert earned() == 5


def test_what_waits_anew_and_what_an_upline_gets_is_not_earned(ada: Company) -> None:
    amend(ada, awards={"qualified": {"points": 25, "hold_days": 14}})
    ada.sign_up("ben", referral_code=ada.ok("GET", "/v1/users/ada")["referral_code"])
    ben = Referrer(ada, "ben", NOON, ada.ok("GET", "/v1/users/ben")["referral_code"])
    ben.bring("cyd")

    def earned() -> list[int]:
        paths = (f"/v1/users/{user}/stats" for user in ("ada", "ben"))
        return [ada.ok("GET", path)["total_earned_from_referrals"] for path in paths]

    ben.pay("cyd")
    ada.set_clock(NOON + 15 * DAY)
    run_job(ada.url, "ReleaseAwardsFunction")
    assert (ada.balance("ada"), earned()) == (5 + 5, [5, 5 + 25])  # Ada was paid for level 2 besides
    ben.refund("cyd")
    ben.pay("cyd", month=2)
    assert (ada.balance("ada"), earned()) == (5 + 5, [5, 5])  # it is for the second payment now, and waits for its time
