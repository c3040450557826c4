"""Attributions: how a user came, whatever came of it. Who was blocked, or came by nobody, has no referral to explain.

The signup is decided once. What happens after it stands beside it: somebody may be bound late, or be blocked then.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.errors import NotFound
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import ClickId, ReferralId
from goodword.fraud import findings
from goodword.fraud.findings import Findings, Judged
from goodword.insight.explanation_models import AttributionTrace, SeenCandidate
from goodword.referral.attribution import Reason, Source


class LateAttributionTrace(AnswerModel):
    """What came of a late attribution: a referral, as it is explained, or the `reason` for which it was blocked."""

    reason: Reason | None
    referral_id: ReferralId | None
    attribution: AttributionTrace | None
    fraud: Findings | None
    occurred_at: Instant


class UserAttribution(AnswerModel):
    """How the signup of a user was attributed, by which candidates and terms, and what the signals said against it.

    `fraud` is null where there was nobody by whom the user could have come. `referral_id` is the user's referral, of
    the signup or of a late attribution; those that led to one or were blocked by signals are in `late`, oldest first.
    Of somebody who has never signed up, because they were taken over from elsewhere, there is no trace.
    """

    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: ClickId | None
    candidates: list[SeenCandidate]
    winner: Source | None
    program_version: int | None
    window_days: int | None
    model: str | None
    referral_id: ReferralId | None
    fraud: Findings | None
    late: list[LateAttributionTrace]
    occurred_at: Instant | None


class _Signup(NamedTuple):
    """A user's signup, and their referral, if they have one."""

    user_id: UUID
    outcome: Literal["attributed", "none", "rejected"] | None
    reason: Reason | None
    source: Source | None
    click_id: UUID | None
    trace: dict[str, Any] | None
    occurred_at: datetime | None
    referral_id: UUID | None
    referral_trace: dict[str, Any] | None
    touched_at: datetime | None
    registered_at: datetime | None


_SIGNUP = """
    SELECT users.id AS user_id, signups.outcome, signups.reason, signups.source, signups.click_id, signups.trace,
        signups.occurred_at, referrals.id AS referral_id, referrals.trace AS referral_trace, touched_at, registered_at
    FROM users
    LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    LEFT JOIN referrals ON referrals.company_id = users.company_id AND referee_id = users.id
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""


def of_user(connection: Connection, company_id: UUID, external_id: str) -> UserAttribution:
    """Show how a user came. Raises NotFound."""
    signup = query.one(connection, _Signup, _SIGNUP, company_id=company_id, external_id=external_id)
    if signup is None:
        raise NotFound("user_not_found", "There is no such user.")
    blocked = [each for each in findings.of_user(connection, company_id, signup.user_id) if each.referral_id is None]
    of_referral = None
    if signup.referral_id:
        of_referral = findings.of_referrals(connection, company_id, [signup.referral_id]).get(signup.referral_id)
    of_signup = next((each.findings for each in blocked if each.occasion == "signup"), None)
    trace = signup.trace or {}
    return UserAttribution(
        outcome=signup.outcome or "none",
        reason=signup.reason,
        source=signup.source,
        click_id=signup.click_id,
        candidates=trace.get("candidates", []),
        winner=trace.get("winner"),
        program_version=trace.get("program_version"),
        window_days=trace.get("window_days"),
        model=trace.get("model"),
        referral_id=signup.referral_id,
        fraud=of_referral if signup.outcome == "attributed" else of_signup,
        late=_late(signup, blocked, of_referral),
        occurred_at=signup.occurred_at,
    )


def _late(signup: _Signup, blocked: Sequence[Judged], of_referral: Findings | None) -> list[LateAttributionTrace]:
    """What came of late attributions; nothing comes after the one that has bound the user."""
    late = [
        LateAttributionTrace(
            reason="fraud_blocked" if each.outcome == "reject" else "rate_limited",
            referral_id=None,
            attribution=None,
            fraud=each.findings,
            occurred_at=each.judged_at,
        )
        for each in blocked
        if each.occasion == "late"
    ]
    if signup.referral_trace and signup.registered_at and signup.outcome != "attributed":
        trace = AttributionTrace.model_validate({"touched_at": signup.touched_at, **signup.referral_trace})
        late.append(
            LateAttributionTrace(
                reason=None,
                referral_id=signup.referral_id,
                attribution=trace,
                fraud=of_referral,
                occurred_at=signup.registered_at,
            )
        )
    return late
