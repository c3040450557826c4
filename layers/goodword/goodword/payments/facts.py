"""What a payment provider told us, in words that no provider owns.

A fact is small, immutable and true for ever: facts may arrive in any order and any number of times, and whoever applies
them must end in the same place. An event yields any number of facts, most events none.

Provider ids (Stripe's `cus_`, `sub_`, `in_`, `pi_`, `ch_`, `cs_`) are opaque text here. Ids that stand together in one
fact belong to one person, which is how a payment that names nobody finds its payer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


class EventUnreadable(ValueError):
    """An authentic event of a kind we handle, whose money or time cannot be read: kept as failed, never guessed at."""


@dataclass(frozen=True, slots=True)
class IdentityLinked:
    """These provider ids belong to one person: who that is and who sent them, as far as the event says."""

    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class PaymentSucceeded:
    """Money arrived, once per `key`: whatever events report the same sale report the same key.

    `net_amount` is what was paid in minor units without its tax, after discounts and credit, and always above zero.
    `period_start` is when the billing period that was paid for begins; None where nothing recurs.
    The other fields repeat the event's IdentityLinked, so that a payment can be applied by itself.
    """

    key: str
    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    currency: str | None
    net_amount: int
    paid_at: datetime
    period_start: datetime | None


@dataclass(frozen=True, slots=True)
class ObjectsLinked:
    """These provider ids are parts of one sale: how a payment's later refund is recognised as that sale's."""

    objects: tuple[str, ...]


Fact: TypeAlias = IdentityLinked | PaymentSucceeded | ObjectsLinked


def net_of_tax(paid: int, total: int, tax: int) -> int:
    """`paid` without its share of the `tax` in `total`, in minor units, rounded half up, never below 0.

    The share matters when less than the total was paid, because credit covered the rest: credit covers tax too.
    """
    if paid <= 0:
        return 0
    if total <= 0 or tax <= 0:
        return paid
    share = (2 * paid * tax + total) // (2 * total)
    return max(paid - share, 0)
