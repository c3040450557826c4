"""Postings from 32 and more processes at few wallets, straight on the database: every effect once, every sum right.

A reader who looks all the while, as a bank's would, never sees a sum that is not.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel

from local import setup
from local.postgres import Cluster
from local.setup import Prepared
from tests.support import books, tellers
from tests.support.tellers import Order, Rows, Window
from tests.support.tenants import AsRole, Tenant
from tests.support.waiting import again_and_again, wait_until

TELLERS = 32
COPIES = 3
ENTRIES_EACH = 8
"""How many entries are booked for each teller that loses its connection."""
USERS = ("ada", "ben", "eve", "tom")

_SUMS = """
    SELECT (SELECT sum(balance) FROM wallets WHERE company_id = %(company_id)s),
        (SELECT sum(remaining) FROM lots WHERE company_id = %(company_id)s),
        (SELECT sum(delta) FROM entries WHERE company_id = %(company_id)s),
        (SELECT sum(debt) FROM wallets WHERE company_id = %(company_id)s),
        (SELECT sum(debt_delta) FROM entries WHERE company_id = %(company_id)s)
"""
_NEGATIVE = """
    SELECT user_id FROM wallets WHERE company_id = %(company_id)s AND (balance < 0 OR debt < 0)
    UNION ALL
    SELECT user_id FROM entries WHERE company_id = %(company_id)s AND (balance_after < 0 OR debt_after < 0)
    UNION ALL
    SELECT user_id FROM lots WHERE company_id = %(company_id)s AND (remaining < 0 OR remaining > amount)
"""

_END_SOME = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = %(application)s AND state = 'active' ORDER BY random() LIMIT %(number)s
"""
_BOOKED = "SELECT count(*) FROM goodword.entries WHERE company_id = %(company_id)s"


@pytest.fixture
def tenant(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Tenant:
    return Tenant.open(opener, as_role, superuser)


@pytest.fixture
def window(prepared: Prepared, superuser: psycopg.Connection) -> Window:
    return Window(prepared, superuser)


@pytest.fixture
def no_deadlock(superuser: psycopg.Connection) -> Iterator[None]:
    """The server broke no deadlock while the test ran. It counts one when the connection that had it has ended."""

    def deadlocks() -> object:
        return superuser.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()

    def all_gone() -> bool:
        running = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
        return superuser.execute(running, (tellers.APPLICATION,)).fetchone() is None

    before = deadlocks()
    yield
    wait_until(all_gone, "the tellers' connections end")
    assert deadlocks() == before


@contextmanager
def audited(cluster: Cluster, company_id: UUID, *, changes: int = 0) -> Iterator[None]:
    """Look at the books again and again while the block runs, each time through one snapshot of all of them."""
    company = {"company_id": company_id}
    with psycopg.connect(cluster.superuser_url(setup.DATABASE)) as bank:
        bank.isolation_level, bank.read_only = IsolationLevel.REPEATABLE_READ, True
        bank.execute("SET search_path = goodword")
        bank.commit()

        seen = set[tuple[object, ...]]()

        def look() -> None:
            with bank.transaction():
                (sums,) = bank.execute(_SUMS, company).fetchall()
                negative = bank.execute(_NEGATIVE, company).fetchall()
            balance, remaining, deltas, debt, debt_deltas = sums
            assert (balance, debt) == (remaining, debt_deltas), sums
            assert (balance, debt) == (deltas, debt_deltas), sums
            assert negative == []
            seen.add(sums)

        with again_and_again(look, pause_seconds=0):
            yield
        assert len(seen) >= changes, "the reader saw the books change"


class Bank:
    """A company with a few customers, and the orders that 32 tellers carry out for them."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.ids = {name: tenant.add_user(name) for name in USERS}
        self._orders: list[Order] = []
        self._dice = random.Random(1)  # noqa: S311 - the same throws in every run; no secret
        self._options = [
            tenant.add_option(cost=5), tenant.add_option(cost=7, stock=30), tenant.add_option(cost=3, per_user_limit=5)
        ]  # fmt: skip
        for name in USERS:
            assert tenant.adjust(name, 300).status == 201

    def take_orders(self, *, common: int) -> None:
        """So many of the commonest kinds; each of them COPIES times, as clients that hear no answer would send it."""
        for number in range(common):
            self._order(self._earning(number))
            self._order(self._use_of_points(number))
        for number in range(common // 3):
            self._order(self._reversal(number))
            self._order(self._reinstatement(number))
            for order in self._refund(number):
                self._order(order)
        self._orders += [tellers.expire() for _ in range(20)]

    def plans(self, tellers: int) -> list[list[Order]]:
        """The orders in any order, dealt to so many tellers."""
        self._dice.shuffle(self._orders)
        return [self._orders[teller::tellers] for teller in range(tellers)]

    def _order(self, make: Callable[[], Order]) -> None:
        self._orders += [make() for _ in range(COPIES)]

    def _anybody(self) -> str:
        return self._dice.choice(USERS)

    def _earning(self, number: int) -> Callable[[], Order]:
        """An earning of several people, who are named in any order."""
        people = self._dice.sample(USERS, self._dice.randint(1, 3))
        postings = [
            {"user_id": self.ids[name], "type": "IMPORT", "points": self._dice.randint(1, 20),
             "reference": f"import_{number}", "occasion": name}
            for name in people
        ]  # fmt: skip
        return lambda: tellers.post(self.tenant, f"import {number}", *postings)

    def _use_of_points(self, number: int) -> Callable[[], Order]:
        tenant, user, option = self.tenant, self._anybody(), self._dice.choice(self._options)
        points = self._dice.randint(1, 500)
        soon = datetime.now(UTC) + timedelta(seconds=self._dice.uniform(0.1, 6))
        kinds: list[Callable[[], Order]] = [
            lambda: tellers.redeem(tenant, f"redeem {number}", user, option),
            lambda: tellers.adjust(tenant, f"give {number}", user, points, soon if number % 2 else None),
            lambda: tellers.adjust(tenant, f"take {number}", user, -points),
            lambda: tellers.consume(tenant, f"use {number}", user),
        ]
        return self._dice.choice(kinds)

    def _reversal(self, number: int) -> Callable[[], Order]:
        """Of an earning that was booked before."""
        user, reference = self.ids[self._anybody()], f"earned_{number}"
        earned, reversed_before = self.tenant.post(
            {"user_id": user, "points": 20, "reference": reference},
            {"user_id": user, "type": "REVERSAL", "points": 5, "reference": reference, "occasion": "early"},
        )
        assert earned
        assert reversed_before
        posting = {
            "user_id": user, "type": "REVERSAL", "points": 11, "reference": reference, "occasion": "late"
        }  # fmt: skip
        return lambda: tellers.post(self.tenant, f"reverse {number}", posting)

    def _reinstatement(self, number: int) -> Callable[[], Order]:
        (earned,) = self.tenant.rows(
            "SELECT user_id FROM entries WHERE company_id = %(company_id)s AND reference = %(reference)s AND delta > 0",
            reference=f"earned_{number}",
        )
        posting = {
            "user_id": earned["user_id"], "type": "REINSTATEMENT", "points": 4, "reference": f"earned_{number}",
            "occasion": "won",
        }  # fmt: skip
        return lambda: tellers.post(self.tenant, f"reinstate {number}", posting)

    def _refund(self, number: int) -> list[Callable[[], Order]]:
        """Of a redemption that was made before, asked for under two keys."""
        tenant = self.tenant
        bought = tenant.redeem(self._anybody(), self._options[0])
        redemption = UUID(hex=bought.json["id"].removeprefix("red_"))
        return [
            lambda: tellers.refund(tenant, f"refund {number}", redemption),
            lambda: tellers.refund(tenant, f"refund {number} again", redemption),
        ]

    def entries(self) -> Counter[str]:
        """How many entries there are of each type."""
        rows = self.tenant.rows(
            "SELECT type, count(*) AS entries FROM entries WHERE company_id = %(company_id)s GROUP BY type"
        )
        return Counter({row["type"]: row["entries"] for row in rows})


def one_answer_each(plans: Sequence[Sequence[Order]], heard: Sequence[Sequence[Rows]]) -> dict[str, Rows]:
    """What was answered to each order. All its copies heard the same, but for the word that it was sent before."""
    answers: defaultdict[str, set[tuple[tuple[Any, ...], ...]]] = defaultdict(set)
    for plan, rows in zip(plans, heard, strict=True):
        for order, answer in zip(plan, rows, strict=True):
            if order.what != "expiry":
                answers[order.what].add(tuple(row[:2] for row in answer))
    assert {what: len(different) for what, different in answers.items()} == dict.fromkeys(answers, 1)
    return {what: list(different.pop()) for what, different in answers.items()}


def count_done(answers: Mapping[str, Rows]) -> Counter[str]:
    """How many effects of each kind were confirmed, and how many were refused: `no give`."""
    done = Counter[str]()
    for what, rows in answers.items():
        kind = what.split()[0]
        if kind in {"import", "reverse", "reinstate"}:
            assert all(entry is not None for (entry,) in rows), what
            done[kind] += len(rows)
        else:
            ((status, _),) = rows
            done[kind if status < 300 else f"no {kind}"] += 1
    return done


def check_effects(bank: Bank, before: Counter[str], done: Counter[str]) -> None:
    """Each confirmed effect is there, once, and nothing else is."""
    booked = bank.entries() - before
    assert {kind: count for kind, count in booked.items() if kind not in {"EXPIRY", "DEBT_REPAYMENT"}} == {
        "IMPORT": done["import"], "REVERSAL": done["reverse"], "REINSTATEMENT": done["reinstate"],
        "ADMIN_GRANT": done["give"] + done["take"], "REDEMPTION_QUOTA": done["redeem"],
        "REDEMPTION_REFUND": done["refund"],
    }  # fmt: skip
    (counted,) = bank.tenant.rows("SELECT count(*) AS usages FROM usages WHERE company_id = %(company_id)s")
    assert counted["usages"] == done["use"]
    assert books.faults(bank.tenant.superuser, bank.tenant.id) == []


@pytest.mark.usefixtures("no_deadlock")
def test_every_kind_of_posting_at_once_has_its_effect_once(tenant: Tenant, window: Window, cluster: Cluster) -> None:
    bank = Bank(tenant)
    bank.take_orders(common=150)
    before, plans = bank.entries(), bank.plans(TELLERS)
    with audited(cluster, tenant.id, changes=20):
        heard = window.serve(plans)
    done = count_done(one_answer_each(plans, heard))
    assert done.keys() > {"give", "take", "redeem", "use", "no give", "no take", "no redeem"}, "all of it was tried"
    assert {done[each] for each in ("reverse", "reinstate", "refund", "no refund")} == {50}
    check_effects(bank, before, done)


@pytest.mark.usefixtures("no_deadlock")
def test_one_wallet_emptied_by_64_pays_for_exactly_what_it_holds(
    tenant: Tenant, window: Window, cluster: Cluster
) -> None:
    tenant.add_user("ada")
    for points in (30, 30, 41):  # three lots, which do not end where prices do
        assert tenant.adjust("ada", points).status == 201
    option = tenant.add_option(cost=7)
    plans = [[tellers.redeem(tenant, f"{teller} {n}", "ada", option) for n in range(3)] for teller in range(64)]
    with audited(cluster, tenant.id):
        heard = window.serve(plans)
    statuses = Counter(status for rows in heard for ((status, _, _),) in rows)
    assert statuses == {201: 101 // 7, 422: 64 * 3 - 101 // 7}
    assert tenant.rows("SELECT balance FROM wallets WHERE company_id = %(company_id)s") == [{"balance": 101 % 7}]
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.parametrize("keys", ["one key", "a key each"])
@pytest.mark.usefixtures("no_deadlock")
def test_an_award_reversed_by_50_is_reversed_once(tenant: Tenant, window: Window, keys: str) -> None:
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 20, "reference": "awd_1"}, {"user_id": ada, "points": 10})
    option = tenant.add_option(cost=25)
    assert tenant.redeem("ada", option).status == 201
    reversal = {"user_id": ada, "type": "REVERSAL", "points": 20, "reference": "awd_1"}
    plans = [
        [tellers.post(tenant, "reverse", {**reversal, "occasion": "re_1" if keys == "one key" else f"re_{teller}"})]
        for teller in range(50)
    ]
    entries = Counter(entry for ((rows,),) in window.serve(plans) for entry in rows)
    (booked,) = tenant.rows("SELECT * FROM entries WHERE company_id = %(company_id)s AND type = 'REVERSAL'")
    assert entries == ({booked["id"]: 50} if keys == "one key" else {booked["id"]: 1, None: 49})
    assert (booked["delta"], booked["debt_delta"]) == (-5, 15)
    assert (tenant.wallet(ada)["balance"], tenant.wallet(ada)["debt"]) == (0, 15)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_tellers_who_lose_their_connections_all_the_while_have_each_effect_once(
    tenant: Tenant, window: Window, cluster: Cluster
) -> None:
    """Each sends again what was cut off; what was committed meanwhile is answered, what was not is done.

    One is ended for each few entries that were booked, so that on a slow machine too the orders get done.
    """
    bank = Bank(tenant)
    bank.take_orders(common=120)
    before, plans = bank.entries(), bank.plans(8)
    ended = Counter[str](at=before.total())
    with psycopg.connect(cluster.superuser_url(setup.DATABASE), autocommit=True) as executioner:

        def end_some() -> None:
            (entries,) = executioner.execute(_BOOKED, {"company_id": tenant.id}).fetchone() or (0,)
            due = {"application": tellers.APPLICATION, "number": (entries - ended["at"]) // ENTRIES_EACH}
            if due["number"] > 0:
                ended["busy"] += len(executioner.execute(_END_SOME, due).fetchall())
                ended["at"] = entries

        with audited(cluster, tenant.id), again_and_again(end_some, pause_seconds=0.005):
            heard = window.serve(plans)
    assert ended["busy"] > 20
    check_effects(bank, before, count_done(one_answer_each(plans, heard)))
