"""What should not happen: it is told by class, SQLSTATE, constraint and frames, and by no value of any row."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.client import Client
from tests.conftest import serve
from tests.support import log_lines
from tests.support.companies import Company

SECRET = "mallory_4711"


@pytest.fixture
def forbid(superuser: psycopg.Connection) -> Iterator[Callable[[str, str], None]]:
    """`forbid("users", "external_id <> …")`: from now on it is a fault to write any other row."""
    forbidden: list[str] = []

    def forbid(table: str, condition: str) -> None:
        superuser.execute(f"ALTER TABLE {table} ADD CONSTRAINT made_up_ck CHECK ({condition}) NOT VALID".encode())
        forbidden.append(table)

    yield forbid
    for table in forbidden:
        superuser.execute(f"ALTER TABLE {table} DROP CONSTRAINT made_up_ck".encode())


def invoke(url: str, logical_id: str, event: object) -> Any:  # noqa: ANN401 - the function's JSON
    """What a function that fails reports, which is what a queue of failures is given."""
    client = Client(url)
    answer = client.send("POST", f"/_local/functions/{logical_id}/invocations", event)
    client.close()
    assert answer.status == 500, answer.raw
    return answer.json


def new_lines(log: Path, before: int) -> list[dict[str, Any]]:
    """The error lines since then."""
    return [line for line in log_lines.read(log)[before:] if log_lines.kept(line, "ERROR")]


def test_a_job_that_violates_a_constraint_tells_no_row(bundle: serve, forbid: Callable[[str, str], None]) -> None:
    before = len(log_lines.read(bundle.log))
    forbid("job_runs", "job <> 'expire_points'")
    report = invoke(bundle.url, "ExpirePointsFunction", {})
    assert (report["errorType"], report["errorMessage"]) == ("Fault", "CheckViolation 23514 made_up_ck")
    assert any("in _record" in frame for frame in report["stackTrace"])
    ours, lambdas = new_lines(bundle.log, before)
    fields = {name: ours[name] for name in ("message", "job", "fault", "sqlstate", "constraint")}
    assert fields == {
        "message": "fault",
        "job": "expire_points",
        "fault": "CheckViolation",
        "sqlstate": "23514",
        "constraint": "made_up_ck",
    }
    assert any("in _record" in frame for frame in ours["frames"])
    assert lambdas["errorMessage"] == report["errorMessage"]
    assert "Failing row" not in f"{report}{ours}{lambdas}"


def test_a_request_that_violates_a_constraint_tells_no_row(
    bundle: serve, company: Company, forbid: Callable[[str, str], None]
) -> None:
    before = len(log_lines.read(bundle.log))
    forbid("users", f"external_id <> '{SECRET}'")
    answer = company.api.send("POST", "/v1/signups", {"user": {"external_id": SECRET}})
    assert answer.status == 500
    ours, lambdas = new_lines(bundle.log, before)
    fields = {name: ours[name] for name in ("message", "route", "fault", "sqlstate", "constraint")}
    assert fields == {
        "message": "fault",
        "route": "POST /v1/signups",
        "fault": "CheckViolation",
        "sqlstate": "23514",
        "constraint": "made_up_ck",
    }
    assert ours["request_id"] == answer.headers["apigw-requestid"]
    assert lambdas["errorMessage"] == "CheckViolation 23514 made_up_ck"
    assert SECRET not in f"{answer.raw}{ours}{lambdas}"


def test_a_company_that_cannot_be_opened_is_told_by_its_fields(bundle: serve) -> None:
    event = {"open_company": {"livemode": SECRET, "destination_url": "https://acme.example/", SECRET: 1}}
    report = invoke(bundle.url, "MigrateDatabaseFunction", event)
    assert report["errorMessage"] == "ValidationError extra_forbidden, livemode bool_type, name missing"
    assert SECRET not in str(report)
