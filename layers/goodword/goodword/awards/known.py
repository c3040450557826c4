"""Known referrals: one referral with all that is known about it at an instant, read under its lock.

Everything a settlement needs comes with it: the facts, what stands, and what new awards are decided by.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, LiteralString, NamedTuple, TypeVar
from uuid import UUID

from psycopg import Connection

from goodword.awards import differences, engine, history
from goodword.awards.caps import CampaignCaps, Reserved
from goodword.awards.decisions import People, Upline
from goodword.awards.engine import Progress, Standing
from goodword.awards.history import Facts
from goodword.awards.milestones import MilestoneAhead
from goodword.awards.screenings import Screening
from goodword.awards.stored import StoredAward
from goodword.campaigns import terms as campaigns
from goodword.core import query
from goodword.program import versions
from goodword.program.document import Program

REFERRAL: LiteralString = """referral (
        id uuid, referrer_id uuid, referee_id uuid, stage text, activated_at timestamptz, qualified_at timestamptz,
        retained_at timestamptz, expired_at timestamptz, next_at timestamptz, counts boolean,
        risk text, score integer, behavioural integer, cleared integer, signals text[], judged_paid_at timestamptz,
        touched_at timestamptz, registered_at timestamptz, app_id text, program_version integer, now timestamptz,
        program text, campaign_id uuid, campaign text, points_cap bigint, per_user_cap bigint, reserved_points bigint,
        counted integer, today_began_at timestamptz, today date, reserved record[], milestones record[],
        upline_id uuid, upline_bound_at timestamptz, upline_stands boolean,
        uses record[], payments record[], takebacks record[], subscriptions record[], awards record[])"""
"""The columns of the SQL function `known_referrals`, which `of_row` reads."""

_KNOWN: LiteralString = f"""
    SELECT * FROM known_referrals(%(company_id)s, %(referees)s, %(holds)s, false) AS {REFERRAL}
"""  # noqa: S608 - the columns stand above

_CAMPAIGN_CAPS = ("campaign_id", "points_cap", "per_user_cap", "reserved_points")

T = TypeVar("T")


class KnownReferral(NamedTuple):
    """A referral with all that is known about it at an instant, what stands for it, and what it is decided by.

    `program` is what its terms come to, those of its `campaign` included. `counted` are the referrals of its referrer
    that count, with this one where it `counts`; `milestones` those that the referrer may reach next.
    """

    id: UUID
    people: People
    program: Program
    program_version: int
    facts: Facts
    progress: Progress
    awards: tuple[StoredAward, ...]
    at: datetime
    today_began_at: datetime
    today: date
    counted: int = 0
    counts: bool = False
    screening: Screening = Screening()
    campaign_id: UUID | None = None
    campaign: str | None = None
    campaign_caps: CampaignCaps | None = None
    reserved: tuple[Reserved, ...] = ()
    milestones: tuple[MilestoneAhead, ...] = ()

    def standing(self, *, time_passes: bool = False) -> Standing:
        """What should stand for it by its facts."""
        processed_at = self.at if time_passes else differences.processed_at(self.awards, self.progress.retained_at)
        return engine.standing(self.program, self.facts, self.at, processed_at=processed_at)


def read(connection: Connection, company_id: UUID, referees: Sequence[UUID], *, holds: bool) -> list[KnownReferral]:
    """The referrals of some referees, in the order of their ids; `holds`: locked, with what they are decided by."""
    scope = {"company_id": company_id, "referees": list(referees), "holds": holds}
    return [of_row(row) for row in query.records_later(connection, _KNOWN, **scope)()]


def of_row(row: Mapping[str, Any]) -> KnownReferral:
    """A referral by its columns (REFERRAL)."""
    upline = Upline(row["upline_id"], row["upline_bound_at"], row["upline_stands"]) if row["upline_id"] else None
    return KnownReferral(
        id=row["id"],
        people=People(row["referrer_id"], row["referee_id"], upline, {id_: at for id_, *_, at in row["payments"]}),
        program=campaigns.over(versions.parse(row["program"]), row["campaign"]),
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
        today_began_at=row["today_began_at"],
        today=row["today"],
        counted=row["counted"],
        counts=row["counts"],
        screening=_screening(row),
        campaign_id=row["campaign_id"],
        campaign=row["campaign"],
        campaign_caps=CampaignCaps(*(row[name] for name in _CAMPAIGN_CAPS)) if row["campaign_id"] else None,
        reserved=_each(Reserved, row["reserved"]),
        milestones=_each(MilestoneAhead, row["milestones"]),
    )


def _screening(row: Mapping[str, Any]) -> Screening:
    return Screening(**{name: row[name] for name in Screening._fields})._replace(signals=tuple(row["signals"]))


def _each(kind: type[T], rows: Iterable[Sequence[Any]]) -> tuple[T, ...]:
    """Rows by position: the columns of a class stand in the order of its fields."""
    return tuple(kind(*row) for row in rows)
