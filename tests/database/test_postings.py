"""The ledger's postings: what one call books, once, and in which order points are spent."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support import books
from tests.support.tenants import Tenant

NOW = datetime.fromisoformat("2030-01-31T12:00:00Z")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same throws in every run; no secret


def lots(tenant: Tenant, user_id: UUID) -> list[tuple[int, int, datetime | str]]:
    """Amount, remaining and expiry of each lot, oldest first."""
    rows = tenant.rows(
        """
        SELECT amount, remaining, nullif(expires_at, 'infinity') AS expires_at FROM lots
        WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY id
        """,
        user_id=user_id,
    )
    return [(row["amount"], row["remaining"], row["expires_at"]) for row in rows]


def burned(tenant: Tenant, user_id: UUID) -> list[tuple[int, int, int]]:
    """(version of the entry, amount of the lot, points taken from it), in the order of entries and lots."""
    rows = tenant.rows(
        """
        SELECT e.version, l.amount AS lot, a.amount FROM allocations a
        JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id
        JOIN lots l ON l.company_id = a.company_id AND l.id = a.lot_id
        WHERE a.company_id = %(company_id)s AND e.user_id = %(user_id)s ORDER BY e.version, l.id
        """,
        user_id=user_id,
    )
    return [(row["version"], row["lot"], row["amount"]) for row in rows]


def test_an_earning_is_an_entry_a_lot_and_a_balance(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    ada = tenant.add_user("ada")
    (entry,) = tenant.post({
        "user_id": ada, "points": 25, "reference": "awd_1", "program_version": 1, "expiry_months": 1, "note": "hello",
    })  # fmt: skip
    assert entry == {
        "user_id": ada, "type": "IMPORT", "delta": 25, "debt_delta": 0, "balance_after": 25, "debt_after": 0,
        "version": 1, "reference": "awd_1", "occasion": "", "effective_at": NOW,
    }  # fmt: skip
    assert tenant.wallet(ada) == {
        "company_id": tenant.id, "user_id": ada, "balance": 25, "debt": 0, "total_earned": 25, "total_spent": 0,
        "total_expired": 0, "total_reversed": 0, "version": 1, "next_expiry_at": instant("2030-02-28T12:00:00Z"),
    }  # fmt: skip
    assert lots(tenant, ada) == [(25, 25, instant("2030-02-28T12:00:00Z"))]
    (stored,) = tenant.entries(ada)
    assert (stored["program_version"], stored["created_at"]) == (1, NOW)
    (note,) = tenant.rows("SELECT * FROM entry_notes WHERE company_id = %(company_id)s")
    assert (note["entry_id"], note["note"]) == (stored["id"], "hello")
    assert stored["note_hash"] == sha256(note["salt"].bytes + b"hello").digest()


def test_points_without_a_term_never_expire(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1, "expiry_months": None})
    assert lots(tenant, ada) == [(1, 1, None)]


def test_the_term_is_counted_on_the_companys_own_calendar(tenant: Tenant) -> None:
    tenant.set_time_zone("Europe/Berlin")
    tenant.set_clock(instant("2030-01-30T23:30:00Z"))  # 31 January in Berlin
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1, "expiry_months": 1})
    assert lots(tenant, ada) == [(1, 1, instant("2030-02-27T23:30:00Z"))]


def test_many_peoples_earnings_are_one_call(tenant: Tenant) -> None:
    people = [tenant.add_user(name) for name in ("ada", "ben", "eve")]
    postings = [{"user_id": each, "points": points} for points, each in enumerate([*people, people[0]], start=1)]
    dice(1).shuffle(postings)
    entries = tenant.post(*postings)
    assert len(entries) == 4
    assert [tenant.wallet(each)["balance"] for each in people] == [1 + 4, 2, 3]
    assert [entry["version"] for entry in tenant.entries(people[0])] == [1, 2]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_nothing_to_post_is_nothing_posted(tenant: Tenant) -> None:
    assert tenant.post() == []


def test_an_earning_is_booked_once_for_ever(tenant: Tenant) -> None:
    """By type, reference and occasion; a repetition answers the entry that stands."""
    ada = tenant.add_user("ada")
    earning = {"user_id": ada, "points": 10, "reference": "awd_1", "occasion": "2"}
    (first,) = tenant.post(earning)
    assert tenant.post(earning) == [first]
    assert tenant.post({**earning, "points": 99}) == [first]
    assert tenant.post(earning, earning) == [first, first]
    assert tenant.wallet(ada)["balance"] == 10
    tenant.post({**earning, "occasion": "3"}, {**earning, "reference": "awd_2"}, {**earning, "type": "MILESTONE"})
    assert tenant.wallet(ada)["balance"] == 40
    assert books.faults(tenant.superuser, tenant.id) == []


def test_the_same_earning_twice_in_one_call_is_booked_once(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    earning = {"user_id": ada, "points": 10, "reference": "awd_1"}
    first, second = tenant.post(earning, earning)
    assert first == second
    assert tenant.wallet(ada)["balance"] == 10


def test_nobody_earns_in_another_company(tenant: Tenant, other_tenant: Tenant) -> None:
    stranger = other_tenant.add_user("ada")
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        tenant.post({"user_id": stranger, "points": 1})
    assert refused.value.diag.constraint_name == "wallets_user_fk"


@pytest.mark.parametrize(
    ("posting", "constraint"),
    [
        ({"type": "GIFT", "points": 1}, "entries_type_ck"),
        ({"points": 0}, "entries_delta_ck"),
        ({"points": -1}, "points_not_negative_ck"),
    ],
)
def test_what_is_no_earning_is_refused_whole(tenant: Tenant, posting: dict[str, object], constraint: str) -> None:
    ada, ben = tenant.add_user("ada"), tenant.add_user("ben")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        tenant.post({"user_id": ada, "points": 1}, {"user_id": ben, **posting})
    assert refused.value.diag.constraint_name == constraint
    assert tenant.rows("SELECT * FROM wallets WHERE company_id = %(company_id)s") == []


def test_debt_is_repaid_out_of_what_is_earned(tenant: Tenant) -> None:
    """Earned whole, then repaid: the lot keeps its amount, and what was repaid is allocated from it."""
    ada = tenant.add_user("ada")
    owe(tenant, ada, 30)
    tenant.post({"user_id": ada, "points": 10, "reference": "awd_1"})
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"], wallet["total_earned"], wallet["total_reversed"]) == (0, 20, 10, -10)
    tenant.post({"user_id": ada, "points": 50, "reference": "awd_2"}, {"user_id": ada, "points": 5})
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"], wallet["total_earned"], wallet["total_reversed"]) == (35, 0, 65, -30)
    changes = [
        (e["type"], e["delta"], e["debt_delta"], e["balance_after"], e["debt_after"]) for e in tenant.entries(ada)
    ]
    assert changes == [
        ("REVERSAL", 0, 30, 0, 30),
        ("IMPORT", 10, 0, 10, 30),
        ("DEBT_REPAYMENT", -10, -10, 0, 20),
        ("IMPORT", 50, 0, 50, 20),
        ("DEBT_REPAYMENT", -20, -20, 30, 0),
        ("IMPORT", 5, 0, 35, 0),
    ]
    assert lots(tenant, ada) == [(10, 0, None), (50, 30, None), (5, 5, None)]
    assert burned(tenant, ada) == [(3, 10, 10), (5, 50, 20)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_points_given_by_hand_repay_debt_too(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    owe(tenant, ada, 30)
    answer = tenant.adjust("ada", 20)
    assert (answer.status, answer.json["delta"], answer.json["balance_after"]) == (201, 20, 20)
    assert (tenant.wallet(ada)["balance"], tenant.wallet(ada)["debt"]) == (0, 10)
    assert books.faults(tenant.superuser, tenant.id) == []


def owe(tenant: Tenant, user_id: UUID, points: int) -> None:
    """A debt, as the reversal of an award that was spent leaves it."""
    with tenant.superuser.transaction():
        parameters = {"company_id": tenant.id, "user_id": user_id, "points": points}
        tenant.superuser.execute(
            "INSERT INTO wallets (company_id, user_id, debt, version)"
            " VALUES (%(company_id)s, %(user_id)s, %(points)s, 1)",
            parameters,
        )
        tenant.superuser.execute(
            """
            INSERT INTO entries (company_id, user_id, type, delta, debt_delta, balance_after, debt_after, version,
                reference, effective_at, created_at)
            VALUES (%(company_id)s, %(user_id)s, 'REVERSAL', 0, %(points)s, 0, %(points)s, 1, 'awd_0',
                clock_timestamp(), clock_timestamp())
            """,
            parameters,
        )


@pytest.mark.parametrize(
    "change",
    [
        "balance = balance - 31",
        "debt = -1",
        "debt = 1",
        "total_earned = total_earned + 1",
        "balance = 20",
    ],
)
def test_a_wallet_that_contradicts_itself_cannot_be_stored(tenant: Tenant, change: LiteralString) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 30})
    statement = sql.SQL("UPDATE wallets SET {} WHERE company_id = %s").format(sql.SQL(change))
    with pytest.raises(psycopg.errors.CheckViolation):
        tenant.superuser.execute(statement, (tenant.id,))


def test_points_are_spent_by_priority_then_expiry_then_age(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    ada = tenant.add_user("ada")
    for points, priority, months in [(11, 100, None), (12, 100, 3), (13, 50, None), (14, 100, 2), (15, 100, 2)]:
        tenant.post({"user_id": ada, "points": points, "priority": priority, "expiry_months": months})
    option = tenant.add_option(cost=1)
    assert tenant.redeem("ada", option, 20).status == 201
    assert burned(tenant, ada) == [(6, 13, 13), (6, 14, 7)]
    assert tenant.redeem("ada", option, 30).status == 201
    assert tenant.adjust("ada", -4).status == 201
    assert burned(tenant, ada)[2:] == [(7, 12, 8), (7, 14, 7), (7, 15, 15), (8, 12, 4)]
    assert tenant.redeem("ada", option, 11).status == 201
    assert lots(tenant, ada) == [(amount, 0, expires_at) for amount, _, expires_at in lots(tenant, ada)]
    assert tenant.wallet(ada)["balance"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_priority_unsaid_is_100(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1}, {"user_id": ada, "points": 2, "priority": 99})
    tenant.redeem("ada", tenant.add_option(cost=2))
    assert tenant.remaining(ada) == [1, 0]


def test_arrays_in_opposite_orders_do_not_deadlock(tenant: Tenant) -> None:
    """Neither when wallets are made, in the first of two calls, nor when they are there."""
    rounds = [[tenant.add_user(f"user_{number}_{each}") for each in range(5)] for number in range(15)]
    clients = 4
    start = threading.Barrier(clients, timeout=30)  # a client that fails must not keep the others waiting

    def post(client: int) -> None:
        own, chance = tenant.twin(), dice(client)
        for people in rounds:
            start.wait()
            for _ in range(2):
                own.post(*({"user_id": each, "points": 1} for each in chance.sample(people, len(people))))

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(post, range(clients)))
    assert {tenant.wallet(each)["balance"] for people in rounds for each in people} == {2 * clients}
    assert books.faults(tenant.superuser, tenant.id) == []


def test_everything_at_once_on_one_wallet_leaves_right_books(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    option = tenant.add_option(cost=7)
    clients, rounds = 6, 20
    start = threading.Barrier(clients, timeout=30)  # a client that fails must not keep the others waiting

    def work(client: int) -> int:
        own, chance = tenant.twin(), dice(client)
        balance = 0
        start.wait()
        for _ in range(rounds):
            kind = chance.randrange(4)
            if kind == 0:
                own.post({"user_id": ada, "points": 9})
                balance += 9
            elif kind == 1:
                balance += 4 * (own.adjust("ada", 4).status == 201)
            elif kind == 2:
                balance -= 3 * (own.adjust("ada", -3).status == 201)
            else:
                balance -= 7 * (own.redeem("ada", option).status == 201)
        return balance

    with ThreadPoolExecutor(clients) as threads:
        changes = list(threads.map(work, range(clients)))
    assert tenant.wallet(ada)["balance"] == sum(changes)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_giving_and_taking_by_hand(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    ada = tenant.add_user("ada")
    given = tenant.adjust("ada", 30)
    assert given.status == 201
    (entry,) = tenant.entries(ada)
    assert given.json == {
        "id": f"txn_{entry['id']}", "type": "ADMIN_GRANT", "delta": 30, "debt_delta": 0, "balance_after": 30,
        "debt_after": 0, "version": 1, "ref": entry["reference"], "note": "by hand",
        "effective_at": "2030-01-31T12:00:00.000000Z", "created_at": "2030-01-31T12:00:00.000000Z",
    }  # fmt: skip
    assert lots(tenant, ada) == [(30, 30, instant("2031-01-31T12:00:00Z"))], "the program's term"
    assert tenant.adjust("ada", 5, expires_at=instant("2030-02-01T00:00:00Z")).status == 201
    assert lots(tenant, ada)[1:] == [(5, 5, instant("2030-02-01T00:00:00Z"))]
    taken = tenant.adjust("ada", -12)
    assert (taken.status, taken.json["delta"], taken.json["balance_after"]) == (201, -12, 23)
    assert tenant.remaining(ada) == [23, 0]
    wallet = tenant.wallet(ada)
    assert (wallet["total_earned"], wallet["total_spent"]) == (35, -12)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_cannot_be_given_or_taken_is_an_answer_too(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    ada = tenant.add_user("ada")
    tenant.adjust("ada", 30)
    for points, expires_at, status, code in [
        (-31, None, 422, "insufficient_points"),
        (5, NOW, 422, "expires_in_the_past"),
    ]:
        key = uuid4().hex
        refused = tenant.adjust("ada", points, expires_at=expires_at, key=key)
        assert (refused.status, refused.json["code"], refused.replayed) == (status, code, False)
        again = tenant.adjust("ada", points, expires_at=expires_at, key=key)
        assert (again.status, again.raw, again.replayed) == (status, refused.raw, True)
    short = tenant.adjust("ada", -31).json
    assert (short["balance"], short["required"]) == (30, 31)
    nobody = tenant.adjust("nobody", 5)
    assert (nobody.status, nobody.json["code"]) == (404, "user_not_found")
    assert tenant.adjust("ada", -30).status == 201
    assert tenant.wallet(ada)["balance"] == 0
