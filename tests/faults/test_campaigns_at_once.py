"""Campaigns at once: no cap is overshot, a first cap misses nothing, and prizes are paid once whoever is killed."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from goodword.awards import campaign_ends
from goodword.core.jobs import Batch
from tests.faults.test_tiers_and_caps_at_once import PEOPLE, awarded, pay_at_once
from tests.functions.test_codes import unique
from tests.support import books, rows
from tests.support.clients import Call, Clients, call
from tests.support.companies import Company
from tests.support.connections import AsRole
from tests.support.waiting import wait_until_blocked

RUNS = 4
DAY = timedelta(days=1)
TIERS = [{"name": "one", "from": 0, "multiplier_bps": 10_000}]
AWARDS = {"registered": {"points": 0}, "welcome": {"points": 10}, "qualified": {"points": 25}}
PRIZES = [{"rank_from": 1, "rank_to": 2, "points": 100}, {"rank_from": 3, "rank_to": 50, "points": 10}]


def launch(company: Company, **fields: Any) -> str:  # noqa: ANN401 - fields of the body
    """An active campaign; its id."""
    now = datetime.now(UTC)
    dates = {"starts_at": (now - 5 * DAY).isoformat(), "ends_at": (now + 5 * DAY).isoformat()}
    campaign_id: str = company.ok("POST", "/v1/campaigns", {"name": "Winter", **dates, **fields})["id"]
    company.ok("PATCH", f"/v1/campaigns/{campaign_id}", {"status": "active"})
    return campaign_id


def code_of(company: Company, campaign_id: str, user: str) -> str:
    company.sign_up(user)
    body = {"type": "campaign", "code": unique("AT-ONCE"), "user_id": user, "campaign_id": campaign_id}
    code: str = company.ok("POST", "/v1/codes", body)["code"]
    return code


def signup(company: Company, user: str, code: str) -> Call:
    return call(company, "POST", "/v1/signups", {"user": {"external_id": user}, "referral_code": code})


def reserved(company: Company, campaign_id: str) -> int:
    points: int = company.ok("GET", f"/v1/campaigns/{campaign_id}")["reserved_points"]
    return points


def test_of_64_signups_at_once_as_many_are_welcomed_as_the_campaign_has_room_for(
    company: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    """By codes of four people: the cap is the campaign's, and not one person's."""
    room = 23
    campaign_id = launch(company, rules={"awards": AWARDS, "tiers": TIERS, "points_cap": room * 10 + 9})
    codes = [code_of(company, campaign_id, f"owner_{number}") for number in range(4)]
    answers = clients.fire_each(
        company.url, [signup(company, f"user_{number}", codes[number % 4]) for number in range(PEOPLE)]
    )
    assert [answer.status for answer in answers] == [201] * PEOPLE
    found = Counter((each["status"], each["reason"]) for each in awarded(superuser, company, "welcome"))
    assert found == {("paid", None): room, ("rejected", "budget_exhausted"): PEOPLE - room}
    assert reserved(company, campaign_id) == room * 10
    assert company.ok("GET", f"/v1/campaigns/{campaign_id}")["total_referrals"] == PEOPLE
    assert deadlocks() == []
    assert books.faults(superuser, company.id) == []


def test_of_64_who_qualify_at_once_as_many_are_paid_for_as_the_campaign_has_room_for(
    company: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    room, awards = 17, AWARDS | {"welcome": {"points": 0}}
    campaign_id = launch(company, rules={"awards": awards, "tiers": TIERS, "points_cap": room * 25 + 24})
    codes = [code_of(company, campaign_id, f"owner_{number}") for number in range(4)]
    people = [f"user_{number}" for number in range(PEOPLE)]
    for number, person in enumerate(people):
        company.sign_up(person, referral_code=codes[number % 4])
    pay_at_once(company, clients, people)
    found = Counter((each["status"], each["reason"]) for each in awarded(superuser, company, "qualified"))
    assert found == {("paid", None): room, ("rejected", "budget_exhausted"): PEOPLE - room}
    assert sum(company.balance(f"owner_{number}") for number in range(4)) == room * 25
    assert reserved(company, campaign_id) == room * 25
    assert deadlocks() == []
    assert books.faults(superuser, company.id) == []


def test_a_first_cap_that_comes_amid_signups_counts_them_all(
    company: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]]
) -> None:
    campaign_id = launch(company, rules={"awards": AWARDS, "tiers": TIERS})
    code = code_of(company, campaign_id, "owner")
    capped = call(company, "PATCH", f"/v1/campaigns/{campaign_id}", {"rules": {"points_cap": 1000}})
    plans = [[signup(company, f"user_{client}_{each}", code) for each in range(6)] for client in range(8)]
    read = call(company, "GET", f"/v1/campaigns/{campaign_id}")
    heard = clients.fire(company.url, [*plans, [read, capped, read]])
    assert {answer.status for answers in heard for answer in answers} == {200, 201}
    assert reserved(company, campaign_id) == 8 * 6 * 10
    assert deadlocks() == []
    assert books.faults(superuser, company.id) == []


def end(connection: psycopg.Connection) -> Batch:
    """One batch of the job, as `database.transact` runs it."""
    with connection.pipeline(), connection.transaction():
        return campaign_ends.end(connection)


def ended(company: Company) -> str:
    """A campaign whose end has passed, in which three people have brought somebody each."""
    campaign_id = launch(company, prizes=PRIZES)
    for name in ("ada", "ben", "cleo"):
        company.sign_up(f"by-{name}", referral_code=code_of(company, campaign_id, name))
        company.ok("POST", "/v1/activations", {"user_id": f"by-{name}"})
    return campaign_id


def test_prizes_are_paid_once_by_four_runs_of_which_one_is_killed(
    company: Company, clients: Clients, superuser: psycopg.Connection, as_role: AsRole
) -> None:
    """The first run waits for a winner's wallet while the others come by; it is killed, and others take it up."""
    campaign_id = ended(company)
    pay_at_once(company, clients, ["by-ada", "by-ben", "by-cleo"])
    before = [company.balance(name) for name in ("ada", "ben", "cleo")]
    company.set_clock(datetime.now(UTC) + 6 * DAY)
    runs, holder = [as_role("jobs") for _ in range(RUNS)], as_role("superuser")
    for run in runs:
        run.execute("SET lock_timeout = 0")
    with ThreadPoolExecutor(RUNS) as threads:
        with holder.transaction():
            holder.execute("SELECT 1 FROM wallets WHERE company_id = %s FOR UPDATE", (company.id,))
            first = threads.submit(end, runs[0])
            wait_until_blocked(superuser)
            for run in runs[1:]:
                end(run)
            superuser.execute("SELECT pg_terminate_backend(%s)", (runs[0].info.backend_pid,))
            assert isinstance(first.exception(), psycopg.OperationalError)
        assert rows.count(superuser, company.id)["campaign_ranks"] == 0
        again = [threads.submit(end, run) for run in runs[1:]]
        assert sum(each.result().counts["campaigns"] for each in again) >= 1
    after = [company.balance(name) for name in ("ada", "ben", "cleo")]
    assert sorted(late - early for late, early in zip(after, before, strict=True)) == [10, 100, 100]
    assert company.ok("GET", f"/v1/campaigns/{campaign_id}")["ranked_at"] is not None
    assert not any(end(run).counts["campaigns"] for run in runs[1:])
    told = rows.find(
        superuser,
        "SELECT type, count(*) AS events FROM outbox_events WHERE company_id = %(id)s"
        " AND type IN ('campaign.ended', 'campaign.prize_paid') GROUP BY type",
        id=company.id,
    )
    assert {each["type"]: each["events"] for each in told} == {"campaign.ended": 1, "campaign.prize_paid": 3}
    assert books.faults(superuser, company.id) == []
