"""Settlement: the one way in which facts change what referrals stand for.

`settle` locks referrals, reads the set of their facts, asks the engine what should stand, and books the difference. It
may be called any number of times, after any fact, in any order, for any number of people at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, LiteralString, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from psycopg import Connection

from goodword.awards import decisions, differences, engine, history
from goodword.awards.binding import NewReferral
from goodword.awards.decisions import Decision, People, Upline
from goodword.awards.differences import AwardChange, Difference, StoredAward
from goodword.awards.due import Due
from goodword.awards.engine import Progress, Standing
from goodword.awards.history import Facts
from goodword.core import ids, outbox, query
from goodword.program import versions
from goodword.program.document import Program
from goodword.program.versions import Terms

REFERRAL: LiteralString = """referral (
        id uuid, referrer_id uuid, referee_id uuid, stage text, activated_at timestamptz, qualified_at timestamptz,
        retained_at timestamptz, expired_at timestamptz, next_at timestamptz, touched_at timestamptz,
        registered_at timestamptz, app_id text, program_version integer, now timestamptz, program text,
        upline_id uuid, upline_bound_at timestamptz, upline_stands boolean,
        uses record[], payments record[], takebacks record[], subscriptions record[], awards record[])"""
"""The columns of the SQL function `known_referrals`, which `known` reads."""

_KNOWN: LiteralString = f"""
    SELECT * FROM known_referrals(%(company_id)s, %(referees)s, %(holds)s, false) AS {REFERRAL}
"""  # noqa: S608 - the columns stand above

BOOKED: LiteralString = "book_settlement(%(company_id)s, %(stages)s, %(awards)s, %(postings)s, %(events)s, %(at)s)"
"""Books `Changes` within a statement; its parameters are `Changes.parameters`, besides the company."""

_BOOK: LiteralString = f"SELECT {BOOKED}"

Row: TypeAlias = dict[str, object]

T = TypeVar("T")


class KnownReferral(NamedTuple):
    """A referral with all that is known about it at an instant, and what stands for it."""

    id: UUID
    people: People
    program: Program
    program_version: int
    facts: Facts
    progress: Progress
    awards: tuple[StoredAward, ...]
    at: datetime


def settle(connection: Connection, company_id: UUID, referees: Sequence[UUID], *, time_passes: bool = False) -> None:
    """Bring the referrals by which these users came to what their facts say; users nobody referred have none.

    `time_passes` is for jobs: what only they book (retention, awards whose waiting is over) is booked now.

    Locks: the referrals, by id, and then the wallets that are posted to.
    """
    bring(connection, company_id, hold(connection, company_id, referees), time_passes=time_passes)


def hold(connection: Connection, company_id: UUID, referees: Sequence[UUID]) -> list[KnownReferral]:
    """The referrals by which these users came, locked by id, for who has something to do before `bring`."""
    return _read(connection, company_id, referees, holds=True) if referees else []


def bring(
    connection: Connection, company_id: UUID, referrals: Iterable[KnownReferral], *, time_passes: bool = False
) -> None:
    """Bring referrals to what their facts say. Needs: their locks, taken before they were read."""
    changes = Changes()
    for referral in referrals:
        changes.settle(referral, time_passes=time_passes)
    changes.apply(connection, company_id)


def begin(new: NewReferral, terms: Terms, changes: "Changes") -> tuple[Standing, Difference]:
    """Add what a new referral comes to, of whose people nothing is known but the signup. Pure."""
    referral = KnownReferral(
        id=new.id,
        people=People(new.referrer_id, new.referee_id, None, {}),
        program=terms.program,
        program_version=terms.version,
        facts=Facts(new.registered_at, new.touched_at, new.app_id),
        progress=Progress("registered", None, None, None, None, engine.lapses_at(terms.program, new.registered_at)),
        awards=(),
        at=terms.at,
    )
    return changes.settle(referral)


def load(connection: Connection, company_id: UUID, referees: Sequence[UUID]) -> list[KnownReferral]:
    """Referrals of some referees with everything known about them, in the order of their ids.

    Needs: a lock on the referrals, so that their facts, awards and bookings are of one instant.
    """
    return _read(connection, company_id, referees, holds=False)


def _read(connection: Connection, company_id: UUID, referees: Sequence[UUID], *, holds: bool) -> list[KnownReferral]:
    scope = {"company_id": company_id, "referees": list(referees), "holds": holds}
    return [known(row) for row in query.records_later(connection, _KNOWN, **scope)()]


def standing_of(referral: KnownReferral, *, time_passes: bool = False) -> Standing:
    """What should stand for a referral by its facts."""
    processed_at = (
        referral.at if time_passes else differences.processed_at(referral.awards, referral.progress.retained_at)
    )
    return engine.standing(referral.program, referral.facts, referral.at, processed_at=processed_at)


def known(row: Mapping[str, Any]) -> KnownReferral:
    """A referral by its columns (REFERRAL)."""
    upline = Upline(row["upline_id"], row["upline_bound_at"], row["upline_stands"]) if row["upline_id"] else None
    return KnownReferral(
        id=row["id"],
        people=People(row["referrer_id"], row["referee_id"], upline, {id_: at for id_, *_, at in row["payments"]}),
        program=versions.parse(row["program"]),
        program_version=row["program_version"],
        facts=Facts(
            registered_at=row["registered_at"],
            touched_at=row["touched_at"],
            app_id=row["app_id"],
            uses=_each(history.Use, row["uses"]),
            payments=_each(history.Payment, (payment for *payment, _ in row["payments"])),
            takebacks=_each(history.Takeback, row["takebacks"]),
            subscriptions=_each(history.Subscription, row["subscriptions"]),
        ),
        progress=Progress(**{name: row[name] for name in Progress._fields}),
        awards=_each(StoredAward, row["awards"]),
        at=row["now"],
    )


def _each(kind: type[T], rows: Iterable[Sequence[Any]]) -> tuple[T, ...]:
    """Rows by position: the columns of a class stand in the order of its fields."""
    return tuple(kind(*row) for row in rows)


@dataclass(slots=True)
class Changes:
    """What settling referrals comes to: rows as the SQL function `book_settlement` takes them, all of one instant."""

    stages: list[Row] = field(default_factory=list[Row])
    awards: list[Row] = field(default_factory=list[Row])
    postings: list[Row] = field(default_factory=list[Row])
    events: list[Row] = field(default_factory=list[Row])
    at: datetime | None = None

    def settle(self, referral: KnownReferral, *, time_passes: bool = False) -> tuple[Standing, Difference]:
        """Add what brings a referral to what its facts say: what should stand, and what that changes."""
        standing = standing_of(referral, time_passes=time_passes)
        decide = partial(decisions.decide, referral.people)
        difference = differences.between(standing, referral.awards, decide, referral.at, releases=time_passes)
        self.at = referral.at
        if standing.progress != referral.progress:
            self.stages.append({"id": referral.id, "advances_at": standing.next_at, **standing.progress._asdict()})
        if standing.stage != referral.progress.stage:
            self.events.append(_event(f"referral.{standing.stage}", {"id": ids.public("ref", referral.id)}))
        self._add(referral, difference)
        return standing, difference

    def _add(self, referral: KnownReferral, difference: Difference) -> None:
        postings_before = len(self.postings)
        terms: Row = {
            "program_version": referral.program_version,
            "expiry_months": referral.program.points_expiry_months,
        }
        self.postings += [{**posting._asdict(), **terms} for posting in difference.postings]
        self.awards += [
            _award_row(referral, award, postings_before)
            for award in (*difference.new, *difference.changed, *difference.moved)
        ]
        self.events += [
            _event(f"award.{award.status}", _announced(award)) for award in (*difference.new, *difference.changed)
        ]

    def parameters(self) -> Row:
        """All of it as `book_settlement` takes it; what is empty too, so that one statement is prepared for all."""
        kinds = {"stages": self.stages, "awards": self.awards, "postings": self.postings, "events": self.events}
        return {"at": self.at, **{name: query.as_json(rows) for name, rows in kinds.items()}}

    def apply(self, connection: Connection, company_id: UUID) -> None:
        """Write all of it; costs no trip of its own."""
        if self.stages or self.awards:
            query.do(connection, _BOOK, company_id=company_id, **self.parameters())


def _award_row(referral: KnownReferral, award: AwardChange, postings_before: int) -> Row:
    """`postings_before`: how many postings of other referrals stand before this one's."""
    return {
        "id": award.id,
        "is_new": award.decision is not None,
        "is_due": award.due is not None,
        "referral_id": referral.id,
        "user_id": award.user_id,
        "points": award.points,
        "reversed_points": award.reversed_points,
        "adjustments": award.adjustments,
        "status": award.status,
        "hold_until": award.hold_until,
        "hold_reason": award.hold_reason,
        "program_version": referral.program_version,
        "earning": postings_before + award.earning if award.earning else None,
        **(_due_fields(award.due) if award.due else {}),
        **(_decided_fields(award.due, award.decision) if award.due and award.decision else {}),
    }


def _due_fields(due: Due) -> Row:
    """What an earlier payment or use that arrives late may move."""
    return {"period": due.period, "payment_id": due.payment_id, "due_at": due.due_at, "trace": due.trace}


def _decided_fields(due: Due, decision: Decision) -> Row:
    return {
        "event": due.event,
        "app_id": due.app_id,
        "occasion": due.occasion,
        "base_points": due.base_points,
        "multiplier_bps": decision.multiplier_bps,
        "tier": decision.tier,
        "reason": due.reason or decision.rejected,
    }


def _event(event_type: str, data: Row) -> Row:
    return outbox.row(outbox.Event(event_type, data))


def _announced(award: AwardChange) -> Row:
    return {
        "id": ids.public("awd", award.id),
        "event": award.event,
        "points": award.points,
        "reversed_points": award.reversed_points,
        "user_id": ids.public("usr", award.user_id),
    }
