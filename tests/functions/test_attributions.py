"""How users came: everybody has a story, whoever was blocked, rejected or came by nobody too."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from goodword.fraud.signals import RULES
from local.client import Client
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.places import NOON, SHARED

AGO = {"created_at": (NOON - timedelta(days=400)).isoformat()}


@pytest.fixture
def code(judging: Company) -> str:
    """The code of Ada, who has long been there and was seen somewhere."""
    judging.set_clock(NOON)
    return judging.sign_up("ada", **SHARED)["user"]["referral_code"]


def attribution(company: Company, user: str) -> Any:  # noqa: ANN401 - any JSON value
    return company.ok("GET", f"/v1/users/{user}/attribution")


def states(fraud: dict[str, Any]) -> dict[str, str]:
    return {check["signal"]: check["state"] for check in fraud["checks"]}


def test_who_was_attributed_is_told_by_whom_and_what_was_looked_at(judging: Company, code: str) -> None:
    answer = judging.sign_up("ben", referral_code=code, app_id="web")
    told = attribution(judging, "ben")
    assert {name: told[name] for name in answer["attribution"]} == answer["attribution"]
    assert (told["winner"], told["program_version"]) == ("code", 1)
    assert (told["window_days"], told["model"]) == (90, "last_touch")
    assert [(each["code"], each["reason"]) for each in told["candidates"]] == [(code, None)]
    assert told["referral_id"] == answer["referral"]["id"]
    assert told["late"] == []
    assert told["occurred_at"] == answer["user"]["created_at"]
    assert told["fraud"] == judging.ok("GET", f"/v1/referrals/{told['referral_id']}/explain")["fraud"]
    assert [check["signal"] for check in told["fraud"]["checks"]] == list(RULES)


def test_who_was_blocked_is_told_why(judging: Company, code: str) -> None:
    answer = judging.sign_up("ben", referral_code=code, **SHARED)
    assert (answer["attribution"]["outcome"], answer["attribution"]["reason"]) == ("rejected", "fraud_blocked")
    told = attribution(judging, "ben")
    assert {name: told[name] for name in answer["attribution"]} == answer["attribution"]
    assert (told["referral_id"], told["winner"], told["late"]) == (None, None, [])
    assert [(each["code"], each["reason"]) for each in told["candidates"]] == [(code, "fraud_blocked")]
    fraud = told["fraud"]
    assert (fraud["score"], fraud["behavioural"]) == (30 + 50 + 15, 15)
    assert fraud["thresholds"] == {"hold": 30, "review": 60, "reject": 90}
    raised = {check["signal"]: check for check in fraud["checks"] if check["state"] == "raised"}
    assert {signal: check["score"] for signal, check in raised.items()} == {
        "same_ip": 30, "same_device": 50, "new_account_referrer": 15,
    }  # fmt: skip
    assert raised["same_ip"]["check_type"] == "ip_duplicate"
    assert raised["same_ip"]["details"] == {"shared_with": "referrer"}
    assert not any(sent in str(told) for sent in SHARED.values())


def test_who_was_rejected_or_came_by_nobody_was_not_judged(judging: Company, code: str) -> None:
    rejected = judging.ok(
        "POST", "/v1/signups", {"user": {"external_id": "old", **AGO}, "referral_code": code, **SHARED}
    )
    assert rejected["attribution"]["reason"] == "user_too_old"
    told = attribution(judging, "old")
    assert (told["outcome"], told["reason"], told["fraud"]) == ("rejected", "user_too_old", None)
    assert [each["reason"] for each in told["candidates"]] == ["user_too_old"]
    nobody = attribution(judging, "ada")
    assert (nobody["outcome"], nobody["candidates"], nobody["fraud"]) == ("none", [], None)
    problem(judging.api.send("GET", "/v1/users/nobody/attribution"), 404, "user_not_found")


def test_what_came_of_late_attributions_stands_beside_the_signup(
    judging: Company, code: str, superuser: psycopg.Connection
) -> None:
    judging.sign_up("ben", **SHARED)
    wanted = {"referral_code": code, "reason": "said so"}
    key = api_keys.create(superuser, judging.id, livemode=False, scope=Scope.WRITE)
    writer = Client(judging.url, key)
    assert writer.send("PUT", "/v1/users/ben/referrer", wanted).json["attribution"]["reason"] == "fraud_blocked"
    writer.close()
    judging.set_clock(NOON + timedelta(hours=1))
    bound = judging.ok("PUT", "/v1/users/ben/referrer", wanted)["referral"]
    told = attribution(judging, "ben")
    assert (told["outcome"], told["fraud"], told["referral_id"]) == ("none", None, bound["id"])
    blocked, late = told["late"]
    assert (blocked["reason"], blocked["referral_id"], blocked["attribution"]) == ("fraud_blocked", None, None)
    assert (late["reason"], late["referral_id"], late["occurred_at"]) == (None, bound["id"], bound["registered_at"])
    assert (late["attribution"]["by"], late["attribution"]["reason"]) == ("late", "said so")
    assert [each["fraud"]["score"] for each in told["late"]] == [95, 95]
    assert late["fraud"] == judging.ok("GET", f"/v1/referrals/{bound['id']}/explain")["fraud"]


def test_checks_tell_judgements_and_places_without_hashes(judging: Company, code: str) -> None:
    device = {"device_fingerprint": SHARED["device_fingerprint"]}
    ben = judging.sign_up("ben", referral_code=code, **device)
    judging.sign_up("cyd", referral_code=code, **SHARED)
    judging.set_clock(NOON + timedelta(hours=1))
    judging.ok("POST", "/v1/users/ben/activity", {"action": "login", **SHARED, "ip_type": "vpn", "ip_asn": 3320})
    told = judging.ok("GET", "/v1/users/ben/checks")
    (judgement,) = told["judgements"]
    assert (judgement["occasion"], judgement["outcome"], judgement["referrer"]) == ("signup", "review", "ada")
    assert (judgement["score"], judgement["behavioural"]) == (65, 15)
    assert (judgement["referral_id"], judgement["id"][:4]) == (ben["referral"]["id"], "jdg_")
    assert [check["signal"] for check in judgement["checks"]] == list(RULES)
    places = [
        {name: place[name] for name in ("context", "has_ip", "has_device", "registration_count", "flagged_count")}
        for place in told["fingerprints"]
    ]
    assert places == [
        {"context": "login", "has_ip": True, "has_device": True, "registration_count": 2, "flagged_count": 0},
        {"context": "registration", "has_ip": False, "has_device": True, "registration_count": 1, "flagged_count": 1},
    ]
    login = told["fingerprints"][0]
    assert (login["ip_type"], login["ip_country"], login["ip_asn"]) == ("vpn", None, 3320)
    assert (login["first_seen_at"], login["last_seen_at"]) == ("2027-01-15T13:00:00.000000Z",) * 2


def test_checks_of_who_was_blocked_name_no_referral(judging: Company, code: str) -> None:
    judging.sign_up("ben", referral_code=code, **SHARED)
    (judgement,) = judging.ok("GET", "/v1/users/ben/checks")["judgements"]
    assert (judgement["outcome"], judgement["referrer"], judgement["referral_id"]) == ("reject", "ada", None)
    assert judging.ok("GET", "/v1/users/ada/checks")["judgements"] == []
    problem(judging.api.send("GET", "/v1/users/nobody/checks"), 404, "user_not_found")


def test_checks_are_for_administrators_and_attributions_for_whoever_reads(
    judging: Company, code: str, superuser: psycopg.Connection
) -> None:
    assert code
    reader = Client(judging.url, api_keys.create(superuser, judging.id, livemode=False, scope=Scope.READ))
    problem(reader.send("GET", "/v1/users/ada/checks"), 403, "scope_insufficient")
    assert reader.send("GET", "/v1/users/ada/attribution").status == 200
    reader.close()


def test_of_who_was_taken_over_from_elsewhere_there_is_no_trace(
    judging: Company, code: str, superuser: psycopg.Connection
) -> None:
    referral = judging.sign_up("ben", referral_code=code)["referral"]
    for delete in ("DELETE FROM raised_checks", "DELETE FROM judgements", "DELETE FROM signups"):
        superuser.execute(f"{delete} WHERE company_id = %s".encode(), (judging.id,))
    told = attribution(judging, "ben")
    assert (told["outcome"], told["program_version"], told["occurred_at"]) == ("none", None, None)
    assert judging.ok("GET", f"/v1/referrals/{referral['id']}/explain")["fraud"] is None
