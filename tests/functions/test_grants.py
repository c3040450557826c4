"""Plans given for a time: who has which when, what pauses what, and what is announced of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.answers import problem
from tests.support.companies import Company
from tests.support.jobs import run_job

T0 = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def ada(company: Company) -> str:
    company.set_clock(T0)
    company.sign_up("ada")
    return "/v1/users/ada"


def give(company: Company, user: str, plan: str, days: int | None) -> dict[str, Any]:
    return company.ok("POST", f"{user}/grants", {"plan": plan, "days": days, "reason": "a test"}, status=201)


def wellpass(company: Company, user: str, plan: str, days: int, code: str) -> dict[str, Any]:
    company.ok("POST", "/v1/coupons", {"type": "wellpass", "plan": plan, "duration_days": days, "code": code})
    return company.ok("POST", f"{user}/coupons", {"code": code}, key=code, status=201)["grant"]


def grants(company: Company, user: str) -> dict[str, Any]:
    return {each["id"]: each for each in company.ok("GET", f"{user}/grants")["data"]}


def at(time: datetime) -> str:
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def announced(superuser: psycopg.Connection, company: Company) -> list[tuple[str, str]]:
    return superuser.execute(
        "SELECT type, data ->> 'id' FROM outbox_events WHERE company_id = %s AND type LIKE 'grant.%%' ORDER BY id",
        (company.id,),
    ).fetchall()


def test_a_grant_runs_from_now_until_its_last_day_is_over(company: Company, ada: str) -> None:
    grant = give(company, ada, "premium", 30)
    assert grant == {
        "id": grant["id"], "plan": "premium", "source": "admin", "coupon_id": None, "redemption_id": None,
        "milestone_id": None, "reason": "a test", "starts_at": at(T0), "ends_at": at(T0 + 30 * DAY),
        "status": "active", "paused_by": None, "paused_at": None, "remaining_seconds": 30 * 86_400,
        "remaining_days": 30, "created_at": at(T0),
    }  # fmt: skip
    assert company.ok("GET", ada)["plan"] == "premium"
    company.set_clock(T0 + 30 * DAY - timedelta(microseconds=1))
    assert (
        grants(company, ada)[grant["id"]] | {"remaining_seconds": 1, "remaining_days": 1}
        == grants(company, ada)[grant["id"]]
    )
    assert company.ok("GET", ada)["plan"] == "premium"
    company.set_clock(T0 + 30 * DAY)
    ended = grants(company, ada)[grant["id"]]
    assert (ended["status"], ended["ends_at"], ended["remaining_seconds"]) == ("ended", at(T0 + 30 * DAY), 0)
    assert company.ok("GET", ada)["plan"] == "free"


def test_of_one_plan_one_grant_after_the_other_and_others_beside(company: Company, ada: str) -> None:
    first, second, other = (give(company, ada, *each) for each in (("basic", 10), ("basic", 5), ("premium", 3)))
    assert (second["status"], second["starts_at"], second["ends_at"]) == (
        "scheduled", at(T0 + 10 * DAY), at(T0 + 15 * DAY),
    )  # fmt: skip
    assert other["status"] == "active"
    company.set_clock(T0 + 4 * DAY)
    assert company.ok("GET", ada)["plan"] == "basic"
    company.ok("POST", f"{ada}/grants/{first['id']}/end", {"reason": "enough"})
    assert grants(company, ada)[second["id"]]["starts_at"] == at(T0 + 4 * DAY)
    behind = give(company, ada, "basic", None)
    last = give(company, ada, "basic", 1)
    assert (behind["starts_at"], behind["ends_at"]) == (at(T0 + 9 * DAY), None)
    assert (last["status"], last["starts_at"], last["ends_at"]) == ("scheduled", None, None)


def test_a_wellpass_pauses_what_runs_and_each_goes_on_with_what_it_had(company: Company, ada: str) -> None:
    basic, premium = give(company, ada, "basic", 10), give(company, ada, "premium", 10)
    company.set_clock(T0 + 4 * DAY)
    pass_ = wellpass(company, ada, "basic", 7, "PASS")
    made_meanwhile = give(company, ada, "selfhosted", 2)
    seen = grants(company, ada)
    assert pass_["status"] == "active"
    for grant in (basic, premium):
        paused = seen[grant["id"]]
        assert (paused["status"], paused["paused_by"], paused["paused_at"]) == ("paused", pass_["id"], at(T0 + 4 * DAY))
        assert (paused["starts_at"], paused["ends_at"], paused["remaining_days"]) == (at(T0), None, 6)
    assert (made_meanwhile["status"], made_meanwhile["starts_at"]) == ("paused", at(T0 + 4 * DAY))
    assert company.ok("GET", ada)["plan"] == "basic"
    company.set_clock(T0 + 11 * DAY)
    seen = grants(company, ada)
    assert seen[premium["id"]]["ends_at"] == at(T0 + 17 * DAY)
    assert seen[made_meanwhile["id"]]["ends_at"] == at(T0 + 13 * DAY)
    assert company.ok("GET", ada)["plan"] == "selfhosted"


def test_a_second_wellpass_waits_for_the_first(company: Company, ada: str) -> None:
    basic = give(company, ada, "basic", 10)
    first = wellpass(company, ada, "premium", 3, "ONE")
    second = wellpass(company, ada, "premium", 3, "TWO")
    assert (second["status"], second["starts_at"]) == ("scheduled", at(T0 + 3 * DAY))
    company.set_clock(T0 + 3 * DAY)
    paused = grants(company, ada)[basic["id"]]
    assert (paused["paused_by"], paused["paused_at"]) == (second["id"], at(T0))
    company.ok("POST", f"{ada}/grants/{second['id']}/end", {"reason": "enough"})
    assert grants(company, ada)[basic["id"]]["status"] == "active"
    assert grants(company, ada)[first["id"]]["status"] == "ended"


def test_what_ends_before_it_ran_says_so(company: Company, ada: str) -> None:
    give(company, ada, "basic", 10)
    waiting = give(company, ada, "basic", 10)
    company.set_clock(T0 + DAY)
    ended = company.ok("POST", f"{ada}/grants/{waiting['id']}/end", {"reason": "enough"})
    assert (ended["status"], ended["starts_at"], ended["ends_at"]) == ("ended", at(T0 + DAY), at(T0 + DAY))
    assert company.ok("POST", f"{ada}/grants/{waiting['id']}/end", {"reason": "again"}) == ended


def test_each_change_is_announced_once_by_the_request_or_by_the_job(
    company: Company, ada: str, superuser: psycopg.Connection
) -> None:
    basic = give(company, ada, "basic", 10)["id"]
    company.set_clock(T0 + DAY)
    pass_ = wellpass(company, ada, "premium", 2, "PASS")["id"]
    company.set_clock(T0 + 20 * DAY)
    for _ in range(2):
        run_job(company.url, "ExpireAccessFunction")
    assert announced(superuser, company) == [
        ("grant.started", basic), ("grant.paused", basic), ("grant.started", pass_), ("grant.ended", pass_),
        ("grant.resumed", basic), ("grant.ended", basic),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan": "gold", "days": 3, "reason": "x"}, "plan"),
        ({"plan": "basic", "days": 0, "reason": "x"}, "days"),
        ({"plan": "basic", "days": 3651, "reason": "x"}, "days"),
        ({"plan": "basic", "days": "3", "reason": "x"}, "days"),
        ({"plan": "basic", "reason": "x"}, "days"),
        ({"plan": "basic", "days": 3}, "reason"),
        ({"plan": "basic", "days": 3, "reason": ""}, "reason"),
        ({"plan": "basic", "days": 3, "reason": "x", "source": "trial"}, "source"),
    ],
)
def test_what_cannot_be_given_is_refused_by_its_field(company: Company, ada: str, body: object, field: str) -> None:
    refused = problem(company.api.send("POST", f"{ada}/grants", body), 422, "invalid_request")
    assert [each["field"] for each in refused["errors"]] == [field]
    assert grants(company, ada) == {}


@pytest.mark.usefixtures("ada")
def test_nobody_elses_grant_is_ended(company: Company) -> None:
    company.sign_up("ben")
    grant = give(company, "/v1/users/ada", "basic", 3)["id"]
    for path in (f"/v1/users/ben/grants/{grant}/end", "/v1/users/ada/grants/grt_1/end"):
        problem(company.api.send("POST", path, {"reason": "x"}), 404, "grant_not_found")
    problem(company.api.send("POST", f"/v1/users/zoe/grants/{grant}/end", {"reason": "x"}), 404, "user_not_found")
    assert grants(company, "/v1/users/ada")[grant]["status"] == "active"


def test_what_changes_twice_at_one_instant_is_told_twice(
    company: Company, ada: str, superuser: psycopg.Connection
) -> None:
    plan = give(company, ada, "premium", 10)["id"]
    first = wellpass(company, ada, "basic", 5, "FIRST")["id"]
    company.ok("POST", f"{ada}/grants/{first}/end", {"reason": "a slip"})
    second = wellpass(company, ada, "basic", 5, "SECOND")["id"]
    assert announced(superuser, company) == [
        ("grant.started", plan), ("grant.paused", plan), ("grant.started", first), ("grant.ended", first),
        ("grant.resumed", plan), ("grant.paused", plan), ("grant.started", second),
    ]  # fmt: skip


def test_what_the_clock_brings_is_told_though_it_is_changed_at_once(
    company: Company, ada: str, superuser: psycopg.Connection
) -> None:
    first, second = (give(company, ada, "premium", 1)["id"] for _ in range(2))
    company.set_clock(T0 + DAY)
    early = wellpass(company, ada, "basic", 1, "EARLY")["id"]
    company.set_clock(T0 + 2 * DAY)
    late = wellpass(company, ada, "basic", 1, "LATE")["id"]
    assert announced(superuser, company) == [
        ("grant.started", first), ("grant.ended", first), ("grant.started", second), ("grant.paused", second),
        ("grant.started", early), ("grant.ended", early), ("grant.resumed", second), ("grant.paused", second),
        ("grant.started", late),
    ]  # fmt: skip
