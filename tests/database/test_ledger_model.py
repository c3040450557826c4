"""The ledger against a model of it: whatever is booked in whatever order, both end alike, now and looking back.

The model is lists of lots and entries in plain Python, as docs/rules.md, Ledger, tells of them. It knows nothing
of locks, statements, tables or jobs: in it, points are gone at the very instant they expire, and the past stays as it
was.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import Connection

from goodword.points.ledger import Balance
from tests.support import books
from tests.support.tenants import Answer, AsRole, Tenant

BEGIN = datetime(2030, 1, 31, 12, tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
TICK = timedelta(microseconds=1)
PRICE = 7
SEQUENCES = settings().max_examples
SHARES = 4
"""How many tests the sequences are dealt to, so that several processes can run them."""


class Change(NamedTuple):
    """An entry."""

    type: str
    delta: int
    debt_delta: int
    effective_at: datetime


class Standing(NamedTuple):
    """What a wallet comes to at an instant."""

    balance: int = 0
    debt: int = 0
    earned: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0


@dataclass
class Lot:
    """Points earned together."""

    reference: str
    amount: int
    priority: int
    expires_at: datetime
    remaining: int
    expired: int = 0


@dataclass
class Purchase:
    """What a redemption took from which lots."""

    taken: list[tuple[Lot, int]]
    refunded: bool = False

    @property
    def cost(self) -> int:
        return sum(points for _, points in self.taken)


TOTALS = {"IMPORT": "earned", "MILESTONE": "earned", "REDEMPTION_QUOTA": "spent", "REDEMPTION_REFUND": "spent",
    "EXPIRY": "expired", "REVERSAL": "reversed", "REINSTATEMENT": "reversed", "DEBT_REPAYMENT": "reversed"}  # fmt: skip


@dataclass
class Wallet:
    """One person's points as they should be."""

    now: datetime = BEGIN
    lots: list[Lot] = field(default_factory=list[Lot])
    entries: list[Change] = field(default_factory=list[Change])
    known: dict[tuple[str, str, str], Change] = field(default_factory=dict[tuple[str, str, str], Change])
    reversed: Counter[str] = field(default_factory=Counter[str])
    reinstated: Counter[str] = field(default_factory=Counter[str])
    stood: dict[datetime, Standing] = field(default_factory=lambda: {BEGIN: Standing()})

    @property
    def standing(self) -> Standing:
        return self.stood[self.now]

    def at(self, instant: datetime) -> Standing:
        """What stood at a past instant: whatever came last by then."""
        return next((standing for at, standing in reversed(self.stood.items()) if at <= instant), Standing())

    def go_to(self, instant: datetime) -> None:
        """Let time pass: points expire on the way, each lot at its own instant."""
        while (due := min((lot.expires_at for lot in self.open()), default=NEVER)) <= instant:
            self._let_stand(due)
            self._expire()
        self._let_stand(instant)

    def open(self) -> list[Lot]:
        """The lots with something left, in burn order: by priority, then expiry, then age."""
        lots = [lot for lot in self.lots if lot.remaining]
        return sorted(lots, key=lambda lot: (lot.priority, lot.expires_at))  # equals stay in the order of their age

    def earn(self, posting: "Posting", expires_at: datetime) -> Change:
        """Points, booked whole; then debt is repaid out of them."""
        if posting.key not in self.known:
            self.known[posting.key] = self._give(posting.type, posting.points, posting, expires_at)
        return self.known[posting.key]

    def reverse(self, posting: "Posting") -> Change | None:
        """No more than was given and has neither expired nor been reversed; what the wallet cannot cover is debt."""
        if posting.key in self.known:
            return self.known[posting.key]
        own = [lot for lot in self.open() if lot.reference == posting.reference]
        given = [lot.amount - lot.expired for lot in self.lots if lot.reference == posting.reference]
        points = min(posting.points, sum(given) - self.reversed[posting.reference])
        if points <= 0:
            return None
        covered = min(points, self.standing.balance)
        self.known[posting.key] = self._book("REVERSAL", -covered, points - covered)
        self.reversed[posting.reference] += points
        self._burn(covered, [*own, *(lot for lot in self.open() if lot not in own)])
        return self.known[posting.key]

    def reinstate(self, posting: "Posting", expires_at: datetime) -> Change | None:
        """No more than reversals took, as a fresh lot with a fresh term."""
        if posting.key in self.known:
            return self.known[posting.key]
        points = min(posting.points, self.reversed[posting.reference] - self.reinstated[posting.reference])
        if points <= 0:
            return None
        self.reinstated[posting.reference] += points
        self.known[posting.key] = self._give("REINSTATEMENT", points, posting, expires_at)
        return self.known[posting.key]

    def grant(self, points: int, priority: int, expires_at: datetime) -> None:
        """Points given by hand."""
        self._give("ADMIN_GRANT", points, Posting("ADMIN_GRANT", points, "", "", None, priority), expires_at)

    def take(self, kind: str, points: int) -> list[tuple[Lot, int]]:
        """Points spent, or taken by hand; which lots they came from."""
        self._book(kind, -points)
        return self._burn(points, self.open())

    def refund(self, purchase: Purchase) -> None:
        """All points go back into the very lots; what is past its term is gone again at once, in one entry of now."""
        purchase.refunded = True
        self._book("REDEMPTION_REFUND", purchase.cost)
        for lot, points in purchase.taken:
            lot.remaining += points
        self._expire()
        self._repay()

    def _give(self, kind: str, points: int, posting: "Posting", expires_at: datetime) -> Change:
        booked = self._book(kind, points)
        self.lots.append(Lot(posting.reference, points, posting.priority, expires_at, remaining=points))
        self._repay()
        return booked

    def _repay(self) -> None:
        points = min(self.standing.debt, self.standing.balance)
        if points:
            self._book("DEBT_REPAYMENT", -points, -points)
            self._burn(points, self.open())

    def _expire(self) -> None:
        due = [lot for lot in self.open() if lot.expires_at <= self.now]
        if due:
            self._book("EXPIRY", -sum(lot.remaining for lot in due))
        for lot in due:
            lot.expired += lot.remaining
            lot.remaining = 0

    def _burn(self, points: int, lots: Iterable[Lot]) -> list[tuple[Lot, int]]:
        taken: list[tuple[Lot, int]] = []
        for lot in lots:
            part = min(lot.remaining, points)
            lot.remaining -= part
            points -= part
            taken += [(lot, part)] if part else []
        return taken

    def _book(self, kind: str, delta: int, debt_delta: int = 0) -> Change:
        entry = Change(kind, delta, debt_delta, self.now)
        self.entries.append(entry)
        total = TOTALS.get(kind) or ("earned" if delta > 0 else "spent")
        before = self.standing
        after = before._replace(balance=before.balance + delta, debt=before.debt + debt_delta)
        self.stood[self.now] = after._replace(**{total: getattr(before, total) + delta})
        return entry

    def _let_stand(self, instant: datetime) -> None:
        self.stood.setdefault(instant, self.standing)
        self.now = instant


@dataclass(frozen=True)
class Posting:
    """An earning, a reversal or a reinstatement. Few references and occasions: keys are repeated, and meet."""

    type: str
    points: int
    reference: str
    occasion: str
    months: int | None
    priority: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.type, self.reference, self.occasion


PEOPLE = st.sampled_from(["ada", "ada", "ada", "ben"])
PRIORITIES = st.sampled_from([50, 100, 100])
EARNED = st.integers(1, 40)
TAKEN_BACK = st.sampled_from([10**9, 10**9, 1, 5, 10, 20])


def postings(kinds: list[str], points: st.SearchStrategy[int]) -> st.SearchStrategy[Posting]:
    return st.builds(
        Posting,
        type=st.sampled_from(kinds),
        points=points,
        reference=st.sampled_from(["one", "two"]),
        occasion=st.sampled_from(["", "2", "3", "4"]),
        months=st.sampled_from([None, 1, 1, 2]),
        priority=PRIORITIES,
    )


EARNINGS = postings(["IMPORT", "MILESTONE"], EARNED)
REVERSALS = postings(["REVERSAL"], TAKEN_BACK)
REINSTATEMENTS = postings(["REINSTATEMENT"], TAKEN_BACK)


def a_month_later(at: datetime, months: int | None) -> datetime:
    """`months` later on the calendar, with the month end clamped."""
    if months is None:
        return NEVER
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    last = (datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC) - timedelta(days=1)).day
    return at.replace(year=year, month=month + 1, day=min(at.day, last))


class House:
    """Companies to play in: a few plays in each, since opening one takes longer than most plays' steps."""

    PLAYS = 10

    def __init__(self, open_one: Callable[[], Tenant]) -> None:
        self._open = open_one
        self._current: Tenant | None = None
        self._plays = 0
        self.numbers = count(1)

    def enter(self) -> Tenant:
        if self._current is None or self._plays == self.PLAYS:
            self._current, self._plays = self._open(), 0
        self._plays += 1
        return self._current

    def leave_for_good(self) -> None:
        """Nobody plays in a company any more where something was wrong."""
        self._current = None


class Play(RuleBasedStateMachine):
    """One sequence: what is done to the ledger is done to the model, and they say the same after each step."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.tenant = house.enter()
        self.now = BEGIN
        self.tenant.set_clock(BEGIN)
        self.option = self.tenant.add_option(cost=PRICE)
        number = next(house.numbers)
        self.names = {name: f"{name}_{number}" for name in ("ada", "ben")}
        self.ids = {name: self.tenant.add_user(external_id) for name, external_id in self.names.items()}
        self.wallets = {name: Wallet() for name in self.names}
        self.purchases: list[tuple[UUID, str, Purchase]] = []
        self.sent: list[tuple[Callable[[], Answer], Answer]] = []

    @rule(who=PEOPLE, posting=EARNINGS)
    def earn(self, who: str, posting: Posting) -> None:
        self.post([(who, posting)])

    @rule(who=PEOPLE, posting=REVERSALS)
    def reverse(self, who: str, posting: Posting) -> None:
        self.post([(who, posting)])

    @rule(who=PEOPLE, posting=REINSTATEMENTS)
    def reinstate(self, who: str, posting: Posting) -> None:
        self.post([(who, posting)])

    @rule(postings=st.lists(st.tuples(PEOPLE, EARNINGS | REVERSALS | REINSTATEMENTS), max_size=4))
    def post(self, postings: list[tuple[str, Posting]]) -> None:
        """In one call."""
        booked = self.tenant.post(*(
            {
                "user_id": self.ids[who], "type": each.type, "points": each.points, "occasion": each.occasion,
                "reference": f"{each.reference} {self.names[who]}", "expiry_months": each.months,
                "priority": each.priority,
            }
            for who, each in postings
        ))  # fmt: skip
        for (who, each), entry in zip(postings, booked, strict=True):
            wallet, expires_at = self.wallets[who], a_month_later(self.now, each.months)
            match each.type:
                case "REVERSAL":
                    expected = wallet.reverse(each)
                case "REINSTATEMENT":
                    expected = wallet.reinstate(each, expires_at)
                case _:
                    expected = wallet.earn(each, expires_at)
            assert (entry and Change(*(entry[name] for name in Change._fields))) == expected

    @rule(who=PEOPLE, points=st.integers(1, 60), days=st.sampled_from([None, 0, 1, 28]), priority=PRIORITIES)
    def give(self, who: str, points: int, days: int | None, priority: int) -> None:
        expires_at = None if days is None else self.now + timedelta(days=days)
        given = self.send(
            lambda key: self.tenant.adjust(
                self.names[who], points, expires_at=expires_at, priority=priority, key=key
            )
        )  # fmt: skip
        assert given.status == (422 if days == 0 else 201)
        if given.status == 201:
            self.wallets[who].grant(points, priority, expires_at or a_month_later(self.now, 12))

    @rule(data=st.data(), who=PEOPLE)
    def take(self, data: st.DataObject, who: str) -> None:
        wallet = self.wallets[who]
        points = data.draw(st.integers(1, wallet.standing.balance + 1))
        taken = self.send(lambda key: self.tenant.adjust(self.names[who], -points, key=key))
        assert taken.status == (201 if points <= wallet.standing.balance else 422)
        if taken.status == 201:
            wallet.take("ADMIN_GRANT", points)

    @rule(data=st.data(), who=PEOPLE)
    def redeem(self, data: st.DataObject, who: str) -> None:
        wallet = self.wallets[who]
        quantity = data.draw(st.integers(1, wallet.standing.balance // PRICE + 1))
        redeemed = self.send(lambda key: self.tenant.redeem(self.names[who], self.option, quantity, key=key))
        assert redeemed.status == (201 if PRICE * quantity <= wallet.standing.balance else 422)
        if redeemed.status == 201:
            purchase = Purchase(wallet.take("REDEMPTION_QUOTA", PRICE * quantity))
            self.purchases.append((UUID(hex=redeemed.json["id"].removeprefix("red_")), who, purchase))

    @precondition(lambda self: bool(self.purchases))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        redemption, who, purchase = data.draw(st.sampled_from(self.purchases))
        refunded = self.send(lambda key: self.tenant.refund(redemption, key=key))
        assert refunded.status == (409 if purchase.refunded else 200)
        if refunded.status == 200:
            self.wallets[who].refund(purchase)

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        repeat, answer = data.draw(st.sampled_from(self.sent))
        assert repeat() == answer._replace(replayed=True)

    @rule(time=st.sampled_from([TICK, timedelta(days=1), timedelta(days=28)]))
    def wait(self, time: timedelta) -> None:
        self.go_to(self.now + time)

    @precondition(lambda self: bool(self.expiries()))
    @rule(data=st.data(), beside=st.sampled_from([-TICK, timedelta(), TICK]))
    def wait_for_an_expiry(self, data: st.DataObject, beside: timedelta) -> None:
        self.go_to(max(self.now, data.draw(st.sampled_from(self.expiries())) + beside))

    @rule()
    def book_expiry(self) -> None:
        self.tenant.book_expiry()

    @rule(data=st.data(), who=PEOPLE, beside=st.sampled_from([-TICK, timedelta(), TICK]))
    def look_back(self, data: st.DataObject, who: str, beside: timedelta) -> None:
        instant = data.draw(st.sampled_from(list(self.wallets[who].stood))) + beside
        if instant <= self.now:
            (balance,) = self.tenant.balances((self.names[who], instant))
            assert standing_of(balance) == self.wallets[who].at(instant)

    @invariant()
    def both_say_the_same(self) -> None:
        balances = self.tenant.balances(*((name, None) for name in self.names.values()))
        for balance, wallet in zip(balances, self.wallets.values(), strict=True):
            assert balance.as_of == self.now
            assert standing_of(balance) == wallet.standing
            assert balance.balance >= 0
            ahead = Counter[datetime]()
            for lot in wallet.open():
                ahead[lot.expires_at] += lot.remaining
            del ahead[NEVER]
            assert [(each.expires_at, each.points) for each in balance.expiring] == sorted(ahead.items())

    def teardown(self) -> None:
        """The end: nothing was said wrongly, whether expiry is booked or not, and not a row is wrong."""
        if sys.exception() is not None:  # a step has failed already, which is what is to be reported
            self.house.leave_for_good()
            return
        try:
            self.go_to(max([self.now, *self.expiries()]))
            self.the_past_stays()
            self.tenant.book_expiry()
            self.the_past_stays()
            self.the_rows_are_right()
        except BaseException:
            self.house.leave_for_good()
            raise

    def the_past_stays(self) -> None:
        """At each instant at which anything changed or was asked, and just before it."""
        asked = [
            (who, instant)
            for who, wallet in self.wallets.items()
            for instant in sorted({at + beside for at in wallet.stood for beside in (-TICK, timedelta())})
            if instant <= self.now
        ]
        balances = self.tenant.balances(*((self.names[who], instant) for who, instant in asked))
        for (who, instant), each in zip(asked, balances, strict=True):
            assert (instant, standing_of(each)) == (instant, self.wallets[who].at(instant))

    def the_rows_are_right(self) -> None:
        for name, wallet in self.wallets.items():
            user_id = self.ids[name]
            entries = [Change(*(entry[name] for name in Change._fields)) for entry in self.tenant.entries(user_id)]
            assert entries == wallet.entries
            assert self.tenant.remaining(user_id) == [lot.remaining for lot in wallet.lots]
            if entries:
                row = self.tenant.wallet(user_id)
                totals = (row[f"total_{total}"] for total in ("earned", "spent", "expired", "reversed"))
                assert Standing(row["balance"], row["debt"], *totals) == wallet.standing
        assert books.faults(self.tenant.superuser, self.tenant.id) == []

    def expiries(self) -> list[datetime]:
        """When points will expire, of anybody."""
        open_lots = [lot for wallet in self.wallets.values() for lot in wallet.open()]
        return sorted({lot.expires_at for lot in open_lots} - {NEVER})

    def go_to(self, instant: datetime) -> None:
        self.now = instant
        self.tenant.set_clock(instant)
        for name, wallet in self.wallets.items():
            wallet.go_to(instant)
            assert self.tenant.spendable(self.ids[name]) == wallet.standing.balance

    def send(self, request: Callable[[str], Answer]) -> Answer:
        """A request under a fresh Idempotency-Key; it may be sent again."""
        key = f"key_{next(self.house.numbers)}"
        answer = request(key)
        self.sent.append((lambda: request(key), answer))
        return answer


def standing_of(balance: Balance) -> Standing:
    return Standing(
        balance.balance,
        balance.debt,
        balance.total_earned,
        balance.total_spent,
        balance.total_expired,
        balance.total_reversed,
    )


@pytest.mark.soak
@pytest.mark.parametrize("sequences", [len(range(share, SEQUENCES, SHARES)) for share in range(SHARES)])
def test_the_ledger_does_what_the_model_does(
    opener: Connection, as_role: AsRole, superuser: Connection, sequences: int
) -> None:
    kept = cache(as_role)  # the connections are the same for every company
    house = House(lambda: Tenant.open(opener, kept, superuser))

    class HousePlay(Play):
        def __init__(self) -> None:
            super().__init__(house)

    run_state_machine_as_test(HousePlay, settings=settings(max_examples=sequences))
