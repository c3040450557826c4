"""What explanations hold, as clients see it. Every shape says how a reader reckons with it."""

from typing import Literal

from goodword.awards.due import AwardEvent, AwardRecipient
from goodword.awards.engine import Stage
from goodword.awards.listing import Award
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import AwardId, CampaignId, ClickId
from goodword.fraud.findings import Findings
from goodword.referral.attribution import Reason, Source
from goodword.referral.referrals import Referral

ShareRule = Literal["no_money", "best_kept_payment", "anything_still_paid"]


class SeenCandidate(AnswerModel):
    """A code or click that may have brought the user: what stood against it, and the campaign that it would join."""

    source: Source
    code: str
    click_id: ClickId | None
    touched_at: Instant
    reason: Reason | None
    campaign_id: CampaignId | None = None


class AttributionTrace(AnswerModel):
    """How a referral came to be: by the signup, late by a key of `scope` for a `reason`, or by what a payment named."""

    by: Literal["signup", "late", "payment"]
    scope: str | None = None
    reason: str | None = None
    candidates: list[SeenCandidate]
    winner: Source | None
    program_version: int
    window_days: int
    model: str
    touched_at: Instant


class ExplainedUse(AnswerModel):
    """A first use of an app. A deferred one takes effect at `effective_at`."""

    app_id: str | None
    occurred_at: Instant
    effective_at: Instant
    outcome: Literal["counted", "pays_nothing", "deferred", "referral_expired"]


class AppUse(AnswerModel):
    """A first use of an app that has a name, with the award that it was given, if one was."""

    app_id: str
    occurred_at: Instant
    award_id: AwardId | None


class ExplainedPayment(AnswerModel):
    """A payment, in minor units. `taken_back` is what is gone of `gross_amount`; `period` that of a counted one.

    The period is that of the anniversary of the first payment (its `period_start`, else `paid_at`) nearest to this
    one's `period_start`, else `paid_at`; of a change within a period (`is_proration`), the one that contains `paid_at`.
    A superseded one stood for a sale that is known itself by now.
    """

    id: str
    provider: str
    key: str
    currency: str | None
    gross_amount: int
    net_amount: int
    taken_back: int
    paid_at: Instant
    period_start: Instant | None
    is_proration: bool
    recorded_at: Instant
    period: int | None
    outcome: Literal["counted", "superseded", "outside_window", "referral_expired"]


class ExplainedTakeback(AnswerModel):
    """A refund or a dispute. Only what is `gone` is taken back; while something is `disputed`, unpaid awards wait.

    It is about `part` out of `whole` of its payment, in a currency that both have; mostly that of the payment.
    """

    payment_id: str
    provider: str
    kind: Literal["refund", "dispute"]
    key: str
    amount: int
    currency: str | None
    part: int
    whole: int
    status: str
    state: Literal["gone", "disputed", "kept"]
    began_at: Instant
    status_at: Instant


class ExplainedSubscription(AnswerModel):
    """A subscription as its provider last reported it, and when it was first reported."""

    provider: str
    key: str
    status: str
    cancel_at_period_end: bool
    cancels_at: Instant | None
    period_ends_at: Instant | None
    began_at: Instant
    ended_at: Instant | None
    status_at: Instant


class Share(AnswerModel):
    """A fraction in lowest terms."""

    numerator: int
    denominator: int


class ExplainedDue(AnswerModel):
    """What the facts call for now; `award_id` is the award that was made of it, if one was."""

    award_id: AwardId | None
    event: AwardEvent
    recipient: AwardRecipient
    app_id: str | None
    period: int | None
    base_points: int
    share: Share
    due_at: Instant
    reason: str | None


class ExplainedStanding(AnswerModel):
    """What should stand by the facts. `next_at`: when time alone may change it, past where a job has yet to come by."""

    stage: Stage
    activated_at: Instant | None
    qualified_at: Instant | None
    retained_at: Instant | None
    expired_at: Instant | None
    disputed: bool
    next_at: Instant | None
    due: list[ExplainedDue]


class ReferralExplanation(AnswerModel):
    """A referral, why it is one, every fact known about it with what became of it, and what follows from them."""

    referral: Referral
    attribution: AttributionTrace
    activations: list[ExplainedUse]
    app_uses: list[AppUse]
    payments: list[ExplainedPayment]
    takebacks: list[ExplainedTakeback]
    subscriptions: list[ExplainedSubscription]
    standing: ExplainedStanding
    awards: list[Award]
    fraud: Findings | None
    as_of: Instant


class AwardTrace(AnswerModel):
    """From what `points` were reckoned: the terms, what they apply to, and the multiplier of the recipient's tier.

    Base points are `points`, or half up(net_amount x bps x points_per_unit / (10000 x 10^exponent)) of a percentage.
    The terms are those of the program's version, or in their place of `campaign_id`. The tier is by `counted`, the
    other referrals of the referrer that counted then, and by one more of what only a qualified referral earns.
    """

    points: int | None = None
    bps: int | None = None
    net_amount: int | None = None
    currency: str | None = None
    exponent: int | None = None
    points_per_unit: int | None = None
    paid_at: Instant | None = None
    app_id: str | None = None
    occurred_at: Instant | None = None
    effective_at: Instant | None = None
    base_points: int
    multiplier_bps: int
    counted: int | None
    campaign_id: CampaignId | None


class AwardEntry(AnswerModel):
    """A booking of the award in the ledger."""

    id: str
    type: str
    delta: int
    debt_delta: int
    created_at: Instant


class AwardExplanation(AnswerModel):
    """An award, and how its points and what is due of them come about.

    Its points are half up(base_points x multiplier_bps / 10000), those due half up(points x share). The share is, over
    the payments shown, by `share_rule`: `best_kept_payment`, the largest (gross_amount - taken_back) / gross_amount;
    `anything_still_paid`, 1; `no_money`, 1. What is gone in another currency than the payment's counts as the exact
    part / whole, before `taken_back` is rounded. What the facts call for no more (`is_due` false) has the share 0, as
    `retained` does from an instant at which nothing is paid, and of a rejected award nothing is due. The entries'
    deltas less their debt deltas are what stands in the ledger.
    """

    award: Award
    program_version: int
    trace: AwardTrace
    is_due: bool
    share_rule: ShareRule
    payments: list[ExplainedPayment]
    takebacks: list[ExplainedTakeback]
    share: Share
    due_points: int
    entries: list[AwardEntry]
    fraud: Findings | None
    as_of: Instant
