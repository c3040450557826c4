"""Whop's objects in the shapes that are still being sent; a keyword replaces a field.

`v1` is the API without a date, `dated` the native shape since 2026-09-02-1, `v5` the one of old. What is not said
otherwise is one payment of 29.00 dollars without tax, `pay_1` of `user_1`, made now, naming nobody. A time may be a
datetime, and is sent as the shape sends it.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from goodword.payments.whop.events import WhopEvent

Object: TypeAlias = dict[str, Any]


def iso(at: datetime) -> str:
    """A time of Whop's, but for v5."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def money(amount: object, currency: str = "usd") -> Object:
    """Money as dated payments and refunds show it."""
    return {"amount": amount, "currency": currency, "decimals": 2, "display_decimals": 2}


def _made(defaults: Object, fields: Object) -> Object:
    value = {"created_at": datetime.now(UTC)} | defaults | fields
    return {name: iso(each) if isinstance(each, datetime) else each for name, each in value.items()}


def _made_v5(defaults: Object, fields: Object) -> Object:
    value = {"created_at": datetime.now(UTC)} | defaults | fields
    return {name: int(each.timestamp()) if isinstance(each, datetime) else each for name, each in value.items()}


# Events


def event(kind: str, value: Object, *, sent_at: datetime | None = None, **fields: object) -> Object:
    """A message of v1 as it is sent; its id follows from what it says. By default it is sent now."""
    at = iso(sent_at or datetime.now(UTC))
    return {
        "id": f"msg_{kind}_{value.get('id')}_{value.get('status')}_{at}", "api_version": "v1", "timestamp": at,
        "type": kind, "data": value,
    } | fields  # fmt: skip


def as_read(kind: str, value: Object, sent_at: datetime | None) -> WhopEvent:
    """An event as the inbox has read it."""
    return WhopEvent(type=kind, company="biz_1", sent_at=sent_at, object=value)


def whop_payment(
    message_id: str, payment_id: str, *, user: str | None = None, buyer: Object | None = None,
    company: str | None = None, sent_at: datetime | None = None, **fields: object,
) -> Object:  # fmt: skip
    """A `payment.succeeded` event; `user` is named by the payment, `buyer` is who that is at Whop."""
    payer = buyer or {"id": "user_1"}
    own: Object = {
        "id": payment_id, "user": payer, "membership": {"id": f"mem_{payer['id']}", "status": "active"},
        "metadata": {"goodword_user": user} if user else {},
    } | ({"created_at": sent_at, "paid_at": sent_at} if sent_at else {})  # fmt: skip
    return event("payment.succeeded", payment(**(own | fields)), sent_at=sent_at, id=message_id, company_id=company)


# Payments


def payment(**fields: object) -> Object:
    """A payment of v1, with money as text."""
    value = _made(
        {
            "id": "pay_1", "status": "paid", "substatus": "succeeded", "currency": "usd", "total": "29.0",
            "tax_amount": None, "refunded_amount": "0.0", "billing_reason": "subscription_create",
            "user": {"id": "user_1"}, "member": None, "membership": {"id": "mem_1", "status": "active"},
            "product": {"id": "prod_1", "title": "Club", "route": "club"}, "plan": {"id": "plan_1"},
            "promo_code": None, "metadata": {},
        },
        fields,
    )  # fmt: skip
    return {"paid_at": value["created_at"]} | value


def dated_payment(**fields: object) -> Object:
    """A payment that names what belongs to it by ids."""
    value = _made(
        {
            "id": "pay_1", "account_id": "biz_1", "status": "paid", "currency": "usd", "total": money("29.00"),
            "tax_amount": None, "user": {"id": "user_1"}, "member_id": "mber_1", "membership_id": "mem_1",
            "plan_id": "plan_1", "product_id": "prod_1", "promo_code_id": None, "metadata": {},
        },
        fields,
    )  # fmt: skip
    return {"paid_at": value["created_at"]} | value


def v5_payment(**fields: object) -> Object:
    """A payment that shows no tax."""
    value = _made_v5(
        {
            "id": "pay_1", "membership_id": "mem_1", "product_id": "prod_1", "user_id": "user_1",
            "plan_id": "plan_1", "company_id": "biz_1", "status": "paid", "subtotal": Decimal("29.0"),
            "final_amount": Decimal("29.0"), "currency": "usd", "refunded_amount": Decimal("0.0"),
            "checkout_id": "4t9y", "membership_metadata": {}, "affiliate": None,
        },
        fields,
    )  # fmt: skip
    return {"paid_at": value["created_at"]} | value


# Memberships


def membership(**fields: object) -> Object:
    """A membership of v1."""
    value = _made(
        {
            "id": "mem_user_1", "status": "active", "cancel_at_period_end": False, "canceled_at": None,
            "user": {"id": "user_1"}, "member": None, "plan": {"id": "plan_1"},
            "product": {"id": "prod_1", "title": "Club"}, "promo_code": None, "metadata": {},
        },
        fields,
    )  # fmt: skip
    return {"joined_at": value["created_at"]} | value


def dated_membership(**fields: object) -> Object:
    """The native shape since 2026-07-23: no e-mail, and a `member` without an id."""
    return _made(
        {
            "id": "mem_1", "status": "active", "user_id": "user_1", "product_id": "prod_1", "plan_id": "plan_1",
            "cancel_at_period_end": False, "metadata": {}, "member": {"access_level": "customer", "position": 1},
            "account": {"id": "biz_1", "title": "Shop"},
        },
        fields,
    )  # fmt: skip


def v5_membership(**fields: object) -> Object:
    """A membership whose times are seconds."""
    return _made_v5(
        {
            "id": "mem_1", "product_id": "prod_1", "user_id": "user_1", "plan_id": "plan_1", "page_id": "biz_1",
            "cancel_at_period_end": False, "status": "active", "valid": True, "metadata": {},
        },
        fields,
    )  # fmt: skip


# Money that went back


def refund(*, amount: object = 29.0, **fields: object) -> Object:
    """A refund of v1, with its payment inside."""
    return _made(
        {
            "id": "rf_1", "amount": amount, "currency": "usd", "provider": "stripe", "status": "succeeded",
            "payment": {"id": "pay_1", "currency": "usd", "total": 29.0, "user": {"id": "user_1"}},
        },
        fields,
    )  # fmt: skip


def dated_refund(*, amount: str = "29.00", **fields: object) -> Object:
    """A refund that names its payment by id."""
    return _made(
        {
            "id": "rf_1", "account_id": "biz_1", "amount": money(amount), "original_amount": money(amount),
            "payment_id": "pay_1", "provider": "stripe", "reason": "requested_by_customer", "status": "succeeded",
            "visa_rdr": False,
        },
        fields,
    )  # fmt: skip


def v5_refund(**fields: object) -> Object:
    """A refund whose times are seconds."""
    return _made_v5(
        {
            "id": "rf_1", "payment_id": "pay_1", "company_id": "biz_1", "amount": Decimal("29.0"), "currency": "usd",
            "status": "succeeded",
        },
        fields,
    )  # fmt: skip


def dispute(*, amount: object = 29.0, **fields: object) -> Object:
    """A dispute of v1, with its payment inside."""
    return _made(
        {
            "id": "dspt_1", "amount": amount, "currency": "usd", "plan": {"id": "plan_1"},
            "payment": {"id": "pay_1", "currency": "usd", "total": amount, "user": {"id": "user_1"}},
            "product": {"id": "prod_1", "title": "Club"}, "reason": "fraudulent", "status": "needs_response",
            "visa_rdr": False,
        },
        fields,
    )  # fmt: skip


def dated_dispute(*, amount: object = Decimal("29.0"), **fields: object) -> Object:
    """The native shape since 2026-07-25, where an amount is still a number."""
    value = _made(
        {
            "id": "dspt_1", "account_id": "biz_1", "amount": amount, "currency": "usd",
            "buyer": {"email": "cleo@example.net", "member_id": "mem_1", "user_id": "user_1"}, "inquiry": False,
            "plan_id": "plan_1", "product_id": "prod_1", "rapid_dispute_resolution": False,
            "status": "needs_response",
        },
        fields,
    )  # fmt: skip
    shown = {"id": "pay_1", "amount": amount, "created_at": value["created_at"], "currency": "usd"}
    return {"payment": shown, "evidence_due_at": value["created_at"]} | value


def v5_dispute(**fields: object) -> Object:
    """A dispute whose times are seconds."""
    return _made_v5(
        {
            "id": "dspt_1", "payment_id": "pay_1", "amount": Decimal("29.0"), "currency": "usd",
            "status": "needs_response",
        },
        fields,
    )  # fmt: skip
