"""Points expire exact to the microsecond, whether or not anybody has booked it; it is booked once per instant."""

from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from goodword.core.errors import NotFound, Refused
from goodword.points import ledger
from goodword.points.ledger import Balance
from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until

EARNED = datetime.fromisoformat("2030-01-31T12:00:00Z")
EXPIRES = datetime.fromisoformat("2030-02-28T12:00:00Z")
TICK = timedelta(microseconds=1)


def balance(tenant: Tenant, external_id: str, as_of: datetime | None = None) -> Balance:
    with tenant.transaction("app") as connection:
        asked = ledger.ask_balance(connection, tenant.id, external_id, as_of)
        return asked()


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user with 25 points that expire at EXPIRES, and 5 that do not."""
    tenant.set_clock(EARNED)
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 25, "expiry_months": 1}, {"user_id": ada, "points": 5})
    return ada


@pytest.mark.parametrize(("offset", "left"), [(-TICK, 30), (timedelta(), 5), (TICK, 5)])
def test_what_may_be_spent_around_the_very_microsecond(tenant: Tenant, ada: UUID, offset: timedelta, left: int) -> None:
    tenant.set_clock(EXPIRES + offset)
    assert tenant.spendable(ada) == left
    read = balance(tenant, "ada")
    assert (read.balance, read.total_earned, read.total_expired) == (left, 30, left - 30)
    assert tenant.wallet(ada)["balance"] == 30, "reading books nothing"
    refused = tenant.redeem("ada", tenant.add_option(cost=left + 1))
    assert (refused.status, refused.json["balance"], refused.json["required"]) == (422, left, left + 1)
    assert tenant.redeem("ada", tenant.add_option(cost=left)).json["balance_after"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


def test_the_balance_says_what_will_expire(tenant: Tenant, ada: UUID) -> None:
    tenant.post({"user_id": ada, "points": 3, "expiry_months": 1}, {"user_id": ada, "points": 2, "expiry_months": 2})
    expiring = [(each.points, each.expires_at) for each in balance(tenant, "ada").expiring]
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


@pytest.mark.parametrize("operation", ["earning", "giving", "taking", "redeeming", "too dear", "job"])
def test_every_operation_books_what_is_due_first(tenant: Tenant, ada: UUID, operation: str) -> None:
    tenant.set_clock(EXPIRES)
    if operation == "earning":
        tenant.post({"user_id": ada, "points": 1})
    elif operation == "giving":
        tenant.adjust("ada", 1)
    elif operation == "taking":
        assert tenant.adjust("ada", -1).status == 201
    elif operation == "redeeming":
        assert tenant.redeem("ada", tenant.add_option(cost=1)).status == 201
    elif operation == "too dear":
        assert tenant.redeem("ada", tenant.add_option(cost=6)).status == 422
    else:
        tenant.connection("jobs").execute("SELECT * FROM expire_due_lots(100)").fetchall()
    expiry = tenant.entries(ada)[2]
    assert (expiry["type"], expiry["delta"], expiry["effective_at"]) == ("EXPIRY", -25, EXPIRES)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_yesterday_asked_today_says_what_yesterday_said(tenant: Tenant, ada: UUID) -> None:
    """Before it is booked, and after it was booked late."""
    moments = [EARNED - TICK, EARNED, EXPIRES - TICK, EXPIRES, EXPIRES + TICK]
    tenant.set_clock(EXPIRES + timedelta(days=3))
    expected = [(0, 0), (30, 0), (30, 0), (5, -25), (5, -25)]
    unbooked = [balance(tenant, "ada", at) for at in moments]
    assert [(each.balance, each.total_expired) for each in unbooked] == expected
    tenant.adjust("ada", 100)
    assert [e["type"] for e in tenant.entries(ada)][-2:] == ["EXPIRY", "ADMIN_GRANT"]
    booked = [balance(tenant, "ada", at) for at in moments]
    assert [(each.balance, each.total_expired) for each in booked] == expected
    assert [each.as_of for each in booked] == moments
    assert balance(tenant, "ada").balance == 105


@pytest.mark.usefixtures("ada")
def test_the_future_cannot_be_asked(tenant: Tenant) -> None:
    assert balance(tenant, "ada", EARNED).balance == 30
    with pytest.raises(Refused):
        balance(tenant, "ada", EARNED + TICK)
    with pytest.raises(NotFound):
        balance(tenant, "nobody")


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
