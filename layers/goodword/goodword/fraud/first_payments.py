"""First payments, judged: one that comes as soon as a person has, and one of somebody who has never used anything.

A referral is judged by its first payment when that is first known, and again where an earlier one turns up. What was
raised once stays; what is added goes by what it adds up to with that, or, once a review has approved that, by itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.awards.engine import Standing
from goodword.awards.known import KnownReferral
from goodword.awards.screenings import UNDER_REVIEW, Risk, Screening
from goodword.core.fields import rfc3339
from goodword.fraud import judgement, review_events, screening, signals
from goodword.fraud.judgement import RISKS, Judgement, NewReview
from goodword.fraud.screening import KeptJudgement
from goodword.fraud.signals import Check
from goodword.program.document import Fraud

RISING: Sequence[Risk] = ("clear", "hold", "limited", "review", "refused")
"""Risks by what they keep back: a later signal never lowers one."""


class _Found(NamedTuple):
    """What a first payment has added to a referral."""

    referral: KnownReferral
    looked_at: list[Check]
    added: list[Check]
    after: Screening


class FirstPayments:
    """The judge of settlement (`awards.settlement.Judge`), for one transaction."""

    def __init__(self) -> None:
        self._found: list[_Found] = []

    def judge(self, referral: KnownReferral, standing: Standing) -> Screening:
        """What a referral is judged to be by its first payment."""
        before, paid_at = referral.screening, standing.first_paid_at
        if paid_at is None or (before.judged_paid_at is not None and before.judged_paid_at <= paid_at):
            return before
        looked_at = _look(referral, standing, paid_at)
        added = [check for check in signals.raised(looked_at) if check.signal not in before.signals]
        after = after_added(referral, added)._replace(judged_paid_at=paid_at)
        if added:
            self._found.append(_Found(referral, looked_at, added, after))
        return after

    def keep(self, connection: Connection, company_id: UUID) -> None:
        """Write what was found; costs no trip of its own."""
        if self._found:
            kept = [_kept(company_id, found) for found in self._found]
            screening.keep(connection, company_id, kept, self._found[0].referral.at)
            self._found.clear()


def after_added(referral: KnownReferral, added: Sequence[Check]) -> Screening:
    """What a referral is judged to be once behavioural signals have been added to those that were raised before."""
    fraud, before = referral.program.fraud, referral.screening
    others = before.score - min(fraud.behavioural_cap, before.behavioural)
    behavioural = before.behavioural + sum(check.score for check in added)
    after = before._replace(
        score=min(fraud.behavioural_cap, behavioural) + others,
        behavioural=behavioural,
        signals=(*before.signals, *(check.signal for check in added)),
    )
    if before.risk == "rejected" or not added:
        return after
    risk = RISKS[judgement.outcome(fraud.thresholds, _not_approved(fraud, after))]
    if before.risk == "approved":
        return after._replace(risk=risk) if risk in UNDER_REVIEW else after
    return after._replace(risk=max(before.risk, risk, key=RISING.index))


def _look(referral: KnownReferral, standing: Standing, paid_at: datetime) -> list[Check]:
    """The two signals of a first payment, looked at. A payment older than the signup says nothing."""
    program, registered_at = referral.program, referral.facts.registered_at
    scores = program.fraud.signals
    soon = registered_at + timedelta(hours=program.timing.qualification_min_hours)
    is_instant = registered_at <= paid_at < soon
    paid = {"paid_at": rfc3339(paid_at)}
    instant = {"registered_at": rfc3339(registered_at), **paid} if is_instant else False
    never_used = None if not program.expects_activations else False if standing.used else paid
    return [
        signals.as_check("instant_qualification", scores.instant_qualification, instant),
        signals.as_check("minimal_activity", scores.minimal_activity, never_used),
    ]


def _not_approved(fraud: Fraud, after: Screening) -> int:
    """The score of what no review has approved: of everything, or of the payment's signals raised since one has."""
    if not after.cleared:
        return after.score
    since = sum(getattr(fraud.signals, signal) for signal in after.signals[after.cleared :])
    return min(fraud.behavioural_cap, since)


def _review(company_id: UUID, found: _Found) -> NewReview:
    """The review that is opened, or becomes what it is now: of what no review has approved."""
    referral, after = found.referral, found.after
    score, raised = _not_approved(referral.program.fraud, after), after.signals[after.cleared :]
    return judgement.review(company_id, referral.id, referral.program, score, raised, referral.at)


def _kept(company_id: UUID, found: _Found) -> KeptJudgement:
    referral, after = found.referral, found.after
    was_open, is_open = referral.screening.risk in UNDER_REVIEW, after.risk in UNDER_REVIEW
    review = _review(company_id, found) if is_open else None
    events = [review_events.opened(review.id, review.referral_id)] if review and not was_open else []
    judged = Judgement(found.looked_at, after.score, after.behavioural)
    row = screening.judgement_row(
        company_id, referral.people.referee_id, referral.people.referrer_id, referral.id, "payment",
        referral.program_version, judged, judgement.outcome(referral.program.fraud.thresholds, after.score), review,
        referral.at,
    )  # fmt: skip
    return KeptJudgement(row, events)
