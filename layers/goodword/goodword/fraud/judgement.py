"""Judgements: what the signals that were raised add up to, and what follows from it. Pure.

The behavioural signals together come to no more than their cap, so that by themselves they can hold points back, but
never refuse anybody; the others are added to that (docs/rules.md, Outcome).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from goodword.awards.screenings import Risk, Screening
from goodword.core import ids
from goodword.fraud import signals
from goodword.fraud.signals import BEHAVIOURAL, VELOCITY, Check
from goodword.program.document import Fraud, Program, Thresholds

FraudOutcome = Literal["pay", "hold", "review", "reject"]
Priority = Literal["low", "medium", "high", "critical"]
Occasion = Literal["signup", "late", "payment"]

RISKS: Mapping[FraudOutcome, Risk] = {"pay": "clear", "hold": "hold", "review": "review", "reject": "refused"}


class Judgement(NamedTuple):
    """Every signal, looked at, and what those that were raised add up to; `behavioural` is not capped."""

    checks: Sequence[Check]
    score: int
    behavioural: int

    @property
    def raised(self) -> list[Check]:
        """The checks that speak against the referral."""
        return signals.raised(self.checks)

    @property
    def names(self) -> tuple[str, ...]:
        """The signals that were raised, each once."""
        return tuple(dict.fromkeys(check.signal for check in self.raised))

    @property
    def is_beyond_limits(self) -> bool:
        """Whether it comes over a limit of registrations."""
        return any(check.signal == VELOCITY for check in self.checks)


def judge(fraud: Fraud, checks: Sequence[Check]) -> Judgement:
    """What some checks come to."""
    behavioural = sum(check.score for check in checks if check.signal in BEHAVIOURAL)
    others = sum(check.score for check in checks if check.signal not in BEHAVIOURAL)
    return Judgement(checks, min(fraud.behavioural_cap, behavioural) + others, behavioural)


def outcome(thresholds: Thresholds, score: int) -> FraudOutcome:
    """What a score leads to."""
    if score >= thresholds.reject:
        return "reject"
    if score >= thresholds.review:
        return "review"
    return "hold" if score >= thresholds.hold else "pay"


def screening(fraud: Fraud, judgement: Judgement) -> Screening:
    """How far a referral that a judgement lets be is trusted."""
    risk = RISKS[outcome(fraud.thresholds, judgement.score)]
    if judgement.is_beyond_limits and risk in {"clear", "hold"}:
        risk = "hold" if fraud.on_registration_limit == "hold" else "limited"
    return Screening(risk, judgement.score, judgement.behavioural, 0, judgement.names)


def priority(thresholds: Thresholds, score: int) -> Priority:
    """How pressing a review of a score is; half of the way from where reviews begin to a rejection it becomes high."""
    if score >= thresholds.reject:
        return "critical"
    if score < thresholds.review:
        return "low"
    return "high" if 2 * score >= thresholds.review + thresholds.reject else "medium"


class NewReview(NamedTuple):
    """A review to be opened, as the SQL function `keep_judgement` takes it."""

    company_id: UUID
    id: UUID
    referral_id: UUID
    fraud_score: int
    fraud_signals: Sequence[str]
    check_types: Sequence[str]
    priority: Priority
    due_at: datetime
    created_at: datetime


def review(
    company_id: UUID, referral_id: UUID, program: Program, score: int, raised: Sequence[str], at: datetime
) -> NewReview:
    """The review of what the signals that were raised come to. It is due so many days later, on the company's clock."""
    types = [signals.check_type(signal) for signal in raised]
    urgency = priority(program.fraud.thresholds, score)
    due_at = at + timedelta(days=program.timing.review_days)
    return NewReview(company_id, ids.new_id(), referral_id, score, [*raised], types, urgency, due_at, at)
