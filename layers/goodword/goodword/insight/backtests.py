"""Back-tests: what a draft of the program would have awarded on the company's real history, beside what was awarded.

The live engine reckons both (`simulation`). Nothing is written, and nothing is decided again that other people decided:
docs/rules.md, Back-tests. A history too long for one request is told as far as it was reckoned, oldest referrals first.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.awards import known
from goodword.awards.due import AwardEvent
from goodword.awards.known import KnownReferral
from goodword.campaigns import terms as campaigns
from goodword.core import query
from goodword.core.errors import invalid_fields
from goodword.core.fields import AnswerModel, GivenMoment, Instant, RequestModel, moment
from goodword.insight import simulation
from goodword.insight.simulation import Given, Span
from goodword.program import versions
from goodword.program.document import EVENTS, Program

LONGEST_SECONDS = 15.0
"""How long a back-test reckons: within the time of its function, with room for the answer."""
REFERRALS_AT_ONCE = 200
MOST_EARNERS = 10
NOT_SIMULATED = ("attribution", "fraud", "limits", "expects_activations", "timezone", "points_expiry_months")
"""What of a program decides no award that was made, or decides by what is not kept."""


class BacktestRequest(RequestModel):
    """The body of POST /v1/program/backtest: a draft, and the span of the occasions that are looked at.

    A day stands for its start in the company's time zone; `to` after now is now.
    """

    program: Program
    from_: GivenMoment = Field(alias="from")
    to: GivenMoment


class AwardSum(AnswerModel):
    """Awards that were not rejected, pending and held ones included; `reversed_points` is what of them went back."""

    awards: int
    points: int
    reversed_points: int


class EventSum(AwardSum):
    """The draft's awards for one event, beside what was awarded for it."""

    event: AwardEvent
    awarded_points: int


class Earner(AnswerModel):
    """Somebody whom the draft would have awarded most, beside what they were awarded."""

    user_id: str
    points: int
    awarded_points: int


class Backtest(AnswerModel):
    """Both sides. Where not all could be reckoned, `through` is when the last referral that was had registered."""

    from_: Instant = Field(serialization_alias="from", validation_alias="from")
    to: Instant
    complete: bool
    through: Instant | None
    not_simulated: list[str]
    awarded: AwardSum
    draft: AwardSum
    by_event: list[EventSum]
    top_earners: list[Earner]


_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

_SPAN = """
    SELECT coalesce(%(from)s::timestamptz, first_instant(%(from_day)s::date, time_zone)) AS since,
        least(coalesce(%(to)s::timestamptz, first_instant(%(to_day)s::date, time_zone)), company_now(id)) AS until
    FROM companies WHERE id = %(company_id)s
"""

_NEXT = """
    SELECT id, referee_id, registered_at FROM referrals
    WHERE company_id = %(company_id)s AND registered_at < %(until)s
        AND (%(after)s::timestamptz IS NULL OR registered_at > %(after)s
            OR registered_at = %(after)s AND id < %(after_id)s)
    ORDER BY registered_at, id DESC LIMIT %(limit)s
"""

_COUNTED = """
    SELECT referrer_id, array_agg(qualified_at ORDER BY qualified_at) AS qualified FROM referrals
    WHERE company_id = %(company_id)s AND referrer_id = %(referrer_id)s AND counts GROUP BY referrer_id
"""

# In all (no day), and on each day that awards of the span may share.
_RESERVED_BEFORE = """
    SELECT user_id, NULL AS day, sum(points - reversed_points)::bigint AS points FROM awards
    WHERE company_id = %(company_id)s AND user_id = ANY (%(users)s) AND status <> 'rejected' AND due_at < %(since)s
    GROUP BY user_id
    UNION ALL
    SELECT user_id, (awards.created_at AT TIME ZONE own.timezone)::date::text AS day,
        sum(points - reversed_points)::bigint AS points
    FROM awards
    JOIN program_versions AS own ON own.company_id = awards.company_id AND own.version = awards.program_version
    WHERE awards.company_id = %(company_id)s AND user_id = ANY (%(users)s) AND status <> 'rejected'
        AND due_at < %(since)s AND awards.created_at > %(since)s - interval '50 hours'
    GROUP BY user_id, day
"""

_DAYS = """
    SELECT (made_at AT TIME ZONE zone)::date::text AS day
    FROM unnest(%(instants)s::timestamptz[], %(zones)s::text[]) WITH ORDINALITY AS made (made_at, zone, place)
    ORDER BY place
"""

_NAMES = "SELECT id, external_id FROM users WHERE company_id = %(company_id)s AND id = ANY (%(users)s)"


class _Registered(NamedTuple):
    id: UUID
    referee_id: UUID
    registered_at: datetime


@dataclass(slots=True)
class _Sides:
    """What was awarded, and what the draft would have; and how far the history was reckoned."""

    awarded: list[Given] = field(default_factory=list[Given])
    drafted: list[Given] = field(default_factory=list[Given])
    through: datetime | None = None
    complete: bool = True


def run(connection: Connection, company_id: UUID, wanted: BacktestRequest) -> Backtest:
    """Reckon a draft on the history of a span, until the time for it is over. Raises Refused for an empty span."""
    deadline = time.monotonic() + LONGEST_SECONDS
    query.do(connection, _ONE_SNAPSHOT)
    moments = {**moment("from", wanted.from_), **moment("to", wanted.to)}
    span = query.the_one_later(connection, Span, _SPAN, company_id=company_id, **moments)()
    if span.since >= span.until:
        raise invalid_fields(("from", "must lie before to and before now"))
    current = versions.current(connection, company_id).program
    sides = _reckon(connection, company_id, wanted.program, span, deadline)
    drafted = _capped(connection, company_id, wanted.program, span, sides.drafted)
    return Backtest.model_validate({
        "from": span.since,
        "to": span.until,
        "complete": sides.complete,
        "through": sides.through,
        "not_simulated": [name for name in NOT_SIMULATED if getattr(wanted.program, name) != getattr(current, name)],
        "awarded": _sum(sides.awarded),
        "draft": _sum(drafted),
        "by_event": _by_event(drafted, sides.awarded),
        "top_earners": _earners(connection, company_id, drafted, sides.awarded),
    })  # fmt: skip


def _reckon(connection: Connection, company_id: UUID, draft: Program, span: Span, deadline: float) -> _Sides:
    sides = _Sides()
    counted = _Counted(connection, company_id)
    for referral in _history(connection, company_id, span, sides, deadline):
        # whom it was decided to attribute stays, so what counts by the attribution does
        own = draft.model_copy(update={"attribution": referral.program.attribution})
        own = campaigns.over(own, referral.campaign)
        sides.awarded += simulation.awarded(referral, span)
        sides.drafted += simulation.drafted(referral, own, span, counted.before)
    return sides


def _history(
    connection: Connection, company_id: UUID, span: Span, sides: _Sides, deadline: float
) -> Iterator[KnownReferral]:
    """Every referral that can have been awarded something in a span, in the order of registration."""
    last = None
    while True:
        scope = {"company_id": company_id, "until": span.until, "limit": REFERRALS_AT_ONCE}
        after = {"after": last and last.registered_at, "after_id": last and last.id}
        found = query.every(connection, _Registered, _NEXT, **scope, **after)
        if not found:
            return
        if time.monotonic() >= deadline:
            sides.complete = False
            return
        yield from known.read(connection, company_id, [each.referee_id for each in found], holds=False)
        last = found[-1]
        sides.through = last.registered_at


@dataclass(slots=True)
class _Counted:
    """When the counted referrals of referrers qualified, asked for once each."""

    connection: Connection
    company_id: UUID
    known: dict[UUID, list[datetime]] = field(default_factory=dict[UUID, list[datetime]])

    def before(self, referrer_id: UUID, at: datetime) -> int:
        """How many had before an instant."""
        if referrer_id not in self.known:
            scope = {"company_id": self.company_id, "referrer_id": referrer_id}
            rows = query.every(self.connection, dict[str, Any], _COUNTED, **scope)
            self.known[referrer_id] = rows[0]["qualified"] if rows else []
        return bisect_left(self.known[referrer_id], at)


def _capped(connection: Connection, company_id: UUID, draft: Program, span: Span, given: list[Given]) -> list[Given]:
    """What fits under the draft's caps where these are not those that were asked, in the order of creation."""
    if all(each.is_decided for each in given) or not draft.caps.are_any:
        return given
    ordered = sorted(given, key=attrgetter("made_at"))
    instants, zones = [each.made_at for each in ordered], [each.zone for each in ordered]
    days = query.every(connection, _Day, _DAYS, instants=instants, zones=zones)
    users = list({each.user_id for each in ordered})
    rows = query.every(connection, _Reserved, _RESERVED_BEFORE, company_id=company_id, users=users, since=span.since)
    reserved = defaultdict[tuple[UUID, str | None], int](int, {(user_id, day): points for user_id, day, points in rows})
    fitting: list[Given] = []
    for each, (day,) in zip(ordered, days, strict=True):
        asked = (
            (draft.caps.per_user_points, reserved[each.user_id, None]),
            (draft.caps.per_user_per_day_points, reserved[each.user_id, day]),
        )
        if each.is_decided or all(cap is None or taken + each.points <= cap for cap, taken in asked):
            fitting.append(each)
            for at in (None, day):
                reserved[each.user_id, at] += each.points - each.reversed_points
    return fitting


class _Day(NamedTuple):
    day: str


class _Reserved(NamedTuple):
    user_id: UUID
    day: str | None
    points: int


def _sum(given: Iterable[Given]) -> dict[str, int]:
    awards = list(given)
    return {
        "awards": len(awards),
        "points": sum(each.points for each in awards),
        "reversed_points": sum(each.reversed_points for each in awards),
    }


def _by_event(drafted: Sequence[Given], awarded: Sequence[Given]) -> list[EventSum]:
    sums = [
        EventSum(
            event=event,
            **_sum(each for each in drafted if each.event == event),
            awarded_points=sum(each.points for each in awarded if each.event == event),
        )
        for event in EVENTS
    ]
    return [each for each in sums if each.awards or each.awarded_points]


def _earners(
    connection: Connection, company_id: UUID, drafted: Sequence[Given], awarded: Sequence[Given]
) -> list[Earner]:
    by_user, awarded_by_user = _points_by_user(drafted), _points_by_user(awarded)
    most = sorted(by_user, key=lambda user_id: (-by_user[user_id], user_id))[:MOST_EARNERS]
    rows = query.every(connection, dict[str, Any], _NAMES, company_id=company_id, users=most)
    names = {row["id"]: row["external_id"] for row in rows}
    return [Earner(user_id=names[each], points=by_user[each], awarded_points=awarded_by_user[each]) for each in most]


def _points_by_user(given: Iterable[Given]) -> defaultdict[UUID, int]:
    points = defaultdict[UUID, int](int)
    for each in given:
        points[each.user_id] += each.points
    return points
