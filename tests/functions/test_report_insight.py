"""GET /v1/integrity: whether the books are right, and where the chain ends."""

from datetime import UTC, datetime

import psycopg
import pytest

from goodword.insight import checks, integrity
from local.client import Answer
from tests.support.answers import problem, time_of
from tests.support.companies import Company
from tests.support.jobs import run_job

AUDIT = "AuditLedgerFunction"


def ask(company: Company) -> Answer:
    return company.api.send("GET", "/v1/integrity")


@pytest.fixture
def shop(company: Company) -> Company:
    """A company with a referral, and points given, spent and taken."""
    company.refer("ada", "ben")
    company.ok("POST", "/v1/users/ada/points", {"points": 50, "note": "a start"}, key="1")
    company.ok("POST", "/v1/users/ada/points", {"points": -7, "note": "a mistake"}, key="2")
    option = {"kind": "quota", "name": "x", "feature": "ai_calls", "quantity": 1, "cost_points": 30}
    body = {"option_id": company.ok("POST", "/v1/redemption-options", option)["id"]}
    company.ok("POST", "/v1/users/ada/redemptions", body, key="3")
    return company


def break_wallet(superuser: psycopg.Connection, company: Company) -> str:
    row = superuser.execute(
        """
        UPDATE wallets SET version = version + 1 WHERE company_id = %(id)s AND user_id = (
            SELECT id FROM users WHERE company_id = %(id)s AND external_id = 'ada')
        RETURNING public_id('usr', user_id)
        """,
        {"id": company.id},
    ).fetchone()
    assert row is not None
    return row[0]


def test_right_books(shop: Company) -> None:
    before = datetime.now(UTC)
    answer = ask(shop)
    assert answer.status == 200
    report = answer.json
    assert report.keys() == {"ok", "checks", "head"}
    assert (report["ok"], report["head"]) == (True, None)
    assert [(each["name"], each["ok"], each["detail"]) for each in report["checks"]] == [
        (name, True, None) for name in checks.NAMES
    ]
    assert all(before <= time_of(each["checked_at"]) <= datetime.now(UTC) for each in report["checks"])


def test_a_company_without_anything(company: Company) -> None:
    assert ask(company).json["ok"] is True


def test_the_head_is_that_of_the_latest_sealing(shop: Company, superuser: psycopg.Connection) -> None:
    run_job(shop.url, AUDIT)
    first = ask(shop).json["head"]
    assert first["position"] == 5
    time_of(first["sealed_at"])
    shop.ok("POST", "/v1/users/ada/points", {"points": 1, "note": "thanks"}, key="4")
    assert ask(shop).json["head"] == first
    run_job(shop.url, AUDIT)
    second = ask(shop).json["head"]
    assert second["position"] == 6
    seals = superuser.execute(
        "SELECT encode(hash, 'hex') FROM seals WHERE company_id = %s ORDER BY position", (shop.id,)
    ).fetchall()
    assert (first["hash"], second["hash"]) == (seals[4][0], seals[5][0])


def test_wrong_books_are_named(shop: Company, other: Company, superuser: psycopg.Connection) -> None:
    user = break_wallet(superuser, shop)
    report = ask(shop).json
    assert report["ok"] is False
    wrong = [each for each in report["checks"] if not each["ok"]]
    assert [each["name"] for each in wrong] == ["wallet_equals_entries"]
    assert wrong[0]["detail"] == f"{user}: version is 5, by its entries 4"
    assert ask(other).json["ok"] is True, "another company's books are its own"


def test_only_an_admin_may_ask(shop: Company) -> None:
    answer = shop.browser.send("GET", "/v1/integrity", headers={"authorization": f"Bearer {shop.pub}"})
    problem(answer, 403, "scope_insufficient")


def test_a_large_company_is_told_what_its_latest_audit_found(shop: Company, superuser: psycopg.Connection) -> None:
    run_job(shop.url, AUDIT, {"company": shop.line["company"]})
    user = break_wallet(superuser, shop)
    superuser.execute(
        "UPDATE chain_heads SET position = %s WHERE company_id = %s", (integrity.MOST_ENTRIES + 1, shop.id)
    )
    report = ask(shop).json
    assert report["ok"] is True
    assert report["head"]["position"] == integrity.MOST_ENTRIES + 1
    run_job(shop.url, AUDIT, {"company": shop.line["company"]})
    report = ask(shop).json
    wrong = {each["name"]: each["detail"] for each in report["checks"] if not each["ok"]}
    assert wrong.keys() == {"wallet_equals_entries", "chain_head"}
    assert user in wrong["wallet_equals_entries"]
    assert len({each["checked_at"] for each in report["checks"]}) == 1


def test_a_large_company_that_was_never_audited_is_not_called_right(
    shop: Company, superuser: psycopg.Connection
) -> None:
    run_job(shop.url, AUDIT)
    superuser.execute(
        "UPDATE chain_heads SET position = %s WHERE company_id = %s", (integrity.MOST_ENTRIES + 1, shop.id)
    )
    report = ask(shop).json
    assert report["ok"] is None
    assert [each["name"] for each in report["checks"]] == list(checks.NAMES)
    assert {(each["ok"], each["detail"], each["checked_at"]) for each in report["checks"]} == {(None, None, None)}
