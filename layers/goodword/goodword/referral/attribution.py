"""Attribution: which code or click a signup belongs to. A pure decision over candidates, with a trace that explains it.

Candidates stand in the order of RULES.md §2: an explicit code beats a click. The first valid one wins; when none is
valid, the reason of the best is the answer. A bad code never blocks a signup.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from goodword.accounts.users import Identity, NewUser
from goodword.referral.program import Program

Source = Literal["code", "click", "coupon", "invite"]
Reason = Literal[
    "unknown_code", "inactive_code", "expired_code", "code_used_up", "self_referral", "already_referred", "cycle",
    "outside_window", "user_too_old", "rate_limited", "fraud_blocked",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A code that may have brought the user. `refusal` is what is wrong with the code itself, if anything."""

    source: Source
    code: str
    code_id: UUID | None
    referrer: Identity | None
    touched_at: datetime
    click_id: UUID | None = None
    refusal: Reason | None = None
    max_uses: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A candidate with the reason against it; None is a valid one."""

    candidate: Candidate
    reason: Reason | None


def judge(candidates: list[Candidate], user: NewUser, program: Program, at: datetime) -> list[Verdict]:
    """Every candidate with the reason against it, in order."""
    return [Verdict(candidate, _reason_against(candidate, user, program, at)) for candidate in candidates]


def _reason_against(candidate: Candidate, user: NewUser, program: Program, at: datetime) -> Reason | None:
    if candidate.refusal is not None:
        return candidate.refusal
    if candidate.referrer is None:
        return "unknown_code"  # a code nobody owns refers nobody
    if candidate.referrer.is_same_person(user):
        return "self_referral"
    if candidate.touched_at < at - timedelta(days=program.attribution.window_days):
        return "outside_window"
    grace = timedelta(days=program.attribution.signup_grace_days)
    if user.created_at is not None and user.created_at < at - grace:
        return "user_too_old"
    return None


def trace(verdicts: list[Verdict], winner: Candidate | None, version: int, program: Program) -> dict[str, object]:
    """What was seen and why it was decided so; without personal data."""
    return {
        "candidates": [
            {
                "source": verdict.candidate.source,
                "code": verdict.candidate.code,
                "click_id": verdict.candidate.click_id,
                "touched_at": verdict.candidate.touched_at,
                "reason": verdict.reason,
            }
            for verdict in verdicts
        ],
        "winner": winner.source if winner else None,
        "program_version": version,
        "window_days": program.attribution.window_days,
        "model": program.attribution.model,
    }
