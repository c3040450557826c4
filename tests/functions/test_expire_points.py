"""Expiry: exact without the job; the job only books, once, whoever runs it and how often."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.core import jobs
from goodword.points import expiry
from tests.support.companies import Company
from tests.support.jobs import Remaining, run_job

START = datetime(2031, 1, 31, 12, tzinfo=UTC)
A_YEAR_LATER = datetime(2032, 1, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
JOB = "ExpirePointsFunction"


def give(company: Company, user: str, points: int, key: str, expires_at: datetime | None = None) -> None:
    body = {"points": points, "note": "", "expires_at": expires_at.isoformat() if expires_at else None}
    company.ok("POST", f"/v1/users/{user}/points", body, key=key)


def expiries(company: Company, user: str) -> list[Any]:
    return company.ok("GET", f"/v1/users/{user}/transactions?type=EXPIRY")["data"]


@pytest.fixture
def ada(company: Company) -> Company:
    """A company in 2031, with Ada, who has 40 points of the default term."""
    company.set_clock(START)
    company.sign_up("ada")
    give(company, "ada", 40, "gift")
    return company


def test_points_expire_twelve_months_after_booking_to_the_microsecond_with_the_job_stopped(ada: Company) -> None:
    ada.set_clock(A_YEAR_LATER - MICROSECOND)
    assert ada.balance("ada") == 40
    ada.set_clock(A_YEAR_LATER)
    assert ada.balance("ada") == 0
    assert ada.ok("GET", "/v1/users/ada")["balance"] == 0
    assert expiries(ada, "ada") == []
    earlier = (A_YEAR_LATER - MICROSECOND).isoformat().replace("+00:00", "Z")
    assert ada.ok("GET", f"/v1/users/ada/balance?as_of={earlier}")["balance"] == 40


def test_a_month_end_is_clamped(company: Company) -> None:
    company.set_clock(datetime(2032, 2, 29, 12, tzinfo=UTC))
    company.sign_up("ada")
    give(company, "ada", 1, "gift")
    balance = company.ok("GET", "/v1/users/ada/balance")
    assert balance["expiring"] == [{"points": 1, "expires_at": "2033-02-28T12:00:00.000000Z"}]


def test_the_job_books_what_a_read_already_saw_and_twice_is_once(ada: Company) -> None:
    ada.set_clock(A_YEAR_LATER + timedelta(days=3))
    before = ada.ok("GET", "/v1/users/ada/balance")
    assert run_job(ada.url, JOB)["points"] >= 40
    booked = expiries(ada, "ada")
    assert [(entry["delta"], entry["balance_after"]) for entry in booked] == [(-40, 0)]
    after = ada.ok("GET", "/v1/users/ada/balance")
    assert {**after, "as_of": None} == {**before, "as_of": None}
    assert run_job(ada.url, JOB)["wallets"] == 0
    assert expiries(ada, "ada") == booked
    yesterday = (A_YEAR_LATER - MICROSECOND).isoformat().replace("+00:00", "Z")
    assert ada.ok("GET", f"/v1/users/ada/balance?as_of={yesterday}")["balance"] == 40


def test_an_expiry_is_dated_by_the_lot_and_one_entry_is_booked_per_instant(
    ada: Company, superuser: psycopg.Connection
) -> None:
    early, late = START + timedelta(days=10), START + timedelta(days=20)
    give(ada, "ada", 3, "a", early)
    give(ada, "ada", 4, "b", early)
    give(ada, "ada", 5, "c", late)
    ada.set_clock(START + timedelta(days=30))
    run_job(ada.url, JOB)
    rows = superuser.execute(
        "SELECT delta, effective_at FROM entries WHERE company_id = %(id)s AND type = 'EXPIRY' ORDER BY version",
        {"id": ada.id},
    ).fetchall()
    assert rows == [(-7, early), (-5, late)]


def test_runs_at_the_same_time_book_once(ada: Company) -> None:
    for number in range(20):
        ada.sign_up(f"user-{number}")
        give(ada, f"user-{number}", 10, f"gift-{number}")
    ada.set_clock(A_YEAR_LATER)
    runs = [threading.Thread(target=run_job, args=(ada.url, JOB)) for _ in range(6)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    run_job(ada.url, JOB)
    for number in range(20):
        assert [entry["delta"] for entry in expiries(ada, f"user-{number}")] == [-10]


def test_what_cannot_be_booked_is_set_aside_and_named_and_the_others_go_on(
    ada: Company, superuser: psycopg.Connection
) -> None:
    broken = ada.sign_up("broken")["user"]["id"]
    give(ada, "broken", 10, "gift-broken")
    superuser.execute(
        "UPDATE wallets SET balance = 1, total_earned = 1 WHERE company_id = %(id)s AND user_id = (SELECT id FROM users"
        " WHERE company_id = %(id)s AND external_id = 'broken')",
        {"id": ada.id},
    )
    ada.set_clock(A_YEAR_LATER)
    summary = run_job(ada.url, JOB)
    assert f"{broken}: 23514" in summary["set_aside"]
    assert summary["complete"]
    assert [entry["delta"] for entry in expiries(ada, "ada")] == [-40]
    assert run_job(ada.url, JOB)["set_aside"] == []
    row = superuser.execute(
        "SELECT item, error, attempts FROM job_setbacks WHERE company_id = %(id)s", {"id": ada.id}
    ).fetchone()
    assert row == (broken, "23514", 1)


@pytest.mark.usefixtures("as_jobs")
def test_no_batch_is_begun_shortly_before_the_end(ada: Company) -> None:
    ada.set_clock(A_YEAR_LATER)
    summary = jobs.run(expiry.JOB, Remaining(jobs.MARGIN_SECONDS * 1000 - 1), expiry.batch)
    assert summary["batches"] == 0
    assert summary["complete"] is False
    assert expiries(ada, "ada") == []


@pytest.mark.usefixtures("as_jobs")
def test_a_run_is_skipped_while_another_holds_the_lease(superuser: psycopg.Connection) -> None:
    superuser.execute(
        "INSERT INTO job_leases VALUES ('expire_points', gen_random_uuid(), clock_timestamp() + interval '1 hour')"
    )
    try:
        summary = jobs.run(expiry.JOB, Remaining(), expiry.batch)
    finally:
        superuser.execute("DELETE FROM job_leases")
    assert summary["skipped"] == "another run holds the lease"


@pytest.mark.usefixtures("as_jobs")
def test_every_run_leaves_a_row(superuser: psycopg.Connection) -> None:
    summary = jobs.run(expiry.JOB, Remaining(), expiry.batch)
    row = superuser.execute("SELECT summary FROM job_runs ORDER BY started_at DESC LIMIT 1").fetchone()
    assert row == (summary,)
