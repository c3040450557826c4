"""API keys: made, used, listed and revoked by the API, and what becomes of their secrets."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.core import auth
from goodword.core.auth import REMEMBERED_SECONDS, Scope
from local.client import Client
from local.setup import Prepared
from tests.functions.conftest import as_role
from tests.support import rows
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company

FAR = "8000-01-15T12:00:00Z"
PAST_KEY = "UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 second' WHERE id = %(id)s"


class Clock:
    """The clock of this process, by which keys are remembered."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """This process as a function that knows no key yet, with a clock that can be set."""
    clock = Clock()
    monkeypatch.setattr(auth, "time", clock)
    monkeypatch.setattr(auth, "_remembered", {})
    with as_role("app", prepared, monkeypatch):
        yield clock


def issue(company: Company, **wanted: object) -> dict[str, Any]:
    return company.ok("POST", "/v1/api-keys", {"name": "Reports", "scope": "read", **wanted}, status=201)


def id_of(key: dict[str, Any]) -> str:
    return key["id"].removeprefix("key_")


@pytest.mark.parametrize(("scope", "may"), [("read", 1), ("write", 2), ("admin", 3)])
def test_a_key_may_what_its_scope_says(company: Company, scope: str, may: int) -> None:
    key = issue(company, scope=scope, name="Billing")
    assert re.fullmatch(r"gw_test_[\w-]{40}", key["secret"])
    assert (key["name"], key["kind"], key["scope"], key["expires_at"]) == ("Billing", "secret", scope, None)
    client = Client(company.url, key["secret"])
    company.sign_up("ada")
    answers = [
        client.send("GET", "/v1/users/ada").status,
        client.send("POST", "/v1/activations", {"user_id": "ada"}).status,
        client.send("GET", "/v1/api-keys").status,
    ]
    assert answers == [200] * may + [403] * (3 - may)
    client.close()


def test_a_publishable_key_is_for_browsers_whatever_its_scope_says(company: Company) -> None:
    code = company.sign_up("ada")["user"]["referral_code"]
    for wanted in ({"scope": "admin"}, {"scope": None}):
        key = issue(company, kind="publishable", **wanted)
        assert (key["kind"], key["scope"], key["secret"][:7]) == ("publishable", "publishable", "gw_pub_")
        assert company.browser.send("GET", f"/v1/codes/{code}?key={key['secret']}").json["valid"] is True
        browser = Client(company.url, key["secret"])
        problem(browser.send("GET", "/v1/users/ada"), 403, "scope_insufficient")
        browser.close()


def test_a_live_companys_key_says_so(live: Company) -> None:
    assert issue(live)["secret"].startswith("gw_live_")


def test_a_secret_is_shown_once_and_stored_nowhere(company: Company, superuser: psycopg.Connection) -> None:
    answer = company.api.send(
        "POST", "/v1/api-keys", {"name": "Reports", "scope": "read"}, headers={"idempotency-key": "k"}
    )
    secret = answer.json["secret"]
    assert answer.json["prefix"] == secret[:12]
    assert secret not in company.api.send("GET", "/v1/api-keys").raw.decode()
    stored = rows.find(superuser, "SELECT body FROM idempotent_answers WHERE company_id = %(id)s", id=company.id)
    assert len(stored) == 1
    assert secret.rpartition("_")[2].encode() not in stored[0]["body"]
    keys = rows.find(superuser, "SELECT api_keys::text AS key FROM api_keys WHERE company_id = %(id)s", id=company.id)
    assert not any(secret in row["key"] for row in keys)


def test_a_lost_answer_is_given_again_with_its_secret(company: Company, superuser: psycopg.Connection) -> None:
    before = rows.count(superuser, company.id)["api_keys"]
    first, again = (
        company.api.send("POST", "/v1/api-keys", {"name": "Reports", "scope": "read"}, headers={"idempotency-key": "k"})
        for _ in range(2)
    )
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert again.headers["idempotent-replay"] == "true"
    assert rows.count(superuser, company.id)["api_keys"] == before + 1


def test_another_admins_key_is_not_told_the_secret(company: Company) -> None:
    colleague = Client(company.url, issue(company, scope="admin")["secret"])
    body, headers = {"name": "Reports", "scope": "read"}, {"idempotency-key": "k"}
    made = company.api.send("POST", "/v1/api-keys", body, headers=headers).json
    seen = colleague.send("POST", "/v1/api-keys", body, headers=headers)
    assert (seen.status, seen.json) == (201, made | {"secret": None})
    colleague.close()


def test_keys_are_listed_newest_first_without_those_that_are_revoked(company: Company, other: Company) -> None:
    issue(other)
    first = company.ok("GET", "/v1/api-keys")
    assert [(each["kind"], each["scope"]) for each in first["data"]] == [
        ("publishable", "publishable"), ("secret", "admin"),
    ]  # fmt: skip
    made = [issue(company, name=str(number)) for number in range(3)]
    company.ok("DELETE", f"/v1/api-keys/{made[1]['id']}", status=204)
    page = company.ok("GET", "/v1/api-keys?limit=2")
    assert ([each["name"] for each in page["data"]], page["has_more"]) == (["2", "0"], True)
    rest = company.ok("GET", f"/v1/api-keys?after={page['data'][-1]['id']}")
    assert [each["id"] for each in rest["data"]] == [each["id"] for each in first["data"]]
    stranger = other.ok("GET", "/v1/api-keys")["data"][0]["id"]
    assert fields(company.api.send("GET", f"/v1/api-keys?after={stranger}")) == {"after"}


def test_a_key_tells_when_it_was_last_used(company: Company, superuser: psycopg.Connection, clock: Clock) -> None:
    key = issue(company)

    def used() -> datetime | None:
        listed = {each["id"]: each["last_used_at"] for each in company.ok("GET", "/v1/api-keys")["data"]}
        return listed[key["id"]] and time_of(listed[key["id"]])

    assert used() is None
    before = datetime.now(UTC)
    assert auth.known_caller(key["secret"])
    first = used()
    assert first is not None
    assert before <= first <= datetime.now(UTC)
    clock.now += REMEMBERED_SECONDS
    assert auth.known_caller(key["secret"])
    assert used() == first, "within a minute it is not written again"
    earlier = "UPDATE api_keys SET last_used_at = last_used_at - interval '1 minute' WHERE id = %(id)s"
    superuser.execute(earlier, {"id": id_of(key)})
    clock.now += REMEMBERED_SECONDS
    assert auth.known_caller(key["secret"])
    assert (used() or first) > first


def test_a_revoked_key_works_for_30_seconds_at_most(company: Company, clock: Clock) -> None:
    key = issue(company)
    caller = auth.known_caller(key["secret"])
    assert caller is not None
    assert (caller.company_id, caller.scope) == (company.id, Scope.READ)
    company.ok("DELETE", f"/v1/api-keys/{key['id']}", status=204)
    clock.now += REMEMBERED_SECONDS - 0.001
    assert auth.known_caller(key["secret"]) == caller
    clock.now += 0.001
    assert auth.known_caller(key["secret"]) is None
    stranger = Client(company.url, key["secret"])  # to whom no function has spoken before
    problem(stranger.send("GET", "/v1/program"), 401, "key_unknown")
    stranger.close()


def test_a_key_is_revoked_once(company: Company, other: Company) -> None:
    key = issue(company)
    problem(other.api.send("DELETE", f"/v1/api-keys/{key['id']}"), 404, "api_key_not_found")
    for _ in range(2):
        company.ok("DELETE", f"/v1/api-keys/{key['id']}", status=204)
    for unknown in ("key_" + "0" * 32, "nonsense", f"usr_{id_of(key)}"):
        problem(company.api.send("DELETE", f"/v1/api-keys/{unknown}"), 404, "api_key_not_found")


def test_a_key_ends_by_the_clock_of_the_world(company: Company, superuser: psycopg.Connection, clock: Clock) -> None:
    company.set_clock(datetime(2100, 1, 1, tzinfo=UTC))
    soon = datetime.now(UTC) + timedelta(minutes=5)
    key = issue(company, expires_at=soon.isoformat())
    assert time_of(key["expires_at"]) == soon
    assert auth.known_caller(key["secret"])
    superuser.execute(PAST_KEY, {"id": id_of(key)})
    clock.now += REMEMBERED_SECONDS
    assert auth.known_caller(key["secret"]) is None
    client = Client(company.url, key["secret"])
    problem(client.send("GET", "/v1/program"), 401, "key_unknown")
    client.close()


def test_a_key_is_remembered_no_longer_than_it_lives(
    company: Company, superuser: psycopg.Connection, clock: Clock
) -> None:
    key = issue(company, expires_at=(datetime.now(UTC) + timedelta(seconds=20)).isoformat())
    assert auth.known_caller(key["secret"])
    superuser.execute(PAST_KEY, {"id": id_of(key)})
    clock.now += 20
    assert auth.known_caller(key["secret"]) is None


def test_the_last_key_of_scope_admin_stays(company: Company, superuser: psycopg.Connection) -> None:
    own = next(each["id"] for each in company.ok("GET", "/v1/api-keys")["data"] if each["scope"] == "admin")
    ended = issue(company, scope="admin", expires_at=FAR)
    superuser.execute(PAST_KEY, {"id": id_of(ended)})
    issue(company, scope="write")
    problem(company.api.send("DELETE", f"/v1/api-keys/{own}"), 422, "last_admin_key")
    second = issue(company, scope="admin")
    company.ok("DELETE", f"/v1/api-keys/{own}", status=204)
    successor = Client(company.url, second["secret"])
    problem(successor.send("DELETE", f"/v1/api-keys/{second['id']}"), 422, "last_admin_key")
    assert successor.send("DELETE", f"/v1/api-keys/{own}").status == 204, "once more, and it was not the last"
    successor.close()


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"scope": None}, "scope"),
        ({"scope": "publishable"}, "scope"),
        ({"kind": "root"}, "kind"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-01-01"}, "expires_at"),
        ({"secret": "gw_live_mine"}, "secret"),
        ({"id": "key_" + "0" * 32}, "id"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_field(
    shared: Company, superuser: psycopg.Connection, change: dict[str, object], wrong: str
) -> None:
    before = rows.count(superuser, shared.id)
    assert fields(shared.api.send("POST", "/v1/api-keys", {"name": "x", "scope": "read"} | change)) == {wrong}
    assert rows.count(superuser, shared.id) == before
