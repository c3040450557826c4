"""Statements: what came and went over a period, exact at every instant, whether or not expiry is booked."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from local.client import Client
from tests.support import books
from tests.support.answers import fields, problem, time_of
from tests.support.companies import Company
from tests.support.points import buy, give, post, refund, transactions

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
SUMS = ("earned", "spent", "expired", "reversed", "entries")


@pytest.fixture
def ada(company: Company) -> Company:
    """A company in January 2027, with Ada."""
    company.set_clock(NOON)
    company.sign_up("ada")
    return company


@pytest.fixture(autouse=True)
def the_books_are_right(company: Company, superuser: psycopg.Connection) -> Iterator[None]:
    """Whatever a test did, the ledger agrees with itself afterwards."""
    yield
    assert books.faults(superuser, company.id) == []


def text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def statement(company: Company, since: datetime | str, until: datetime | str | None = None) -> Any:  # noqa: ANN401
    named = {"from": since} | ({} if until is None else {"to": until})
    query = "&".join(f"{name}={text(at) if isinstance(at, datetime) else at}" for name, at in named.items())
    return company.ok("GET", f"/v1/users/ada/statement?{query}")


def live(company: Company, superuser: psycopg.Connection) -> list[datetime]:
    """A month in which everything happens that can happen to a wallet; its instants. Nothing books the last expiry."""

    def at(days: int) -> None:
        company.set_clock(NOON + days * DAY)

    give(company, 100, key="start")
    give(company, 30, key="short", expires_at=text(NOON + 10 * DAY))
    give(company, 7, key="kept", expires_at=text(NOON + 4 * DAY), priority=1000)
    at(1)
    redemption_id = buy(company, key="r1", cost_points=40)
    post(superuser, company.id, "IMPORT", 50, reference="import", months=1)
    at(5)
    give(company, -3, key="taken")
    at(6)
    post(superuser, company.id, "REVERSAL", 20, reference="import", occasion="1")
    at(12)
    refund(company, redemption_id, key="f1")
    at(13)
    buy(company, key="r2", cost_points=120)
    at(14)
    post(superuser, company.id, "REVERSAL", 30, reference="import", occasion="2")
    at(15)
    give(company, 5, key="for-debt")
    at(16)
    post(superuser, company.id, "REINSTATEMENT", 50, reference="import", occasion="2")
    give(company, 9, key="for-nobody", expires_at=text(NOON + 20 * DAY))
    at(30)
    return [NOON + days * DAY for days in (0, 1, 4, 5, 6, 10, 12, 13, 14, 15, 16, 20, 30)]


def test_a_statement_says_what_came_and_went(ada: Company) -> None:
    give(ada, 100, key="start")
    give(ada, 20, key="soon", expires_at=text(NOON + 2 * DAY))
    ada.set_clock(NOON + DAY)
    buy(ada, key="r1", cost_points=15)
    give(ada, -10, key="back")
    ada.set_clock(NOON + 3 * DAY)
    give(ada, 7, key="more")
    answer = statement(ada, NOON + DAY, NOON + 3 * DAY)
    assert answer == {
        "user_id": "ada", "from": text(NOON + DAY), "to": text(NOON + 3 * DAY), "opening": 120, "earned": 0,
        "spent": 25, "expired": 0, "reversed": 0, "closing": 95, "opening_debt": 0, "closing_debt": 0,
        "by_type": {"REDEMPTION_QUOTA": -15, "ADMIN_GRANT": -10}, "entries": 2,
    }  # fmt: skip


def test_the_sums_are_exact_and_adjoin_over_everything_that_can_happen(
    ada: Company, superuser: psycopg.Connection
) -> None:
    """Of any three instants: two statements add up to the third, and each closes as the balance then stood."""
    instants = live(ada, superuser)
    edges = sorted({edge for at in instants[:-1] for edge in (at - TICK, at, at + TICK)})
    balances = {edge: ada.ok("GET", f"/v1/users/ada/balance?as_of={text(edge - TICK)}") for edge in edges}
    statements = {(a, b): statement(ada, a, b) for a, b in itertools.combinations_with_replacement(edges, 2)}
    for (a, b), each in statements.items():
        assert (time_of(each["from"]), time_of(each["to"])) == (a, b)
        assert each["opening"] + each["earned"] - each["spent"] - each["expired"] - each["reversed"] == each["closing"]
        assert (each["opening"], each["opening_debt"]) == (balances[a]["balance"], balances[a]["debt"])
        assert (each["closing"], each["closing_debt"]) == (balances[b]["balance"], balances[b]["debt"])
        for name, sign in (("earned", 1), ("spent", -1), ("expired", -1), ("reversed", -1)):
            assert each[name] == sign * (balances[b][f"total_{name}"] - balances[a][f"total_{name}"])
        assert sum(each["by_type"].values()) == each["closing"] - each["opening"]
    first = edges[0]
    for a, b in itertools.combinations(edges, 2):
        for name in SUMS:
            assert statements[first, b][name] == statements[first, a][name] + statements[a, b][name]
    whole = statements[first, edges[-1]]
    assert (whole["opening"], [whole[name] for name in SUMS]) == (0, [201, 123, 46, 0, 18])


def test_a_statement_is_the_same_before_and_after_expiry_is_booked(ada: Company, superuser: psycopg.Connection) -> None:
    instants = live(ada, superuser)
    periods = list(itertools.combinations(instants, 2))
    before = [statement(ada, a, b) for a, b in periods]
    assert not transactions(ada, f"?type=EXPIRY&from={text(NOON + 20 * DAY)}")["data"]
    give(ada, 1, key="books-expiry")
    assert [entry["delta"] for entry in transactions(ada, f"?type=EXPIRY&from={text(NOON + 20 * DAY)}")["data"]] == [-9]
    assert [statement(ada, a, b) for a, b in periods] == before
    for each in before:  # now that all is booked, the entries themselves are the statement
        listed = transactions(ada, f"?limit=100&from={each['from']}&to={each['to']}")["data"]
        by_type = {kind: sum(e["delta"] for e in listed if e["type"] == kind) for kind in {e["type"] for e in listed}}
        assert (each["entries"], each["by_type"]) == (len(listed), by_type)


def test_points_that_expire_count_from_their_very_instant(ada: Company) -> None:
    soon = NOON + DAY
    give(ada, 10, key="one", expires_at=text(soon))
    give(ada, 5, key="two", expires_at=text(soon))
    give(ada, 2, key="three", expires_at=text(soon + TICK))
    ada.set_clock(soon + DAY)
    statements = [statement(ada, soon, soon + ticks * TICK) for ticks in range(3)]
    assert [(each["opening"], each["expired"], each["closing"], each["entries"]) for each in statements] == [
        (17, 0, 17, 0), (17, 15, 2, 1), (17, 17, 0, 2),
    ]  # fmt: skip
    assert statements[2]["by_type"] == {"EXPIRY": -17}
    assert statement(ada, soon + TICK)["opening"] == 2


def test_more_may_be_given_back_than_was_taken(ada: Company, superuser: psycopg.Connection) -> None:
    give(ada, 100, key="start")
    post(superuser, ada.id, "IMPORT", 50, reference="import")
    redemption_id = buy(ada, key="r1", cost_points=40)
    post(superuser, ada.id, "REVERSAL", 50, reference="import")
    ada.set_clock(NOON + DAY)
    refund(ada, redemption_id, key="f1")
    post(superuser, ada.id, "REINSTATEMENT", 50, reference="import")
    answer = statement(ada, NOON + DAY)
    assert (answer["opening"], answer["spent"], answer["reversed"], answer["closing"]) == (60, -40, -50, 150)


def test_debt_is_carried_over(ada: Company, superuser: psycopg.Connection) -> None:
    post(superuser, ada.id, "IMPORT", 50, reference="import")
    buy(ada, key="r1", cost_points=50)
    ada.set_clock(NOON + DAY)
    post(superuser, ada.id, "REVERSAL", 50, reference="import")
    ada.set_clock(NOON + 2 * DAY)
    give(ada, 20, key="more")
    reversed_, repaid = statement(ada, NOON + DAY, NOON + 2 * DAY), statement(ada, NOON + 2 * DAY)
    assert [(each["opening_debt"], each["closing_debt"]) for each in (reversed_, repaid)] == [(0, 50), (50, 30)]
    # the balance was empty: nothing could be taken from it
    assert (reversed_["reversed"], reversed_["closing"], reversed_["by_type"]) == (0, 0, {"REVERSAL": 0})
    assert (repaid["earned"], repaid["reversed"], repaid["closing"]) == (20, 20, 0)
    assert repaid["by_type"] == {"ADMIN_GRANT": 20, "DEBT_REPAYMENT": -20}


@pytest.mark.parametrize("until", [None, "2027-01-15T12:00:00.000001Z", "2027-01-16", "2999-12-31T23:59:59Z"])
def test_a_statement_without_an_end_ends_just_after_now(ada: Company, until: str | None) -> None:
    give(ada, 100, key="start")
    answer = statement(ada, "2027-01-01", until)
    assert (time_of(answer["to"]), answer["closing"], answer["entries"]) == (NOON + TICK, 100, 1)
    assert ada.ok("GET", f"/v1/users/ada/balance?as_of={text(time_of(answer['to']) - TICK)}")["balance"] == 100
    assert statement(ada, answer["from"], answer["to"]) == answer
    following = statement(ada, answer["to"])
    assert (following["opening"], following["closing"], following["entries"]) == (100, 100, 0)


def test_what_happens_at_the_end_is_no_longer_in_it(ada: Company) -> None:
    give(ada, 100, key="start")
    answer = statement(ada, NOON - DAY, NOON)
    assert (time_of(answer["to"]), answer["closing"], answer["by_type"], answer["entries"]) == (NOON, 0, {}, 0)


def test_real_time_is_now_where_no_clock_is_set(company: Company) -> None:
    company.sign_up("ada")
    give(company, 10, key="start")
    answer = statement(company, "2026-01-01")
    assert (answer["earned"], answer["closing"]) == (10, 10)
    since = time_of(transactions(company)["data"][0]["effective_at"])
    assert time_of(answer["to"]) > since
    assert statement(company, since)["earned"] == 10


def test_somebody_without_a_wallet_has_an_empty_statement(ada: Company) -> None:
    answer = statement(ada, "2027-01-01")
    shown = (*SUMS, "opening", "closing", "opening_debt", "closing_debt", "by_type")
    assert {name: answer[name] for name in shown} == {
        "earned": 0, "spent": 0, "expired": 0, "reversed": 0, "entries": 0, "opening": 0, "closing": 0,
        "opening_debt": 0, "closing_debt": 0, "by_type": {},
    }  # fmt: skip


def test_each_user_has_their_own_statement(ada: Company, other: Company) -> None:
    ada.sign_up("bob")
    other.sign_up("ada")
    for company, user in ((ada, "bob"), (other, "ada")):
        give(company, 10, key="x", user=user, expires_at=text(NOON + DAY))
    give(ada, 1, key="y")
    ada.set_clock(NOON + 2 * DAY)
    assert statement(ada, "2027-01-01")["by_type"] == {"ADMIN_GRANT": 1}
    problem(other.api.send("GET", "/v1/users/bob/statement?from=2027-01-01"), 404, "user_not_found")


def test_a_statement_needs_a_period_that_ends_after_it_begins(ada: Company) -> None:
    path = "/v1/users/ada/statement"
    assert fields(ada.api.send("GET", path)) == {"from"}
    assert fields(ada.api.send("GET", f"{path}?to=2027-01-01")) == {"from"}
    for query in (
        "from=2027-01-02&to=2027-01-01",
        "from=2027-01-01T00:00:00.000001Z&to=2027-01-01",
        "from=2027-01-15T12:00:00.000002Z",
        "from=2027-01-16",
        "from=2028-01-01&to=2029-01-01",
    ):
        assert fields(ada.api.send("GET", f"{path}?{query}")) == {"from"}, query
    problem(ada.api.send("GET", "/v1/users/nobody/statement?from=2027-01-02&to=2027-01-01"), 404, "user_not_found")


def test_reading_is_enough(ada: Company, superuser: psycopg.Connection) -> None:
    reader = Client(ada.url, api_keys.create(superuser, ada.id, livemode=False, scope=Scope.READ))
    assert reader.send("GET", "/v1/users/ada/statement?from=2027-01-01").status == 200
    reader.close()


# Where a day has its midnight twice, or none, it begins with its first instant.
@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", "2026-07-01", "2026-07-01T00:00:00Z"),
        ("America/New_York", "2026-07-01", "2026-07-01T04:00:00Z"),
        ("America/New_York", "2026-12-01", "2026-12-01T05:00:00Z"),
        ("Asia/Kathmandu", "2026-07-01", "2026-06-30T18:15:00Z"),
        ("Pacific/Kiritimati", "2026-07-01", "2026-06-30T10:00:00Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),  # from 01:00 back to 00:00
        ("America/Havana", "2026-11-02", "2026-11-02T05:00:00Z"),
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00Z"),  # from 00:00 on to 01:00
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),  # from 00:00 on to 01:00
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00Z"),  # from 00:00 back to 23:00
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),  # a day that never was
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_day_begins_in_the_companys_time_zone(
    ada: Company, superuser: psycopg.Connection, zone: str, day: str, start: str
) -> None:
    superuser.execute("UPDATE companies SET time_zone = %(zone)s WHERE id = %(id)s", {"zone": zone, "id": ada.id})
    answer = statement(ada, day, day)
    assert time_of(answer["from"]) == time_of(answer["to"]) == datetime.fromisoformat(start)
