"""What Whop's events say, in every shape that is still being sent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from goodword.core.fields import Email, Text, Url
from goodword.facts.kinds import EmailSeen, Fact, IdentityLinked, PaymentSucceeded, ProfileSeen
from goodword.payments.bodies import EventUnreadable
from goodword.payments.whop.events import WhopEvent, facts
from tests.support import whop_objects
from tests.support.odd import spoiled
from tests.support.whop_objects import iso, money

CREATED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
PAID = CREATED + timedelta(seconds=3)
RENEWED = CREATED - timedelta(hours=1)
SENT = CREATED + timedelta(minutes=1)
NAMED = {"goodword_user": "cleo"}


def event(value: dict[str, Any], event_type: str = "payment.succeeded", sent_at: datetime | None = SENT) -> WhopEvent:
    return whop_objects.as_read(event_type, value, sent_at)


def nested(**fields: object) -> dict[str, Any]:
    """29.99 with 2.00 tax in the shape of v1 without a date, with money as text."""
    return whop_objects.payment(
        total="29.99", subtotal="27.99", usd_total="29.99", tax_amount="2.0", amount_after_fees="27.1",
        user={"id": "user_1", "name": "Cleo C.", "username": "cleo", "email": "cleo@example.net"},
        member={"id": "mber_1", "phone": None}, company={"id": "biz_1", "title": "Shop", "route": "shop"},
        checkout_configuration_id="ch_1", metadata=NAMED, created_at=CREATED, paid_at=PAID,
    ) | fields  # fmt: skip


def dated(**fields: object) -> dict[str, Any]:
    """The same payment in the native shape since 2026-09-02-1."""
    return whop_objects.dated_payment(
        total=money("29.99"), subtotal=money("27.99"), presentment_total=money("26.50", "eur"),
        tax_amount=money("2.00"), tax_behavior="exclusive", customer_email="cleo@example.net",
        user={
            "id": "user_1", "name": "Cleo C.", "username": "cleo", "profile_picture": {"url": "https://a.b/c.png"}
        },
        checkout_configuration_id="ch_1", metadata=NAMED, created_at=CREATED, paid_at=PAID,
    ) | fields  # fmt: skip


def flat(**fields: object) -> dict[str, Any]:
    """27.99 in the shape of v5, which shows no tax."""
    amount = Decimal("27.99")
    return whop_objects.v5_payment(
        subtotal=amount, final_amount=amount, user_email="cleo@example.net", user_username="cleo",
        membership_metadata=NAMED, created_at=CREATED, paid_at=PAID,
    ) | fields  # fmt: skip


SHAPES = {"v1": nested, "dated v1": dated, "v5": flat}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def payment(*found: Fact) -> PaymentSucceeded | None:
    return next((fact for fact in found if isinstance(fact, PaymentSucceeded)), None)


def linked(*found: Fact) -> IdentityLinked | None:
    return next((fact for fact in found if isinstance(fact, IdentityLinked)), None)


def profile(*found: Fact) -> ProfileSeen | None:
    return next((fact for fact in found if isinstance(fact, ProfileSeen)), None)


def net(value: dict[str, Any]) -> tuple[int, str | None] | None:
    paid = payment(*facts(event(value)))
    return paid and (paid.net_amount, paid.currency)


# The whole of it


WITH_MEMBER = ("user_1", "mem_1", "mber_1", "pay_1")


@pytest.mark.parametrize(
    ("value", "objects", "avatar_url", "gross_amount", "other"),
    [
        pytest.param(nested(), WITH_MEMBER, None, 2_999, (None, None), id="v1"),
        pytest.param(
            nested(total=Decimal("29.99"), tax_amount=2), WITH_MEMBER, None, 2_999, (None, None),
            id="v1, money as numbers",
        ),
        pytest.param(
            nested(settlement_amount=Decimal("26.5"), settlement_currency="eur", settlement_exchange_rate=0.88),
            WITH_MEMBER, None, 2_999, (2_650, "eur"), id="v1, settled in another currency",
        ),
        pytest.param(dated(), WITH_MEMBER, "https://a.b/c.png", 2_999, (2_650, "eur"), id="dated v1"),
        pytest.param(flat(), ("user_1", "mem_1", "pay_1"), None, 2_799, (None, None), id="v5"),
    ],
)  # fmt: skip
def test_a_payment_says_the_same_in_every_shape(
    value: dict[str, Any], objects: tuple[str, ...], avatar_url: str | None, gross_amount: int,
    other: tuple[int | None, str | None],
) -> None:  # fmt: skip
    assert facts(event(value)) == (
        IdentityLinked(objects, external_id="cleo", click_id=None, code=None, at=CREATED),
        EmailSeen(objects, "cleo@example.net"),
        ProfileSeen(objects, "user_1", username="cleo", email="cleo@example.net", avatar_url=avatar_url),
        PaymentSucceeded(
            key="pay_1",
            objects=objects,
            external_id="cleo",
            click_id=None,
            code=None,
            currency="usd",
            gross_amount=gross_amount,
            net_amount=2_799,
            paid_at=PAID,
            period_start=None,
            other_amount=other[0],
            other_currency=other[1],
        ),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"presentment_total": money("29.99")},
        {"presentment_total": "29.99"},
        {"presentment_total": money("0.00", "eur")},
        {"presentment_total": None},
        {"settlement_amount": "29.99", "settlement_currency": "usd"},
        {"settlement_amount": "26.50"},
        {"settlement_amount": None, "settlement_currency": "eur"},
    ],
)
def test_most_sales_have_one_currency(fields: dict[str, Any]) -> None:
    paid = payment(*facts(event(nested(**fields))))
    assert paid is not None
    assert (paid.other_amount, paid.other_currency) == (None, None)


@pytest.mark.parametrize(
    "event_type",
    ["payment.created", "payment.failed", "payment.pending", "dispute_alert.created", "invoice.paid",
     "membership.experience_claimed", "app_payment.succeeded", "app_membership.went_valid", "something.new"],
)  # fmt: skip
@pytest.mark.parametrize("value", [nested(), dated(), {}])
def test_other_events_say_nothing_here(event_type: str, value: dict[str, Any]) -> None:
    assert facts(event(value, event_type)) == ()


def test_an_event_about_nothing_says_nothing() -> None:
    assert facts(event({}, sent_at=None)) == ()


# Who


@each_shape
@pytest.mark.parametrize(
    ("metadata", "person"),
    [
        ({"goodword_user": "cleo"}, ("cleo", None, None)),
        ({"goodword_user": "a" * 129}, (None, None, None)),
        ({"goodword_user": "not an id", "goodword_click": "clk_1"}, (None, "clk_1", None)),
        ({"goodword_user": "cleo", "goodword_click": "clk_1", "goodword_code": "ADA"}, ("cleo", "clk_1", "ADA")),
        ({"order": "7"}, (None, None, None)),
        (None, (None, None, None)),
        ("cleo", (None, None, None)),
    ],
)
def test_the_checkouts_metadata_names_the_person(shape: Any, metadata: object, person: tuple[str | None, ...]) -> None:  # noqa: ANN401 - a function with keywords
    found = facts(event(shape(metadata=metadata, membership_metadata=None)))
    for fact in (linked(*found), payment(*found)):
        assert fact is not None
        assert (fact.external_id, fact.click_id, fact.code) == person


def test_metadata_may_stand_on_the_membership() -> None:
    value = nested(metadata={}, membership={"id": "mem_1", "metadata": {"goodword_user": "cleo"}})
    fact = linked(*facts(event(value)))
    assert fact is not None
    assert fact.external_id == "cleo"


@pytest.mark.parametrize(
    ("metadata", "promo_code", "code"),
    [
        ({}, {"id": "promo_1", "code": "ADA10"}, "ADA10"),
        ({"goodword_code": "BEN"}, {"id": "promo_1", "code": "ADA10"}, "BEN"),
        ({}, {"id": "promo_1", "code": None}, None),
        ({}, {"id": "promo_1", "code": "two words"}, None),
        ({}, "promo_1", None),
        ({}, None, None),
    ],
)
def test_a_promotion_code_stands_in_for_a_referral_code(metadata: object, promo_code: object, code: str | None) -> None:
    fact = payment(*facts(event(nested(metadata=metadata, promo_code=promo_code))))
    assert fact is not None
    assert fact.code == code


def test_what_many_people_share_links_nobody() -> None:
    shared = {"biz_1", "plan_1", "prod_1", "promo_1", "ch_1", "4t9y"}
    values = (nested(promo_code={"id": "promo_1"}), dated(promo_code_id="promo_1"), flat())
    for value in values:
        for fact in facts(event(value)):
            assert not shared & set(fact.objects)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({}, ("cleo", "cleo@example.net", None)),
        ({"user": {"id": "user_1"}}, (None, None, None)),
        ({"user": "user_1"}, (None, None, None)),
        ({"user": None, "user_id": "user_1"}, (None, None, None)),
        ({"user": {"id": "user_1", "profile_pic_url": "https://a.b/c"}}, (None, None, "https://a.b/c")),
        ({"user": {"id": "user_1", "profile_picture": {"url": "javascript:x"}}}, (None, None, None)),
        ({"user": {"id": "user_1", "username": "u" * 201, "email": "nobody"}}, (None, None, None)),
        ({"user": {"id": "user_1", "username": 7, "email": []}}, (None, None, None)),
        ({"user": {"id": "user_1", "email": "nobody"}, "customer_email": "c@d.e"}, (None, "c@d.e", None)),
    ],
)
def test_a_profile_is_what_an_app_might_have_told(fields: dict[str, Any], seen: tuple[str | None, ...]) -> None:
    fact = profile(*facts(event(nested(**fields))))
    assert fact is not None
    assert (fact.whop_user_id, fact.username, fact.email, fact.avatar_url) == ("user_1", *seen)
    shown = [(each.objects, each.email) for each in facts(event(nested(**fields))) if isinstance(each, EmailSeen)]
    assert shown == ([(fact.objects, fact.email)] if fact.email else [])


@pytest.mark.parametrize("user", [None, {}, {"username": "cleo"}, {"id": None}, {"id": 7}, [], "two words"])
def test_without_a_user_there_is_no_profile(user: object) -> None:
    found = facts(event(nested(user=user)))
    assert [type(fact) for fact in found] == [IdentityLinked, PaymentSucceeded]


# Which


@each_shape
@pytest.mark.parametrize("key", [None, 7, "", "two words", []])
def test_money_without_an_id_is_unreadable(shape: Any, key: object) -> None:  # noqa: ANN401 - as above
    with pytest.raises(EventUnreadable):
        facts(event(shape(id=key)))


# How much


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, (2_799, "usd"), id="tax on top"),
        pytest.param({"tax_behavior": "inclusive"}, (2_799, "usd"), id="tax inside: in the total all the same"),
        pytest.param({"tax_amount": None}, (2_999, "usd"), id="no tax"),
        pytest.param({"tax_amount": "-2.00"}, (2_999, "usd"), id="a tax below zero"),
        pytest.param({"total": 30, "tax_amount": 0}, (3_000, "usd"), id="a whole number"),
        pytest.param({"total": Decimal("6.9"), "tax_amount": None}, (690, "usd"), id="one digit"),
        pytest.param({"total": Decimal("0.1"), "tax_amount": None}, (10, "usd"), id="what no float holds"),
        pytest.param({"total": Decimal("1.005"), "tax_amount": None}, (101, "usd"), id="half a cent goes up"),
        pytest.param({"total": "1.0049999999999999", "tax_amount": None}, (100, "usd"), id="less than half goes down"),
        pytest.param({"total": "0.001", "tax_amount": None}, (1, "usd"), id="never down to nothing"),
        pytest.param({"currency": "USD"}, (2_799, "usd"), id="capitals"),
        pytest.param({"currency": "jpy", "total": "3000.0", "tax_amount": "273"}, (2_727, "jpy"), id="yen"),
        pytest.param({"currency": "kwd", "total": "9.5", "tax_amount": None}, (9_500, "kwd"), id="dinars"),
        pytest.param({"currency": "whop_usd"}, (2_799, "whop_usd"), id="Whop's own"),
        pytest.param({"currency": "eth", "total": "0.012", "tax_amount": None}, (1, "eth"), id="crypto"),
        pytest.param({"total": money("29.99", "eur"), "tax_amount": money("2", "eur")}, (2_799, "eur"), id="its own"),
        pytest.param({"currency": None, "total": money("29.99", "eur"), "tax_amount": None}, (2_999, "eur"), id="only"),
        pytest.param({"total": {"amount": "29.99"}, "tax_amount": None}, (2_999, "usd"), id="an amount without one"),
        pytest.param({"total": money("9"), "tax_amount": money("0", "eur")}, (900, "usd"), id="no tax in another"),
        pytest.param({"total": None, "final_amount": "5", "tax_amount": None}, (500, "usd"), id="by its older name"),
        pytest.param({"status": "open", "substatus": "refunded"}, (2_799, "usd"), id="whatever became of it since"),
        pytest.param({"total": str(2**63 - 1), "currency": "jpy", "tax_amount": None}, (2**63 - 1, "jpy"), id="most"),
        pytest.param({"total": "0.0", "tax_amount": None, "currency": None}, None, id="a free purchase"),
        pytest.param({"total": "0.0", "tax_amount": None}, None, id="nothing to pay"),
        pytest.param({"total": None, "tax_amount": None, "currency": None}, None, id="no money at all"),
        pytest.param({"currency": None}, None, id="nothing in any currency"),
        pytest.param({"total": "-5.00"}, None, id="less than nothing"),
        pytest.param({"total": "2.00"}, None, id="nothing but tax"),
        pytest.param({"total": "1.00"}, None, id="less than its tax"),
    ],
)
def test_the_net_amount(fields: dict[str, Any], expected: tuple[int, str] | None) -> None:
    assert net(nested(**fields)) == expected


def test_a_free_purchase_still_tells_who() -> None:
    found = facts(event(nested(currency=None, total="0.0", tax_amount=None)))
    assert [type(fact) for fact in found] == [IdentityLinked, EmailSeen, ProfileSeen]


UNREADABLE_AMOUNTS = [
    "free", "", " 5", "5 ", "1,000.00", "1e3", "0x10", "NaN", "Infinity", "\N{ARABIC-INDIC DIGIT FIVE}", "9" * 21,
    True, [], {}, {"amount": None}, {"amount": []}, {"amount": {"amount": "5"}}, 2**63, 10**4000, -(2**64),
    Decimal("1e300"), Decimal("1e-300"), Decimal("1e-999999"), Decimal("1." + "3" * 30), Decimal("1e19"),
]  # fmt: skip


@pytest.mark.parametrize("amount", UNREADABLE_AMOUNTS, ids=lambda amount: repr(amount)[:40])
@pytest.mark.parametrize("name", ["total", "tax_amount"])
def test_money_is_never_guessed(name: str, amount: object) -> None:
    with pytest.raises(EventUnreadable):
        facts(event(nested(**{name: amount})))


@pytest.mark.parametrize(
    "fields",
    [
        {"total": None},
        {"tax_amount": money("2.00", "eur")},
        {"total": str(2**63 - 1), "currency": "usd"},
        {"currency": "€"},
        {"currency": ""},
        {"currency": 7},
        {"total": money("29.99", "€")},
    ],
)
def test_neither_a_total_nor_a_currency_is_guessed(fields: dict[str, Any]) -> None:
    with pytest.raises(EventUnreadable):
        facts(event(nested(**fields)))


CENTS = st.integers(0, 10**12)


@given(total=CENTS, tax=CENTS)
@example(total=1, tax=0)
def test_the_net_amount_is_the_difference_to_the_cent(total: int, tax: int) -> None:
    written = [Decimal(cents).scaleb(-2) for cents in (total, tax)]
    expected = (total - tax, "usd") if total > tax else None
    assert net(nested(total=written[0], tax_amount=written[1])) == expected
    assert net(nested(total=f"{written[0]:f}", tax_amount=f"{written[1]:f}")) == expected
    assert net(dated(total=money(f"{written[0]:.2f}"), tax_amount=money(f"{written[1]:.2f}"))) == expected
    assert net(flat(final_amount=written[0])) == ((total, "usd") if total else None)


# When


@pytest.mark.parametrize(
    ("fields", "paid_at"),
    [
        ({}, PAID),
        ({"paid_at": None}, CREATED),
        ({"paid_at": None, "created_at": None}, SENT),
        ({"paid_at": "2026-01-01T13:00:00+01:00"}, CREATED),
        ({"paid_at": "2026-01-01T12:00:00Z"}, CREATED),
        ({"paid_at": "2026-01-01T12:00:00.000000000Z"}, CREATED),
        ({"paid_at": int(CREATED.timestamp())}, CREATED),
        ({"paid_at": 0}, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_payment_is_dated_by_whop(fields: dict[str, Any], paid_at: datetime) -> None:
    paid = payment(*facts(event(nested(**fields))))
    assert paid is not None
    assert paid.paid_at == paid_at
    assert paid.paid_at.tzinfo is UTC


@pytest.mark.parametrize(
    "fields",
    [
        {"membership": {"id": "mem_1", "renewal_period_start": iso(RENEWED)}},
        {"membership": {"id": "mem_1", "current_period_start": iso(RENEWED)}},
        {"renewal_period_start": int(RENEWED.timestamp())},
        {"current_period_start": iso(RENEWED)},
        {"membership": {"renewal_period_start": iso(RENEWED)}, "renewal_period_start": iso(SENT)},
    ],
)
def test_the_period_starts_with_the_renewal(fields: dict[str, Any]) -> None:
    paid = payment(*facts(event(nested(**fields))))
    assert paid is not None
    assert paid.period_start == RENEWED


@pytest.mark.parametrize(
    "time",
    ["1700000000", "2026-01-01", "2026-01-01T12:00:00", "2026-13-01T12:00:00Z", "0001-01-01T00:00:00+23:59",
     "9999-12-31T23:59:59-23:59", "now", "", True, -1, 253_402_300_800, 10**30, Decimal("1.5"), [], {}],
    ids=repr,
)  # fmt: skip
def test_a_time_is_never_guessed(time: object) -> None:
    for fields in ({"paid_at": time}, {"created_at": time}, {"renewal_period_start": time}):
        with pytest.raises(EventUnreadable):
            facts(event(nested(**fields)))


def test_a_fact_without_any_time_is_unreadable() -> None:
    with pytest.raises(EventUnreadable):
        facts(event(nested(paid_at=None, created_at=None), sent_at=None))


# Whatever comes


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, Decimal("0.5"), Decimal("1e300"), "", "x", "usd", "user_2", [], ["x"], [[]], [{}],
     {}, {"id": 7}, {"amount": 7}, {"amount": "1", "currency": []}]
)  # fmt: skip
HANDLED = st.sampled_from(
    [
        ("payment.succeeded", nested(promo_code={"id": "promo_1", "code": "ADA"})),
        ("payment.succeeded", dated()),
        ("payment.succeeded", flat()),
    ]
)
FITS = {"username": TypeAdapter[str](Text), "email": TypeAdapter[str](Email), "avatar_url": TypeAdapter[str](Url)}


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        found = facts(event(data.draw(spoiled(value, ODD)), event_type))
    except EventUnreadable:
        return
    for fact in found:
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, PaymentSucceeded):
            assert type(fact.net_amount) is int
            assert 0 < fact.net_amount < 2**63
        if isinstance(fact, ProfileSeen):
            assert fact.whop_user_id in fact.objects
            for name, kind in FITS.items():
                seen = getattr(fact, name)
                assert seen is None or kind.validate_python(seen) == seen
