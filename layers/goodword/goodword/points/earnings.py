"""What points are earned by, as the type of an entry says it."""

from typing import Literal

EarningType = Literal[
    "REFERRAL_REGISTERED", "REFERRAL_ACTIVATED", "REFERRAL_FIRST_PAYMENT", "REFERRAL_RECURRING", "REFERRAL_L2",
    "REFERRAL_RETAINED", "REFERRAL_CROSS_APP", "REFERRAL_WELCOME", "MILESTONE", "CAMPAIGN_PRIZE", "IMPORT",
]  # fmt: skip
