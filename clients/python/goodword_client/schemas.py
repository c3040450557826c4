"""What the client takes and gives. Written from docs/openapi.json by `make openapi`: change nothing here."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class ActivationAnswer(TypedDict):
    """The referral as it stands now; null and nothing for a user nobody referred."""

    referral: Referral | None
    awards: list[Award]


class Attribution(TypedDict):
    """How a signup was attributed; `reason` says why it was rejected."""

    outcome: Literal["attributed", "none", "rejected"]
    reason: (
        Literal[
            "unknown_code",
            "inactive_code",
            "expired_code",
            "code_used_up",
            "self_referral",
            "already_referred",
            "cycle",
            "outside_window",
            "user_too_old",
            "rate_limited",
            "fraud_blocked",
        ]
        | None
    )
    source: Literal["code", "click", "coupon", "invite"] | None
    click_id: str | None


class Award(TypedDict):
    """An award as clients see it; `multiplier` is the factor that made `points` of `base_points`."""

    id: str
    referral_id: str
    payment_id: str | None
    user_id: str
    event: Literal["registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app"]
    app_id: str | None
    period: int | None
    base_points: int
    multiplier: float
    points: int
    tier: str | None
    status: Literal["pending", "held", "paid", "rejected", "reversed"]
    hold_until: str | None
    hold_reason: str | None
    reversed_points: int
    transaction_id: str | None
    reason: str | None
    released_at: str | None
    created_at: str


class Balance(TypedDict):
    """A balance with what it is made of: totals of outflow are ≤ 0 and balance = the sum of the four totals."""

    user_id: str
    balance: int
    pending: int
    debt: int
    total_earned: int
    total_spent: int
    total_expired: int
    total_reversed: int
    expiring: list[ExpiringPoints]
    as_of: str


class Entitlement(TypedDict):
    """One feature for one user. `limit` null is unlimited, 0 is off; `remaining` counts bought quota (`extra`) in."""

    feature: str
    allowed: bool
    reason: Literal["ok", "unlimited", "limit_reached", "disabled", "feature_inactive", "feature_unknown"]
    source: Literal["restriction", "grant", "subscription", "plan", "default"] | None
    plan: str | None
    grant_id: str | None
    limit: int | None
    used: int
    remaining: int | None
    extra: int
    resets_at: str | None


class ExpiringPoints(TypedDict):
    """Points that will be gone at an instant."""

    points: int
    expires_at: str


class Grant(TypedDict):
    """A grant as it stands. `starts_at` and `ends_at` are as they will be if nothing else happens."""

    id: str
    plan: str
    source: Literal["coupon", "trial", "admin", "redemption", "milestone"]
    coupon_id: str | None
    redemption_id: str | None
    milestone_id: str | None
    reason: str | None
    starts_at: str | None
    ends_at: str | None
    status: Literal["scheduled", "active", "paused", "ended"]
    paused_by: str | None
    paused_at: str | None
    remaining_seconds: int | None
    remaining_days: int | None
    created_at: str


class LedgerEntry(TypedDict):
    """One change of one balance."""

    id: str
    type: str
    delta: int
    debt_delta: int
    balance_after: int
    debt_after: int
    version: int
    ref: str
    note: str | None
    effective_at: str
    created_at: str


class NewUser(TypedDict):
    """What an app tells of a person at signup."""

    external_id: str
    email: NotRequired[str | None]
    email_verified: NotRequired[bool]
    username: NotRequired[str | None]
    avatar_url: NotRequired[str | None]
    whop_user_id: NotRequired[str | None]
    stripe_customer_id: NotRequired[str | None]
    created_at: NotRequired[str | None]


class Redemption(TypedDict):
    """Points spent, and what came of it. `balance_after` is as of when it last moved points."""

    id: str
    user_id: str
    option_id: str
    kind: Literal["quota", "unlock", "reward"]
    quantity: int
    cost_points: int
    status: Literal["fulfilled", "pending", "failed", "refunded"]
    balance_after: int
    grant: Grant | None
    note: str | None
    created_at: str
    updated_at: str
    fulfilled_at: str | None
    failed_at: str | None
    refunded_at: str | None


class RedemptionOption(TypedDict):
    """Something points can buy."""

    id: str
    kind: Literal["quota", "unlock", "reward"]
    name: str
    feature: str | None
    quantity: int | None
    days: int | None
    plan: str | None
    cost_points: int
    stock: int | None
    per_user_limit: int | None
    active: bool
    created_at: str
    updated_at: str


class Referral(TypedDict):
    """A referral as clients see it; referrer and referee are external ids."""

    id: str
    referrer: str
    referee: str
    code: str
    stage: Literal["registered", "activated", "qualified", "retained", "expired", "cancelled"]
    source: Literal["code", "click", "coupon", "invite"]
    app_id: str | None
    program_version: int
    campaign_id: str | None
    fraud_score: int
    flagged: bool
    fraud_signals: list[str]
    is_verified: bool
    registered_at: str
    activated_at: str | None
    qualified_at: str | None
    retained_at: str | None
    expired_at: str | None
    updated_at: str
    revenue: list[Revenue]


class Revenue(TypedDict):
    """Net revenue in minor units of one currency; currencies are never converted."""

    currency: str | None
    amount: int


class SignupAnswer(TypedDict):
    """Everything a signup led to. `awards` are all awards of the referral, for every person."""

    user: User
    attribution: Attribution
    referral: Referral | None
    awards: list[Award]
    invite: NotRequired[None]
    trial: NotRequired[Grant | None]


class UsageAnswer(TypedDict):
    """The entitlement after the use, and the use's own id."""

    feature: str
    allowed: bool
    reason: Literal["ok", "unlimited", "limit_reached", "disabled", "feature_inactive", "feature_unknown"]
    source: Literal["restriction", "grant", "subscription", "plan", "default"] | None
    plan: str | None
    grant_id: str | None
    limit: int | None
    used: int
    remaining: int | None
    extra: int
    resets_at: str | None
    usage_id: str


class UsageReturnAnswer(TypedDict):
    """The entitlement after the return, and how much of the use may still be returned."""

    feature: str
    allowed: bool
    reason: Literal["ok", "unlimited", "limit_reached", "disabled", "feature_inactive", "feature_unknown"]
    source: Literal["restriction", "grant", "subscription", "plan", "default"] | None
    plan: str | None
    grant_id: str | None
    limit: int | None
    used: int
    remaining: int | None
    extra: int
    resets_at: str | None
    usage_id: str
    returnable: int


class User(TypedDict):
    """A person with what they hold: plan, code, tier and spendable points."""

    id: str
    external_id: str
    username: str | None
    email: str | None
    email_verified: bool
    avatar_url: str | None
    whop_user_id: str | None
    stripe_customer_id: str | None
    invited_by: str | None
    plan: str
    trial_ends_at: str | None
    referral_code: str | None
    referral_url: str | None
    referral_tier: str | None
    qualified_count: int
    balance: int
    created_at: str
    updated_at: str
