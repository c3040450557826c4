"""The program: a company's rules. Every edit is a new immutable version; a referral keeps the one it began under.

The document and its defaults are RULES.md §1 and DESIGN.md §5. Points are integers, multipliers and percentages basis
points; `points_per_unit` says how many points one major unit of a currency is worth to a percentage award.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from goodword.core.errors import NotFound
from goodword.core.fields import BIGGEST, AnswerModel, AppId, Instant, Text

EVENTS = ("registered", "welcome", "activated", "qualified", "recurring", "l2", "retained", "cross_app")
LONGEST_WINDOW_DAYS = 365

Points = Annotated[int, Field(ge=0, le=1_000_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Attribution(_Document):
    """How far back a touch counts, and which of several wins."""

    window_days: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_DAYS)] = 90
    model: Literal["last_touch", "first_touch"] = "last_touch"
    signup_grace_days: Count = 7


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


class Awards(_Document):
    """The terms by event; `welcome` goes to the referee, `l2` to the upline, all others to the referrer."""

    registered: AwardTerms = AwardTerms(points=5)
    welcome: AwardTerms = AwardTerms(points=25)
    activated: AwardTerms = AwardTerms(points=10)
    qualified: AwardTerms = AwardTerms(points=25)
    recurring: AwardTerms = AwardTerms(points=10)
    l2: AwardTerms = AwardTerms(points=5)
    retained: AwardTerms = AwardTerms(points=15)
    cross_app: AwardTerms = AwardTerms(points=5)


class Tier(_Document):
    """A referral tier, held from a number of lifetime qualified referrals on."""

    name: Text
    from_: Count = Field(validation_alias="from", serialization_alias="from")
    multiplier_bps: Annotated[int, Field(ge=0, le=1_000_000)]


class Timing(_Document):
    """When things count; minutes, hours and days as named."""

    activation_min_minutes: Count = 5
    qualification_min_hours: Count = 24
    retention_days: Count = 30
    pending_expiry_days: Annotated[int, Field(ge=1, le=3650)] = 90
    risk_hold_hours: Count = 48
    review_days: Count = 7


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

    hold: Count = 30
    review: Count = 60
    reject: Count = 90


class Windows(_Document):
    """How far back, and from how many on, the signals look."""

    shared_days: Count = 30
    rapid_minutes: Count = 10
    rapid_registrations: Count = 3
    bulk_hours: Count = 24
    bulk_registrations: Count = 10
    new_account_hours: Count = 24


class Fraud(_Document):
    """Signals, what they look at, and what their sum leads to."""

    signals: Signals = Signals()
    thresholds: Thresholds = Thresholds()
    windows: Windows = Windows()
    on_registration_limit: Literal["review", "reject"] = "review"


class Limits(_Document):
    """Rate limits, each over a sliding window."""

    code_validations_per_minute: Count = 20
    code_creations_per_hour: Count = 10
    registrations_per_code_per_day: Count = 50
    registrations_per_referrer_per_day: Count = 20
    award_claims_per_day: Count = 100


class Caps(_Document):
    """The most points one person may be awarded; null is no cap."""

    per_user_points: Points | None = None
    per_user_per_day_points: Points | None = None


Months = tuple[Annotated[int, Field(ge=1, le=1200)], Annotated[int, Field(ge=1, le=1200)]]


class Program(_Document):
    """The whole document."""

    schema_version: Literal[1] = 1
    timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    attribution: Attribution = Attribution()
    awards: Awards = Awards()
    points_per_unit: dict[Annotated[str, Field(pattern=r"^[a-z]{3}$")], Annotated[int, Field(ge=1, le=BIGGEST)]] = {
        "usd": 100
    }
    recurring_months: Months = (2, 12)
    l2_months: Months = (1, 6)
    tiers: tuple[Tier, ...] = (
        Tier(name="bronze", from_=0, multiplier_bps=10_000),
        Tier(name="silver", from_=5, multiplier_bps=15_000),
        Tier(name="gold", from_=15, multiplier_bps=20_000),
        Tier(name="platinum", from_=30, multiplier_bps=30_000),
    )
    timing: Timing = Timing()
    apps: tuple[AppId, ...] | None = None
    expects_activations: bool = False
    fraud: Fraud = Fraud()
    limits: Limits = Limits()
    caps: Caps = Caps()
    points_expiry_months: Annotated[int, Field(ge=1, le=1200)] | None = 12

    def tier_of(self, qualified: int) -> str | None:
        """The name of the tier that a number of qualified referrals holds."""
        held = [tier for tier in self.tiers if tier.from_ <= qualified]
        return max(held, key=lambda tier: tier.from_).name if held else None


class ProgramVersion(AnswerModel):
    """One version as clients see it."""

    version: int
    created_at: Instant
    program: Program


@dataclass(frozen=True, slots=True)
class Terms:
    """The version in force, and the company's now: one reading for a whole use case."""

    version: int
    program: Program
    created_at: datetime
    at: datetime


_CURRENT = """
    SELECT version, program, created_at, company_now(company_id) AS at FROM program_versions
    WHERE company_id = %(company_id)s ORDER BY version DESC LIMIT 1
"""

_FIRST = """
    INSERT INTO program_versions (company_id, version, program, created_at)
    VALUES (%(company_id)s, 1, %(program)s, company_now(%(company_id)s))
"""


def current(connection: Connection, company_id: UUID) -> Terms:
    """The version in force: the highest. Raises NotFound when the company has none."""
    row = connection.execute(_CURRENT, {"company_id": company_id}).fetchone()
    if row is None:
        raise NotFound("program_not_found", "This company has no program yet.")
    version, program, created_at, at = row
    return Terms(version, Program.model_validate(program), created_at, at)


def begin(connection: Connection, company_id: UUID, program: Program) -> None:
    """Write version 1."""
    document = Jsonb(program.model_dump(mode="json", by_alias=True))
    connection.execute(_FIRST, {"company_id": company_id, "program": document})
