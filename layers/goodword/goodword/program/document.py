"""The program's document: a company's rules and their defaults (docs/rules.md, Program).

Points are integers, multipliers and percentages basis points; `points_per_unit` says how many points one major unit of
a currency is worth to a percentage award.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from goodword.core.fields import AppId, Text

EVENTS = ("registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app")
LONGEST_WINDOW_DAYS = 365

# Times added to any instant we take stay within the years that a datetime has.
Points = Annotated[int, Field(ge=0, le=1_000_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Days = Annotated[int, Field(ge=0, le=3650)]
Hours = Annotated[int, Field(ge=0, le=3650 * 24)]
Minutes = Annotated[int, Field(ge=0, le=3650 * 24 * 60)]
Hits = Annotated[int, Field(ge=0, le=10_000)]

_CURRENCY = re.compile(r"[a-z]{3}")


class _Document(BaseModel):
    # the whole builds its parts, so none is built by itself: hence defaults by model_construct, which needs no schema
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def _wrong(errors: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise what is wrong inside a value, each with the way to it, so that every wrong field is named."""
    details = [
        InitErrorDetails(type=PydanticCustomError("rule", "{says}", {"says": says}), loc=way, input=None)
        for way, says in errors
    ]
    if details:
        raise ValidationError.from_exception_data("Program", details)


class AttributionRules(_Document):
    """How far back a touch counts, and which of several wins."""

    window_days: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_DAYS)] = 90
    model: Literal["last_touch", "first_touch"] = "last_touch"
    signup_grace_days: Days = 7


class AwardTerms(_Document):
    """What one event earns: a number of points, or basis points of the net amount paid."""

    points: Points | None = None
    bps: Annotated[int, Field(ge=1, le=100_000)] | None = None
    hold_days: Annotated[int, Field(ge=0, le=365)] = 0

    @model_serializer(mode="wrap")
    def _without_the_other(self, write: SerializerFunctionWrapHandler) -> dict[str, int]:
        """As the document is written: either points or bps, never a null."""
        return {name: value for name, value in write(self).items() if value is not None}

    @model_validator(mode="after")
    def _either(self) -> "AwardTerms":
        if (self.points is None) == (self.bps is None):
            raise ValueError("needs either points or bps")
        return self


def _points_alone(terms: AwardTerms) -> AwardTerms:
    if terms.bps is not None:
        _wrong([(("bps",), "there is no payment to take it of: give points")])
    return terms


WithoutPayment = Annotated[AwardTerms, AfterValidator(_points_alone)]


class Awards(_Document):
    """The terms by event; `welcome` goes to the referee, `l2` to the upline, all others to the referrer."""

    registered: WithoutPayment = AwardTerms.model_construct(points=5)
    welcome: WithoutPayment = AwardTerms.model_construct(points=25)
    activated: WithoutPayment = AwardTerms.model_construct(points=10)
    qualified: AwardTerms = AwardTerms.model_construct(points=25)
    recurring: AwardTerms = AwardTerms.model_construct(points=10)
    l2: AwardTerms = AwardTerms.model_construct(points=5)
    retained: AwardTerms = AwardTerms.model_construct(points=15)
    cross_app: WithoutPayment = AwardTerms.model_construct(points=5)


class Tier(_Document):
    """A referral tier, held from a number of lifetime qualified referrals on."""

    name: Text
    from_: Count = Field(validation_alias="from", serialization_alias="from")
    multiplier_bps: Annotated[int, Field(ge=0, le=1_000_000)]


def _ladder(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    steps = list(enumerate(pairwise(tiers), start=1))
    names = [tier.name for tier in tiers]
    _wrong([
        *([((0, "from"), "must be 0: a referrer begins in the first tier")] if tiers[0].from_ != 0 else []),
        *(((at, "from"), "must be higher than the tier's before it") for at, (a, b) in steps if b.from_ <= a.from_),
        *(((at, "name"), "is another tier's name too") for at, name in enumerate(names) if name in names[:at]),
    ])  # fmt: skip
    return tiers


Tiers = Annotated[tuple[Tier, ...], Field(min_length=1, max_length=50), AfterValidator(_ladder)]


class Timing(_Document):
    """When things count; minutes, hours and days as named."""

    activation_min_minutes: Minutes = 5
    qualification_min_hours: Hours = 24
    retention_days: Days = 30
    pending_expiry_days: Annotated[int, Field(ge=1, le=3650)] = 90
    risk_hold_hours: Hours = 48
    review_days: Days = 7


class Signals(_Document):
    """The score each fraud signal adds."""

    same_ip: Count = 30
    same_device: Count = 50
    disposable_email: Count = 20
    similar_email: Count = 25
    rapid_registration: Count = 15
    bulk_registrations: Count = 40
    vpn_proxy: Count = 20
    new_account_referrer: Count = 15
    instant_qualification: Count = 35
    minimal_activity: Count = 25


class Thresholds(_Document):
    """From which score on awards are held, wait for a review, or are rejected."""

    model_config = ConfigDict(validate_default=True)

    hold: Count = 30
    review: Count = 60
    reject: Count = 90

    @field_validator("review", "reject")
    @classmethod
    def _in_order(cls, score: int, info: ValidationInfo) -> int:
        if score <= max(info.data.values(), default=-1):
            raise ValueError("must be higher than the ones before it")
        return score


class Windows(_Document):
    """How far back, and from how many on, the signals look."""

    shared_days: Days = 30
    rapid_minutes: Minutes = 10
    rapid_registrations: Count = 3
    bulk_hours: Hours = 24
    bulk_registrations: Count = 10
    new_account_hours: Hours = 24


class Fraud(_Document):
    """Signals, what they look at, and what their sum leads to.

    An address or device is shared from so many referees of one referrer on; the behavioural signals together come to
    no more than their cap.
    """

    signals: Signals = Signals.model_construct()
    thresholds: Thresholds = Thresholds.model_construct()
    windows: Windows = Windows.model_construct()
    shared_ip_referees: Annotated[Count, Field(ge=1)] = 5
    shared_device_referees: Annotated[Count, Field(ge=1)] = 3
    behavioural_cap: Count = 59
    on_registration_limit: Literal["review", "hold", "reject"] = "review"


class Limits(_Document):
    """Rate limits, each over a sliding window."""

    code_validations_per_minute: Hits = 20
    code_creations_per_hour: Hits = 10
    registrations_per_code_per_day: Hits = 50
    registrations_per_referrer_per_day: Hits = 20
    award_claims_per_day: Hits = 100


class Caps(_Document):
    """The most points one person may be awarded; null is no cap."""

    per_user_points: Points | None = None
    per_user_per_day_points: Points | None = None

    @property
    def are_any(self) -> bool:
        """Whether there is one."""
        return self.per_user_points is not None or self.per_user_per_day_points is not None


Month = Annotated[int, Field(ge=1, le=1200)]
Months = tuple[Month, Month]


def _forwards(months: Months) -> Months:
    if months[0] > months[1]:
        raise ValueError("must not end before they begin")
    return months


def _currencies(worth: dict[str, int]) -> dict[str, int]:
    _wrong(
        ((currency,), "must be a currency's three lower-case letters")
        for currency in worth
        if not _CURRENCY.fullmatch(currency)
    )
    return worth


class Program(_Document):
    """The whole document."""

    model_config = ConfigDict(defer_build=False)

    schema_version: Annotated[int, Field(ge=1, le=1)] = 1
    timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    attribution: AttributionRules = AttributionRules.model_construct()
    awards: Awards = Awards.model_construct()
    points_per_unit: Annotated[dict[str, Annotated[int, Field(ge=1, le=1_000_000)]], AfterValidator(_currencies)] = {
        "usd": 100
    }
    recurring_months: Annotated[Months, AfterValidator(_forwards)] = (2, 12)
    l2_months: Annotated[Months, AfterValidator(_forwards)] = (1, 6)
    tiers: Tiers = tuple(
        Tier.model_construct(name=name, from_=from_, multiplier_bps=multiplier_bps)
        for name, from_, multiplier_bps in (
            ("bronze", 0, 10_000), ("silver", 5, 15_000), ("gold", 15, 20_000), ("platinum", 30, 30_000),
        )
    )  # fmt: skip
    timing: Timing = Timing.model_construct()
    apps: Annotated[tuple[AppId, ...], Field(max_length=1000)] | None = None
    expects_activations: bool = False
    fraud: Fraud = Fraud.model_construct()
    limits: Limits = Limits.model_construct()
    caps: Caps = Caps.model_construct()
    points_expiry_months: Annotated[int, Field(ge=1, le=1200)] | None = 12

    def tier(self, counted: int) -> Tier:
        """The tier that a number of counted referrals holds."""
        return next(tier for tier in reversed(self.tiers) if tier.from_ <= counted)
