"""The ledger against a model of it: any sequence of earning, giving, taking, redeeming and waiting ends alike.

The model is a list of lots and a list of entries, in plain Python, as DESIGN.md §4 tells of them. It knows nothing of
locks, statements or tables.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import books
from tests.support.tenants import Tenant

BEGIN = datetime(2030, 1, 31, 12, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
PRICE = 7
users = count(1)


@dataclass
class Lot:
    """Points earned together."""

    remaining: int
    priority: int
    expires_at: datetime


@dataclass
class Model:
    """A wallet as it should be."""

    now: datetime = BEGIN
    lots: list[Lot] = field(default_factory=list[Lot])
    entries: list[tuple[str, int, datetime]] = field(default_factory=list[tuple[str, int, datetime]])
    booked: set[str] = field(default_factory=set[str])

    @property
    def balance(self) -> int:
        """What is booked."""
        return sum(delta for _, delta, _ in self.entries)

    @property
    def spendable(self) -> int:
        """What may be spent: what is booked, less what has expired and is not booked yet."""
        return sum(lot.remaining for lot in self.lots if lot.expires_at > self.now)

    def earn(self, kind: str, points: int, priority: int, expires_at: datetime, reference: str) -> None:
        self._expire()
        if reference in self.booked:
            return
        self.booked.add(reference)
        self.lots.append(Lot(points, priority, expires_at))
        self.entries.append((kind, points, self.now))

    def take(self, kind: str, points: int) -> bool:
        self._expire()
        if points > self.balance:
            return False
        self.entries.append((kind, -points, self.now))
        # sorted() keeps the order of age among equals
        for lot in sorted(self.lots, key=lambda lot: (lot.priority, lot.expires_at)):
            taken = min(lot.remaining, points)
            lot.remaining -= taken
            points -= taken
        return True

    def _expire(self) -> None:
        for instant in sorted({lot.expires_at for lot in self.lots if lot.remaining and lot.expires_at <= self.now}):
            due = [lot for lot in self.lots if lot.expires_at == instant]
            self.entries.append(("EXPIRY", -sum(lot.remaining for lot in due), instant))
            for lot in due:
                lot.remaining = 0


@dataclass(frozen=True)
class Earn:
    points: int
    priority: int
    months: int | None
    repeated: bool


@dataclass(frozen=True)
class Adjust:
    points: int
    days: int | None


@dataclass(frozen=True)
class Redeem:
    quantity: int


@dataclass(frozen=True)
class Wait:
    time: timedelta


Step = Earn | Adjust | Redeem | Wait

# expiries meet: lots of one day are earned at one instant, and waiting stops at expiries as often as beside them
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.builds(
            Earn, st.integers(1, 40), st.sampled_from([50, 100, 100]), st.sampled_from([None, 1, 1, 2]), st.booleans()
        ),
        st.builds(Adjust, st.integers(-60, 60).filter(bool), st.sampled_from([None, 1, 28])),
        st.builds(Redeem, st.integers(1, 6)),
        st.builds(Wait, st.sampled_from([timedelta(microseconds=1), timedelta(days=1), timedelta(days=28)])),
    ),
    min_size=1,
    max_size=25,
)


def a_month_later(at: datetime, months: int | None) -> datetime:
    """`months` later with the month end clamped; all of them begin on a day before the 29th, or on 31 January."""
    if months is None:
        return FOREVER
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    last = (datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC) - timedelta(days=1)).day
    return at.replace(year=year, month=month + 1, day=min(at.day, last))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example has its own user
@given(steps=steps)
def test_the_ledger_does_what_the_model_does(tenant: Tenant, steps: list[Step]) -> None:
    name = f"user_{next(users)}"
    user_id, option = tenant.add_user(name), tenant.add_option(cost=PRICE)
    model, reference = Model(), "none"
    tenant.set_clock(model.now)
    for step in steps:
        match step:
            case Earn(points, priority, months, repeated):
                reference = reference if repeated else uuid4().hex
                earning = {"user_id": user_id, "points": points, "priority": priority, "expiry_months": months}
                tenant.post({**earning, "reference": f"{reference} {user_id}"})
                model.earn("IMPORT", points, priority, a_month_later(model.now, months), reference)
            case Adjust(points, days) if points > 0:
                expires_at = model.now + timedelta(days=days) if days else a_month_later(model.now, 12)
                assert tenant.adjust(name, points, expires_at=expires_at if days else None).status == 201
                model.earn("ADMIN_GRANT", points, 100, expires_at, uuid4().hex)
            case Adjust(points):
                assert (tenant.adjust(name, points).status == 201) == model.take("ADMIN_GRANT", -points)
            case Redeem(quantity):
                redeemed = tenant.redeem(name, option, quantity).status == 201
                assert redeemed == model.take("REDEMPTION_QUOTA", PRICE * quantity)
            case Wait(time):
                model.now += time
                tenant.set_clock(model.now)
        assert tenant.spendable(user_id) == model.spendable >= 0
    entries = [(entry["type"], entry["delta"], entry["effective_at"]) for entry in tenant.entries(user_id)]
    assert entries == model.entries
    assert tenant.remaining(user_id) == [lot.remaining for lot in model.lots]
    assert not entries or tenant.wallet(user_id)["balance"] == model.balance == sum(tenant.remaining(user_id))
    assert books.faults(tenant.superuser, tenant.id) == []
