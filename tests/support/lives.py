"""Lives of customers, as the events that Stripe or Whop would send of them, dated around the day of their signup."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from hypothesis import strategies as st

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
"""When everybody signs up."""

Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Back:
    """A refund or a dispute of so many percent, some days after its bill, and what becomes of it, if anything does."""

    kind: Literal["refund", "dispute"]
    percent: int
    days: int
    begins: str
    ends: str | None
    lasts: int = 0


@dataclass(frozen=True)
class Bill:
    """One payment; `linked` says whether an event ties it to its payment intent, `twice` whether two events tell it."""

    day: int
    kind: Literal["renewal", "upgrade", "single"]
    amount: int
    tax: int
    linked: bool
    twice: bool
    backs: tuple[Back, ...]


@dataclass(frozen=True)
class Life:
    """A customer. The days are counted from the checkout, which is `signs_up` days before the signup.

    `named` says who tells that this is the person who signed up; `order` decides how the life is delivered.
    """

    provider: Literal["stripe", "whop"]
    modern: bool
    named: Literal["checkout", "money", "signup", "customer", "email"]
    signs_up: int
    trial: int
    bills: tuple[Bill, ...]
    cancelled: int | None
    order: int


class Delivery(NamedTuple):
    """An event under its id, and when it happened."""

    at: datetime
    event_id: str
    event: Event


_refunds = st.builds(
    Back,
    kind=st.just("refund"),
    percent=st.sampled_from([1, 33, 50, 100]),
    days=st.sampled_from([0, 3, 40]),
    begins=st.sampled_from(["pending", "succeeded"]),
    ends=st.sampled_from([None, "succeeded", "failed"]),
    lasts=st.sampled_from([0, 5]),
)
_disputes = st.builds(
    Back,
    kind=st.just("dispute"),
    percent=st.sampled_from([50, 100]),
    days=st.sampled_from([1, 20]),
    begins=st.sampled_from(["needs_response", "warning_needs_response"]),
    ends=st.sampled_from(["won", "lost", "prevented"]),
    lasts=st.sampled_from([1, 30]),
)
_bills = st.builds(
    Bill,
    day=st.sampled_from([0, 14, 17, 31, 45, 62, 93]),
    kind=st.sampled_from(["renewal", "renewal", "upgrade", "single"]),
    amount=st.sampled_from([1900, 1999, 100, 33_333]),
    tax=st.sampled_from([0, 0, 50]),
    linked=st.sampled_from([True, True, False]),
    twice=st.booleans(),
    backs=st.lists(st.one_of(_refunds, _refunds, _disputes), max_size=3).map(tuple),
)
lives = st.builds(
    Life,
    provider=st.sampled_from(["stripe", "stripe", "whop"]),
    modern=st.booleans(),
    named=st.sampled_from(["checkout", "money", "signup", "customer", "email"]),
    signs_up=st.sampled_from([0, -3, 1, 15, 50, 92]),
    trial=st.sampled_from([0, 0, 14]),
    bills=st.lists(_bills, min_size=1, max_size=3).map(tuple),
    cancelled=st.sampled_from([None, None, 5, 40, 70]),
    order=st.integers(0, 2**16),
)


def tell(life: Life, name: str) -> list[Delivery]:
    """Everything a provider tells of a life, in the order in which it happened."""
    happened = _Stripe(life, name).tell() if life.provider == "stripe" else _Whop(life, name).tell()
    deliveries = [Delivery(at, f"{name}-{number}", event) for number, (at, event) in enumerate(happened)]
    return sorted(deliveries, key=lambda each: each.at)


def customer(life: Life, name: str) -> dict[str, object]:
    """What the signup says of who the provider's customer is."""
    if life.named == "email":
        return {"email": f"{name}@app.example", "email_verified": True}
    if life.named != "signup":
        return {}
    return {"stripe_customer_id": f"cus_{name}"} if life.provider == "stripe" else {"whop_user_id": f"user_{name}"}


Happened: TypeAlias = Iterator[tuple[datetime, Event]]


@dataclass(frozen=True)
class _Teller:
    life: Life
    name: str

    def day(self, days: int) -> datetime:
        return NOON + timedelta(days=days - self.life.signs_up, hours=1 if days == self.life.signs_up else 0)

    def who(self, teller: str) -> dict[str, str]:
        """Metadata, where it is this object that names the person."""
        return {"goodword_user": self.name} if self.life.named == teller else {}

    @property
    def email(self) -> str | None:
        """What the provider shows, where it is all there is to name the person by."""
        return f"{self.name.upper()}@app.example" if self.life.named == "email" else None

    @property
    def bills(self) -> list[tuple[str, Bill]]:
        """Each with its own name; none is due in the trial."""
        return [
            (f"{self.name}-{number}", bill)
            for number, bill in enumerate(self.life.bills)
            if bill.kind == "single" or bill.day >= self.life.trial
        ]


class _Stripe(_Teller):
    def tell(self) -> Happened:
        """A subscription and what was bought beside it."""
        subscribes = any(bill.kind != "single" for bill in self.life.bills)
        if subscribes:
            yield from self._subscription()
        if self.life.named == "customer":
            value = {"id": f"cus_{self.name}", "object": "customer", "metadata": self.who("customer")}
            yield self._event("customer.updated", value, self.day(33))
        for sale, bill in self.bills:
            yield from self._single(sale, bill) if bill.kind == "single" else self._invoice(sale, bill)
            for number, back in enumerate(bill.backs):
                yield from self._back(f"{sale}-{number}", sale, bill, back)

    def _event(self, kind: str, value: Event, at: datetime) -> tuple[datetime, Event]:
        version = "2026-10-28.endive" if self.life.modern else "2024-06-20"
        return at, {
            "object": "event", "type": kind, "livemode": False, "created": int(at.timestamp()),
            "api_version": version, "data": {"object": value},
        }  # fmt: skip

    def _subscription(self) -> Happened:
        name, began = self.name, self.day(0)
        session = {
            "id": f"cs_{name}", "object": "checkout.session", "mode": "subscription", "status": "complete",
            "payment_status": "paid", "customer": f"cus_{name}", "subscription": f"sub_{name}", "metadata": {},
            "client_reference_id": self.name if self.life.named == "checkout" else None, "amount_total": 1900,
            "created": int(began.timestamp()), "currency": "usd", "customer_details": {"email": self.email},
        }  # fmt: skip
        yield self._event("checkout.session.completed", session, began)
        status = "trialing" if self.life.trial else "active"
        subscription = {
            "id": f"sub_{name}", "object": "subscription", "status": status, "customer": f"cus_{name}",
            "metadata": self.who("money"), "created": int(began.timestamp()), "cancel_at_period_end": False,
        }  # fmt: skip
        yield self._event("customer.subscription.created", subscription, began)
        if self.life.trial:
            yield self._event("invoice.paid", self._shown_invoice(f"{name}-trial", 0, 0, began, "renewal"), began)
            yield self._event(
                "customer.subscription.updated", subscription | {"status": "active"}, self.day(self.life.trial)
            )
        if self.life.cancelled is not None:
            ends = self.day(self.life.cancelled)
            leaving = subscription | {"status": "active", "cancel_at_period_end": True}
            yield self._event("customer.subscription.updated", leaving, max(began, ends - timedelta(days=4)))
            ended = subscription | {"status": "canceled", "ended_at": int(ends.timestamp())}
            yield self._event("customer.subscription.deleted", ended, ends)

    def _shown_invoice(self, sale: str, amount: int, tax: int, at: datetime, kind: str) -> Event:
        name = self.name
        line: Event = {"period": {"start": int(at.timestamp())}}
        invoice: Event = {
            "id": f"in_{sale}", "object": "invoice", "customer": f"cus_{name}", "currency": "usd", "status": "paid",
            "amount_paid": amount, "total": amount, "created": int(at.timestamp()), "lines": {"data": [line]},
            "billing_reason": "subscription_update" if kind == "upgrade" else "subscription_cycle",
            "status_transitions": {"paid_at": int(at.timestamp())}, "customer_email": self.email,
        }  # fmt: skip
        if self.life.modern:
            details = {"subscription": f"sub_{name}", "metadata": self.who("money")}
            line["parent"] = {
                "type": "subscription_item_details", "subscription_item_details": {"proration": kind == "upgrade"},
            }  # fmt: skip
            return invoice | {
                "parent": {"type": "subscription_details", "subscription_details": details},
                "total_excluding_tax": amount - tax,
            }
        line["proration"] = kind == "upgrade"
        return invoice | {
            "subscription": f"sub_{name}", "subscription_details": {"metadata": self.who("money")}, "tax": tax,
            "payment_intent": f"pi_{sale}", "charge": f"ch_{sale}",
        }  # fmt: skip

    def _invoice(self, sale: str, bill: Bill) -> Happened:
        at = self.day(bill.day)
        invoice = self._shown_invoice(sale, bill.amount, bill.tax, at, bill.kind)
        yield self._event("invoice.paid", invoice, at)
        if bill.twice:
            yield self._event("invoice.payment_succeeded", invoice, at)
        if bill.linked:
            value = {"id": f"inpay_{sale}", "invoice": f"in_{sale}", "payment": {"payment_intent": f"pi_{sale}"}}
            yield self._event("invoice_payment.paid", value, at)

    def _single(self, sale: str, bill: Bill) -> Happened:
        """A purchase without an invoice; its intent stands in for it, where that is what names the person."""
        at = self.day(bill.day)
        session = {
            "id": f"cs_{sale}", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
            "created": int(at.timestamp()), "customer": f"cus_{self.name}", "payment_intent": f"pi_{sale}",
            "client_reference_id": self.name if self.life.named == "checkout" else None, "metadata": {},
            "currency": "usd", "amount_total": bill.amount, "total_details": {"amount_tax": bill.tax},
            "customer_email": self.email,
        }  # fmt: skip
        yield self._event("checkout.session.completed", session, at)
        if bill.twice:
            yield self._event("checkout.session.async_payment_succeeded", session, at)
        intent = {
            "id": f"pi_{sale}", "object": "payment_intent", "amount_received": bill.amount, "currency": "usd",
            "created": int(at.timestamp()) - 60, "customer": f"cus_{self.name}", "latest_charge": f"ch_{sale}",
            "metadata": self.who("money"), "status": "succeeded",
        }  # fmt: skip
        if bill.linked:
            yield self._event("payment_intent.succeeded", intent, at)

    def _back(self, key: str, sale: str, bill: Bill, back: Back) -> Happened:
        at = self.day(bill.day + back.days)
        ends = at + timedelta(days=back.lasts)
        value = {
            "id": f"{back.kind}_{key}", "object": back.kind, "charge": f"ch_{sale}", "payment_intent": f"pi_{sale}",
            "amount": max(1, bill.amount * back.percent // 100), "currency": "usd", "created": int(at.timestamp()),
        }  # fmt: skip
        if back.kind == "refund":
            charge = {"id": f"ch_{sale}", "object": "charge", "payment_intent": f"pi_{sale}", "amount": bill.amount}
            yield self._event("refund.created", value | {"status": back.begins}, at)
            yield self._event("charge.refunded", charge, at)
            if back.ends:
                kind = "refund.failed" if back.ends == "failed" else "refund.updated"
                yield self._event(kind, value | {"status": back.ends}, ends)
            return
        yield self._event("charge.dispute.created", value | {"status": back.begins}, at)
        yield self._event("charge.dispute.updated", value | {"status": "under_review"}, at + (ends - at) / 2)
        if back.ends:
            yield self._event("charge.dispute.closed", value | {"status": back.ends}, ends)


class _Whop(_Teller):
    @property
    def user(self) -> Event:
        return {"id": f"user_{self.name}", "email": self.email}

    def tell(self) -> Happened:
        """A membership and its payments."""
        yield from self._membership()
        for sale, bill in self.bills:
            yield from self._payment(sale, bill)
            for number, back in enumerate(bill.backs):
                yield from self._back(f"{sale}-{number}", sale, bill, back)

    def _event(self, kind: str, value: Event, at: datetime) -> tuple[datetime, Event]:
        return at, {"api_version": "v1", "timestamp": at.isoformat(), "type": kind, "data": value}

    def _money(self, cents: int) -> object:
        amount = f"{cents // 100}.{cents % 100:02}"
        return {"amount": amount, "currency": "usd", "decimals": 2} if self.life.modern else amount

    def _membership(self) -> Happened:
        began = self.day(0)
        named = self.who("checkout") or self.who("customer")
        membership = {
            "id": f"mem_{self.name}", "status": "trialing" if self.life.trial else "active",
            "created_at": began.isoformat(), "user": self.user, "plan": {"id": "plan_1"},
            "cancel_at_period_end": False, "metadata": named,
        }  # fmt: skip
        yield self._event("membership.activated", membership, began)
        if self.life.trial:
            yield self._event("membership.updated", membership | {"status": "active"}, self.day(self.life.trial))
        if self.life.cancelled is not None:
            ends = self.day(self.life.cancelled)
            leaving = membership | {"status": "canceling", "cancel_at_period_end": True}
            yield self._event("membership.cancel_at_period_end_changed", leaving, max(began, ends - timedelta(days=4)))
            yield self._event("membership.deactivated", membership | {"status": "expired"}, ends)

    def _payment(self, sale: str, bill: Bill) -> Happened:
        at = self.day(bill.day)
        payment = {
            "id": f"pay_{sale}", "status": "paid", "created_at": at.isoformat(), "paid_at": at.isoformat(),
            "currency": "usd", "total": self._money(bill.amount), "user": self.user,
            "tax_amount": self._money(bill.tax) if bill.tax else None, "billing_reason": "subscription_cycle",
            "membership": {"id": f"mem_{self.name}", "status": "active"}, "promo_code": None,
            "metadata": self.who("money"),
        }  # fmt: skip
        yield self._event("payment.succeeded", payment, at)
        if bill.twice:
            yield self._event("payment.succeeded", payment, at)

    def _back(self, key: str, sale: str, bill: Bill, back: Back) -> Happened:
        at = self.day(bill.day + back.days)
        ends = at + timedelta(days=back.lasts)
        value = {
            "id": f"{back.kind}_{key}", "amount": self._money(max(1, bill.amount * back.percent // 100)),
            "currency": "usd", "created_at": at.isoformat(), "payment": {"id": f"pay_{sale}", "currency": "usd"},
        }  # fmt: skip
        yield self._event(f"{back.kind}.created", value | {"status": back.begins}, at)
        if back.ends:
            yield self._event(f"{back.kind}.updated", value | {"status": back.ends}, ends)
