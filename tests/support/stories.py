"""What may be reported of one referred person, in any order: the reports, what is known by them, and what must stand.

`known` is a second telling of what `facts.keep` keeps, in plain Python; `Report` and `Applied` know no database.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from goodword.awards import differences, engine, history
from goodword.awards.caps import Headroom
from goodword.awards.decisions import Decision
from goodword.awards.differences import Difference
from goodword.awards.due import AwardKey, Due
from goodword.awards.engine import Standing
from goodword.awards.history import Facts, Payment, Subscription, Takeback
from goodword.awards.screenings import REFUSALS, Restraint, Risk
from goodword.awards.stored import StoredAward
from goodword.program.document import Caps, Program
from tests.support.trust import TRUSTING

REGISTERED = datetime(2031, 1, 31, 9, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
END = REGISTERED + 600 * DAY
FOR_EACH_PROGRAM = settings(max_examples=settings().max_examples // 2)
"""How often a property is asked that is asked of every program."""

PEOPLE: Mapping[str, UUID] = {"referrer": UUID(int=101), "referee": UUID(int=102), "upline": UUID(int=103)}


Status = Literal["pending", "succeeded", "failed", "warning", "open", "lost", "won"]


@dataclass(frozen=True)
class Use:
    """First use of an app; '' where it is not said which."""

    app_id: str
    at: datetime


@dataclass(frozen=True)
class Sale:
    """A payment, known by its number."""

    number: int
    gross: int
    net: int
    currency: str | None
    paid_at: datetime
    period_start: datetime | None = None
    is_proration: bool = False

    def key(self, prefix: str = "") -> str:
        """The sale's own key."""
        return f"in_{prefix}{self.number}"


@dataclass(frozen=True)
class Back:
    """One status of a refund or a dispute of a sale."""

    kind: Literal["refund", "dispute"]
    number: int
    sale: int
    amount: int
    began_at: datetime
    status: Status
    at: datetime


@dataclass(frozen=True)
class Subscribed:
    """One status of a subscription; `ended_at` with its end."""

    number: int
    at: datetime
    ended_at: datetime | None = None


Report = Use | Sale | Back | Subscribed

_Course = tuple[Literal["refund", "dispute"], list[tuple[Status, int]]]
"""The statuses of a refund or a dispute, each with its day."""

_FURTHER: Sequence[Status] = ("pending", "warning", "open", "succeeded", "lost", "failed", "won")
_STATES: Mapping[Status, Literal["gone", "disputed", "kept"]] = {
    "pending": "gone", "succeeded": "gone", "lost": "gone", "open": "disputed",
    "failed": "kept", "won": "kept", "warning": "kept",
}  # fmt: skip


def known(reports: Iterable[Report], app_id: str | None = None, prefix: str = "") -> Facts:
    """What is known by these reports, however often each has come: each thing once, with its latest status."""
    uses: dict[str, datetime] = {}
    sales: dict[int, Sale] = {}
    backs: dict[tuple[str, int], Back] = {}
    began: dict[int, datetime] = {}
    latest: dict[int, Subscribed] = {}
    for each in reports:
        match each:
            case Use(app, at):
                uses[app] = min(at, uses.get(app, at))
            case Sale(number=number):
                sales[number] = each
            case Back(kind=kind, number=number):
                backs[kind, number] = max(
                    each, backs.get((kind, number), each), key=lambda back: (back.at, _FURTHER.index(back.status))
                )
            case Subscribed(number=number, at=at):
                began[number] = min(at, began.get(number, at))
                latest[number] = max(each, latest.get(number, each), key=lambda one: (one.at, one.ended_at is not None))
    return Facts(
        registered_at=REGISTERED,
        touched_at=REGISTERED,
        app_id=app_id,
        uses=tuple(history.Use(app, at) for app, at in uses.items()),
        payments=tuple(
            Payment(UUID(int=each.number), each.key(prefix), each.net, each.gross, each.currency, each.paid_at,
                each.period_start, each.is_proration)
            for each in sales.values()
        ),
        takebacks=tuple(
            Takeback(UUID(int=each.sale), each.amount, _STATES[each.status], each.began_at) for each in backs.values()
        ),
        subscriptions=tuple(Subscription(began[number], each.ended_at) for number, each in latest.items()),
    )  # fmt: skip


class Outcome(NamedTuple):
    """An award as order must not change it; its status is that of `settled`."""

    points: int
    reversed_points: int
    status: str
    period: int | None
    due_at: datetime


@dataclass
class Applied:
    """A referral's awards as settlement keeps them, and the ledger's sums by award, in memory."""

    program: Program
    awards: dict[AwardKey, StoredAward] = field(default_factory=dict[AwardKey, StoredAward])
    booked: dict[str, int] = field(default_factory=dict[str, int])
    keys: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    retained_at: datetime | None = None
    risk: Risk = "clear"

    def settle(self, facts: Facts, at: datetime, *, time_passes: bool = False) -> tuple[Standing, Difference]:
        """Bring the awards to what the facts say."""
        stored = list(self.awards.values())
        processed_at = at if time_passes else differences.processed_at(stored, self.retained_at)
        standing = engine.standing(self.program, facts, at, processed_at=processed_at)
        restraint = Restraint(standing.disputed, self.risk, timedelta(hours=self.program.timing.risk_hold_hours))
        difference = differences.between(
            standing, stored, partial(_decide, self.risk), at, uncapped(at), restraint, releases=time_passes
        )
        self.keep(difference, at)
        self.retained_at = standing.retained_at
        return standing, difference

    def outcome(self, standing: Standing) -> dict[AwardKey, Outcome]:
        """What stands. Of what is due no more, nothing may be left."""
        due = {each.key for each in standing.due}
        for key, award in self.awards.items():
            assert key in due or award.status == "rejected" or award.points == award.reversed_points, award
        return {
            key: Outcome(
                award.points, award.reversed_points, settled(award.status, disputed=standing.disputed), award.period,
                award.due_at,
            )
            for key, award in self.awards.items() if key in due
        }  # fmt: skip

    def keep(self, difference: Difference, at: datetime) -> None:
        """Write what is to be written."""
        for posting in difference.postings:
            name = (posting.reference, posting.type, posting.occasion)
            assert posting.points > 0, posting
            assert name not in self.keys, posting
            self.keys.add(name)
            sign = -1 if posting.type == "REVERSAL" else 1
            self.booked[posting.reference] = self.booked.get(posting.reference, 0) + sign * posting.points
        for award in difference.new:
            assert award.due is not None
            assert award.decision is not None
            assert award.due.key not in self.awards
            due = award.due
            self.awards[due.key] = StoredAward(
                award.id, due.event, due.app_id, due.occasion, award.user_id, award.points, award.reversed_points,
                award.status, award.hold_until, award.hold_reason, award.earning is not None, award.adjustments,
                due.period, due.payment_id, due.due_at, at, award.decision.multiplier_bps, award.decision.tier,
                award.decision.counted, award.reason,
            )  # fmt: skip
        by_id = {award.id: key for key, award in self.awards.items()}
        for award in (*difference.changed, *difference.moved):
            before = self.awards[by_id[award.id]]
            assert (award.points, award.user_id) == (before.points, before.user_id)
            after = before._replace(
                reversed_points=award.reversed_points, status=award.status, hold_until=award.hold_until,
                hold_reason=award.hold_reason, booked=before.booked or award.earning is not None,
                adjustments=award.adjustments, reason=award.reason,
            )  # fmt: skip
            if award.due:
                after = after._replace(
                    period=award.due.period, payment_id=award.due.payment_id, due_at=award.due.due_at
                )
            self.awards[before.key] = after


def settled(status: str, *, disputed: bool) -> str:
    """A status as order must not change it: while money is in dispute, what was paid before stays paid."""
    return "given" if disputed and status in {"paid", "held"} else status


def at_once(program: Program, facts: Facts, at: datetime = END) -> tuple[Standing, dict[AwardKey, Outcome]]:
    """What stands when everything is applied in one go."""
    applied = Applied(program)
    standing, _ = applied.settle(facts, at, time_passes=True)
    return standing, applied.outcome(standing)


def uncapped(at: datetime) -> Headroom:
    """No caps."""
    return Headroom(Caps(), None, {}, at, at.date())


def _decide(risk: Risk, due: Due) -> Decision:
    return Decision(PEOPLE[due.recipient], rejected=REFUSALS.get(risk))


TRUSTS = TRUSTING.fraud.model_dump(mode="json")

PROGRAMS: Mapping[str, Program] = {
    name: Program.model_validate_json(json.dumps({"points_expiry_months": None, "fraud": TRUSTS, **document}))
    for name, document in {
        "fixed": {},
        "percentages": {
            "awards": {
                "qualified": {"bps": 1000}, "recurring": {"bps": 333}, "l2": {"bps": 150}, "retained": {"bps": 777},
                "welcome": {"points": 25}, "registered": {"points": 5}, "activated": {"points": 10},
                "cross_app": {"points": 5},
            },
            "points_per_unit": {"usd": 100, "jpy": 1},
            "recurring_months": [2, 4],
        },
        "mixed": {
            "awards": {
                "qualified": {"bps": 2000}, "recurring": {"points": 10}, "l2": {"bps": 150},
                "retained": {"points": 15, "hold_days": 5},
            },
            "recurring_months": [1, 3], "l2_months": [1, 2], "timing": {"retention_days": 7},
        },
        "waiting": {
            "awards": {
                "registered": {"points": 7, "hold_days": 3}, "welcome": {"points": 25, "hold_days": 20},
                "activated": {"points": 11, "hold_days": 2}, "qualified": {"points": 1, "hold_days": 14},
                "recurring": {"points": 10, "hold_days": 7}, "l2": {"points": 3, "hold_days": 30},
                "retained": {"points": 15, "hold_days": 30}, "cross_app": {"points": 5, "hold_days": 1},
            },
            "apps": ["chat", "calendar"],
        },
    }.items()
}  # fmt: skip

_days = st.sampled_from([-91, -89, -30, 0, 1, 10, 28, 29, 30, 31, 45, 59, 62, 85, 89, 90, 91, 120, 150, 365, 396])
_moments = st.builds(
    lambda days, hours: REGISTERED + days * DAY + timedelta(hours=hours), _days, st.sampled_from([0, 0, 5, -7])
)
_used_at = st.one_of(st.sampled_from([REGISTERED - DAY, REGISTERED + MINUTE, REGISTERED + 7 * MINUTE]), _moments)
uses: st.SearchStrategy[list[Report]] = st.lists(
    st.builds(Use, st.sampled_from(["", "chat", "mail", "calendar"]), _used_at), max_size=4
)


# What is drawn of each report; no strategy is made while another one draws, which would take most of the time.
_sold = st.tuples(
    st.sampled_from([1, 100, 1900, 1999, 33_333, 500_000]),
    st.sampled_from(["untaxed", "taxed", "least"]),
    st.sampled_from(["usd", "usd", "usd", "jpy", "eur", None]),
    _moments,
    st.sampled_from([(None, False), (None, True), *((each, False) for each in (timedelta(), HOUR, 4 * DAY))]),
)


def _sale(
    number: int, gross: int, tax: str, currency: str | None, paid_at: datetime, period: tuple[timedelta | None, bool]
) -> Sale:
    net = {"untaxed": gross, "taxed": (gross * 5 + 5) // 6, "least": 1}[tax]
    begun, is_proration = period
    return Sale(number, gross, net, currency, paid_at, None if begun is None else paid_at - begun, is_proration)


def _course(kind: Literal["refund", "dispute"], *statuses: Status) -> st.SearchStrategy[_Course]:
    changes = st.tuples(st.sampled_from(statuses), st.sampled_from([0, 0, 1, 5]))
    return st.tuples(st.just(kind), st.lists(changes, min_size=1, max_size=3))


_refund = _course("refund", "pending", "succeeded", "failed")
_returned = st.tuples(
    st.integers(0, 4),
    st.one_of(_refund, _refund, _course("dispute", "warning", "open", "lost", "won")),
    st.sampled_from(["all", "half", "a third", "least", "none", "twice"]),
    st.sampled_from([timedelta(), 3 * HOUR, 20 * DAY, 40 * DAY]),
)


def _backs(number: int, sale: Sale, course: _Course, part: str, later: timedelta) -> Sequence[Report]:
    gross, began_at, (kind, changes) = sale.gross, sale.paid_at + later, course
    amount = {"all": gross, "half": gross // 2, "a third": gross // 3, "least": 1, "none": 0, "twice": gross * 2}[part]
    return [
        Back(kind, number, sale.number, amount, began_at, status, began_at + days * DAY) for status, days in changes
    ]


_subscribed = st.tuples(
    _moments,
    st.sampled_from([None, timedelta(), 5 * DAY, 31 * DAY, 200 * DAY]),
    st.sampled_from([None, None, None, -DAY, timedelta(), DAY]),
)


def _subscription(number: int, began: datetime, lasted: timedelta | None, again: timedelta | None) -> Sequence[Report]:
    if lasted is None:
        return [Subscribed(number, began)]
    ended = began + lasted
    reports = [Subscribed(number, began), Subscribed(number, ended, ended)]
    return reports if again is None else [*reports, Subscribed(number, ended + again)]


def _story(
    used: list[Report], sold: list[tuple[Any, ...]], returned: list[tuple[Any, ...]], subscribed: list[tuple[Any, ...]]
) -> list[Report]:
    sales = [_sale(number, *each) for number, each in enumerate(sold, start=1)]
    backs = [
        _backs(number, sales[which % len(sales)], *each)
        for number, (which, *each) in enumerate(returned if sales else [])
    ]
    subscriptions = [_subscription(number, *each) for number, each in enumerate(subscribed)]
    return [*used, *sales, *chain.from_iterable(backs), *chain.from_iterable(subscriptions)]


_stories = st.builds(
    _story, uses, st.lists(_sold, max_size=5), st.lists(_returned, max_size=4), st.lists(_subscribed, max_size=2)
)


def stories() -> st.SearchStrategy[list[Report]]:
    """Everything that is reported of a person, in no order that means anything."""
    return _stories


@st.composite
def orders(draw: st.DrawFn, story: Sequence[Report]) -> list[Report]:
    """The same in some order, some of it twice."""
    again = draw(st.lists(st.sampled_from(story), max_size=5)) if story else []
    return draw(st.permutations([*story, *again]))
