"""What settling referrals comes to: the rows that change, gathered from any number of them and written in one go."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import LiteralString, TypeAlias
from uuid import UUID

from psycopg import Connection

from goodword.awards import decisions, differences, milestones, tiers
from goodword.awards.caps import Headroom, Moved
from goodword.awards.decisions import Decision, People
from goodword.awards.differences import AwardChange, AwardMove, Difference
from goodword.awards.due import AwardEvent, Due
from goodword.awards.engine import Standing
from goodword.awards.known import KnownReferral
from goodword.awards.screenings import Restraint, Screening
from goodword.campaigns.scores import Moves
from goodword.core import ids, outbox, query

BOOKED: LiteralString = """
    book_settlement(%(company_id)s, %(stages)s, %(campaigns)s, %(moves)s, %(milestones)s, %(awards)s, %(postings)s,
        %(events)s, %(at)s)
"""
"""Books `Changes` within a statement; its parameters are `Changes.parameters`, besides the company."""

_BOOK: LiteralString = f"SELECT {BOOKED}"

NOT_THE_REFERRERS: frozenset[AwardEvent] = frozenset({"welcome", "l2"})

Row: TypeAlias = dict[str, object]

Screen: TypeAlias = Callable[[KnownReferral, Standing], Screening]
"""What a referral is judged to be by what should stand for it."""


@dataclass(slots=True)
class Changes:
    """What settling referrals comes to: rows as the SQL function `book_settlement` takes them, all of one instant."""

    stages: list[Row] = field(default_factory=list[Row])
    scores: Moves = field(default_factory=Moves)
    milestones: list[Row] = field(default_factory=list[Row])
    awards: list[Row] = field(default_factory=list[Row])
    postings: list[Row] = field(default_factory=list[Row])
    events: list[Row] = field(default_factory=list[Row])
    at: datetime | None = None
    reserved: Moved = field(default_factory=Moved)
    in_campaigns: Counter[UUID] = field(default_factory=Counter[UUID])
    counted: Counter[UUID] = field(default_factory=Counter[UUID])

    def settle(
        self, referral: KnownReferral, screen: Screen, *, time_passes: bool = False
    ) -> tuple[Standing, Difference]:
        """Add what brings a referral to what its facts say: what should stand, and what that changes."""
        standing = referral.standing(time_passes=time_passes)
        screening = screen(referral, standing)
        people, headroom = self._people(referral), self._headroom(referral)
        decide = partial(decisions.decide, referral.program, people, headroom, screening.risk)
        risk_hold = timedelta(hours=referral.program.timing.risk_hold_hours)
        restraint = Restraint(standing.disputed, screening.risk, risk_hold)
        difference = differences.between(
            standing, referral.awards, decide, referral.at, headroom, restraint, releases=time_passes
        )
        self.at = referral.at
        counts = tiers.counts(standing.stage, flagged=screening.is_flagged)
        if standing.progress != referral.progress or screening != referral.screening:
            self.stages.append(_stage_row(referral, standing, screening, counts=counts))
        if standing.stage != referral.progress.stage:
            self.events.append(_event(f"referral.{standing.stage}", {"id": ids.public("ref", referral.id)}))
        self._add(referral, difference)
        self._count(referral, standing, counts=counts)
        return standing, difference

    def _people(self, referral: KnownReferral) -> People:
        """The people, with how many other referrals of the referrer count by now."""
        counted = referral.counted + self.counted[referral.people.referrer_id]
        return referral.people._replace(others=counted - referral.counts)

    def _headroom(self, referral: KnownReferral) -> Headroom:
        reserved = {each.user_id: each for each in referral.reserved}
        caps = referral.program.caps
        return Headroom(caps, referral.campaign_caps, reserved, referral.today_began_at, referral.today, self.reserved)

    def _count(self, referral: KnownReferral, standing: Standing, *, counts: bool) -> None:
        """Move the count of the referrer, and add the milestones that it reaches."""
        referrer_id = referral.people.referrer_id
        before = referral.progress.qualified_at if referral.counts else None
        after = standing.qualified_at if counts else None
        if before != after:
            for at, step in ((before, -1), (after, 1)):
                if at is not None:
                    self.scores.count(referrer_id, at, referral.program.timezone, referral.campaign_id, step=step)
        self.counted[referrer_id] += counts - referral.counts
        if counts and not referral.counts:
            self._reach(referral, referral.counted + self.counted[referrer_id])

    def _reach(self, referral: KnownReferral, counted: int) -> None:
        referrer_id = referral.people.referrer_id
        known = {row["milestone_id"] for row in self.milestones if row["user_id"] == referrer_id}
        for milestone in referral.milestones:
            if milestone.threshold <= counted and milestone.id not in known:
                reached = milestones.reach(milestone, referrer_id)
                earning = None
                if reached.posting:
                    self.postings.append({**reached.posting._asdict(), **_posting_terms(referral)})
                    earning = len(self.postings)
                self.milestones.append({**reached.row, "earning": earning})

    def _add(self, referral: KnownReferral, difference: Difference) -> None:
        postings_before = len(self.postings)
        self.postings += [{**posting._asdict(), **_posting_terms(referral)} for posting in difference.postings]
        self.awards += [
            _award_row(referral, award, postings_before)
            for award in (*difference.new, *difference.changed, *difference.moved)
        ]
        self.events += [
            _event(f"award.{award.status}", _announced(award)) for award in (*difference.new, *difference.changed)
        ]
        self._score(referral, difference.moves)

    def _score(self, referral: KnownReferral, moves: Sequence[AwardMove]) -> None:
        """Move what awards come to. What a referrer has earned stands on the boards of when the award was made."""
        zone, campaign_id = referral.program.timezone, referral.campaign_id
        for move in moves:
            self.scores.reserve(move.user_id, campaign_id, move.reserved_points)
            if move.event not in NOT_THE_REFERRERS:
                self.scores.earn(move.user_id, move.made_at, zone, campaign_id, move.standing_points)
            if campaign_id:
                self.in_campaigns[campaign_id] += move.reserved_points

    def parameters(self) -> Row:
        """All of it as `book_settlement` takes it; what is empty too, so that one statement is prepared for all."""
        kinds = {
            "stages": self.stages,
            "campaigns": [{"id": id_, "points": points} for id_, points in self.in_campaigns.items()],
            "moves": self.scores.rows(),
            "milestones": self.milestones,
            "awards": self.awards,
            "postings": self.postings,
            "events": self.events,
        }
        return {"at": self.at, **{name: query.as_json(rows) for name, rows in kinds.items()}}

    def apply(self, connection: Connection, company_id: UUID) -> None:
        """Write all of it; costs no trip of its own."""
        if self.stages or self.awards:
            query.do(connection, _BOOK, company_id=company_id, **self.parameters())


def _stage_row(referral: KnownReferral, standing: Standing, screening: Screening, *, counts: bool) -> Row:
    return {
        "id": referral.id,
        "counts": counts,
        "advances_at": standing.next_at,
        **standing.progress._asdict(),
        **screening.as_row(),
    }


def _posting_terms(referral: KnownReferral) -> Row:
    return {"program_version": referral.program_version, "expiry_months": referral.program.points_expiry_months}


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
        "reason": award.reason,
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
        "counted": decision.counted,
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
