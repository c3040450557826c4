"""Grants: whoever is given plans for some time has each for exactly that time, whatever else is given or ended."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from goodword.core import ids
from tests.support.tenants import Tenant

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PLANS = ("basic", "premium")

_HOLD = "SELECT hold_grants(%(company_id)s, %(user_id)s)"
_MAKE = "SELECT make_grant(%(company_id)s, %(user_id)s, %(grant)s, %(at)s)"
_STOP = "SELECT stop_grant(%(company_id)s, %(user_id)s, %(grant)s, %(at)s)"


@dataclass(eq=False)
class Given:
    """A grant as the model of these tests sees it: how long it is, and how long it has run."""

    id: UUID
    plan: str
    length: timedelta | None
    is_wellpass: bool
    ran: timedelta = timedelta(0)
    is_stopped: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_stopped or self.ran == self.length

    @property
    def left(self) -> timedelta:
        return timedelta.max if self.length is None else self.length - self.ran


@dataclass
class Person:
    """All grants of somebody, lived through from one change to the next."""

    now: datetime = BEGIN
    given: list[Given] = field(default_factory=list[Given])

    def states(self) -> dict[UUID, str]:
        found: dict[UUID, str] = {}
        open_ones = [each for each in self.given if not each.is_over]
        wellpasses = [each for each in open_ones if each.is_wellpass]
        plans: set[str] = set()
        for each in self.given:
            if each.is_over:
                found[each.id] = "ended"
            elif each.is_wellpass:
                found[each.id] = "active" if each is wellpasses[0] else "scheduled"
            elif each.plan in plans:
                found[each.id] = "scheduled"
            else:
                plans.add(each.plan)
                found[each.id] = "paused" if wellpasses else "active"
        return found

    def running(self) -> list[Given]:
        states = self.states()
        return [each for each in self.given if states[each.id] == "active"]

    def live_until(self, at: datetime) -> None:
        while self.now < at:
            step = min([at - self.now, *(each.left for each in self.running())])
            for each in self.running():
                each.ran += step
            self.now += step


@dataclass(frozen=True)
class Move:
    """Something that happens to somebody's grants, `after` the move before."""

    after: timedelta
    plan: str | None = None
    days: int | None = 1
    is_wellpass: bool = False
    stops: int = 0


AFTER = st.sampled_from(
    [timedelta(0), timedelta(microseconds=1), timedelta(hours=7, microseconds=3), DAY, 2 * DAY, 5 * DAY]
)
PLAN = st.sampled_from(PLANS)
LENGTH = st.sampled_from([1, 2, 5, None])
USUAL = st.builds(Move, after=AFTER, plan=PLAN, days=LENGTH)
WELLPASS = st.builds(Move, after=AFTER, plan=PLAN, days=st.integers(1, 3), is_wellpass=st.booleans())
STOPPING = st.builds(Move, after=AFTER, stops=st.integers(0, 9))
MOVES = st.lists(USUAL | WELLPASS | STOPPING, min_size=1, max_size=12)


def seen(tenant: Tenant, user: UUID, at: datetime) -> list[dict[str, Any]]:
    return tenant.rows("SELECT * FROM grants_at(%(company_id)s, %(user)s, %(at)s) ORDER BY position", user=user, at=at)


def states(tenant: Tenant, user: UUID, at: datetime) -> list[tuple[UUID, str, int | None]]:
    return [(each["id"], each["status"], each["remaining_seconds"]) for each in seen(tenant, user, at)]


def expected(person: Person) -> list[tuple[UUID, str, int | None]]:
    states = person.states()
    return [(each.id, states[each.id], remaining_seconds(each)) for each in person.given]


def remaining_seconds(each: Given) -> int | None:
    if each.is_over:
        return 0
    return None if each.length is None else -(-each.left // timedelta(seconds=1))


def overlaps(tenant: Tenant, user: UUID) -> list[dict[str, Any]]:
    """What runs beside each other though it must not: one plan twice, or anything beside a wellpass."""
    return tenant.rows(
        """
        SELECT one.grant_id FROM grant_intervals one JOIN grant_intervals other ON other.user_id = one.user_id
            AND other.grant_id <> one.grant_id AND other.starts_at < one.ends_at AND other.ends_at > one.starts_at
        JOIN access_grants g ON g.company_id = one.company_id AND g.id = one.grant_id
        WHERE one.company_id = %(company_id)s AND one.user_id = %(user)s AND NOT one.is_paused AND NOT other.is_paused
            AND (one.plan_id = other.plan_id OR g.is_wellpass)
        """,
        user=user,
    )


def give(tenant: Tenant, user: UUID, new: Given, at: datetime) -> None:
    row = {
        "id": str(new.id), "plan_id": new.plan, "source": "admin", "is_wellpass": new.is_wellpass,
        "granted_seconds": None if new.length is None else new.length // timedelta(seconds=1),
    }  # fmt: skip
    with tenant.transaction("app") as connection:
        connection.execute(_HOLD, {"company_id": tenant.id, "user_id": user})
        connection.execute(_MAKE, {"company_id": tenant.id, "user_id": user, "grant": Jsonb(row), "at": at})


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    return tenant.add_user("ada")


def happen(tenant: Tenant, user: UUID, person: Person, move: Move) -> None:
    """The move in the database and in the model."""
    at = person.now + move.after
    person.live_until(at)
    if move.plan:
        new = Given(ids.new_id(), move.plan, None if move.days is None else move.days * DAY, move.is_wellpass)
        person.given.append(new)
        give(tenant, user, new, at)
    elif person.given:
        stopped = person.given[move.stops % len(person.given)]
        stopped.is_stopped = stopped.is_stopped or stopped.ran != stopped.length
        with tenant.transaction("app") as connection:
            connection.execute(_HOLD, {"company_id": tenant.id, "user_id": user})
            connection.execute(_STOP, {"company_id": tenant.id, "user_id": user, "grant": stopped.id, "at": at})


@pytest.mark.newest
@settings(
    max_examples=2 * settings().max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a user of their own each
)
@given(moves=MOVES, looks=st.lists(AFTER, min_size=1, max_size=4))
def test_any_sequence_conserves_time(tenant: Tenant, moves: list[Move], looks: list[timedelta]) -> None:
    user, person = tenant.add_user(ids.new_id().hex), Person()
    for move in moves:
        happen(tenant, user, person, move)
        assert states(tenant, user, person.now) == expected(person)
    foreseen = {each["id"]: each["ends_at"] for each in seen(tenant, user, person.now) if each["status"] == "active"}
    for later in looks:
        person.live_until(person.now + later)
        assert states(tenant, user, person.now) == expected(person)
    for each in person.given:
        if each.id in foreseen and not each.is_stopped and each.is_over:
            assert foreseen[each.id] <= person.now
    assert overlaps(tenant, user) == []
