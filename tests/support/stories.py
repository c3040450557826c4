"""What may be reported of one referred person, in any order: the reports, what is known by them, and what must stand.

`known` is a second telling of what `facts.keep` keeps, in plain Python; `Report` and `Applied` know no database.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from goodword.awards import differences, engine, history
from goodword.awards.decisions import Decision
from goodword.awards.differences import Difference, StoredAward
from goodword.awards.due import AwardKey, Due
from goodword.awards.engine import Standing
from goodword.awards.history import Facts, Payment, Subscription, Takeback
from goodword.program.document import Program

REGISTERED = datetime(2031, 1, 31, 9, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
END = REGISTERED + 600 * DAY

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

    def settle(self, facts: Facts, at: datetime, *, time_passes: bool = False) -> tuple[Standing, Difference]:
        """Bring the awards to what the facts say."""
        stored = list(self.awards.values())
        processed_at = at if time_passes else differences.processed_at(stored, self.retained_at)
        standing = engine.standing(self.program, facts, at, processed_at=processed_at)
        difference = differences.between(standing, stored, _decide, at, releases=time_passes)
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
            assert award.due.key not in self.awards
            due = award.due
            self.awards[due.key] = StoredAward(
                award.id, due.event, due.app_id, due.occasion, award.user_id, award.points, award.reversed_points,
                award.status, award.hold_until, award.hold_reason, award.earning is not None, award.adjustments,
                due.period, due.payment_id, due.due_at, at,
            )  # fmt: skip
        by_id = {award.id: key for key, award in self.awards.items()}
        for award in (*difference.changed, *difference.moved):
            before = self.awards[by_id[award.id]]
            assert (award.points, award.user_id) == (before.points, before.user_id)
            after = before._replace(
                reversed_points=award.reversed_points, status=award.status, hold_until=award.hold_until,
                hold_reason=award.hold_reason, booked=before.booked or award.earning is not None,
                adjustments=award.adjustments,
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


def _decide(due: Due) -> Decision:
    return Decision(PEOPLE[due.recipient])


PROGRAMS: Mapping[str, Program] = {
    name: Program.model_validate_json(json.dumps({"points_expiry_months": None, **document}))
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


@st.composite
def _sale(draw: st.DrawFn, number: int) -> Sale:
    gross = draw(st.sampled_from([1, 100, 1900, 1999, 33_333, 500_000]))
    net = draw(st.sampled_from([gross, (gross * 5 + 5) // 6, 1]))
    paid_at = draw(_moments)
    starts = draw(st.sampled_from([None, None, timedelta(), timedelta(hours=1), 4 * DAY]))
    currency = draw(st.sampled_from(["usd", "usd", "usd", "jpy", "eur", None]))
    is_proration = starts is None and draw(st.booleans())
    return Sale(number, gross, net, currency, paid_at, None if starts is None else paid_at - starts, is_proration)


@st.composite
def _backs(draw: st.DrawFn, number: int, sale: Sale) -> Sequence[Report]:
    kind: Literal["refund", "dispute"] = draw(st.sampled_from(["refund", "refund", "dispute"]))
    amount = draw(st.sampled_from([sale.gross, sale.gross // 2, sale.gross // 3, 1, 0, sale.gross * 2]))
    began_at = sale.paid_at + draw(st.sampled_from([timedelta(), timedelta(hours=3), 20 * DAY, 40 * DAY]))
    statuses: list[Status] = (
        ["pending", "succeeded", "failed"] if kind == "refund" else ["warning", "open", "lost", "won"]
    )
    changes = draw(
        st.lists(st.tuples(st.sampled_from(statuses), st.sampled_from([0, 0, 1, 5])), min_size=1, max_size=3)
    )
    return [
        Back(kind, number, sale.number, amount, began_at, status, began_at + days * DAY) for status, days in changes
    ]


@st.composite
def _subscription(draw: st.DrawFn, number: int) -> list[Report]:
    began = draw(_moments)
    lasted = draw(st.sampled_from([None, timedelta(), 5 * DAY, 31 * DAY, 200 * DAY]))
    reports: list[Report] = [Subscribed(number, began)]
    if lasted is not None:
        reports.append(Subscribed(number, began + lasted, began + lasted))
        if draw(st.booleans()):
            reports.append(Subscribed(number, began + lasted + draw(st.sampled_from([-DAY, timedelta(), DAY]))))
    return reports


@st.composite
def stories(draw: st.DrawFn) -> list[Report]:
    """Everything that is reported of a person, in no order that means anything."""
    sales = [draw(_sale(number)) for number in range(1, 1 + draw(st.integers(0, 5)))]
    reports = [*draw(uses), *sales]
    if sales:
        for number in range(draw(st.integers(0, 4))):
            reports += draw(_backs(number, draw(st.sampled_from(sales))))
    for number in range(draw(st.integers(0, 2))):
        reports += draw(_subscription(number))
    return reports


@st.composite
def orders(draw: st.DrawFn, story: Sequence[Report]) -> list[Report]:
    """The same in some order, some of it twice."""
    again = draw(st.lists(st.sampled_from(story), max_size=5)) if story else []
    return draw(st.permutations([*story, *again]))
