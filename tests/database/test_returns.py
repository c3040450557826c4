"""Returns: what comes back goes where it came from, in whatever order; held against a model in plain Python."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goodword.access import entitlements
from goodword.core import ids
from tests.support import books
from tests.support.tenants import Answer, Tenant

BEGIN = datetime(2026, 3, 1, 18, tzinfo=UTC)
FEATURE = "photos"
LIMIT = 5
FOREVER = datetime.max.replace(tzinfo=UTC)

_TERM = """
    UPDATE quota_grants SET ends_at = coalesce(created_at + %s::interval, 'infinity')
    WHERE company_id = %s AND redemption_id = %s RETURNING created_at, nullif(ends_at, 'infinity')
"""


@dataclass(eq=False)
class Purchase:
    """Bought quota; `rank` is the order in which purchases are used."""

    id: UUID
    rank: tuple[datetime, datetime, UUID]
    quantity: int
    used: int = 0
    is_refunded: bool = False

    def stands(self, now: datetime) -> bool:
        return not self.is_refunded and self.rank[0] > now


@dataclass(eq=False)
class Part:
    """What a use took of one source: a purchase, or the allowance of the period that ends at `period_ends_at`."""

    quantity: int
    purchase: Purchase | None
    period_ends_at: datetime

    def gives(self, now: datetime) -> bool:
        return self.purchase.stands(now) if self.purchase else self.period_ends_at > now


@dataclass(eq=False)
class Use:
    """A use, by what is left of it."""

    id: str
    parts: list[Part]

    @property
    def returnable(self) -> int:
        return sum(part.quantity for part in self.parts)


@dataclass
class Person:
    """Somebody with an allowance a day and what they bought."""

    now: datetime = BEGIN
    period_ends_at: datetime = BEGIN
    used: int = 0
    purchases: list[Purchase] = field(default_factory=list[Purchase])
    uses: list[Use] = field(default_factory=list[Use])

    def live_until(self, at: datetime) -> None:
        self.now = at
        if self.period_ends_at <= at:
            self.used = 0
            self.period_ends_at = at.replace(hour=0, minute=0, microsecond=0) + timedelta(days=1)

    @property
    def standing(self) -> list[Purchase]:
        return sorted((each for each in self.purchases if each.stands(self.now)), key=lambda each: each.rank)

    @property
    def extra(self) -> int:
        return sum(each.quantity - each.used for each in self.standing)

    @property
    def ever_used(self) -> int:
        return sum(use.returnable for use in self.uses)

    def use(self, quantity: int) -> list[Part] | None:
        own = min(quantity, LIMIT - self.used)
        if quantity - own > self.extra:
            return None
        parts, wanted = [Part(own, None, self.period_ends_at)], quantity - own
        self.used += own
        for purchase in self.standing:
            taken = min(wanted, purchase.quantity - purchase.used)
            purchase.used, wanted = purchase.used + taken, wanted - taken
            parts.append(Part(taken, purchase, self.period_ends_at))
        return parts

    def give_back(self, use: Use, quantity: int) -> None:
        """Bought quota first, the last taken before the others, then the allowance; what gives nothing, after all."""
        parts = use.parts[::-1]
        void = [part for part in parts if not part.gives(self.now)]
        for part in [*(part for part in parts if part not in void), *void]:
            returned = min(quantity, part.quantity)
            part.quantity, quantity = part.quantity - returned, quantity - returned
            if part.purchase:
                part.purchase.used -= returned
            elif part.gives(self.now):
                self.used -= returned


@dataclass(frozen=True)
class Wait:
    """Time goes by."""

    hours: int


@dataclass(frozen=True)
class Buy:
    """Quota is bought, for good or for some hours."""

    quantity: int
    hours: int | None


@dataclass(frozen=True)
class Refund:
    """One of the purchases is given back."""

    which: int


@dataclass(frozen=True)
class Take:
    """The feature is used."""

    quantity: int


@dataclass(frozen=True)
class GiveBack:
    """One of the uses is returned, by default all that is left of it."""

    which: int
    quantity: int | None


Move = Wait | Buy | Refund | Take | GiveBack
WHICH = st.integers(0, 9)
MOVES = st.lists(
    st.builds(Take, st.integers(1, 12))
    | st.builds(GiveBack, WHICH, st.none() | st.integers(1, 8))
    | st.builds(Buy, st.integers(1, 6), st.sampled_from([None, 5, 30]))
    | st.builds(Wait, st.sampled_from([1, 5, 6, 30]))
    | st.builds(Refund, WHICH),
    min_size=1,
    max_size=20,
)


def buy(tenant: Tenant, name: str, quantity: int, hours: int | None) -> Purchase:
    answer = tenant.redeem(name, tenant.add_option(cost=1, feature=FEATURE, quantity=quantity))
    redemption_id = ids.parse("red", answer.json["id"])
    assert redemption_id is not None
    term = timedelta(hours=hours) if hours else None
    ((created_at, ends_at),) = tenant.superuser.execute(_TERM, (term, tenant.id, redemption_id)).fetchall()
    return Purchase(redemption_id, (ends_at or FOREVER, created_at, redemption_id), quantity)


def happen(tenant: Tenant, name: str, person: Person, move: Move) -> None:
    """The move in the database and in the model."""
    match move:
        case Wait(hours):
            person.live_until(person.now + timedelta(hours=hours))
            tenant.set_clock(person.now)
        case Buy(quantity, hours):
            person.purchases.append(buy(tenant, name, quantity, hours))
        case Refund(which) if person.purchases:
            purchase = person.purchases[which % len(person.purchases)]
            answer = tenant.refund(purchase.id)
            assert answer.status == (409 if purchase.is_refunded else 200)
            purchase.is_refunded = True
        case Take(quantity):
            answer, parts = tenant.consume(name, FEATURE, quantity), person.use(quantity)
            assert answer.status == (422 if parts is None else 200)
            if parts is not None:
                person.uses.append(Use(answer.json["usage_id"], parts))
        case GiveBack(which, quantity) if person.uses:
            give_back(tenant, name, person, person.uses[which % len(person.uses)], quantity)
        case _:
            pass


def give_back(tenant: Tenant, name: str, person: Person, use: Use, quantity: int | None) -> None:
    answer, returnable = tenant.give_back(name, use.id, quantity), use.returnable
    if returnable == 0 or (quantity or 0) > returnable:
        assert (answer.status, answer.json["code"]) == (422, "return_exceeds_usage")
        assert answer.json["returnable"] == returnable
        return
    person.give_back(use, quantity or returnable)
    assert answer.status == 200
    assert (answer.json["usage_id"], answer.json["returnable"]) == (use.id, use.returnable)
    assert (answer.json["used"], answer.json["extra"]) == (person.used, person.extra)


@settings(
    max_examples=settings().max_examples * 3 // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a user of their own each
)
@given(moves=MOVES)
def test_any_sequence_of_uses_and_returns_ends_as_in_the_model(tenant: Tenant, moves: list[Move]) -> None:
    tenant.superuser.execute(
        "UPDATE features SET reset = 'daily' WHERE company_id = %s AND key = %s", (tenant.id, FEATURE)
    )
    name, person = ids.new_id().hex, Person()
    user = tenant.add_user(name)
    tenant.post({"user_id": user, "points": 100})
    for move in [Wait(0), *moves]:
        happen(tenant, name, person, move)
        found = entitlements.of_feature(tenant.connection("app"), tenant.id, name, FEATURE)
        assert (found.used, found.extra) == (person.used, person.extra)
        assert found.remaining == LIMIT - person.used + person.extra
    (counted,) = tenant.rows("SELECT sum(used_ever) AS ever FROM usage_counters WHERE user_id = %(user)s", user=user)
    assert (counted["ever"] or 0) == person.ever_used
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.fixture
def ada(tenant: Tenant) -> Tenant:
    """A company with Ada, who has points, and 5 photos a day by her plan."""
    user = tenant.add_user("ada")
    tenant.post({"user_id": user, "points": 100})
    tenant.set_clock(BEGIN)
    tenant.superuser.execute(
        "UPDATE features SET reset = 'daily' WHERE company_id = %s AND key = 'photos'", (tenant.id,)
    )
    return tenant


def left(answer: Answer) -> tuple[int, int, int]:
    assert answer.status == 200, answer.raw
    return answer.json["used"], answer.json["extra"], answer.json["returnable"]


def test_bought_quota_comes_back_before_the_allowance_and_the_last_taken_first(ada: Tenant) -> None:
    long, short = buy(ada, "ada", 3, None), buy(ada, "ada", 2, 5)
    used = ada.consume("ada", FEATURE, 9).json
    assert (used["used"], used["extra"]) == (5, 1)
    quota = "SELECT redemption_id, used FROM quota_grants WHERE company_id = %(company_id)s"
    seen = []
    for _ in range(4):
        answer = ada.give_back("ada", used["usage_id"], 2)
        by_purchase = {row["redemption_id"]: row["used"] for row in ada.rows(quota)}
        seen.append((*left(answer), by_purchase[long.id], by_purchase[short.id]))
    assert seen == [(5, 3, 7, 0, 2), (5, 5, 5, 0, 0), (3, 5, 3, 0, 0), (1, 5, 1, 0, 0)]
    assert left(ada.give_back("ada", used["usage_id"])) == (0, 5, 0)
    assert books.faults(ada.superuser, ada.id) == []


def test_what_is_void_gives_nothing_and_counts_as_returned(ada: Tenant) -> None:
    bought = buy(ada, "ada", 4, None)
    first, second = (ada.consume("ada", FEATURE, quantity).json["usage_id"] for quantity in (3, 4))
    ada.set_clock(BEGIN + timedelta(days=1))
    assert left(ada.give_back("ada", first)) == (0, 2, 0)
    assert left(ada.give_back("ada", second, 1)) == (0, 3, 3)
    assert ada.refund(bought.id).status == 200
    assert left(ada.give_back("ada", second)) == (0, 0, 0)
    assert ada.rows("SELECT used_ever FROM usage_counters WHERE company_id = %(company_id)s") == [{"used_ever": 0}]
    assert books.faults(ada.superuser, ada.id) == []


def test_what_still_gives_something_comes_back_before_what_is_void(ada: Tenant) -> None:
    bought = buy(ada, "ada", 2, None)
    used = ada.consume("ada", FEATURE, 7).json["usage_id"]
    assert ada.refund(bought.id).status == 200
    assert left(ada.give_back("ada", used, 3)) == (2, 0, 4)
    assert left(ada.give_back("ada", used, 4)) == (0, 0, 0)


def test_a_feature_that_is_off_by_now_takes_uses_back(ada: Tenant) -> None:
    used = ada.consume("ada", FEATURE, 4).json["usage_id"]
    ada.superuser.execute("UPDATE features SET active = false WHERE company_id = %s AND key = 'photos'", (ada.id,))
    answer = ada.give_back("ada", used, 1)
    assert left(answer) == (3, 0, 3)
    assert (answer.json["allowed"], answer.json["reason"]) == (False, "feature_inactive")


def test_only_what_is_left_of_ones_own_use_can_be_returned(ada: Tenant) -> None:
    ada.add_user("ben")
    used = ada.consume("ada", FEATURE, 3).json["usage_id"]
    for quantity in (4, 10**12):
        refused = ada.give_back("ada", used, quantity)
        assert (refused.status, refused.json["code"], refused.json["returnable"]) == (422, "return_exceeds_usage", 3)
    assert ada.give_back("ben", used).json["code"] == "usage_not_found"
    assert ada.give_back("nobody", used).json["code"] == "user_not_found"
    assert ada.give_back("ada", "use_1").json["code"] == "usage_not_found"
    assert left(ada.give_back("ada", used)) == (0, 0, 0)
    assert ada.give_back("ada", used).json["returnable"] == 0
    assert books.faults(ada.superuser, ada.id) == []


def test_a_return_under_a_key_is_one_return(ada: Tenant) -> None:
    used = ada.consume("ada", FEATURE, 3).json["usage_id"]
    first, again = (ada.give_back("ada", used, 1, key="back") for _ in range(2))
    assert (again.raw, again.replayed) == (first.raw, True)
    assert ada.give_back("ada", used, 2, key="back").json["code"] == "idempotency_key_reused"
    assert left(ada.give_back("ada", used)) == (0, 0, 0)
