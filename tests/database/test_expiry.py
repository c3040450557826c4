"""Points expire exact to the microsecond, whether or not anybody has booked it; it is booked once per instant."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from goodword.core.errors import NotFound, Refused
from local import setup
from local.postgres import Cluster
from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until, wait_until_blocked

EARNED = datetime.fromisoformat("2030-01-31T12:00:00Z")
EXPIRES = datetime.fromisoformat("2030-02-28T12:00:00Z")
TICK = timedelta(microseconds=1)


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user with 25 points that expire at EXPIRES, and 5 that do not."""
    tenant.set_clock(EARNED)
    ada = tenant.add_user("ada")
    tenant.post(
        {"user_id": ada, "points": 25, "expiry_months": 1, "reference": "expiring"},
        {"user_id": ada, "points": 5, "reference": "lasting"},
    )
    return ada


@pytest.mark.parametrize(("offset", "left"), [(-TICK, 30), (timedelta(), 5), (TICK, 5)])
def test_what_may_be_spent_around_the_very_microsecond(tenant: Tenant, ada: UUID, offset: timedelta, left: int) -> None:
    tenant.set_clock(EXPIRES + offset)
    assert tenant.spendable(ada) == left
    read = tenant.balance("ada")
    assert (read.balance, read.total_earned, read.total_expired) == (left, 30, left - 30)
    assert tenant.wallet(ada)["balance"] == 30, "reading books nothing"
    refused = tenant.redeem("ada", tenant.add_option(cost=left + 1))
    assert (refused.status, refused.json["balance"], refused.json["required"]) == (422, left, left + 1)
    assert tenant.redeem("ada", tenant.add_option(cost=left)).json["balance_after"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


@contextmanager
def held_up(tenant: Tenant, cluster: Cluster, user_id: UUID) -> Iterator[Callable[..., Future[Any]]]:
    """Run what is given in threads, while nobody can empty the user's lots: each is in the middle when this returns.

    Nothing holds it up any more when the block is left, and then it is waited for.
    """
    with ThreadPoolExecutor() as threads, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder:
        holder.execute("SELECT 1 FROM goodword.lots WHERE user_id = %s FOR UPDATE", (user_id,))

        def run(work: Callable[..., Any], *given: object) -> Future[Any]:
            running = threads.submit(work, *given)
            wait_until_blocked(tenant.superuser)
            return running

        yield run


def kill(tenant: Tenant, victim: Tenant, role: str) -> None:
    """End a connection, wherever it is."""
    tenant.superuser.execute("SELECT pg_terminate_backend(%s)", (victim.connection(role).info.backend_pid,))


@pytest.fixture(params=["never", "once", "twice", "twice at once", "killed", "killed, then run"])
def job(request: pytest.FixtureRequest, tenant: Tenant, cluster: Cluster, ada: UUID) -> Callable[[], None]:
    """What the job does at each instant at which it is called; the points in question are Ada's."""

    def due() -> bool:
        return tenant.spendable(ada) != tenant.wallet(ada)["balance"]

    def twice_at_once() -> None:
        """The second begins and ends while the first is in the middle."""
        first, second = tenant.patient_twin("jobs"), tenant.twin()
        with held_up(tenant, cluster, ada) as run:
            running = run(first.book_expiry)
            second.book_expiry()
            assert tenant.changes(ada)[2:] == []
        running.result()

    def killed() -> None:
        victim = tenant.patient_twin("jobs")
        with held_up(tenant, cluster, ada) as run:
            running = run(victim.book_expiry)
            kill(tenant, victim, "jobs")
            with pytest.raises(psycopg.OperationalError):
                running.result()
        assert tenant.changes(ada)[2:] == []

    def work() -> None:
        if request.param == "never":
            return
        if request.param == "twice at once" and due():
            twice_at_once()
        elif request.param.startswith("killed") and due():
            killed()
        if request.param != "killed":
            tenant.book_expiry()
        if request.param == "twice":
            tenant.book_expiry()

    return work


def test_a_balance_is_exact_whatever_becomes_of_the_job(
    tenant: Tenant, ada: UUID, job: Callable[[], None], request: pytest.FixtureRequest
) -> None:
    """A microsecond before the expiry, at it and after it; then, and asked later."""
    said: dict[datetime, tuple[int, int]] = {}
    for moment in (EARNED, EXPIRES - TICK, EXPIRES, EXPIRES + TICK, EXPIRES + timedelta(days=1)):
        tenant.set_clock(moment)
        job()
        balance = tenant.balance("ada")
        said[moment] = balance.balance, balance.total_expired
        assert tenant.spendable(ada) == balance.balance
        assert [(each.points, each.expires_at) for each in balance.expiring] == [(25, EXPIRES)] * (moment < EXPIRES)
    assert list(said.values()) == [(30, 0), (30, 0), (5, -25), (5, -25), (5, -25)]
    booked = [("EXPIRY", -25, 0, 5, 0)] * (request.node.callspec.params["job"] not in {"never", "killed"})
    assert tenant.changes(ada)[2:] == booked
    for moment, expected in said.items():
        balance = tenant.balance("ada", moment)
        assert (balance.balance, balance.total_expired) == expected
    assert tenant.redeem("ada", tenant.add_option(cost=6)).json["balance"] == 5
    assert tenant.changes(ada)[2:] == [("EXPIRY", -25, 0, 5, 0)]
    assert tenant.entries(ada)[2]["effective_at"] == EXPIRES
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.parametrize("operation", ["job", "redeeming"])
def test_killed_between_two_instants_nothing_of_either_is_booked(
    tenant: Tenant, cluster: Cluster, ada: UUID, operation: str
) -> None:
    """The first instant's entry is written when its writer is killed at the second's lots."""
    second = EXPIRES + timedelta(days=1)
    tenant.adjust("ada", 7, expires_at=second)
    tenant.set_clock(second)
    role = "jobs" if operation == "job" else "app"
    option, victim = tenant.add_option(cost=1), tenant.patient_twin(role)
    before = tenant.wallet(ada)
    with ThreadPoolExecutor(1) as thread, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder:
        holder.execute("SELECT 1 FROM goodword.lots WHERE user_id = %s AND expires_at = %s FOR UPDATE", (ada, second))
        if operation == "job":
            running = thread.submit(victim.book_expiry)
        else:
            running = thread.submit(victim.redeem, "ada", option, key="once")
        wait_until_blocked(tenant.superuser)
        kill(tenant, victim, role)
        with pytest.raises(psycopg.OperationalError):
            running.result()
    assert (tenant.wallet(ada), len(tenant.entries(ada))) == (before, 3)
    assert tenant.spendable(ada) == tenant.balance("ada").balance == 5
    if operation == "job":
        tenant.book_expiry()
    else:
        assert [tenant.redeem("ada", option, key="once").replayed for _ in range(2)] == [False, True]
    spent = [] if operation == "job" else [("REDEMPTION_QUOTA", -1, 0, 4, 0)]
    assert tenant.changes(ada)[3:] == [("EXPIRY", -25, 0, 12, 0), ("EXPIRY", -7, 0, 5, 0), *spent]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_jobs_and_operations_at_once_book_each_expiry_once(tenant: Tenant, ada: UUID) -> None:
    """Jobs pass over a wallet that somebody else is using; who uses it books what they pass over."""
    people = [ada, *(tenant.add_user(f"user_{number}") for number in range(1, 12))]
    names = ["ada", *(f"user_{number}" for number in range(1, 12))]
    for person in people:
        tenant.post(*({"user_id": person, "points": 10, "expiry_months": months} for months in (1, 1, 2, 3)))
    tenant.set_clock(datetime.fromisoformat("2030-03-31T12:00:00Z"))

    def expire(_: int) -> None:
        tenant.twin().book_expiry()

    def give(_: int) -> list[int]:
        own = tenant.twin()
        return [own.adjust(name, 1).status for name in names]

    with ThreadPoolExecutor(6) as threads:
        working = [threads.submit(work, number) for number in range(3) for work in (expire, give)]
        assert [each.result() for each in working if each.result()] == [[201] * len(names)] * 3
    for person in people:
        assert tenant.spendable(person) == tenant.wallet(person)["balance"] == 13 + 5 * (person == ada)
        expired = [entry["delta"] for entry in tenant.entries(person) if entry["type"] == "EXPIRY"]
        assert expired == [-20 - 25 * (person == ada), -10]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_the_job_books_in_many_wallets_what_operations_book_in_each(tenant: Tenant, other_tenant: Tenant) -> None:
    """Two companies alike: lots of one instant and of several, partly spent ones, some that stay, and no lot at all."""

    def expire(company: Tenant, *, by_job: bool) -> list[object]:
        company.set_clock(EARNED)
        people = [company.add_user(f"user_{number}") for number in range(5)]
        for number, person in enumerate(people[1:], 1):
            company.post(*({"user_id": person, "points": 10, "expiry_months": n} for n in (1, 1, 2, None)[:number]))
            company.adjust(f"user_{number}", -3)
        company.set_clock(EXPIRES + timedelta(days=60))
        if by_job:
            company.book_expiry()
        for person in people:
            company.post({"user_id": person, "type": "REVERSAL", "points": 1, "reference": "of nothing"})
        assert books.faults(company.superuser, company.id) == []
        dated = [[(entry["version"], entry["effective_at"]) for entry in company.entries(person)] for person in people]
        assert [len(entries) for entries in dated] == [0, 3, 4, 6, 7]
        kept = [company.wallet(person)["next_expiry_at"] for person in people]
        return [dated, kept, *((company.changes(p), company.lots(p), company.burned(p)) for p in people)]

    assert expire(tenant, by_job=True) == expire(other_tenant, by_job=False)


def test_the_balance_says_what_will_expire(tenant: Tenant, ada: UUID) -> None:
    tenant.post({"user_id": ada, "points": 3, "expiry_months": 1}, {"user_id": ada, "points": 2, "expiry_months": 2})
    expiring = [(each.points, each.expires_at) for each in tenant.balance("ada").expiring]
    assert expiring == [(28, EXPIRES), (2, datetime.fromisoformat("2030-03-31T12:00:00Z"))]


def test_the_next_operation_books_each_instant_once(tenant: Tenant, ada: UUID) -> None:
    """Dated by the instant, however late; lots of one instant together, and before the operation itself."""
    later = EXPIRES + timedelta(days=1)
    tenant.adjust("ada", 4, expires_at=EXPIRES)
    tenant.adjust("ada", 7, expires_at=later)
    now = later + timedelta(days=100)
    tenant.set_clock(now)
    assert tenant.adjust("ada", 1).json["version"] == 7
    entries = tenant.entries(ada)[4:]
    assert [(e["type"], e["delta"], e["balance_after"], e["effective_at"], e["created_at"]) for e in entries] == [
        ("EXPIRY", -29, 12, EXPIRES, now),
        ("EXPIRY", -7, 5, later, now),
        ("ADMIN_GRANT", 1, 6, now, now),
    ]
    tenant.adjust("ada", 1)
    tenant.redeem("ada", tenant.add_option(cost=1))
    assert [e["type"] for e in tenant.entries(ada)[7:]] == ["ADMIN_GRANT", "REDEMPTION_QUOTA"]
    assert books.faults(tenant.superuser, tenant.id) == []


OPERATIONS: dict[str, Callable[[Tenant, UUID, UUID], object]] = {
    "earning": lambda tenant, ada, _: tenant.post({"user_id": ada, "points": 1}),
    "earning again": lambda tenant, ada, _: tenant.post({"user_id": ada, "points": 1, "reference": "lasting"}),
    "reversing": lambda tenant, ada, _: tenant.post({
        "user_id": ada, "type": "REVERSAL", "points": 1, "reference": "lasting", "occasion": "2",
    }),
    "reversing nothing": lambda tenant, ada, _: tenant.post({
        "user_id": ada, "type": "REVERSAL", "points": 1, "reference": "no such",
    }),
    "giving back": lambda tenant, ada, _: tenant.post({
        "user_id": ada, "type": "REINSTATEMENT", "points": 1, "reference": "lasting",
    }),
    "giving": lambda tenant, _ada, _: tenant.adjust("ada", 1),
    "taking": lambda tenant, _ada, _: tenant.adjust("ada", -1),
    "taking too much": lambda tenant, _ada, _: tenant.adjust("ada", -5),
    "redeeming": lambda tenant, _ada, _: tenant.redeem("ada", tenant.add_option(cost=1)),
    "redeeming too much": lambda tenant, _ada, _: tenant.redeem("ada", tenant.add_option(cost=5)),
    "refunding": lambda tenant, _ada, redemption: tenant.refund(redemption),
    "the job": lambda tenant, _ada, _: tenant.book_expiry(),
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_books_what_is_due_first(tenant: Tenant, ada: UUID, operation: str) -> None:
    tenant.post({"user_id": ada, "type": "REVERSAL", "points": 1, "reference": "lasting"})
    redemption = UUID(hex=tenant.redeem("ada", tenant.add_option(cost=5)).json["id"].removeprefix("red_"))
    tenant.set_clock(EXPIRES)
    OPERATIONS[operation](tenant, ada, redemption)
    expiry = tenant.entries(ada)[4]
    assert (expiry["type"], expiry["delta"], expiry["effective_at"]) == ("EXPIRY", -20, EXPIRES)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_yesterday_asked_today_says_what_yesterday_said(tenant: Tenant, ada: UUID) -> None:
    """Before it is booked, and after it was booked late."""
    moments = [EARNED - TICK, EARNED, EXPIRES - TICK, EXPIRES, EXPIRES + TICK]
    tenant.set_clock(EXPIRES + timedelta(days=3))
    expected = [(0, 0), (30, 0), (30, 0), (5, -25), (5, -25)]
    unbooked = [tenant.balance("ada", at) for at in moments]
    assert [(each.balance, each.total_expired) for each in unbooked] == expected
    tenant.adjust("ada", 100)
    assert [e["type"] for e in tenant.entries(ada)][-2:] == ["EXPIRY", "ADMIN_GRANT"]
    booked = [tenant.balance("ada", at) for at in moments]
    assert [(each.balance, each.total_expired) for each in booked] == expected
    assert [each.as_of for each in booked] == moments
    assert tenant.balance("ada").balance == 105


@pytest.mark.usefixtures("ada")
def test_the_future_cannot_be_asked(tenant: Tenant) -> None:
    assert tenant.balance("ada", EARNED).balance == 30
    with pytest.raises(Refused):
        tenant.balance("ada", EARNED + TICK)
    with pytest.raises(NotFound):
        tenant.balance("nobody")


def test_a_partly_spent_lot_expires_by_what_is_left(tenant: Tenant, ada: UUID) -> None:
    tenant.redeem("ada", tenant.add_option(cost=20))
    assert tenant.remaining(ada) == [5, 5]
    tenant.set_clock(EXPIRES)
    tenant.adjust("ada", 1)
    assert [entry["delta"] for entry in tenant.entries(ada)] == [25, 5, -20, -5, 1]


def test_expired_points_are_not_spent_whatever_their_priority(tenant: Tenant, ada: UUID) -> None:
    tenant.post({"user_id": ada, "points": 9, "priority": 1, "expiry_months": 1})
    tenant.set_clock(EXPIRES)
    tenant.redeem("ada", tenant.add_option(cost=5))
    assert tenant.remaining(ada) == [0, 0, 0]
    assert [(entry["type"], entry["delta"]) for entry in tenant.entries(ada)[3:]] == [
        ("EXPIRY", -34), ("REDEMPTION_QUOTA", -5),
    ]  # fmt: skip


def test_real_time_expires_points_too(tenant: Tenant) -> None:
    """In a company whose clock was never set."""
    ada = tenant.add_user("ada")
    row = tenant.superuser.execute("SELECT clock_timestamp() + interval '400 milliseconds'").fetchone()
    assert row is not None
    (expires_at,) = row
    assert tenant.adjust("ada", 25, expires_at=expires_at).status == 201
    assert tenant.spendable(ada) == 25
    wait_until(lambda: tenant.spendable(ada) == 0, "the points expire")
    assert tenant.redeem("ada", tenant.add_option(cost=1)).json["balance"] == 0
    assert [(entry["delta"], entry["effective_at"]) for entry in tenant.entries(ada)][1:] == [(-25, expires_at)]


@pytest.mark.usefixtures("ada")
def test_an_instant_already_booked_cannot_be_booked_again(tenant: Tenant) -> None:
    tenant.set_clock(EXPIRES)
    tenant.adjust("ada", 1)
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        tenant.superuser.execute(
            """
            INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference,
                occasion, effective_at, created_at)
            SELECT company_id, user_id, type, delta, 0, 0, 99, reference, occasion, effective_at, created_at
            FROM entries WHERE company_id = %s AND type = 'EXPIRY'
            """,
            (tenant.id,),
        )
    assert refused.value.diag.constraint_name == "entries_once_uq"
