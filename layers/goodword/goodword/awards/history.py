"""What is known of one referral: the facts that the award engine reckons from, and that count as one set.

The SQL function `known_referrals` gives rows of them, whose columns stand in the order of the fields.
"""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID


class Use(NamedTuple):
    """First use of an app; '' where the app did not say which."""

    app_id: str
    occurred_at: datetime


class Payment(NamedTuple):
    """Money received, in minor units: `gross_amount` as charged, `net_amount` of it without tax and discounts.

    `key` is the sale's own, by which two payments of one instant have an order. `is_proration`: all that was paid
    for is a change within a billing period that had begun before.
    """

    id: UUID
    key: str
    net_amount: int
    gross_amount: int
    currency: str | None
    paid_at: datetime
    period_start: datetime | None = None
    is_proration: bool = False


class Takeback(NamedTuple):
    """Money that went back, or is in dispute, out of one payment: of its gross amount, or of the same `whole` of it.

    A refund is `gone` until it fails; a dispute is `disputed` while it is open, `gone` once lost, `kept` once won.
    """

    payment_id: UUID
    amount: int
    state: Literal["gone", "disputed", "kept"]
    began_at: datetime
    whole: int | None = None


class Subscription(NamedTuple):
    """From when on a subscription was known of, and whether and when it ended."""

    began_at: datetime
    ended_at: datetime | None


class Facts(NamedTuple):
    """Everything known about one referral. `touched_at` is when the click or the code was used."""

    registered_at: datetime
    touched_at: datetime
    app_id: str | None = None
    uses: tuple[Use, ...] = ()
    payments: tuple[Payment, ...] = ()
    takebacks: tuple[Takeback, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
