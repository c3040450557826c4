"""What is kept under an Idempotency-Key: decisions. What decided nothing may be asked again under the same key."""

from typing import Any

import psycopg
import pytest

from goodword.core.idempotency import BROWSERS_KEYS_KEPT
from local.client import Answer
from tests.support import rows
from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.requests import ADA, OF_ADA, REQUESTS, ROUTES, Asked

LATER = "late-comer"
ABOUT_A_USER = [
    key
    for key, good in REQUESTS.items()
    if key.startswith("POST") and ("{user_id}" in key or ADA in (good.body or {}).values())
    if not any(thing in key for thing in OF_ADA)
]
DAY_AGO = "UPDATE idempotent_answers SET kept_until = kept_until - %(kept)s WHERE company_id = %(id)s"


def about_another(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same body about the one who signs up later."""
    return {name: LATER if member == ADA else member for name, member in value.items()}


def kept(superuser: psycopg.Connection, company: Company) -> int:
    return rows.count(superuser, company.id)["idempotent_answers"]


def report(company: Company, code: str, key: str, **fields: object) -> Answer:
    """A click that a page reports."""
    headers = {"authorization": f"Bearer {company.pub}", "idempotency-key": key}
    return company.browser.send("POST", "/v1/clicks", {"code": code, **fields}, headers=headers)


def test_the_routes_about_a_user_are_known() -> None:
    assert set(ABOUT_A_USER) >= {"POST /v1/activations", "POST /v1/codes", "POST /v1/users/{user_id}/usage"}
    assert all(REQUESTS[key].idempotent for key in ABOUT_A_USER)


@pytest.mark.parametrize("key", ABOUT_A_USER)
def test_what_was_sent_before_the_user_had_signed_up_is_done_when_they_have(
    company: Company, superuser: psycopg.Connection, key: str
) -> None:
    asked = Asked(company)
    body, path, headers = about_another(asked.body(key)), asked.path(key, user_id=LATER), {"idempotency-key": "one"}
    before = rows.count(superuser, company.id)
    for _ in range(2):
        answer = company.api.send("POST", path, body, headers=headers)
        problem(answer, 404, "user_not_found")
        assert "idempotent-replay" not in answer.headers
    assert rows.count(superuser, company.id) == before

    company.sign_up(LATER)
    company.ok("POST", f"/v1/users/{LATER}/points", {"points": 100, "note": ""}, key="points")
    done = company.api.send("POST", path, body, headers=headers)
    assert done.status in ROUTES[key].answers, done.raw
    again = company.api.send("POST", path, body, headers=headers)
    assert (again.status, again.raw) == (done.status, done.raw)
    assert again.headers["idempotent-replay"] == "true"


@pytest.mark.parametrize("path", [
    "/v1/redemptions/red_{0}/refund", "/v1/inbox/inb_{0}/replay", "/v1/inbox/inb_{0}/discard",
])  # fmt: skip
def test_of_what_nobody_knows_nothing_is_kept(company: Company, superuser: psycopg.Connection, path: str) -> None:
    answer = company.api.send("POST", path.format("0" * 32), headers={"idempotency-key": "k"})
    assert answer.status == 404
    assert kept(superuser, company) == 0
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ada"}}, key="k", status=201)


def test_another_request_under_a_key_that_decided_nothing_is_done(company: Company) -> None:
    company.sign_up("ada")
    nobody = company.api.send("POST", "/v1/activations", {"user_id": "eve"}, headers={"idempotency-key": "k"})
    problem(nobody, 404, "user_not_found")
    company.ok("POST", "/v1/activations", {"user_id": "ada"}, key="k", status=200)


def test_another_request_under_a_key_never_takes_the_place_of_the_first_answer(
    company: Company, superuser: psycopg.Connection
) -> None:
    first = company.api.send("POST", "/v1/signups", {"user": {"external_id": "ada"}}, headers={"idempotency-key": "k"})
    for path, body in (("/v1/users/ada/usage", {"feature": "photos"}), ("/v1/activations", {"user_id": "eve"})):
        other = company.api.send("POST", path, body, headers={"idempotency-key": "k"})
        problem(other, 409, "idempotency_key_reused")
    assert kept(superuser, company) == 1
    again = company.api.send("POST", "/v1/signups", {"user": {"external_id": "ada"}}, headers={"idempotency-key": "k"})
    assert (again.status, again.raw) == (201, first.raw)


def test_a_rate_limit_is_over_when_it_is_over(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")
    program = company.ok("GET", "/v1/program")["program"]
    company.ok("PUT", "/v1/program", {**program, "limits": {**program["limits"], "code_creations_per_hour": 1}})
    company.ok("POST", "/v1/codes", {"code": f"ONE-{company.id.hex[:12]}", "user_id": "ada"})
    body = {"code": f"TWO-{company.id.hex[:12]}", "user_id": "ada"}
    answer = company.api.send("POST", "/v1/codes", body, headers={"idempotency-key": "k"})
    problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0
    superuser.execute("DELETE FROM rate_windows WHERE company_id = %(id)s", {"id": company.id})
    company.ok("POST", "/v1/codes", body, key="k", status=201)


def test_a_browsers_refusal_is_not_kept(company: Company, superuser: psycopg.Connection) -> None:
    problem(report(company, "NO-SUCH-CODE", "k"), 422, "unknown_code")
    assert kept(superuser, company) == 0
    code = company.sign_up("ada")["user"]["referral_code"]
    assert report(company, code, "k").status == 201


def test_a_browsers_click_is_counted_once_a_day_under_its_key(company: Company, superuser: psycopg.Connection) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    first = report(company, code, "k")
    assert report(company, code, "k").raw == first.raw
    problem(report(company, code, "k", app_id="web"), 409, "idempotency_key_reused")
    superuser.execute(DAY_AGO, {"kept": BROWSERS_KEYS_KEPT, "id": company.id})
    second = report(company, code, "k", app_id="web")
    assert second.json["id"] != first.json["id"]
    assert report(company, code, "k", app_id="web").raw == second.raw
    assert kept(superuser, company) == 1


def test_the_keys_of_browsers_are_gone_after_a_day_and_a_servers_stay(
    company: Company, superuser: psycopg.Connection
) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    for number in range(3):
        assert report(company, code, f"k{number}").status == 201
    superuser.execute(DAY_AGO, {"kept": BROWSERS_KEYS_KEPT, "id": company.id})
    assert report(company, code, "fresh").status == 201
    company.ok("POST", "/v1/clicks", {"code": code}, key="server's", status=201)
    run = company.browser.send("POST", "/_local/functions/EnforceRetentionFunction/invocations", {})
    assert run.json["keys"] >= 3
    left = rows.find(
        superuser, "SELECT key FROM idempotent_answers WHERE company_id = %(id)s ORDER BY key", id=company.id
    )
    assert left == [{"key": "browser fresh"}, {"key": "server's"}]
