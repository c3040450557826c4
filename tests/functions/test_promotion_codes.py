"""Promotion codes that Stripe's events show by their ids: whose they are is told by events of their own."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import books, rows, stripe_objects
from tests.support.clients import Clients, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid

numbers = itertools.count()
START = datetime(2030, 1, 15, 12, tzinfo=UTC)
USED = START - timedelta(hours=2)

_STATE = """
    SELECT r.source, r.stage, r.touched_at, r.qualified_at, c.code
    FROM referrals r JOIN codes c ON c.company_id = r.company_id AND c.id = r.code_id WHERE r.company_id = %(id)s
"""


def event(type_: str, value: dict[str, Any], at: datetime = USED) -> dict[str, Any]:
    return stripe_objects.event(type_, value, sent_at=at, id=f"evt_promotion_{next(numbers)}")


def promotion_code(code: str, *, key: str = "promo_1", type_: str = "promotion_code.created") -> dict[str, Any]:
    return event(type_, stripe_objects.promotion_code(code, id=key, created=USED))


def session(person: str | None = "ben", *, customer: str = "ben", key: str = "promo_1") -> dict[str, Any]:
    """A subscription's checkout, which is paid for by an invoice."""
    value = stripe_objects.subscribing(
        id=f"cs_{customer}", customer=f"cus_{customer}", subscription=f"sub_{customer}", invoice=f"in_{customer}",
        client_reference_id=person, discounts=[{"coupon": None, "promotion_code": key}], created=USED,
    )  # fmt: skip
    return event("checkout.session.completed", value)


def discount(customer: str = "ben", *, key: str = "promo_1", start: datetime | None = USED) -> dict[str, Any]:
    value = {
        "id": "di_1", "object": "discount", "customer": f"cus_{customer}", "end": None, "promotion_code": key,
        "source": {"coupon": "10off", "type": "coupon"}, "start": start and int(start.timestamp()),
    }  # fmt: skip
    return event("customer.discount.created", value)


def subscription(customer: str = "ben", *, key: str = "promo_1") -> dict[str, Any]:
    discounts = [{"id": "di_1", "promotion_code": key, "start": int(USED.timestamp())}]
    value = stripe_objects.subscription(
        id=f"sub_{customer}", customer=f"cus_{customer}", discounts=discounts, created=USED
    )
    return event("customer.subscription.created", value)


def invoice(
    customer: str = "ben", *, person: str | None = None, key: str | None = None, email: str | None = None
) -> dict[str, Any]:
    """In the shape since basil, whose discounts are bare ids; with a `key` as before."""
    before_basil: dict[str, Any] = (
        {"discount": {"id": "di_1", "promotion_code": key, "start": int(USED.timestamp())}} if key else {}
    )
    return invoice_paid(
        f"evt_promotion_{next(numbers)}", f"in_{customer}", user=person, paid_at=USED, customer=f"cus_{customer}",
        subscription=f"sub_{customer}", discounts=["di_1"], customer_email=email, **before_basil,
    )  # fmt: skip


def applied(company: Company, sent: dict[str, Any], outcome: str = "applied") -> None:
    answer = company.deliver(sent)
    assert (answer.status, answer.json["outcome"]) == (200, outcome), answer.raw


def adas_code(company: Company) -> str:
    company.set_clock(START)
    return company.sign_up("ada")["user"]["referral_code"]


def referees(company: Company) -> set[str]:
    return {each["referee"] for each in company.ok("GET", "/v1/users/ada/referrals?limit=100")["data"]}


def decided(company: Company, superuser: psycopg.Connection) -> list[tuple[str, str, str]]:
    found = rows.find(
        superuser,
        "SELECT kind, ref, outcome FROM touch_decisions WHERE company_id = %(id)s ORDER BY ref",
        id=company.id,
    )
    return [(row["kind"], row["ref"], row["outcome"]) for row in found]


@st.composite
def deliveries(draw: st.DrawFn) -> list[str]:
    """Everything that happens, in any order, some of it again."""
    happens = ["told", "session", "invoice", "signup"]
    happens += draw(st.lists(st.sampled_from(["saved", "discount", "subscription"]), unique=True))
    again = draw(st.lists(st.sampled_from(happens), max_size=4))
    return draw(st.permutations(happens + again))


@pytest.mark.soak
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(order=["signup", "session", "invoice", "told"], named_by="email", is_old=False)
@given(order=deliveries(), named_by=st.sampled_from(["session", "invoice", "signup", "email"]), is_old=st.booleans())
def test_in_any_order_it_ends_the_same(
    server: str, opener: psycopg.Connection, superuser: psycopg.Connection, order: list[str], named_by: str, *,
    is_old: bool,
) -> None:  # fmt: skip
    company = Company.write(opener, server)
    code = adas_code(company)

    def happen(step: str) -> None:
        if step == "signup":
            by = {
                "signup": {"stripe_customer_id": "cus_ben"},
                "email": {"email": "ben@example.com", "email_verified": True},
            }  # fmt: skip
            company.ok("POST", "/v1/signups", {"user": {"external_id": "ben", **by.get(named_by, {})}})
            return
        sent = {
            "told": lambda: promotion_code(code.lower()),
            "saved": lambda: promotion_code(code, type_="promotion_code.updated"),
            "session": lambda: session("ben" if named_by == "session" else None),
            "invoice": lambda: invoice(
                person="ben" if named_by == "invoice" else None,
                key="promo_1" if is_old else None,
                email="ben@example.com" if named_by == "email" else None,
            ),
            "discount": discount,
            "subscription": subscription,
        }[step]()
        assert company.deliver(sent).json["outcome"] in {"applied", "parked"}

    for step in order:
        happen(step)
    (state,) = rows.find(superuser, _STATE, id=company.id)
    assert state == {"source": "code", "stage": "qualified", "touched_at": USED, "qualified_at": START, "code": code}
    assert (company.balance("ada"), company.balance("ben")) == (5 + 25, 25)
    assert {each for each in decided(company, superuser) if each != ("code", code, "attributed")} == set()
    assert books.faults(superuser, company.id) == []
    company.close()


@pytest.mark.parametrize("told_first", [False, True])
@pytest.mark.parametrize("signs_up_first", [False, True])
def test_a_shops_own_promotion_code_is_no_touch(
    company: Company, superuser: psycopg.Connection, *, told_first: bool, signs_up_first: bool
) -> None:
    adas_code(company)
    if signs_up_first:
        company.sign_up("ben")
    for sent in [promotion_code("SUMMER25"), session()][:: 1 if told_first else -1]:
        applied(company, sent)
    if not signs_up_first:
        assert company.sign_up("ben")["attribution"]["outcome"] == "none"
    assert (referees(company), decided(company, superuser)) == (set(), [])


def test_alone_it_leaves_the_payment_parked(company: Company) -> None:
    code = adas_code(company)
    company.sign_up("ben")
    applied(company, promotion_code(code))
    applied(company, session(None))
    applied(company, discount())
    applied(company, invoice(key="promo_1"), "parked")
    assert referees(company) == set()


@pytest.mark.parametrize("type_", ["customer.discount.created", "customer.discount.updated"])
@pytest.mark.parametrize("told_first", [False, True])
def test_a_discount_is_its_customers(company: Company, *, type_: str, told_first: bool) -> None:
    code = adas_code(company)
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}})
    for sent in [promotion_code(code), {**discount(), "type": type_}][:: 1 if told_first else -1]:
        applied(company, sent)
    assert referees(company) == {"ben"}


def test_a_discount_that_ends_says_nothing(company: Company) -> None:
    applied(company, {**discount(), "type": "customer.discount.deleted"}, "ignored")


def test_what_the_checkout_names_comes_before_its_promotion_code(company: Company) -> None:
    applied(company, promotion_code(adas_code(company)))
    sent = session()
    sent["data"]["object"]["metadata"] = {"goodword_code": company.sign_up("cleo")["user"]["referral_code"]}
    applied(company, sent)
    assert company.sign_up("ben")["referral"]["referrer"] == "cleo"


def test_a_promotion_code_comes_before_a_click(company: Company) -> None:
    applied(company, promotion_code(adas_code(company)))
    clicked = company.ok("POST", "/v1/clicks", {"code": company.sign_up("cleo")["user"]["referral_code"]})["id"]
    sent = session()
    sent["data"]["object"]["metadata"] = {"goodword_click": clicked}
    applied(company, sent)
    assert company.sign_up("ben")["referral"]["referrer"] == "ada"


@pytest.mark.parametrize(("days", "is_bound"), [(6, True), (8, False)])
def test_the_grace_is_asked_of_when_it_was_used_and_not_of_when_it_was_told(
    company: Company, superuser: psycopg.Connection, days: int, *, is_bound: bool
) -> None:
    code = adas_code(company)
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}})
    company.set_clock(START + timedelta(days=40))
    applied(company, discount(start=START + timedelta(days=days)))
    assert decided(company, superuser) == []
    applied(company, promotion_code(code, type_="promotion_code.updated"))
    assert referees(company) == ({"ben"} if is_bound else set())
    assert decided(company, superuser) == [("code", code, "attributed" if is_bound else "rejected")]


def test_told_late_it_may_show_that_its_code_was_used_earlier(company: Company, superuser: psycopg.Connection) -> None:
    code = adas_code(company)
    company.ok("POST", "/v1/signups", {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}})
    company.set_clock(START + timedelta(days=40))
    applied(company, discount(start=START + timedelta(days=5)))
    renewal = discount(key="promo_2", start=START + timedelta(days=36))
    renewal["data"]["object"]["promotion_code"] = {"id": "promo_2", "code": code}
    applied(company, renewal)
    assert decided(company, superuser) == [("code", code, "rejected")]
    applied(company, promotion_code(code))
    assert decided(company, superuser) == [("code", code, "attributed")]
    assert referees(company) == {"ben"}


def test_all_who_used_it_follow_when_it_is_told(company: Company, superuser: psycopg.Connection) -> None:
    code = adas_code(company)
    company.refer("cleo", "dan")
    for person in ("ben", "dan", "eve"):
        company.sign_up(person)
        applied(company, session(person, customer=person))
        applied(company, invoice(person))
    applied(company, session("fay", customer="fay"))  # who has not signed up
    applied(company, session("gil", customer="gil", key="promo_2"))
    company.sign_up("gil")
    applied(company, promotion_code(code))
    assert referees(company) == {"ben", "eve"}
    assert company.balance("ada") == 2 * (5 + 25)
    assert company.sign_up("fay")["referral"]["referrer"] == "ada"
    assert company.ok("GET", "/v1/users/dan")["external_id"] == "dan"
    assert books.faults(superuser, company.id) == []


def test_a_text_that_was_told_never_changes(company: Company, superuser: psycopg.Connection) -> None:
    code = adas_code(company)
    for text in (code, "SUMMER25", code.lower()):
        applied(company, promotion_code(text, type_="promotion_code.updated"))
    (known,) = rows.find(superuser, "SELECT code FROM promotion_codes WHERE company_id = %(id)s", id=company.id)
    assert known == {"code": code}


def test_another_companys_promotion_code_is_none(company: Company, other: Company) -> None:
    code = adas_code(company)
    company.sign_up("ben")
    applied(company, session())
    applied(other, promotion_code(code))
    assert referees(company) == set()
    applied(company, promotion_code(code))
    assert referees(company) == {"ben"}


@pytest.mark.parametrize("beside", ["signup", "session", "invoice"])
def test_told_at_the_moment_something_else_happens_it_is_never_missed(
    company: Company, superuser: psycopg.Connection, beside: str
) -> None:
    amend(company, tiers=FLAT)
    code = adas_code(company)
    people = [f"person-{number}" for number in range(12)]
    with Clients(2) as clients:
        for person in people:
            signup = call(company, "POST", "/v1/signups", {"user": {"external_id": person}})
            happens = {
                "signup": signup,
                "session": delivery(company, session(person, customer=person, key=person)),
                "invoice": delivery(company, invoice(person)),
            }
            delivered = delivery(company, promotion_code(code, key=person))
            at_once = happens.pop(beside)
            for before in happens.values():
                clients.fire_each(company.url, [before])
            answers = clients.fire_each(company.url, [at_once, delivered])
            assert [answer.status for answer in answers] == [201 if beside == "signup" else 200, 200]
    assert referees(company) == set(people)
    assert company.balance("ada") == len(people) * (5 + 25)
    assert books.faults(superuser, company.id) == []
