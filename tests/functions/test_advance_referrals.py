"""What time does to referrals: the jobs book it, once, whoever runs them and how often."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from local.client import Client
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

START = datetime(2031, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def run(company: Company, job: str) -> Any:  # noqa: ANN401 - the function's JSON
    client = Client(company.url)
    answer = client.send("POST", f"/_local/functions/{job}Function/invocations", {})
    client.close()
    assert answer.status == 200, answer.raw
    return answer.json


def advance(company: Company) -> Any:  # noqa: ANN401 - the function's JSON
    return run(company, "AdvanceReferrals")


def release(company: Company) -> Any:  # noqa: ANN401 - the function's JSON
    return run(company, "ReleaseAwards")


def stage(company: Company) -> str:
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    return referral["stage"]


@pytest.fixture
def referred(company: Company) -> Company:
    """Ada brought Ben, at START; nobody else waits for the jobs, which come by for all companies."""
    advance(company)
    release(company)
    company.set_clock(START)
    code = company.sign_up("ada")["user"]["referral_code"]
    company.sign_up("ben", referral_code=code)
    return company


def test_a_use_within_five_minutes_takes_effect_then_and_is_booked_by_the_job(referred: Company) -> None:
    referred.set_clock(START + timedelta(minutes=1))
    referred.ok("POST", "/v1/activations", {"user_id": "ben", "app_id": "chat"})
    assert (stage(referred), referred.balance("ada")) == ("registered", 5)
    referred.set_clock(START + timedelta(minutes=5))
    assert advance(referred)["referrals"] == 1
    assert (stage(referred), referred.balance("ada")) == ("activated", 15)
    assert advance(referred)["referrals"] == 0


def test_a_referral_nothing_happened_to_expires_and_the_job_books_it(referred: Company) -> None:
    referred.set_clock(START + 90 * DAY - timedelta(microseconds=1))
    assert (advance(referred)["referrals"], stage(referred)) == (0, "registered")
    referred.set_clock(START + 90 * DAY)
    assert stage(referred) == "expired"
    assert advance(referred)["referrals"] == 1
    assert stage(referred) == "expired"
    assert advance(referred)["referrals"] == 0


def test_retention_comes_into_being_when_the_job_comes_by_and_is_dated_by_its_due_time(referred: Company) -> None:
    paid = invoice_paid("evt_1", "in_1", user="ben", paid_at=START)
    assert referred.deliver(paid).json["outcome"] == "applied"
    referred.set_clock(START + 40 * DAY)
    assert (stage(referred), referred.balance("ada")) == ("qualified", 30)
    assert advance(referred)["referrals"] == 1
    assert (stage(referred), referred.balance("ada")) == ("retained", 45)
    (referral,) = referred.ok("GET", "/v1/users/ada/referrals")["data"]
    assert referral["retained_at"] == (START + 30 * DAY).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert advance(referred)["referrals"] == 0


def test_an_award_waits_for_its_days_and_the_job_pays_it(referred: Company, superuser: psycopg.Connection) -> None:
    hold(superuser, referred, days=7)
    code = referred.ok("GET", "/v1/users/ada")["referral_code"]
    referred.sign_up("eve", referral_code=code)
    assert (referred.balance("ada"), referred.ok("GET", "/v1/users/ada/balance")["pending"]) == (5, 5)
    referred.set_clock(START + 7 * DAY - timedelta(microseconds=1))
    assert release(referred)["referrals"] == 0
    referred.set_clock(START + 7 * DAY)
    assert (referred.balance("ada"), referred.ok("GET", "/v1/users/ada/balance")["pending"]) == (5, 5)
    assert release(referred)["referrals"] == 1
    assert (referred.balance("ada"), referred.ok("GET", "/v1/users/ada/balance")["pending"]) == (10, 0)
    assert release(referred)["referrals"] == 0


def test_what_cannot_be_settled_is_set_aside_and_the_others_go_on(
    referred: Company, superuser: psycopg.Connection
) -> None:
    code = referred.ok("GET", "/v1/users/ada")["referral_code"]
    broken = hold(superuser, referred, days=0)
    spoilt = referred.sign_up("eve", referral_code=code)["referral"]["id"]
    change = "UPDATE program_versions SET program = %s WHERE company_id = %s AND version = %s RETURNING program"
    good = referred.ok("GET", "/v1/program")["program"]
    superuser.execute(change, (Jsonb({"schema_version": 9}), referred.id, broken))
    referred.set_clock(START + 100 * DAY)
    summary = advance(referred)
    assert (summary["referrals"], summary["set_aside"]) == (1, [f"{spoilt}: ValidationError"])
    superuser.execute(change, (Jsonb(good), referred.id, broken))


def hold(superuser: psycopg.Connection, company: Company, *, days: int) -> int:
    """A new version of the program under which `registered` waits; its number."""
    document = company.ok("GET", "/v1/program")["program"]
    document["awards"]["registered"]["hold_days"] = days
    row = superuser.execute(
        "INSERT INTO program_versions (company_id, version, program, created_at)"
        " SELECT company_id, max(version) + 1, %s, max(created_at) FROM program_versions WHERE company_id = %s"
        " GROUP BY company_id RETURNING version",
        (Jsonb(document), company.id),
    ).fetchone()
    assert row is not None
    return row[0]
