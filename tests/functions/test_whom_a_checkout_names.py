"""Whom a checkout names, and how: by the app's own word in metadata, or by a reference, which may be a cart or a click.

The app's own word waits for its person. A reference counts once somebody of that external id has signed up; until then
it is as if it were not there.
"""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.functions.test_linking_by_email import in_every_order
from tests.functions.test_receive_stripe_webhook_effects import session
from tests.support import books, rows, stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

CLICK = "clk_" + "0" * 32
REFERRED, PAID = 5, 5 + 25

_OWNERS = """
    SELECT payment_key, u.external_id
    FROM payments p LEFT JOIN users u ON u.company_id = p.company_id AND u.id = p.user_id WHERE p.company_id = %(id)s
"""


@pytest.fixture
def company(company: Company) -> Company:
    company.line["ada"] = company.sign_up("ada")["user"]["referral_code"]
    return company


def purchase(number: int = 1, **fields: object) -> dict[str, Any]:
    """A one-time purchase of the customer cus_1, with the cart's id for a reference."""
    given = {"id": f"cs_{number}", "client_reference_id": "cart_77", "customer": "cus_1", "currency": "usd", **fields}
    return session(f"evt_{number}", **given)  # type: ignore[arg-type]


def customer(user: str) -> dict[str, Any]:
    """A customer whose metadata says who it is."""
    value = stripe_objects.customer(metadata={"goodword_user": user}, created=1_800_000_000)
    return stripe_objects.event("customer.updated", value, id=f"evt_customer_{user}")


def sign_up(company: Company, person: str, code: str | None = "ada", **user: object) -> Any:  # noqa: ANN401
    body = {"user": {"external_id": person, **user}, "referral_code": company.line[code] if code else None}
    return company.ok("POST", "/v1/signups", body, status=201)


def outcome(company: Company, event: dict[str, Any]) -> str:
    answer = company.deliver(event) if event.get("object") == "event" else company.deliver_whop(event)
    assert answer.status == 200, answer.raw
    return answer.json["outcome"]


def owners(superuser: psycopg.Connection, company: Company) -> dict[str, str | None]:
    return {row["payment_key"]: row["external_id"] for row in rows.find(superuser, _OWNERS, id=company.id)}


# A reference that is nobody's id


@in_every_order("ben signs up", "ben buys")
def test_a_cart_is_no_payer_where_the_customer_is_known(
    company: Company, superuser: psycopg.Connection, order: tuple[str, ...]
) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "ben signs up": lambda: sign_up(company, "ben", stripe_customer_id="cus_1"),
        "ben buys": lambda: outcome(company, purchase()),
    }
    for deed in order:
        deeds[deed]()
    assert owners(superuser, company) == {"cs_1": "ben"}
    assert company.balance("ada") == PAID


def test_a_purchase_by_a_known_customer_is_applied_and_by_a_stranger_parked(company: Company) -> None:
    sign_up(company, "ben", stripe_customer_id="cus_1")
    assert outcome(company, purchase()) == "applied"
    assert outcome(company, purchase(2, customer="cus_2")) == "parked"


def test_a_cart_is_a_payer_once_somebody_of_that_name_signs_up(company: Company, superuser: psycopg.Connection) -> None:
    sign_up(company, "ben", stripe_customer_id="cus_1")
    outcome(company, purchase())
    sign_up(company, "cart_77", code=None)
    assert owners(superuser, company) == {"cs_1": "cart_77"}
    assert company.balance("ada") == REFERRED
    assert books.faults(superuser, company.id) == []


def test_the_apps_own_word_waits_for_its_person(company: Company, superuser: psycopg.Connection) -> None:
    sign_up(company, "ben", stripe_customer_id="cus_1")
    named: dict[str, Any] = {"client_reference_id": None, "metadata": {"goodword_user": "cleo"}}
    assert outcome(company, purchase(**named)) == "parked"
    assert owners(superuser, company) == {"cs_1": None}
    sign_up(company, "cleo", code=None)
    assert owners(superuser, company) == {"cs_1": "cleo"}


@in_every_order("a cart", "the customer", "ben signs up", "a month")
def test_a_cart_before_the_customers_own_word_does_not_hide_it(
    company: Company, superuser: psycopg.Connection, order: tuple[str, ...]
) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "a cart": lambda: outcome(company, purchase()),
        "the customer": lambda: outcome(company, customer("ben")),
        "ben signs up": lambda: sign_up(company, "ben"),
        "a month": lambda: outcome(company, invoice_paid("evt_month", "in_1")),
    }
    for deed in order:
        deeds[deed]()
    assert owners(superuser, company) == {"cs_1": "ben", "in_1": "ben"}


def test_two_carts_of_a_customer_and_then_their_name(company: Company, superuser: psycopg.Connection) -> None:
    sign_up(company, "ben")
    for number, reference in enumerate(("cart_1", "cart_2", "ben")):
        outcome(company, purchase(number, client_reference_id=reference))
    assert owners(superuser, company) == {"cs_0": "ben", "cs_1": "ben", "cs_2": "ben"}


@in_every_order("ben signs up", "a guest buys")
def test_a_cart_leaves_a_guests_purchase_to_their_verified_e_mail(
    company: Company, superuser: psycopg.Connection, order: tuple[str, ...]
) -> None:
    guest = purchase(customer=None, customer_details={"email": "ben@app.example"})
    deeds: dict[str, Callable[[], object]] = {
        "ben signs up": lambda: sign_up(company, "ben", email="ben@app.example", email_verified=True),
        "a guest buys": lambda: outcome(company, guest),
    }
    for deed in order:
        deeds[deed]()
    assert owners(superuser, company) == {"cs_1": "ben"}
    assert company.balance("ada") == PAID


@in_every_order("ben signs up", "ben buys")
def test_a_code_beside_a_cart_is_the_customers(company: Company, order: tuple[str, ...]) -> None:
    bought = purchase(metadata={"goodword_code": company.line["ada"]})
    deeds: dict[str, Callable[[], object]] = {
        "ben signs up": lambda: sign_up(company, "ben", code=None, stripe_customer_id="cus_1"),
        "ben buys": lambda: outcome(company, bought),
    }
    for deed in order:
        deeds[deed]()
    assert company.balance("ada") == PAID


# A reference that is a click


def payment_link(click: str, **fields: object) -> dict[str, Any]:
    return purchase(1, client_reference_id=click, **fields)


def clicked(company: Company) -> str:
    return company.ok("POST", "/v1/clicks", {"code": company.line["ada"]}, status=201)["id"]


@in_every_order("ben signs up", "ben buys")
def test_a_payment_link_brings_the_click_that_led_to_it(
    company: Company, superuser: psycopg.Connection, order: tuple[str, ...]
) -> None:
    click = clicked(company)
    deeds: dict[str, Callable[[], object]] = {
        "ben signs up": lambda: sign_up(company, "ben", code=None, stripe_customer_id="cus_1"),
        "ben buys": lambda: outcome(company, payment_link(click)),
    }
    for deed in order:
        deeds[deed]()
    assert owners(superuser, company) == {"cs_1": "ben"}
    (referral,) = company.ok("GET", "/v1/users/ada/referrals")["data"]
    assert (referral["referee"], referral["source"], referral["stage"]) == ("ben", "click", "qualified")
    assert company.balance("ada") == PAID


def test_the_person_behind_a_payment_link_is_named_by_another_event(company: Company) -> None:
    assert outcome(company, payment_link(clicked(company))) == "parked"
    outcome(company, customer("ben"))
    answer = sign_up(company, "ben", code=None)
    assert (answer["attribution"]["outcome"], answer["attribution"]["source"]) == ("attributed", "click")
    assert company.balance("ada") == PAID


def test_a_click_is_nobodys_name(company: Company, superuser: psycopg.Connection) -> None:
    assert outcome(company, payment_link(CLICK)) == "parked"
    assert rows.count(superuser, company.id)["identity_links"] == 0


# How ids are written


@pytest.mark.parametrize("written", [12345, "12345", " 12345", "12345\n", "\t 12345 "])
@pytest.mark.parametrize("key", ["goodword_user", "membership"])
def test_a_user_named_by_a_number_or_with_blanks_at_whop(company: Company, written: object, key: str) -> None:
    sign_up(company, "12345")
    metadata = {"goodword_user": written}
    fields: dict[str, Any] = {"metadata": metadata}
    if key == "membership":
        fields = {"metadata": {}, "membership": {"id": "mem_1", "metadata": metadata}}
    assert outcome(company, whop_payment("msg_1", "pay_1", **fields)) == "applied"
    assert company.balance("ada") == PAID


@pytest.mark.parametrize("written", [" ben", "ben ", "\tben\n"])
@pytest.mark.parametrize("place", ["metadata", "reference"])
def test_blanks_around_a_name_at_stripe(company: Company, written: str, place: str) -> None:
    sign_up(company, "ben")
    named: dict[str, Any] = {"client_reference_id": written}
    if place == "metadata":
        named = {"client_reference_id": None, "metadata": {"goodword_user": written}}
    assert outcome(company, purchase(**named)) == "applied"
    assert company.balance("ada") == PAID


@pytest.mark.parametrize("key", ["goodword_click", "goodword_code"])
def test_blanks_around_what_brought_somebody(company: Company, key: str) -> None:
    sign_up(company, "ben", code=None, stripe_customer_id="cus_1")
    brought = clicked(company) if key == "goodword_click" else company.line["ada"]
    outcome(company, purchase(metadata={key: f" {brought}\n"}))
    assert company.balance("ada") == PAID


def test_a_code_of_digits_alone_may_be_a_number(company: Company) -> None:
    company.ok("POST", "/v1/codes", {"type": "custom", "code": "202611", "user_id": "ada"}, status=201)
    sign_up(company, "ben", code=None, whop_user_id="user_1")
    outcome(company, whop_payment("msg_1", "pay_1", metadata={"goodword_code": 202611}))
    assert company.balance("ada") == PAID


NO_NAMES = [".", "..", "a/b", "a b", "a\\b", "a?b", "a#b", "a%b", "", " ", "x" * 129, "é", f"{CLICK}"]
NAMES = ["ben", "auth0|1", "a:b", "...", ".hidden", "x" * 128, "7"]


@pytest.mark.parametrize("name", [*NO_NAMES, *NAMES])
def test_an_event_names_whom_a_signup_could_and_nobody_else(
    company: Company, superuser: psycopg.Connection, name: str
) -> None:
    outcome(company, purchase(1, client_reference_id=None, metadata={"goodword_user": name}))
    outcome(company, purchase(2, client_reference_id=name))
    outcome(company, whop_payment("msg_1", "pay_1", metadata={"goodword_user": name}))
    found = rows.find(superuser, "SELECT external_id, reference FROM payments WHERE company_id = %(id)s", id=company.id)
    named = [row["external_id"] or row["reference"] for row in found]
    could = company.api.send("POST", "/v1/signups", {"user": {"external_id": name}}).status == 201
    if name == CLICK:  # whatever a signup may be called, a reference of this form is a click
        named, could = [row["reference"] for row in found], False
    assert named == [name if could else None] * 3


@pytest.mark.parametrize("value", [True, 1.5, None, ["ben"], {"id": "ben"}])
def test_what_is_neither_a_text_nor_a_whole_number_names_nobody(company: Company, value: object) -> None:
    for person in ("ben", "True", "true", "1", "1.5"):
        sign_up(company, person, code=None)
    assert outcome(company, whop_payment("msg_1", "pay_1", metadata={"goodword_user": value})) == "parked"
