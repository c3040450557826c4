"""The job that seals the ledger every hour and audits every company's books once a day."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.core import jobs
from goodword.core.observability import logger
from goodword.insight import audit
from tests.support.companies import Company
from tests.support.jobs import Remaining, run_job

AUDIT = "AuditLedgerFunction"


@pytest.fixture
def shop(company: Company) -> Company:
    """A company with five entries."""
    company.refer("ada", "ben")
    for number in range(3):
        company.ok("POST", "/v1/users/ada/points", {"points": 10, "note": "thanks"}, key=f"{number}")
    return company


def sealed(superuser: psycopg.Connection, company: Company) -> list[int]:
    """The entries of a company's chain, in its order."""
    rows = superuser.execute("SELECT entry_id FROM seals WHERE company_id = %s ORDER BY position", (company.id,))
    return [entry_id for (entry_id,) in rows]


def entries(superuser: psycopg.Connection, company: Company) -> list[int]:
    return [
        id_ for (id_,) in superuser.execute("SELECT id FROM entries WHERE company_id = %s ORDER BY id", (company.id,))
    ]


def results(superuser: psycopg.Connection, company: Company) -> dict[str, bool]:
    return dict(
        superuser.execute("SELECT name, ok FROM integrity_checks WHERE company_id = %s", (company.id,)).fetchall()
    )


def break_books(superuser: psycopg.Connection, company: Company) -> None:
    superuser.execute("UPDATE wallets SET version = version + 1 WHERE company_id = %s", (company.id,))


def test_a_run_seals_what_was_booked_and_another_adds_nothing(shop: Company, superuser: psycopg.Connection) -> None:
    run_job(shop.url, AUDIT)
    assert sealed(superuser, shop) == entries(superuser, shop)
    assert len(sealed(superuser, shop)) == 5
    assert run_job(shop.url, AUDIT)["sealed"] == 0
    assert len(sealed(superuser, shop)) == 5


def test_runs_at_the_same_time_seal_once(shop: Company, superuser: psycopg.Connection) -> None:
    runs = [threading.Thread(target=run_job, args=(shop.url, AUDIT)) for _ in range(6)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    run_job(shop.url, AUDIT)
    assert sealed(superuser, shop) == entries(superuser, shop)


def test_the_nightly_run_audits_companies_that_are_due(shop: Company, superuser: psycopg.Connection) -> None:
    run_job(shop.url, AUDIT)
    assert results(superuser, shop) == {}, "its first night is still to come"
    yesterday = datetime.now(UTC) - timedelta(days=1)
    superuser.execute("UPDATE companies SET created_at = %s WHERE id = %s", (yesterday, shop.id))
    summary = run_job(shop.url, AUDIT)
    assert (summary["complete"], summary["set_aside"]) == (True, [])
    assert summary["audited"] >= 1
    assert set(results(superuser, shop).values()) == {True}


def test_a_company_can_be_audited_out_of_turn(shop: Company, other: Company, superuser: psycopg.Connection) -> None:
    break_books(superuser, shop)
    summary = run_job(shop.url, AUDIT, {"company": shop.line["company"]})
    assert (summary["audited"], summary["disagreeing"]) == (1, 1)
    assert [name for name, ok in results(superuser, shop).items() if not ok] == ["wallet_equals_entries"]
    assert results(superuser, other) == {}


@pytest.mark.parametrize("company", ["cmp_" + "0" * 32, "somebody", 7])
def test_a_company_that_does_not_exist_is_an_error(server: str, company: object) -> None:
    with pytest.raises(AssertionError, match="NotFound company_not_found"):
        run_job(server, AUDIT, {"company": company})


def logged(caplog: pytest.LogCaptureFixture, level: str) -> list[dict[str, Any]]:
    """The lines of a level, as they are printed."""
    return [json.loads(logger.registered_formatter.format(each)) for each in caplog.records if each.levelname == level]


@pytest.mark.usefixtures("as_jobs")
def test_wrong_books_are_an_error_line_without_a_row_of_them(
    shop: Company, superuser: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The line that the metric filter of template.yaml looks for (tests/contracts/test_template.py)."""
    break_books(superuser, shop)
    superuser.execute("INSERT INTO audits (company_id) VALUES (%s)", (shop.id,))
    jobs.run(audit.JOB, Remaining(), audit.batch)
    (line,) = logged(caplog, "ERROR")
    assert line["message"] == audit.FAULTS_MESSAGE
    assert line["level"] == "ERROR"
    assert line["company"] == shop.line["company"]
    assert line["checks"] == ["wallet_equals_entries"]
    assert line["head"]["position"] == 5
    assert "usr_" not in json.dumps(line)


@pytest.mark.usefixtures("as_jobs")
def test_right_books_leave_their_head_in_the_log(
    shop: Company, superuser: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Where whoever can rewrite the database cannot rewrite it."""
    superuser.execute("INSERT INTO audits (company_id) VALUES (%s)", (shop.id,))
    jobs.run(audit.JOB, Remaining(), audit.batch)
    assert logged(caplog, "ERROR") == []
    (line,) = [line for line in logged(caplog, "INFO") if line.get("company") == shop.line["company"]]
    row = superuser.execute(
        "SELECT position, encode(hash, 'hex') FROM chain_heads WHERE company_id = %s", (shop.id,)
    ).fetchone()
    assert (line["head"]["position"], line["head"]["hash"]) == row


@pytest.mark.usefixtures("as_jobs")
def test_a_run_that_has_no_time_left_leaves_the_rest_to_the_next(shop: Company, superuser: psycopg.Connection) -> None:
    superuser.execute("INSERT INTO audits (company_id) VALUES (%s)", (shop.id,))

    class Shrinking(Remaining):
        """Time enough for two batches more."""

        def __init__(self) -> None:
            super().__init__()
            self._looks = 0

        def get_remaining_time_in_millis(self) -> int:
            self._looks += 1
            return 900_000 if self._looks <= 2 else 0

    first = jobs.run(audit.JOB, Shrinking(), audit.batch)
    assert (first["complete"], first["batches"]) == (False, 2)
    assert results(superuser, shop) == {}
    runs = 1
    while not jobs.run(audit.JOB, Shrinking(), audit.batch)["complete"]:
        runs += 1
        assert runs < 10
    assert set(results(superuser, shop).values()) == {True}
