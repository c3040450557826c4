"""The ledger's postings: what one call books, once, and in which order points are spent."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import LONGEST_SECONDS

NOW = datetime.fromisoformat("2030-01-31T12:00:00Z")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same throws in every run; no secret


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
    assert tenant.lots(ada) == [(25, 25, instant("2030-02-28T12:00:00Z"))]
    (stored,) = tenant.entries(ada)
    assert (stored["program_version"], stored["created_at"]) == (1, NOW)
    (note,) = tenant.rows("SELECT * FROM entry_notes WHERE company_id = %(company_id)s")
    assert (note["entry_id"], note["note"]) == (stored["id"], "hello")
    assert stored["note_hash"] == sha256(note["salt"].bytes + b"hello").digest()


def test_points_without_a_term_never_expire(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1, "expiry_months": None})
    assert tenant.lots(ada) == [(1, 1, None)]


def test_the_term_is_counted_on_the_companys_own_calendar(tenant: Tenant) -> None:
    tenant.set_time_zone("Europe/Berlin")
    tenant.set_clock(instant("2030-01-30T23:30:00Z"))  # 31 January in Berlin
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 1, "expiry_months": 1})
    assert tenant.lots(ada) == [(1, 1, instant("2030-02-27T23:30:00Z"))]


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
    assert (wallet["balance"], wallet["debt"], wallet["total_earned"], wallet["total_reversed"]) == (0, 20, 40, -10)
    tenant.post({"user_id": ada, "points": 50, "reference": "awd_2"}, {"user_id": ada, "points": 5})
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["debt"], wallet["total_earned"], wallet["total_reversed"]) == (35, 0, 95, -30)
    assert tenant.changes(ada)[2:] == [
        ("REVERSAL", 0, 30, 0, 30),
        ("IMPORT", 10, 0, 10, 30),
        ("DEBT_REPAYMENT", -10, -10, 0, 20),
        ("IMPORT", 50, 0, 50, 20),
        ("DEBT_REPAYMENT", -20, -20, 30, 0),
        ("IMPORT", 5, 0, 35, 0),
    ]
    earned, repaid = tenant.entries(ada)[3:5]
    assert (repaid["reference"], repaid["occasion"]) == (f"txn_{earned['id']}", "")
    assert tenant.lots(ada)[1:] == [(10, 0, None), (50, 30, None), (5, 5, None)]
    assert tenant.burned(ada)[1:] == [(5, 10, 10), (7, 50, 20)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_points_given_by_hand_repay_debt_too(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    owe(tenant, ada, 30)
    answer = tenant.adjust("ada", 20)
    assert (answer.status, answer.json["delta"], answer.json["balance_after"]) == (201, 20, 20)
    assert (answer.json["debt_delta"], answer.json["debt_after"]) == (0, 30)
    assert (tenant.wallet(ada)["balance"], tenant.wallet(ada)["debt"]) == (0, 10)
    assert books.faults(tenant.superuser, tenant.id) == []


def owe(tenant: Tenant, user_id: UUID, points: int) -> None:
    """A debt: an earning that was taken back after it had been spent."""
    award = {"user_id": user_id, "points": points, "reference": "awd_0"}
    tenant.post(award)
    tenant.adjust("ada", -points)
    tenant.post({**award, "type": "REVERSAL"})


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("balance = balance - 31", "points_not_negative_ck"),
        ("debt = -1", "points_not_negative_ck"),
        ("total_earned = -1", "points_not_negative_ck"),
        ("total_spent = 1", "outflow_not_positive_ck"),
        ("total_expired = 1", "outflow_not_positive_ck"),
        ("total_reversed = 1", "outflow_not_positive_ck"),
        ("debt = 1", "wallets_balance_or_debt_ck"),
        ("total_earned = total_earned + 1", "wallets_totals_ck"),
        ("balance = 20", "wallets_totals_ck"),
    ],
)
def test_a_wallet_that_contradicts_itself_cannot_be_stored(
    tenant: Tenant, change: LiteralString, constraint: str
) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 30})
    statement = sql.SQL("UPDATE wallets SET {} WHERE company_id = %s").format(sql.SQL(change))
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        tenant.superuser.execute(statement, (tenant.id,))
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("remaining = -1", "points_not_negative_ck"),
        ("remaining = amount + 1", "lots_remaining_ck"),
        ("amount = 0, remaining = 0", "lots_remaining_ck"),
    ],
)
def test_a_lot_that_contradicts_itself_cannot_be_stored(tenant: Tenant, change: LiteralString, constraint: str) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 30})
    statement = sql.SQL("UPDATE lots SET {} WHERE company_id = %s").format(sql.SQL(change))
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        tenant.superuser.execute(statement, (tenant.id,))
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"type": "GIFT"}, "entries_type_ck"),
        ({"delta": 0}, "entries_delta_ck"),
        ({"debt_delta": 1}, "entries_debt_ck"),
        ({"type": "EXPIRY", "delta": -1, "debt_delta": -1}, "entries_debt_ck"),
        ({"type": "REINSTATEMENT", "debt_delta": -1}, "entries_debt_ck"),
        ({"balance_after": -1}, "points_not_negative_ck"),
        ({"debt_after": -1}, "points_not_negative_ck"),
        ({"version": 1}, "entries_version_uq"),
        ({"reference": "awd_1"}, "entries_once_uq"),
        ({"user_id": UUID(int=0)}, "entries_wallet_fk"),
    ],
)
def test_an_entry_that_cannot_be_true_cannot_be_stored(
    tenant: Tenant, columns: dict[str, object], constraint: str
) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 30, "reference": "awd_1"})
    entry = {
        "company_id": tenant.id, "user_id": ada, "type": "IMPORT", "delta": 1, "debt_delta": 0, "balance_after": 31,
        "debt_after": 0, "version": 2, "reference": "awd_2", **columns,
    }  # fmt: skip
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        tenant.superuser.execute(
            """
            INSERT INTO entries (company_id, user_id, type, delta, debt_delta, balance_after, debt_after, version,
                reference, effective_at, created_at)
            VALUES (%(company_id)s, %(user_id)s, %(type)s, %(delta)s, %(debt_delta)s, %(balance_after)s,
                %(debt_after)s, %(version)s, %(reference)s, clock_timestamp(), clock_timestamp())
            """,
            entry,
        )
    assert refused.value.diag.constraint_name == constraint


def test_one_posting_alone_is_what_it_is_among_others(tenant: Tenant) -> None:
    """`post_entry` and `post_entries` book the same rows, and answer the same where they book none."""
    tenant.set_clock(NOW)
    alone, among = tenant.add_user("alone"), tenant.add_user("among")
    for posting in (
        {"type": "IMPORT", "points": 10, "reference": "one", "note": "hello", "program_version": 1},
        {"type": "IMPORT", "points": 20, "reference": "two", "expiry_months": 1, "priority": 50},
        {"type": "IMPORT", "points": 99, "reference": "one"},
        {"type": "REVERSAL", "points": 15, "reference": "two", "occasion": "rfd_1", "note": "sorry"},
        {"type": "REVERSAL", "points": 99, "reference": "two", "occasion": "rfd_2"},
        {"type": "REVERSAL", "points": 1, "reference": "two", "occasion": "rfd_3"},
        {"type": "REINSTATEMENT", "points": 7, "reference": "two", "expiry_months": 2, "priority": 1},
        {"type": "REINSTATEMENT", "points": 1, "reference": "none"},
    ):
        reference = posting["reference"]
        (expected,) = tenant.post({**posting, "user_id": among, "reference": f"{reference} among"})
        (entry_id,) = one(tenant, {**posting, "user_id": alone, "reference": f"{reference} alone"})
        assert (entry_id is None) == (expected is None)
    assert tenant.changes(alone) == tenant.changes(among)
    assert tenant.lots(alone) == tenant.lots(among)
    assert tenant.burned(alone) == tenant.burned(among)
    assert {**tenant.wallet(alone), "user_id": among} == tenant.wallet(among)
    own = ("type", "occasion", "program_version", "effective_at", "created_at")
    assert [tuple(e[column] for column in own) for e in tenant.entries(alone)] == [
        tuple(e[column] for column in own) for e in tenant.entries(among)
    ]
    notes = tenant.rows("SELECT note FROM entry_notes WHERE company_id = %(company_id)s ORDER BY entry_id")
    assert [row["note"] for row in notes] == ["hello", "hello", "sorry", "sorry"]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_earnings_of_several_people_are_what_each_is_alone(tenant: Tenant) -> None:
    """Also where one of them was booked before, owes points, or has some that are due to expire."""
    tenant.set_clock(NOW)
    alone, among = ([tenant.add_user(f"{name} {kind}") for name in ("ada", "bob")] for kind in ("alone", "among"))
    for kind, (_, bob) in (("alone", alone), ("among", among)):
        tenant.post({"user_id": bob, "points": 50, "reference": f"owed {kind}"})
        assert tenant.adjust(f"bob {kind}", -50).status == 201
        tenant.post({"user_id": bob, "type": "REVERSAL", "points": 50, "reference": f"owed {kind}"})
    for days, ours, others in (
        (0, ("first", 10), ("first", 20)),
        (1, ("first", 10), ("second", 60)),
        (2, ("second", 7), ("third", 8)),
        (40, ("third", 7), ("fourth", 8)),
    ):
        tenant.set_clock(NOW + timedelta(days=days))
        terms = {"type": "IMPORT", "expiry_months": 1, "priority": 90 + days, "program_version": 1}
        postings = [
            {**terms, "user_id": user_id, "points": points, "reference": f"{name} {user_id}"}
            for user_id, (name, points) in zip(among, (ours, others), strict=True)
        ]
        booked = tenant.post(*postings)
        assert tenant.post(*postings) == booked
        for posting, user_id in zip(postings, alone, strict=True):
            name, _, _ = str(posting["reference"]).partition(" ")
            one(tenant, {**posting, "user_id": user_id, "reference": f"{name} {user_id}"})
    for left, right in zip(alone, among, strict=True):
        assert tenant.changes(left) == tenant.changes(right)
        assert tenant.lots(left) == tenant.lots(right)
        assert {**tenant.wallet(left), "user_id": right} == tenant.wallet(right)
    assert books.faults(tenant.superuser, tenant.id) == []


def one(tenant: Tenant, posting: dict[str, object]) -> tuple[int | None]:
    parameters = {
        "company_id": tenant.id, "occasion": "", "note": None, "program_version": None, "expiry_months": None,
        "priority": 100, **posting,
    }  # fmt: skip
    cursor = tenant.connection("app").execute(
        """
        SELECT post_entry(%(company_id)s, %(user_id)s, %(type)s, %(points)s, %(reference)s, %(occasion)s, %(note)s,
            %(program_version)s, %(expiry_months)s, %(priority)s::smallint)
        """,
        parameters,
    )
    (row,) = cursor.fetchall()
    return row


def test_points_are_spent_by_priority_then_expiry_then_age(tenant: Tenant) -> None:
    tenant.set_clock(NOW)
    ada = tenant.add_user("ada")
    for points, priority, months in [(11, 100, None), (12, 100, 3), (13, 50, None), (14, 100, 2), (15, 100, 2)]:
        tenant.post({"user_id": ada, "points": points, "priority": priority, "expiry_months": months})
    option = tenant.add_option(cost=1)
    assert tenant.redeem("ada", option, 20).status == 201
    assert tenant.burned(ada) == [(6, 13, 13), (6, 14, 7)]
    assert tenant.redeem("ada", option, 30).status == 201
    assert tenant.adjust("ada", -4).status == 201
    assert tenant.burned(ada)[2:] == [(7, 12, 8), (7, 14, 7), (7, 15, 15), (8, 12, 4)]
    assert tenant.redeem("ada", option, 11).status == 201
    assert tenant.lots(ada) == [(amount, 0, expires_at) for amount, _, expires_at in tenant.lots(ada)]
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
    # a client that fails must not keep the others waiting for ever
    start = threading.Barrier(clients, timeout=LONGEST_SECONDS)

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
    # a client that fails must not keep the others waiting for ever
    start = threading.Barrier(clients, timeout=LONGEST_SECONDS)

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
    assert tenant.lots(ada) == [(30, 30, instant("2031-01-31T12:00:00Z"))], "the program's term"
    assert tenant.adjust("ada", 5, expires_at=instant("2030-02-01T00:00:00Z")).status == 201
    assert tenant.lots(ada)[1:] == [(5, 5, instant("2030-02-01T00:00:00Z"))]
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
