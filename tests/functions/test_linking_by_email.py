"""A payment finds its person by a verified e-mail, for as long as nothing stronger says whose it is.

docs/rules.md, Whose a payment is. Ada brings Ben, and Dan brings Cleo; whose payment it is shows in what Ada and Dan
have.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from local.client import Answer
from tests.support import books, rows, stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

EMAIL = "ben@app.example"
AS_TYPED = "  Ben@APP.example "
APPLIED = {"received": True, "duplicate": False, "outcome": "applied"}
PARKED = APPLIED | {"outcome": "parked"}
REFERRED, PAID = 5, 5 + 25
"""What a referrer has of a referral before and after its first payment."""

Pay = Callable[..., Answer]
numbers = itertools.count()


def metadata(user: str | None, code: str | None) -> dict[str, str]:
    return {key: value for key, value in (("goodword_user", user), ("goodword_code", code)) if value}


def stripe_event(event_type: str, value: dict[str, Any], event_id: str | None = None) -> dict[str, Any]:
    return stripe_objects.event(event_type, value, id=event_id or f"evt_{next(numbers)}")


def invoice(
    number: object, payer: str = "1", *, email: str | None = EMAIL, user: str | None = None, code: str | None = None
) -> dict[str, Any]:
    of_payer: dict[str, Any] = {"customer": f"cus_{payer}", "subscription": f"sub_{payer}", "customer_email": email}
    return invoice_paid(
        f"evt_invoice_{next(numbers)}", f"in_{number}", named=metadata(user, code), **of_payer
    )  # fmt: skip


def session(user: str | None, payer: str = "1", *, email: str | None = None, **fields: object) -> dict[str, Any]:
    """A Checkout session of a subscription, whose money the invoice is."""
    value = stripe_objects.subscribing(
        id=f"cs_{payer}", client_reference_id=user, customer=f"cus_{payer}", subscription=f"sub_{payer}",
        customer_details={"email": email},
    )  # fmt: skip
    return stripe_event("checkout.session.completed", value | fields)


def stripe(company: Company, number: object = 1, payer: str = "1", **fields: Any) -> Answer:  # noqa: ANN401
    return company.deliver(invoice(number, payer, **fields))


def whop(
    company: Company, number: object = 1, payer: str = "1", *, email: str | None = EMAIL, user: str | None = None,
    code: str | None = None,
) -> Answer:  # fmt: skip
    buyer = {"id": f"user_{payer}", "username": "whoever", "email": email}
    event = whop_payment(f"msg_{next(numbers)}", f"pay_{number}", buyer=buyer, metadata=metadata(user, code))
    return company.deliver_whop(event)


providers = pytest.mark.parametrize("pay", [stripe, whop])
orders = pytest.mark.parametrize("signs_up_first", [False, True], ids=["payment_first", "signup_first"])


def in_every_order(*deeds: str) -> pytest.MarkDecorator:
    return in_orders(*itertools.permutations(deeds))


def in_orders(*orders: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("order", orders, ids="-".join)


def enter(company: Company, person: str, code: str | None = None, *, email: str | None = EMAIL, **user: object) -> Any:  # noqa: ANN401
    """A signup, by default with a verified e-mail."""
    named = {"external_id": person, "email": email, "email_verified": email is not None, **user}
    return company.ok("POST", "/v1/signups", {"user": named, "referral_code": code} if code else {"user": named})


@dataclass
class Street:
    """Ada and Dan, who have signed up and bring Ben and Cleo."""

    company: Company
    superuser: psycopg.Connection

    def __post_init__(self) -> None:
        self.codes = {each: self.company.sign_up(each)["user"]["referral_code"] for each in ("ada", "dan")}

    def ben(self, **user: Any) -> Any:  # noqa: ANN401
        return enter(self.company, "ben", self.codes["ada"], **user)

    def cleo(self, **user: Any) -> Any:  # noqa: ANN401
        return enter(self.company, "cleo", self.codes["dan"], **({"email": "cleo@app.example"} | user))

    @property
    def earned(self) -> tuple[int, int]:
        """What Ada has, whose Ben is, and Dan, whose Cleo is; the books must be right."""
        assert books.faults(self.superuser, self.company.id) == []
        return self.company.balance("ada"), self.company.balance("dan")

    @property
    def owners(self) -> list[tuple[str | None, str | None]]:
        """Of each payment, whose it is and by what."""
        statement = """
            SELECT u.external_id, p.claimed_by FROM payments p
            LEFT JOIN users u ON u.company_id = p.company_id AND u.id = p.user_id
            WHERE p.company_id = %(id)s ORDER BY p.payment_key
        """
        return [tuple(row.values()) for row in rows.find(self.superuser, statement, id=self.company.id)]

    def subscriber(self) -> str | None:
        statement = """
            SELECT u.external_id FROM subscriptions s
            LEFT JOIN users u ON u.company_id = s.company_id AND u.id = s.user_id WHERE s.company_id = %(id)s
        """
        return rows.find_one(self.superuser, statement, id=self.company.id)["external_id"]

    def stage(self, referrer: str) -> str:
        (referral,) = self.company.ok("GET", f"/v1/users/{referrer}/referrals")["data"]
        return referral["stage"]


@pytest.fixture
def street(company: Company, superuser: psycopg.Connection) -> Street:
    return Street(company, superuser)


# Whose it is


@providers
@orders
def test_a_verified_e_mail_says_whose_a_payment_is(street: Street, pay: Pay, *, signs_up_first: bool) -> None:
    if signs_up_first:
        street.ben(email="bEn@app.Example")
        assert pay(street.company, email=AS_TYPED).json == APPLIED
    else:
        assert pay(street.company, email=AS_TYPED).json == PARKED
        answer = street.ben(email="bEn@app.Example")
        assert answer["referral"]["stage"] == "qualified"
    assert street.owners == [("ben", "email")]
    assert street.earned == (PAID, 0)


@pytest.mark.parametrize("folded", ["STRASSE@app.example", "straße@app.example"])
def test_e_mails_are_compared_as_for_self_referral(street: Street, folded: str) -> None:
    stripe(street.company, email=folded)
    street.ben(email="Straße@APP.example")
    assert street.owners == [("ben", "email")]


@providers
@orders
def test_an_e_mail_that_is_not_verified_says_nothing(street: Street, pay: Pay, *, signs_up_first: bool) -> None:
    if signs_up_first:
        street.ben(email_verified=False)
    assert pay(street.company).json == PARKED
    if not signs_up_first:
        street.ben(email_verified=False)
    assert street.owners == [(None, None)]
    assert street.earned == (REFERRED, 0)


def test_an_e_mail_that_a_provider_told_is_not_verified(street: Street) -> None:
    street.ben(email=None, email_verified=False, whop_user_id="user_ben")
    whop(street.company, payer="ben", email=EMAIL)
    user = street.company.ok("GET", "/v1/users/ben")
    assert (user["email"], user["email_verified"]) == (EMAIL, False)
    assert stripe(street.company).json == PARKED
    assert street.owners == [(None, None), ("ben", "key")]


def test_every_place_where_stripe_shows_an_e_mail_counts(street: Street) -> None:
    """Those of a sale without an invoice; `test_stripe_facts` has all of them."""
    street.ben()
    sale = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid", "customer": None,
        "payment_intent": "pi_1", "amount_total": 1900, "currency": "usd", "metadata": {},
    }  # fmt: skip
    assert street.company.deliver(stripe_event("checkout.session.completed", sale)).json == PARKED
    charge = {
        "id": "ch_1", "object": "charge", "payment_intent": "pi_1", "amount": 1900, "currency": "usd",
        "billing_details": {"email": EMAIL}, "metadata": {},
    }  # fmt: skip
    assert street.company.deliver(stripe_event("charge.succeeded", charge)).json == APPLIED
    assert street.owners == [("ben", "email")]
    assert street.earned == (PAID, 0)


def test_the_e_mail_of_a_customer_counts_for_whatever_they_pay(street: Street) -> None:
    street.ben()
    assert stripe(street.company, email=None).json == PARKED
    customer = {"id": "cus_1", "object": "customer", "email": EMAIL, "metadata": {}}
    assert street.company.deliver(stripe_event("customer.updated", customer)).json == APPLIED
    assert street.owners == [("ben", "email")]


@in_orders(
    ("ben", "charge", "invoice", "link"), ("link", "invoice", "charge", "ben"), ("charge", "link", "ben", "invoice"),
    ("invoice", "ben", "charge", "link"), ("invoice", "ben", "link", "charge"),
)  # fmt: skip
def test_the_e_mail_of_a_part_is_that_of_its_sale(street: Street, order: Sequence[str]) -> None:
    """Since basil only `invoice_payment.paid` says which charge paid which invoice."""
    charge = {
        "id": "ch_1", "object": "charge", "payment_intent": "pi_1", "amount": 1900, "currency": "usd",
        "receipt_email": EMAIL, "metadata": {},
    }  # fmt: skip
    link = {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "charge": lambda: street.company.deliver(stripe_event("charge.succeeded", charge)),
        "invoice": lambda: stripe(street.company, email=None),
        "link": lambda: street.company.deliver(stripe_event("invoice_payment.paid", link)),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [("ben", "email")]
    assert street.earned == (PAID, 0)


def test_a_payment_intent_that_names_who_sent_stands_in_for_what_an_e_mail_names(street: Street) -> None:
    enter(street.company, "ben")
    intent = {
        "id": "pi_1", "object": "payment_intent", "amount_received": 1900, "currency": "usd", "receipt_email": EMAIL,
        "metadata": {"goodword_code": street.codes["ada"]},
    }  # fmt: skip
    assert street.company.deliver(stripe_event("payment_intent.succeeded", intent)).json == APPLIED
    assert street.earned == (PAID, 0)
    nameless = intent | {"id": "pi_2", "metadata": {}}
    street.company.deliver(stripe_event("payment_intent.succeeded", nameless))
    assert street.owners == [("ben", "email")]


@providers
def test_another_telling_changes_nothing(street: Street, pay: Pay) -> None:
    street.ben()
    for _ in range(2):
        assert pay(street.company).json == APPLIED
    assert pay(street.company, email=None).json == APPLIED
    assert street.owners == [("ben", "email")]
    assert street.earned == (PAID, 0)
    event = invoice(7)
    assert street.company.deliver(event).json == APPLIED
    assert street.company.deliver(event).json == APPLIED | {"duplicate": True}


@providers
def test_what_shows_no_e_mail_follows_the_customer_who_was_seen_with_one(street: Street, pay: Pay) -> None:
    pay(street.company, 1)
    pay(street.company, 2, email=None)
    street.ben()
    pay(street.company, 3, email=None)
    assert street.owners == [("ben", "email")] * 3


# What is stronger


def by_session(company: Company) -> None:
    company.deliver(session("cleo"))


def by_metadata(company: Company) -> None:
    company.deliver(invoice(1, user="cleo"))


def by_customer(company: Company) -> None:
    value = {"id": "cus_1", "object": "customer", "metadata": {"goodword_user": "cleo"}}
    company.deliver(stripe_event("customer.updated", value))


def by_checkout_at_whop(company: Company) -> None:
    whop(company, user="cleo")


def by_membership_at_whop(company: Company) -> None:
    event = whop_payment(f"msg_{next(numbers)}", "pay_9", buyer={"id": "user_1"}, metadata={"goodword_user": "cleo"})
    event["type"] = "membership.activated"
    event["data"] = {
        "id": "mem_user_1",
        "status": "active",
        **{key: event["data"][key] for key in ("user", "metadata")},
    }
    event["data"]["created_at"] = event["timestamp"]
    company.deliver_whop(event)


STRONGER = {
    "client_reference_id": (stripe, by_session),
    "metadata": (stripe, by_metadata),
    "customer": (stripe, by_customer),
    "checkout": (whop, by_checkout_at_whop),
    "membership": (whop, by_membership_at_whop),
}
WAITING = {key: how for key, how in STRONGER.items() if key != "client_reference_id"}
"""What waits for the person it names."""
stronger = pytest.mark.parametrize(("pay", "name"), STRONGER.values(), ids=STRONGER)


@stronger
@in_orders(
    ("ben", "cleo", "pay", "name"), ("ben", "pay", "cleo", "name"), ("pay", "ben", "name", "cleo"),
    ("pay", "name", "ben", "cleo"), ("name", "cleo", "pay", "ben"), ("cleo", "name", "ben", "pay"),
)  # fmt: skip
def test_whatever_names_the_person_wins_before_or_after(
    street: Street, pay: Pay, name: Callable[[Company], None], order: Sequence[str]
) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "cleo": street.cleo,
        "pay": lambda: pay(street.company),
        "name": lambda: name(street.company),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [("cleo", "key")]
    assert street.earned == (REFERRED, PAID)
    assert (street.stage("ada"), street.stage("dan")) == ("registered", "qualified")


@pytest.mark.parametrize(
    ("pay", "theirs"), [(stripe, {"stripe_customer_id": "cus_1"}), (whop, {"whop_user_id": "user_1"})]
)
@in_every_order("ben", "cleo", "pay")
def test_the_customer_that_a_signup_names_wins(
    street: Street, pay: Pay, theirs: dict[str, str], order: Sequence[str]
) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "cleo": lambda: street.cleo(**theirs),
        "pay": lambda: pay(street.company),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [("cleo", "key")]
    assert street.earned == (REFERRED, PAID)


@pytest.mark.parametrize(("pay", "name"), WAITING.values(), ids=WAITING)
def test_who_is_named_need_not_be_known_to_win(street: Street, pay: Pay, name: Callable[[Company], None]) -> None:
    street.ben()
    pay(street.company)
    assert street.earned == (PAID, 0)
    name(street.company)
    assert street.owners == [(None, None)]
    assert street.earned == (REFERRED, 0)
    street.cleo()
    assert street.owners == [("cleo", "key")]
    assert street.earned == (REFERRED, PAID)


def test_a_stronger_key_that_names_the_same_person_changes_nothing_but_what_it_rests_on(street: Street) -> None:
    street.ben()
    stripe(street.company)
    street.company.deliver(session("ben"))
    assert street.owners == [("ben", "key")]
    assert street.earned == (PAID, 0)
    awards = rows.find(
        street.superuser, "SELECT reversed_points FROM awards WHERE company_id = %(id)s", id=street.company.id
    )
    assert {award["reversed_points"] for award in awards} == {0}


@providers
def test_an_e_mail_leaves_no_link_behind(street: Street, pay: Pay) -> None:
    street.ben()
    pay(street.company)
    assert rows.count(street.superuser, street.company.id)["identity_links"] == 0
    user = street.company.ok("GET", "/v1/users/ben")
    assert (user["stripe_customer_id"], user["whop_user_id"], user["username"]) == (None, None, None)


# Who is meant by it


@providers
@in_every_order("ben", "twin", "pay")
def test_of_two_users_with_the_e_mail_neither_is_meant(street: Street, pay: Pay, order: Sequence[str]) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "twin": lambda: street.cleo(email=EMAIL.upper()),
        "pay": lambda: pay(street.company),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [(None, None)]
    assert street.earned == (REFERRED, REFERRED)
    by = {"user": "ben"}
    assert pay(street.company, **by).json == APPLIED
    assert street.earned == (PAID, REFERRED)


@in_orders(
    ("ben", "cleo", "session", "invoice"), ("ben", "invoice", "cleo", "session"), ("session", "invoice", "cleo", "ben"),
    ("invoice", "ben", "session", "cleo"),
)  # fmt: skip
def test_of_two_e_mails_of_one_sale_neither_is_meant(street: Street, order: Sequence[str]) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "cleo": street.cleo,
        "session": lambda: street.company.deliver(session(None, email="cleo@app.example")),
        "invoice": lambda: stripe(street.company),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [(None, None)]
    assert street.earned == (REFERRED, REFERRED)


def test_tenants_do_not_touch(street: Street, other: Company) -> None:
    enter(other, "ben")
    assert stripe(street.company).json == PARKED
    street.ben()
    assert street.owners == [("ben", "email")]
    assert stripe(other, 2).json == APPLIED
    for company in (street.company, other):
        paid = rows.find(street.superuser, "SELECT user_id FROM payments WHERE company_id = %(id)s", id=company.id)
        theirs = rows.find(street.superuser, "SELECT id FROM users WHERE company_id = %(id)s", id=company.id)
        assert {row["user_id"] for row in paid} <= {row["id"] for row in theirs}
        assert len(paid) == 1


def test_a_test_event_tells_a_live_company_nothing(live: Company, superuser: psycopg.Connection) -> None:
    enter(live, "ben")
    assert stripe(live).json == APPLIED | {"outcome": "ignored"}
    stored = rows.count(superuser, live.id)
    assert (stored["payments"], stored["object_emails"]) == (0, 0)
    real = invoice(1) | {"livemode": True}
    assert live.deliver(real).json == APPLIED


# What comes with it


def refund(status: str = "succeeded") -> dict[str, Any]:
    return stripe_event("refund.created", stripe_objects.refund(status=status))


def sold() -> dict[str, Any]:
    event = invoice(1)
    event["data"]["object"] |= {"payment_intent": "pi_1", "charge": "ch_1"}
    return event


@in_every_order("ben", "refund", "sold")
def test_a_refund_follows(street: Street, order: Sequence[str]) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben": street.ben,
        "refund": lambda: street.company.deliver(refund()),
        "sold": lambda: street.company.deliver(sold()),
    }
    for deed in order:
        deeds[deed]()
    assert street.owners == [("ben", "email")]
    assert street.stage("ada") == "cancelled"
    assert street.earned == (REFERRED, 0)
    street.company.deliver(session("cleo"))
    street.cleo()
    assert (street.stage("ada"), street.stage("dan")) == ("registered", "cancelled")
    assert street.earned == (REFERRED, REFERRED)


@orders
def test_a_subscription_follows(street: Street, *, signs_up_first: bool) -> None:
    value = {
        "id": "sub_1", "object": "subscription", "status": "active", "customer": "cus_1", "metadata": {},
        "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}}]},
    }  # fmt: skip
    if signs_up_first:
        street.ben()
    street.company.deliver(stripe_event("customer.subscription.created", value))
    stripe(street.company)
    if not signs_up_first:
        street.ben()
    assert street.subscriber() == "ben"
    street.cleo()
    street.company.deliver(session("cleo"))
    assert street.subscriber() == "cleo"


@providers
@orders
def test_a_code_on_the_event_names_who_sent_the_person_of_the_e_mail(
    street: Street, pay: Pay, *, signs_up_first: bool
) -> None:
    """Ben comes without a code of his own."""
    if signs_up_first:
        enter(street.company, "ben")
    pay(street.company, code=street.codes["ada"])
    if not signs_up_first:
        assert enter(street.company, "ben")["attribution"]["source"] == "code"
    assert street.stage("ada") == "qualified"
    assert street.earned == (PAID, 0)


@providers
@orders
def test_nobody_sends_themselves(street: Street, pay: Pay, *, signs_up_first: bool) -> None:
    code = enter(street.company, "eve")["user"]["referral_code"]
    if signs_up_first:
        enter(street.company, "eve-2")
    pay(street.company, code=code)
    if not signs_up_first:
        enter(street.company, "eve-2")
    assert street.company.ok("GET", "/v1/users/eve/referrals")["data"] == []


# What is kept


@providers
def test_the_address_is_kept_with_its_user_alone(street: Street, pay: Pay) -> None:
    """The inbox has the provider's own bytes, for as long as bodies are kept."""
    pay(street.company, email="nobody@app.example")
    street.ben()
    pay(street.company, 2)
    tables = rows.count(street.superuser, street.company.id).keys() - {"users", "inbox_events"}
    assert {"object_emails", "verified_emails", "payments", "outbox_events", "activity"} <= tables
    for table in sorted(tables):
        every = sql.SQL("SELECT t::text FROM {} t WHERE company_id = %s").format(sql.Identifier(table))
        shown = street.superuser.execute(every, [street.company.id]).fetchall()
        assert not [row for (row,) in shown if "app.example" in row.lower()], table
    kept = rows.find(street.superuser, "SELECT * FROM object_emails WHERE company_id = %(id)s", id=street.company.id)
    assert {len(row["email_hash"]) for row in kept} == {32}


# In any order

DEEDS = ("invoice", "renewal", "session", "ben", "cleo", "refund")


@pytest.mark.soak
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    who=st.sampled_from([
        *itertools.product([None, "ben", "cleo", "stranger"], ["cleo@app.example", EMAIL, None], [None]),
        *itertools.product([None, "cleo"], ["cleo@app.example", EMAIL, None], ["cus_1"]),
    ]),
    order=st.permutations(DEEDS),
    again=st.lists(st.sampled_from(DEEDS), max_size=4),
)  # fmt: skip
def test_any_order_ends_in_the_same_place(
    server: str, opener: psycopg.Connection, superuser: psycopg.Connection, order: list[str], again: list[str],
    who: tuple[str | None, str | None, str | None],
) -> None:  # fmt: skip
    """`who` is whom the session names, and with which e-mail and as which customer Cleo signs up."""
    ends = [
        _lived(Street(Company.write(opener, server), superuser), *who, deeds)
        for deeds in (DEEDS, (*order, *again), (*again, *order))
    ]
    assert ends == ends[:1] * 3


def _lived(street: Street, named: str | None, email: str | None, customer: str | None, deeds: Sequence[str]) -> object:
    events = {"invoice": sold(), "renewal": invoice(2, email=None), "session": session(named), "refund": refund()}
    for deed in deeds:
        if deed in events:
            assert street.company.deliver(events[deed]).status == 200
        elif deed == "ben":
            street.ben()
        else:
            street.cleo(email=email, stripe_customer_id=customer)
    end = street.owners, street.earned, street.stage("ada"), street.stage("dan")
    street.company.close()
    return end
