"""Attribution: which code or click a person came by. A pure decision over candidates, with a trace that explains it.

Candidates stand in the order of docs/rules.md, Attribution: an explicit code beats a click. The first valid one wins;
when none is valid, the reason of the best is the answer. A bad code never blocks a signup.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.accounts.users import Identity, NewUser
from goodword.awards.binding import NewReferral
from goodword.core import ids
from goodword.fraud.screening import Screened
from goodword.program.document import Program
from goodword.program.versions import Terms

Source = Literal["code", "click", "coupon", "invite"]
Reason = Literal[
    "unknown_code", "inactive_code", "expired_code", "code_used_up", "self_referral", "already_referred", "cycle",
    "outside_window", "user_too_old", "rate_limited", "fraud_blocked",
]  # fmt: skip
REFUSED: frozenset[Reason] = frozenset({"rate_limited", "fraud_blocked"})
"""Why somebody who would have won is not bound."""


class JoinedCampaign(NamedTuple):
    """A campaign that a referral by a code joins, with its terms as they are stored."""

    id: UUID
    terms: str
    is_capped: bool


class Deciding(NamedTuple):
    """What the awards of a referral by a code are decided by: its owner's counted referrals, and its campaign."""

    counted: int = 0
    campaign: JoinedCampaign | None = None


class Candidate(NamedTuple):
    """A code that may have brought the user. `refusal` is what is wrong with the code itself, if anything.

    `is_same_payer`: a provider has linked the user's Whop user or Stripe customer to the code's owner, or the
    owner's to the user.
    """

    source: Source
    code: str
    code_id: UUID | None
    referrer: Identity | None
    touched_at: datetime
    click_id: UUID | None = None
    refusal: Reason | None = None
    max_uses: int | None = None
    is_same_payer: bool = False
    deciding: Deciding = Deciding()

    @property
    def campaign_id(self) -> UUID | None:
        """The campaign that its referral joins."""
        return self.deciding.campaign.id if self.deciding.campaign else None


class Verdict(NamedTuple):
    """A candidate with the reason against it; None is a valid one."""

    candidate: Candidate
    reason: Reason | None


class AttributionDecision(NamedTuple):
    """How an attribution ended: `source` and `click_id` are the winner's, or those of the best that was rejected."""

    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: UUID | None


def is_too_old(created_at: datetime | None, program: Program, at: datetime) -> bool:
    """Whether an account was made so long before that nobody can have brought it."""
    return created_at is not None and created_at < at - timedelta(days=program.attribution.signup_grace_days)


def judge(
    candidates: Sequence[Candidate], user: NewUser | Identity, program: Program, at: datetime, *, too_old: bool
) -> list[Verdict]:
    """Every candidate with the reason against it, in order; `too_old` is one against all of them."""
    return [
        Verdict(candidate, _reason_against(candidate, user, program, at, too_old=too_old)) for candidate in candidates
    ]


def _reason_against(
    candidate: Candidate, user: NewUser | Identity, program: Program, at: datetime, *, too_old: bool
) -> Reason | None:
    if candidate.refusal is not None:
        return candidate.refusal
    if candidate.referrer is None:
        return "unknown_code"  # a code nobody owns refers nobody
    if candidate.is_same_payer or candidate.referrer.is_same_person(user):
        return "self_referral"
    if candidate.touched_at < at - timedelta(days=program.attribution.window_days):
        return "outside_window"
    return "user_too_old" if too_old else None


def decide(verdicts: Sequence[Verdict], winner: Candidate | None) -> AttributionDecision:
    """The decision: for the winner, else against who would have won, else against the best, else on nobody."""
    against = next((verdict for verdict in verdicts if verdict.reason in REFUSED), verdicts[0] if verdicts else None)
    shown = winner or (against.candidate if against else None)
    return AttributionDecision(
        "attributed" if winner else "rejected" if verdicts else "none",
        against.reason if against and not winner else None,
        shown.source if shown else None,
        shown.click_id if shown else None,
    )


def pair(
    winner: Candidate | None, screened: Screened | None, referral_id: UUID, referee_id: UUID, app_id: str | None,
    at: datetime, trace: Mapping[str, object],
) -> NewReferral | None:  # fmt: skip
    """The referral that a winner makes of a user, as it was screened; None where nobody wins."""
    if winner is None or winner.referrer is None or winner.code_id is None or screened is None:
        return None
    return NewReferral(
        referral_id, winner.referrer.id, referee_id, winner.code_id, winner.click_id, winner.source, app_id,
        winner.campaign_id, winner.touched_at, at, trace,
        screened.screening,
    )  # fmt: skip


def trace(
    verdicts: Sequence[Verdict], winner: Candidate | None, terms: Terms, by: Mapping[str, object]
) -> dict[str, object]:
    """The candidates, and why the decision is as it is; without personal data, but for what `by` quotes of people."""
    return {
        "candidates": [
            {
                "source": verdict.candidate.source,
                "code": verdict.candidate.code,
                "click_id": ids.public("clk", verdict.candidate.click_id) if verdict.candidate.click_id else None,
                "touched_at": verdict.candidate.touched_at,
                "reason": verdict.reason,
                **_of_campaign(verdict.candidate.campaign_id),
            }
            for verdict in verdicts
        ],
        "winner": winner.source if winner else None,
        "program_version": terms.version,
        "window_days": terms.program.attribution.window_days,
        "model": terms.program.attribution.model,
        **by,
    }


def _of_campaign(campaign_id: UUID | None) -> dict[str, object]:
    return {"campaign_id": ids.public("cam", campaign_id)} if campaign_id else {}
