"""What Stripe's events say, in the shapes of every API version that is still being sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.core.money import net_of_tax
from goodword.facts.kinds import (
    EmailSeen,
    Fact,
    IdentityLinked,
    ObjectsLinked,
    PaymentSucceeded,
    PromotionCodeTold,
    PromotionUsed,
)
from goodword.payments.bodies import EventUnreadable
from goodword.payments.stripe.events import facts
from tests.support import stripe_objects
from tests.support.odd import spoiled
from tests.support.stripe_objects import CREATED, SENT, as_read, at, invoice_item, line
from tests.support.stripe_objects import line_before_basil as old_line

CLICK = "clk_" + "0" * 32
FINALISED = 1_700_003_600
PAID = 1_700_007_200
RENEWED = 1_702_592_000
RENEWAL: dict[str, Any] = {
    "amount": 11_900, "tax": 1_900, "currency": "eur", "named": {"goodword_user": "ada"}, "created": CREATED,
    "billing_reason": "subscription_cycle",
    "status_transitions": {"finalized_at": FINALISED, "paid_at": PAID, "voided_at": None},
}  # fmt: skip


def session(**fields: object) -> dict[str, Any]:
    """A one-time purchase of 119.00 with 19.00 tax."""
    value = stripe_objects.session(amount=11_900, tax=1_900, currency="eur", created=CREATED)
    return value | {"client_reference_id": "ada"} | fields


def invoice(**fields: object) -> dict[str, Any]:
    """A renewal of 119.00 with 19.00 tax in the shape since API version basil."""
    return stripe_objects.invoice(lines=[line(RENEWED)], **RENEWAL) | fields


def old_invoice(**fields: object) -> dict[str, Any]:
    """The same renewal in the shape before API version basil."""
    return stripe_objects.invoice_before_basil(lines=[old_line(RENEWED)], **RENEWAL) | fields


def payment(*found: Fact) -> PaymentSucceeded | None:
    return next((fact for fact in found if isinstance(fact, PaymentSucceeded)), None)


def linked(*found: Fact) -> IdentityLinked | None:
    return next((fact for fact in found if isinstance(fact, IdentityLinked)), None)


def net_amount(value: dict[str, Any], event_type: str = "invoice.paid") -> int | None:
    paid = payment(*facts(as_read(event_type, value)))
    return paid and paid.net_amount


# The whole of it


@pytest.mark.parametrize("event_type", ["checkout.session.completed", "checkout.session.async_payment_succeeded"])
def test_a_paid_session_names_its_buyer_and_its_money(event_type: str) -> None:
    objects = ("cs_1", "cus_1", "pi_1")
    assert facts(as_read(event_type, session())) == (
        IdentityLinked(objects, external_id=None, click_id=None, code=None, at=at(CREATED), reference="ada"),
        PaymentSucceeded(
            key="pi_1",
            objects=objects,
            external_id=None,
            reference="ada",
            click_id=None,
            code=None,
            currency="eur",
            gross_amount=11_900,
            net_amount=10_000,
            paid_at=at(CREATED),
            period_start=None,
        ),
    )


@pytest.mark.parametrize("event_type", ["invoice.paid", "invoice.payment_succeeded"])
@pytest.mark.parametrize(
    ("value", "objects"),
    [
        pytest.param(old_invoice(), ("in_1", "cus_1", "sub_1", "pi_1", "ch_1"), id="before basil"),
        pytest.param(invoice(), ("in_1", "cus_1", "sub_1"), id="since basil"),
        pytest.param(
            invoice(payments={"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]}),
            ("in_1", "cus_1", "sub_1", "pi_1"),
            id="since basil, with its payments",
        ),
        pytest.param(
            invoice(amount_overpaid=0, amount_paid_off_stripe=0, status_details=None, customer_account=None),
            ("in_1", "cus_1", "sub_1"),
            id="dahlia and endive",
        ),
    ],
)
def test_a_paid_invoice_says_the_same_in_every_shape(
    event_type: str, value: dict[str, Any], objects: tuple[str, ...]
) -> None:
    assert facts(as_read(event_type, value)) == (
        IdentityLinked(objects, external_id="ada", click_id=None, code=None, at=at(CREATED)),
        PaymentSucceeded(
            key="in_1",
            objects=objects,
            external_id="ada",
            click_id=None,
            code=None,
            currency="eur",
            gross_amount=11_900,
            net_amount=10_000,
            paid_at=at(PAID),
            period_start=at(RENEWED),
        ),
    )


@pytest.mark.parametrize(
    ("paid_with", "objects"),
    [
        ({"type": "payment_intent", "payment_intent": "pi_1"}, ("in_1", "pi_1")),
        ({"type": "payment_intent", "payment_intent": {"id": "pi_1"}}, ("in_1", "pi_1")),
        ({"type": "charge", "charge": "ch_1"}, ("in_1", "ch_1")),
    ],
)
def test_an_invoice_payment_ties_the_invoice_to_what_paid_it(
    paid_with: dict[str, Any], objects: tuple[str, ...]
) -> None:
    value = {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "payment": paid_with}
    assert facts(as_read("invoice_payment.paid", value)) == (ObjectsLinked(objects),)


@pytest.mark.parametrize("paid_with", [None, "pi_1", {}, {"type": "payment_record", "payment_record": "pr_1"}])
def test_an_invoice_payment_outside_stripe_ties_nothing(paid_with: object) -> None:
    assert facts(as_read("invoice_payment.paid", {"invoice": "in_1", "payment": paid_with})) == ()


@pytest.mark.parametrize(
    "event_type",
    [
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
        "customer.deleted",
        "customer.discount.deleted",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.payment_failed",
        "invoice.voided",
        "payment_intent.payment_failed",
        "plan.created",
        "coupon.created",
        "radar.early_fraud_warning.created",
        "something.new",
    ],
)
@pytest.mark.parametrize("value", [session(), invoice(), {}])
def test_other_events_say_nothing_here(event_type: str, value: dict[str, Any]) -> None:
    assert facts(as_read(event_type, value)) == ()


# Who


@pytest.mark.parametrize(
    ("fields", "external_id"),
    [
        ({"client_reference_id": "ada"}, "ada"),
        ({"client_reference_id": "ada@example.com|7~a-b.c:d_e"}, "ada@example.com|7~a-b.c:d_e"),
        ({"client_reference_id": None, "metadata": {"goodword_user": "ada"}}, "ada"),
        ({"client_reference_id": "cart-17", "metadata": {"goodword_user": "ada"}}, "ada"),
        ({"client_reference_id": "ada", "metadata": {"goodword_user": "not an id"}}, "ada"),
        ({"client_reference_id": None, "payment_intent": {"id": "pi_1", "metadata": {"goodword_user": "ada"}}}, "ada"),
        ({"client_reference_id": None, "subscription": {"id": "sub_1", "metadata": {"goodword_user": "ada"}}}, "ada"),
        ({"client_reference_id": "a" * 128}, "a" * 128),
        ({"client_reference_id": "a" * 129}, None),
        ({"client_reference_id": ""}, None),
        ({"client_reference_id": "a b"}, None),
        ({"client_reference_id": "a/b"}, None),
        ({"client_reference_id": "ada\n"}, "ada"),
        ({"client_reference_id": "édith"}, None),
        ({"client_reference_id": 7}, "7"),
        ({"client_reference_id": {"id": "ada"}}, None),
        ({"client_reference_id": None, "metadata": None}, None),
        ({"client_reference_id": None, "metadata": "ada"}, None),
    ],
)
def test_a_person_is_named_by_the_apps_own_id(fields: dict[str, Any], external_id: str | None) -> None:
    found = facts(as_read("checkout.session.completed", session(**fields)))
    naming = [fact for fact in found if isinstance(fact, IdentityLinked | PaymentSucceeded)]
    assert [fact.external_id or fact.reference for fact in naming] == 2 * [external_id]
    assert all(fact.external_id is None or fact.reference is None for fact in naming)


def test_click_and_code_come_from_metadata() -> None:
    metadata = {"goodword_click": "clk_1", "goodword_code": "ADA-10"}
    for fact in facts(as_read("checkout.session.completed", session(metadata=metadata))):
        assert isinstance(fact, IdentityLinked | PaymentSucceeded)
        assert (fact.reference, fact.click_id, fact.code) == ("ada", "clk_1", "ADA-10")


@pytest.mark.parametrize(
    ("fields", "click", "reference"),
    [
        ({"client_reference_id": CLICK}, CLICK, None),
        ({"client_reference_id": f" {CLICK}"}, CLICK, None),
        ({"client_reference_id": CLICK, "metadata": {"goodword_click": "clk_1"}}, "clk_1", None),
        ({"client_reference_id": CLICK[:-1]}, None, CLICK[:-1]),
    ],
)
def test_a_click_comes_in_the_reference_too(fields: dict[str, Any], click: str | None, reference: str | None) -> None:
    for fact in facts(as_read("checkout.session.completed", session(**fields))):
        assert isinstance(fact, IdentityLinked | PaymentSucceeded)
        assert (fact.external_id, fact.click_id, fact.reference) == (None, click, reference)


@pytest.mark.parametrize(
    ("metadata", "discounts", "code"),
    [
        ({}, [{"promotion_code": {"id": "promo_1", "code": "ADA10"}}], "ADA10"),
        ({}, [{"promotion_code": None}, {"promotion_code": {"id": "promo_1", "code": "ADA10"}}], "ADA10"),
        ({"goodword_code": "BEN"}, [{"promotion_code": {"id": "promo_1", "code": "ADA10"}}], "BEN"),
        ({}, [{"promotion_code": {"id": "promo_1", "code": "two words"}}], None),
        ({}, [{"promotion_code": "promo_1"}], None),
        ({}, ["di_1"], None),
        ({}, None, None),
    ],
)
def test_a_promotion_code_that_is_shown_stands_in_for_a_referral_code(
    metadata: object, discounts: object, code: str | None
) -> None:
    for event_type, value in (
        ("checkout.session.completed", session(metadata=metadata, discounts=discounts)),
        ("invoice.paid", invoice(metadata=metadata, discounts=discounts)),
    ):
        paid = payment(*facts(as_read(event_type, value)))
        assert paid is not None
        assert paid.code == code


STARTED = CREATED - 600


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({"discounts": [{"coupon": None, "promotion_code": "promo_1"}]}, [("promo_1", CREATED)]),
        ({"discounts": [{"promotion_code": "promo_1"}, {"promotion_code": "promo_2"}]},
         [("promo_1", CREATED), ("promo_2", CREATED)]),
        ({"discounts": ["di_1", {"promotion_code": "promo_1", "start": STARTED}]}, [("promo_1", STARTED)]),
        ({"discount": {"id": "di_1", "promotion_code": "promo_1", "start": STARTED}}, [("promo_1", STARTED)]),
        ({"discounts": [{"promotion_code": {"id": "promo_1", "code": None}}]}, [("promo_1", CREATED)]),
        ({"discounts": [{"source": {"coupon": "10off", "type": "coupon"}, "promotion_code": None}]}, []),
        ({"discounts": [{"promotion_code": {"id": "promo_1", "code": "ADA10"}}]}, []),
        ({"discounts": [{"promotion_code": "promo_1"}], "metadata": {"goodword_code": "BEN"}}, []),
        ({"discounts": ["di_1"]}, []),
        ({"discounts": "promo_1"}, []),
        ({"discounts": None, "discount": None}, []),
    ],
)  # fmt: skip
def test_a_promotion_code_that_is_not_shown_is_told_by_its_id(
    fields: dict[str, Any], used: list[tuple[str, int]]
) -> None:
    value = {"created": CREATED, "customer": "cus_1"}
    for event_type, carrier in (
        ("checkout.session.completed", session(**fields)),
        ("invoice.paid", invoice(**fields)),
        ("customer.subscription.created", {"id": "sub_1", "status": "active", **value, **fields}),
        ("customer.subscription.updated", {"id": "sub_1", "status": "incomplete", **value, **fields}),
    ):
        found = [fact for fact in facts(as_read(event_type, carrier)) if isinstance(fact, PromotionUsed)]
        assert [(fact.promotion, fact.at) for fact in found] == [(key, at(seconds)) for key, seconds in used]
        assert all("cus_1" in fact.objects for fact in found)


@pytest.mark.parametrize("event_type", ["customer.discount.created", "customer.discount.updated"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (PromotionUsed(("cus_1",), None, "promo_1", at(STARTED)),)),
        ({"start": None}, (PromotionUsed(("cus_1",), None, "promo_1", at(SENT)),)),
        ({"customer": None, "customer_account": "acct_1"},
         (PromotionUsed(("acct_1",), None, "promo_1", at(STARTED)),)),
        ({"promotion_code": {"id": "promo_1", "code": "ADA10"}},
         (IdentityLinked(("cus_1",), None, None, "ADA10", at(STARTED)),)),
        ({"promotion_code": {"id": "promo_1"}}, (PromotionUsed(("cus_1",), None, "promo_1", at(STARTED)),)),
        ({"coupon": {"id": "10off"}, "source": None}, (PromotionUsed(("cus_1",), None, "promo_1", at(STARTED)),)),
        ({"promotion_code": None}, ()),
        ({"promotion_code": 7}, ()),
        ({"customer": None}, ()),
        ({"customer": None, "promotion_code": {"code": "ADA10"}}, ()),
    ],
)  # fmt: skip
def test_a_discount_tells_by_which_promotion_code_a_customer_has_it(
    event_type: str, fields: dict[str, Any], expected: tuple[Fact, ...]
) -> None:
    value = {
        "id": "di_1", "object": "discount", "customer": "cus_1", "promotion_code": "promo_1", "start": STARTED,
        "end": None, "source": {"coupon": "10off", "type": "coupon"},
    }  # fmt: skip
    assert facts(as_read(event_type, value | fields)) == expected


@pytest.mark.parametrize("event_type", ["promotion_code.created", "promotion_code.updated"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (PromotionCodeTold(("promo_1",), "Ada-10"),)),
        ({"active": False, "created": None}, (PromotionCodeTold(("promo_1",), "Ada-10"),)),
        ({"id": None}, ()),
        ({"code": None}, ()),
        ({"code": "two words"}, ()),
    ],
)
def test_a_promotion_code_tells_its_text(event_type: str, fields: dict[str, Any], expected: tuple[Fact, ...]) -> None:
    value = {"id": "promo_1", "object": "promotion_code", "code": "Ada-10", "active": True, "created": CREATED}
    assert facts(as_read(event_type, value | fields)) == expected


def test_each_key_is_taken_from_the_first_place_that_has_it() -> None:
    value = invoice(metadata={"goodword_code": "ADA"})
    value["parent"]["subscription_details"]["metadata"] = {"goodword_user": "ada", "goodword_code": "BOB"}
    fact = linked(*facts(as_read("invoice.paid", value)))
    assert fact is not None
    assert (fact.external_id, fact.code) == ("ada", "ADA")


@pytest.mark.parametrize(
    ("fields", "says_so"),
    [
        ({"customer": "cus_1", "client_reference_id": None}, True),
        ({"customer": None, "customer_account": "acct_1", "client_reference_id": None}, True),
        ({"customer": None, "client_reference_id": "ada"}, True),
        ({"customer": None, "client_reference_id": None, "metadata": {"goodword_code": "ADA"}}, True),
        ({"customer": None, "client_reference_id": None}, False),
    ],
)
def test_a_link_names_a_person_or_a_customer(fields: dict[str, Any], *, says_so: bool) -> None:
    found = facts(as_read("checkout.session.completed", session(**fields)))
    assert (linked(*found) is not None) == says_so
    assert payment(*found) is not None


def email(*found: Fact) -> EmailSeen | None:
    return next((fact for fact in found if isinstance(fact, EmailSeen)), None)


CUSTOMER = {"id": "cus_1", "object": "customer", "email": "c@d.example"}


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"customer_details": {"email": "a@b.example"}, "customer_email": "x@y.example"}, "a@b.example"),
        ({"customer_details": {"email": None}, "customer_email": "a@b.example"}, "a@b.example"),
        ({"customer_details": None, "customer_email": " A@b.example\n"}, "A@b.example"),
        ({"customer": CUSTOMER}, "c@d.example"),
        ({"customer_email": "nobody", "customer": CUSTOMER}, "c@d.example"),
        ({"customer_email": 7}, None),
        ({"customer_email": "a b@c.example"}, None),
        ({"customer_email": "a@b@c.example"}, None),
        ({"customer_email": "\ud800@c.example"}, None),
        ({"customer_email": "a" * 320 + "@c.example"}, None),
        ({}, None),
    ],
)
def test_an_e_mail_is_shown_beside_what_belongs_to_one_person(fields: dict[str, Any], seen: str | None) -> None:
    expected = EmailSeen(("cs_1", "cus_1", "pi_1"), seen) if seen else None
    assert email(*facts(as_read("checkout.session.completed", session(**fields)))) == expected


@pytest.mark.parametrize("shape", [invoice, old_invoice], ids=["since basil", "before basil"])
@pytest.mark.parametrize("fields", [{"customer_email": "c@d.example"}, {"customer": CUSTOMER}])
def test_an_invoice_shows_its_customers_e_mail(shape: Any, fields: dict[str, Any]) -> None:  # noqa: ANN401 - a function with keywords
    seen = email(*facts(as_read("invoice.paid", shape(**fields))))
    assert seen is not None
    assert seen.email == "c@d.example"
    assert {"in_1", "cus_1", "sub_1"} <= set(seen.objects)


# Whether


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"payment_status": "unpaid"}, id="the money comes later, if at all"),
        pytest.param({"payment_status": "no_payment_required", "amount_total": 0}, id="a free trial or full discount"),
        pytest.param({"amount_total": 0}, id="nothing to pay"),
        pytest.param({"mode": "subscription", "subscription": "sub_1"}, id="the invoice is the money"),
        pytest.param({"invoice_creation": {"enabled": True}}, id="a one-time purchase whose invoice is about to come"),
    ],
)
def test_a_session_may_bring_a_person_without_money(fields: dict[str, Any]) -> None:
    found = facts(as_read("checkout.session.completed", session(**fields)))
    assert [type(fact) for fact in found] == [IdentityLinked]


@pytest.mark.parametrize("invoice", ["in_1", {"id": "in_1"}])
def test_the_invoice_of_a_session_is_the_money_of_its_payment_intent(invoice: object) -> None:
    found = facts(as_read("checkout.session.completed", session(invoice=invoice)))
    assert [type(fact) for fact in found] == [IdentityLinked, ObjectsLinked]
    assert found[1].objects == ("in_1", "pi_1")


def test_saving_a_card_is_no_sale() -> None:
    assert facts(as_read("checkout.session.completed", session(mode="setup"))) == ()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"amount_paid": 0, "total": 0, "total_excluding_tax": 0}, id="a trial or a full discount"),
        pytest.param({"amount_paid": 0}, id="all of it covered by credit"),
        pytest.param({"amount_paid": 0, "total": -500, "total_excluding_tax": -420}, id="a downgrade"),
        pytest.param({"amount_paid": -1}, id="less than nothing"),
        pytest.param({"paid_out_of_band": True}, id="paid outside Stripe, before basil"),
        pytest.param({"amount_paid_off_stripe": 11_900}, id="paid outside Stripe, since dahlia"),
        pytest.param({"total_excluding_tax": 0}, id="nothing but tax"),
    ],
)
def test_an_invoice_may_be_settled_without_money(fields: dict[str, Any]) -> None:
    found = facts(as_read("invoice.paid", invoice(**fields)))
    assert [type(fact) for fact in found] == [IdentityLinked]


def test_a_part_payment_waits_for_the_invoice_to_be_paid() -> None:
    part = invoice(status="open", amount_paid=5_000)
    assert payment(*facts(as_read("invoice.payment_succeeded", part))) is None
    assert net_amount(invoice(), "invoice.payment_succeeded") == 10_000


# Which


@pytest.mark.parametrize(
    ("event_type", "value", "key"),
    [
        ("checkout.session.completed", session(), "pi_1"),
        ("checkout.session.completed", session(payment_intent={"id": "pi_1"}), "pi_1"),
        ("checkout.session.completed", session(payment_intent=None), "cs_1"),
        ("invoice.paid", old_invoice(), "in_1"),
        ("invoice.paid", old_invoice(id=None), "pi_1"),
    ],
)
def test_a_sale_has_one_key(event_type: str, value: dict[str, Any], key: str) -> None:
    paid = payment(*facts(as_read(event_type, value)))
    assert paid is not None
    assert paid.key == key


@pytest.mark.parametrize(
    ("event_type", "value"),
    [("checkout.session.completed", session(id=None, payment_intent=None)), ("invoice.paid", invoice(id=7))],
)
def test_money_without_any_id_is_unreadable(event_type: str, value: dict[str, Any]) -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read(event_type, value))


def expanded(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Every id in an id's place as the object it names."""
    id_places = {"customer", "subscription", "invoice", "payment_intent", "charge"}
    if isinstance(value, list):
        return [expanded(element) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {"id": inner} if name in id_places and isinstance(inner, str) else expanded(inner)
        for name, inner in value.items()
    }


INVOICE_PAYMENT = {"invoice": "in_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}


@pytest.mark.parametrize(
    ("event_type", "value"),
    [
        ("checkout.session.completed", session()),
        ("checkout.session.completed", session(mode="subscription", subscription="sub_1", invoice="in_1")),
        ("invoice.paid", invoice(payments={"data": [INVOICE_PAYMENT]})),
        ("invoice.paid", old_invoice()),
        ("invoice_payment.paid", INVOICE_PAYMENT),
    ],
)
def test_expanded_objects_are_ids(event_type: str, value: dict[str, Any]) -> None:
    assert expanded(value) != value
    assert facts(as_read(event_type, expanded(value))) == facts(as_read(event_type, value)) != ()


# How much


@pytest.mark.parametrize(
    ("fields", "net"),
    [
        pytest.param({"total_excluding_tax": None}, 10_000, id="the tax is listed only"),
        pytest.param({"total_excluding_tax": None, "total_taxes": None}, 11_900, id="no tax"),
        pytest.param({"total_excluding_tax": None, "total_taxes": None, "tax": 1_900}, 10_000, id="before 2022"),
        pytest.param(
            {"total_excluding_tax": None, "total_taxes": None, "total_tax_amounts": [{"amount": 1_900}]},
            10_000,
            id="before basil, the tax is listed only",
        ),
        pytest.param({"amount_paid": 5_950}, 5_000, id="half of it covered by credit"),
        pytest.param({"amount_paid": 1}, 1, id="all but a cent covered by credit"),
        pytest.param({"amount_paid": 3}, 3, id="0.479 tax is no tax"),
        pytest.param({"amount_paid": 4}, 3, id="0.639 tax is one"),
        pytest.param({"amount_paid": 23_800}, 20_000, id="overpaid"),
        pytest.param({"amount_paid_off_stripe": 5_950}, 5_000, id="half of it paid outside Stripe"),
        pytest.param({"amount_paid_off_stripe": None, "paid_out_of_band": None}, 10_000, id="all of it through Stripe"),
        pytest.param({"total": None, "total_excluding_tax": 10_000}, 10_000, id="no total"),
        pytest.param({"total": 0, "total_excluding_tax": 0}, 11_900, id="paid without a total"),
        pytest.param({"total_excluding_tax": 20_000}, 11_900, id="a tax below zero"),
        pytest.param({"currency": "jpy", "amount_paid": 500, "total": 500, "total_excluding_tax": 455}, 455, id="yen"),
    ],
)
def test_the_net_amount_of_an_invoice(fields: dict[str, Any], net: int) -> None:
    assert net_amount(invoice(**fields)) == net


@pytest.mark.parametrize(
    ("fields", "net"),
    [
        ({}, 10_000),
        ({"total_details": None}, 11_900),
        ({"total_details": {"amount_tax": None, "amount_shipping": 500}}, 11_900),
        ({"currency_conversion": {"source_currency": "usd", "amount_total": 1, "fx_rate": "2"}}, 10_000),
    ],
)
def test_the_net_amount_of_a_session(fields: dict[str, Any], net: int) -> None:
    assert net_amount(session(**fields), "checkout.session.completed") == net


@pytest.mark.parametrize(
    ("currency", "read"),
    [("eur", "eur"), ("EUR", "eur"), ("xyz", "xyz"), (None, None), ("", None), ("euro", None), ("€", None), (7, None)],
)
def test_a_currency_may_be_unknown(currency: object, read: str | None) -> None:
    paid = payment(*facts(as_read("invoice.paid", invoice(currency=currency))))
    assert paid is not None
    assert paid.currency == read


UNREADABLE_AMOUNTS = ["11900", 119.0, True, [], {}, 2**63, -(2**63)]


@pytest.mark.parametrize("amount", UNREADABLE_AMOUNTS)
@pytest.mark.parametrize("name", ["amount_paid", "total", "total_excluding_tax", "amount_paid_off_stripe"])
def test_money_of_an_invoice_is_never_guessed(name: str, amount: object) -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read("invoice.paid", invoice(**{name: amount})))


@pytest.mark.parametrize("amount", UNREADABLE_AMOUNTS)
@pytest.mark.parametrize("place", ["total_taxes", "total_tax_amounts"])
def test_tax_is_never_guessed(place: str, amount: object) -> None:
    with pytest.raises(EventUnreadable):
        facts(
            as_read("invoice.paid", invoice(total_excluding_tax=None, total_taxes=None) | {place: [{"amount": amount}]})
        )


@pytest.mark.parametrize("amount", UNREADABLE_AMOUNTS)
def test_money_of_a_session_is_never_guessed(amount: object) -> None:
    for fields in ({"amount_total": amount}, {"total_details": {"amount_tax": amount}}):
        with pytest.raises(EventUnreadable):
            facts(as_read("checkout.session.completed", session(**fields)))


@pytest.mark.parametrize(
    ("event_type", "value"),
    [("invoice.paid", invoice(amount_paid=None)), ("checkout.session.completed", session(amount_total=None))],
)
def test_a_paid_amount_must_be_there(event_type: str, value: dict[str, Any]) -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read(event_type, value))


# When


@pytest.mark.parametrize(
    ("fields", "paid_at"),
    [
        ({}, PAID),
        ({"status_transitions": {"paid_at": None}}, CREATED),
        ({"status_transitions": None}, CREATED),
        ({"status_transitions": None, "created": None}, SENT),
    ],
)
def test_a_payment_is_dated_by_stripe(fields: dict[str, Any], paid_at: int) -> None:
    paid = payment(*facts(as_read("invoice.paid", invoice(**fields))))
    assert paid is not None
    assert paid.paid_at == at(paid_at)


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        pytest.param([line(RENEWED)], RENEWED, id="a renewal"),
        pytest.param([line(RENEWED - 9), line(RENEWED)], RENEWED, id="usage of the last period beside the new fee"),
        pytest.param([line(RENEWED), line(RENEWED + 9, proration=True)], RENEWED, id="a proration"),
        pytest.param([line(RENEWED + 9, proration=True)], None, id="nothing but prorations"),
        pytest.param([line(RENEWED), invoice_item(RENEWED + 9)], RENEWED, id="an extra item"),
        pytest.param([invoice_item(RENEWED)], None, id="nothing but items"),
        pytest.param([old_line(RENEWED)], RENEWED, id="a renewal, before basil"),
        pytest.param(
            [
                old_line(RENEWED),
                old_line(RENEWED + 9, proration=True),
                old_line(RENEWED + 9, "invoiceitem", proration=True),
                old_line(RENEWED + 9, "invoiceitem"),
            ],
            RENEWED,
            id="prorations and items, before basil",
        ),
        pytest.param([{"period": {"start": RENEWED}}], RENEWED, id="a line that does not say what it is"),
        pytest.param([line(None), {"period": "monthly"}, {}, "line", None], None, id="no start"),
        pytest.param([], None, id="no line"),
        pytest.param(None, None, id="no lines"),
        pytest.param("lines", None, id="no list"),
    ],
)
def test_the_period_starts_with_the_subscriptions_own_line(lines: object, start: int | None) -> None:
    paid = payment(*facts(as_read("invoice.paid", invoice(lines={"data": lines}))))
    assert paid is not None
    assert paid.period_start == (None if start is None else at(start))


@pytest.mark.parametrize(
    ("lines", "is_proration"),
    [
        pytest.param([line(RENEWED, proration=True)] * 2, True, id="time unused and time remaining"),
        pytest.param([invoice_item(RENEWED, proration=True)], True, id="billed as items of their own"),
        pytest.param([line(RENEWED, proration=True), line(RENEWED)], False, id="beside the new period"),
        pytest.param([line(RENEWED, proration=True), invoice_item(RENEWED)], False, id="beside an extra item"),
        pytest.param([old_line(RENEWED, kind, proration=True) for kind in ("invoiceitem", "subscription")], True,
                     id="before basil"),
        pytest.param([old_line(RENEWED, proration=True), old_line(RENEWED)], False, id="before basil, and a renewal"),
        pytest.param([line(RENEWED)], False, id="a renewal"),
        pytest.param([{"period": {"start": RENEWED}}], False, id="a line that does not say what it is"),
        pytest.param([], False, id="no line"),
        pytest.param(None, False, id="no lines"),
    ],
)  # fmt: skip
def test_an_invoice_of_prorations_alone_is_told_as_one(lines: object, *, is_proration: bool) -> None:
    paid = payment(*facts(as_read("invoice.paid", invoice(lines={"data": lines}))))
    assert paid is not None
    assert paid.is_proration == is_proration


def test_an_invoice_with_more_lines_than_are_shown_is_not_told_as_prorations_alone() -> None:
    lines = {"data": [line(RENEWED, proration=True)] * 10, "has_more": True}
    paid = payment(*facts(as_read("invoice.paid", invoice(lines=lines))))
    assert paid is not None
    assert not paid.is_proration


@pytest.mark.parametrize("seconds", ["1700000000", 1.7e9, True, -1, 253_402_300_800, 10**30, [], {}])
def test_a_time_is_never_guessed(seconds: object) -> None:
    for event_type, value in (
        ("checkout.session.completed", session(created=seconds)),
        ("invoice.paid", invoice(created=seconds)),
        ("invoice.paid", invoice(status_transitions={"paid_at": seconds})),
        ("invoice.paid", invoice(lines={"data": [line(seconds)]})),
    ):
        with pytest.raises(EventUnreadable):
            facts(as_read(event_type, value))


def test_a_fact_without_any_time_is_unreadable() -> None:
    with pytest.raises(EventUnreadable):
        facts(as_read("checkout.session.completed", session(created=None), sent_at=None))


# Whatever comes


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, 0.5, "", "x", "cus_2", [], ["x"], [[]], [{}], {}, {"id": 7}, {"data": 7}]
)
HANDLED = st.sampled_from(
    [
        ("checkout.session.completed", session()),
        ("checkout.session.async_payment_succeeded", session(total_details=None)),
        ("invoice.paid", invoice(payments={"data": [INVOICE_PAYMENT]})),
        ("invoice.payment_succeeded", old_invoice()),
        ("invoice_payment.paid", INVOICE_PAYMENT),
    ]
)


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        found = facts(as_read(event_type, data.draw(spoiled(value, ODD))))
    except EventUnreadable:
        return
    for fact in found:
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, PaymentSucceeded):
            assert type(fact.net_amount) is int
            assert 0 < fact.net_amount < 2**63


AMOUNTS = st.integers(-(2**63), 2**63 - 1)


@given(paid=AMOUNTS, total=AMOUNTS, tax=AMOUNTS)
def test_a_net_amount_is_never_below_zero_nor_above_what_was_paid(paid: int, total: int, tax: int) -> None:
    net = net_of_tax(paid, total, tax)
    assert type(net) is int
    assert 0 <= net <= max(paid, 0)


@given(data=st.data(), total=st.integers(1, 10**12))
def test_the_share_of_the_tax_is_rounded_half_up(data: st.DataObject, total: int) -> None:
    tax = data.draw(st.integers(0, total))
    paid = data.draw(st.integers(0, total))
    share = paid - net_of_tax(paid, total, tax)
    assert -total <= 2 * (paid * tax - share * total) < total
    assert net_of_tax(total, total, tax) == total - tax
