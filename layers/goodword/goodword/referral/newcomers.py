"""The answer to a first signup, made of what was decided and written: reading it all again would say the same."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from goodword.accounts.users import NewUser
from goodword.awards.binding import NewReferral
from goodword.awards.decisions import UNCHANGED_BPS
from goodword.awards.differences import AwardChange
from goodword.awards.engine import Standing
from goodword.awards.listing import Award
from goodword.core import ids
from goodword.program.versions import Terms
from goodword.referral.attribution import Candidate
from goodword.referral.profiles import User
from goodword.referral.referrals import Referral


class CodeOwner(NamedTuple):
    """Who has signed up, with the code of their own."""

    id: UUID
    new: NewUser
    code: str


class Begun(NamedTuple):
    """A referral as it begins: the candidate it is bound by, what stands for it, and its awards with their entries."""

    pair: NewReferral
    winner: Candidate
    standing: Standing
    awards: Sequence[AwardChange]
    entries: Sequence[int | None]

    def entry_of(self, award: AwardChange) -> int | None:
        """The entry that paid an award, if one did."""
        return self.entries[award.earning - 1] if award.earning else None


def user(owner: CodeOwner, begun: Begun | None, plan: str, terms: Terms, base_url: str) -> User:
    """The profile of a user who has nothing yet but a code, and what a welcome is worth."""
    new = owner.new
    awards = begun.awards if begun else ()
    paid = [award.points - award.reversed_points for award in awards if award.earning and award.user_id == owner.id]
    return User(
        id=owner.id,
        external_id=new.external_id,
        username=new.username,
        email=new.email,
        email_verified=new.verified_email is not None,
        avatar_url=new.avatar_url,
        whop_user_id=new.whop_user_id,
        stripe_customer_id=new.stripe_customer_id,
        invited_by=None,
        plan=plan,
        trial_ends_at=None,
        referral_code=owner.code,
        referral_url=f"{base_url}/r/{owner.code}",
        referral_tier=terms.program.tier(0).name,
        qualified_count=0,
        balance=sum(paid),
        created_at=terms.at,
        updated_at=terms.at,
    )


def referral(owner: CodeOwner, begun: Begun, terms: Terms) -> Referral:
    """The referral by which a user has come."""
    pair, standing = begun.pair, begun.standing
    return Referral(
        id=pair.id,
        referrer=_external_id(begun.winner),
        referee=owner.new.external_id,
        code=begun.winner.code,
        stage=standing.stage,
        source=begun.winner.source,
        app_id=pair.app_id,
        program_version=terms.version,
        campaign_id=ids.public("cam", pair.campaign_id) if pair.campaign_id else None,
        fraud_score=pair.screening.score,
        flagged=pair.screening.is_flagged,
        fraud_signals=list(pair.screening.signals),
        is_verified=owner.new.verified_email is not None,
        registered_at=pair.registered_at,
        activated_at=standing.activated_at,
        qualified_at=standing.qualified_at,
        retained_at=standing.retained_at,
        expired_at=standing.expired_at,
        updated_at=terms.at,
        revenue=[],
    )


def awards(owner: CodeOwner, begun: Begun, terms: Terms) -> list[Award]:
    """All awards of the referral, for every person, in the order they fell due."""
    made = [_award(award, owner, begun, terms) for award in begun.awards]
    due_at = {award.id: award.due.due_at for award in begun.awards if award.due}
    return sorted(made, key=lambda award: (due_at[award.id], award.event, award.id))


def _award(award: AwardChange, owner: CodeOwner, begun: Begun, terms: Terms) -> Award:
    due, decision, entry = award.due, award.decision, begun.entry_of(award)
    if due is None or decision is None:
        raise LookupError("a new award is due, and decided on")
    return Award(
        id=award.id,
        referral_id=begun.pair.id,
        payment_id=ids.public("pay", due.payment_id) if due.payment_id else None,
        user_id=owner.new.external_id if award.user_id == owner.id else _external_id(begun.winner),
        event=award.event,
        app_id=due.app_id or None,
        period=due.period,
        base_points=due.base_points,
        multiplier=decision.multiplier_bps / UNCHANGED_BPS,
        points=award.points,
        tier=decision.tier,
        status=award.status,
        hold_until=award.hold_until,
        hold_reason=award.hold_reason,
        reversed_points=award.reversed_points,
        transaction_id=f"txn_{entry}" if entry else None,
        reason=due.reason or decision.rejected,
        released_at=terms.at if entry else None,
        created_at=terms.at,
    )


def _external_id(winner: Candidate) -> str:
    if winner.referrer is None:
        raise LookupError("a winner has a referrer")
    return winner.referrer.external_id
