"""Facts about the people of a referral, provider-neutral: the kinds there are. `recording` keeps them.

A fact is small, immutable and true for ever: facts may arrive in any order and any number of times, and what they
come to is the same. Provider ids (Stripe's `cus_`, `sub_`, `in_`, `pi_`, `ch_`, `cs_`) are opaque text; ids
that stand together in one fact belong to one person, which is how a payment that names nobody finds its payer.
"""

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias


class IdentityLinked(NamedTuple):
    """These provider ids belong to one person: who that is and who sent them, as far as the event says.

    `external_id` is the app's own word for the person, and waits for them. `reference` is a checkout's, which may be
    anything else: it counts once somebody of that external id has signed up. There is at most one of the two.
    """

    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    at: datetime
    reference: str | None = None

    @property
    def name(self) -> str | None:
        """Whom the event names, in either way."""
        return self.external_id or self.reference


class PaymentSucceeded(NamedTuple):
    """Money arrived, once per `key`: whatever events report the same sale report the same key.

    `gross_amount` is what was charged, in minor units, after discounts and credit; `net_amount` is that without tax and
    always above zero. `other_amount` is the gross amount in the sale's other currency, where it has two.
    A part of a sale (a payment intent, a charge) knows neither the sale's key nor its tax. Its payment stands in for
    the sale, by the id in `stands_in_for`, and counts for nothing once a payment is known that has this id among its
    sale's objects.
    `period_start` is when the billing period that was paid for begins; None where nothing recurs. `is_proration`: every
    line is a change within a period that had begun before.
    The other fields repeat the event's IdentityLinked, so that a payment can be applied by itself.
    """

    key: str
    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    currency: str | None
    gross_amount: int
    net_amount: int
    paid_at: datetime
    period_start: datetime | None
    other_amount: int | None = None
    other_currency: str | None = None
    stands_in_for: str | None = None
    is_proration: bool = False
    reference: str | None = None


class TakenBack(NamedTuple):
    """A refund or a dispute, once per `key`, with one of its statuses and since when it has that.

    `amount` is out of the payment's gross amount, in minor units; `other_amount` is the same in another currency, where
    the provider says it in two. `objects` are ids of the sale alone (charge, payment intent, invoice), by which its
    payment is found, before or after this.
    """

    kind: Literal["refund", "dispute"]
    key: str
    objects: tuple[str, ...]
    amount: int
    currency: str | None
    status: Literal["pending", "succeeded", "failed", "warning", "open", "lost", "won"]
    began_at: datetime
    at: datetime
    other_amount: int | None = None
    other_currency: str | None = None


SubscriptionStatus = Literal["trialing", "active", "past_due", "unpaid", "paused", "ended"]


class SubscriptionChanged(NamedTuple):
    """A subscription as its provider tells of it at an instant.

    `price_refs` name what is subscribed to. `unpaid`: the provider has stopped trying to collect. `cancels_at` is the
    end that is announced, until that is undone.
    """

    key: str
    objects: tuple[str, ...]
    external_id: str | None
    click_id: str | None
    code: str | None
    status: SubscriptionStatus
    price_refs: tuple[str, ...]
    period_ends_at: datetime | None
    cancel_at_period_end: bool
    ended_at: datetime | None
    at: datetime
    cancels_at: datetime | None = None


class ObjectsLinked(NamedTuple):
    """These provider ids are parts of one sale: how a payment's later refund is recognised as that sale's."""

    objects: tuple[str, ...]


class PromotionUsed(NamedTuple):
    """A promotion code was used on these objects, known by the provider's id of it: a touch, once its text is known."""

    objects: tuple[str, ...]
    external_id: str | None
    promotion: str
    at: datetime
    reference: str | None = None


class PromotionCodeTold(NamedTuple):
    """The text of a promotion code, by the provider's one id of it in `objects`; it never changes."""

    objects: tuple[str]
    code: str


class EmailSeen(NamedTuple):
    """An e-mail that was shown beside these ids: whose they are, where no key that is stronger says so."""

    objects: tuple[str, ...]
    email: str


class ProfileSeen(NamedTuple):
    """What a provider knows of a person: fills in what the app has not said, and never overwrites it.

    `whop_user_id` becomes the user's where neither has another.
    """

    objects: tuple[str, ...]
    whop_user_id: str
    username: str | None
    email: str | None
    avatar_url: str | None


Fact: TypeAlias = (
    IdentityLinked | PaymentSucceeded | TakenBack | SubscriptionChanged | ObjectsLinked | EmailSeen | ProfileSeen
    | PromotionUsed | PromotionCodeTold
)  # fmt: skip

NAMING = (IdentityLinked, PaymentSucceeded, SubscriptionChanged)
REFERRING = (IdentityLinked, PaymentSucceeded, PromotionUsed)
OF_A_SALE = (PaymentSucceeded, TakenBack, ObjectsLinked)
STORED_BEFORE = (ObjectsLinked, TakenBack, SubscriptionChanged, ProfileSeen, PromotionCodeTold)
