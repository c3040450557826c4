"""Settlement: the one way in which facts change what referrals stand for.

`settle` locks referrals, reads the set of their facts, asks the engine what should stand, and books the difference. It
may be called any number of times, after any fact, in any order, for any number of people at once.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from psycopg import Connection

from goodword.awards import engine, known
from goodword.awards.binding import NewReferral
from goodword.awards.changes import Changes
from goodword.awards.decisions import People
from goodword.awards.differences import Difference
from goodword.awards.engine import Progress, Standing
from goodword.awards.history import Facts
from goodword.awards.known import KnownReferral
from goodword.awards.screenings import Screening
from goodword.program.document import Program
from goodword.program.versions import Terms


class Judge(Protocol):
    """Who says how far a referral is trusted, once what should stand for it is known, and keeps what it found."""

    def judge(self, referral: KnownReferral, standing: Standing) -> Screening:
        """What the referral is judged to be from now on."""
        ...

    def keep(self, connection: Connection, company_id: UUID) -> None:
        """Write what was found in all that was judged; costs no trip of its own."""
        ...


def as_judged(referral: KnownReferral, standing: Standing) -> Screening:  # noqa: ARG001 - the form of a judge
    """What the referral was judged to be before."""
    return referral.screening


class _AsJudged:
    """For what brings no fact, and so gives no reason to judge anew: the mere passing of time, a use of an app."""

    judge = staticmethod(as_judged)

    def keep(self, connection: Connection, company_id: UUID) -> None:
        """There is nothing to write."""


AS_JUDGED: Judge = _AsJudged()


def settle(
    connection: Connection, company_id: UUID, referees: Sequence[UUID], judge: Judge, *, time_passes: bool = False
) -> None:
    """Bring the referrals by which these users came to what their facts say; users nobody referred have none.

    `time_passes` is for jobs: what only they book (retention, awards whose waiting is over) is booked now.

    Locks: the referrals, by id, and then the wallets that are posted to.
    """
    bring(connection, company_id, hold(connection, company_id, referees), judge, time_passes=time_passes)


def hold(connection: Connection, company_id: UUID, referees: Sequence[UUID]) -> list[KnownReferral]:
    """The referrals by which these users came, locked by id, for who has something to do before `bring`."""
    return known.read(connection, company_id, referees, holds=True) if referees else []


def bring(
    connection: Connection, company_id: UUID, referrals: Iterable[KnownReferral], judge: Judge, *,
    time_passes: bool = False,
) -> None:  # fmt: skip
    """Bring referrals to what their facts say. Needs: their locks, taken before they were read."""
    changes = Changes()
    for referral in referrals:
        changes.settle(referral, judge.judge, time_passes=time_passes)
    changes.apply(connection, company_id)
    judge.keep(connection, company_id)


def begin(
    new: NewReferral, terms: Terms, program: Program, counted: int, changes: Changes
) -> tuple[Standing, Difference]:
    """Add what a new referral comes to, of whose people nothing is known but the signup. Pure.

    `program` is what the terms come to with those of a campaign. Needs: no caps, for which people would be held.
    """
    referral = KnownReferral(
        id=new.id,
        people=People(new.referrer_id, new.referee_id, None, {}),
        program=program,
        program_version=terms.version,
        facts=Facts(new.registered_at, new.touched_at, new.app_id),
        progress=Progress("registered", None, None, None, None, engine.lapses_at(terms.program, new.registered_at)),
        awards=(),
        at=terms.at,
        today_began_at=terms.at,
        today=terms.at.date(),
        counted=counted,
        screening=new.screening,
        campaign_id=new.campaign_id,
    )
    return changes.settle(referral, as_judged)


def load(connection: Connection, company_id: UUID, referees: Sequence[UUID]) -> list[KnownReferral]:
    """Referrals of some referees with everything known about them, in the order of their ids.

    Needs: a lock on the referrals, so that their facts, awards and bookings are of one instant.
    """
    return known.read(connection, company_id, referees, holds=False)
