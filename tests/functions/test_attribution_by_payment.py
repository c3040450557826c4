"""A click or a code that a provider's event carries: who sent the person, whether the signup or the event comes first.

`carry` sends a payment of one provider whose metadata names a person, a click and a code; docs/rules.md, Touches.
"""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from local.client import Answer
from tests.support import books, rows
from tests.support.clients import Clients, call, delivery
from tests.support.companies import Company
from tests.support.growth import FLAT, amend
from tests.support.stripe_objects import invoice_paid
from tests.support.whop_objects import whop_payment

numbers = itertools.count()
Carry = Callable[..., Answer]
START = datetime(2030, 1, 15, 12, tzinfo=UTC)


def metadata(user: str | None, click: str | None, code: str | None) -> dict[str, str]:
    named = {"goodword_user": user, "goodword_click": click, "goodword_code": code}
    return {name: value for name, value in named.items() if value is not None}


def stripe(
    company: Company, user: str | None = None, *, click: str | None = None, code: str | None = None,
    payer: str = "1", paid_at: datetime | None = None,
) -> Answer:  # fmt: skip
    number = next(numbers)
    event = invoice_paid(
        f"evt_{number}", f"in_{number}", customer=f"cus_{payer}", subscription=f"sub_{payer}", paid_at=paid_at,
        named=metadata(user, click, code),
    )  # fmt: skip
    return company.deliver(event)


def whop(
    company: Company, user: str | None = None, *, click: str | None = None, code: str | None = None,
    payer: str = "1", paid_at: datetime | None = None,
) -> Answer:  # fmt: skip
    number, times = next(numbers), {"created_at": paid_at, "paid_at": paid_at} if paid_at else {}
    named: dict[str, Any] = {"metadata": metadata(user, click, code), **times}
    return company.deliver_whop(whop_payment(f"msg_{number}", f"pay_{number}", buyer={"id": f"user_{payer}"}, **named))


providers = pytest.mark.parametrize("carry", [stripe, whop])
orders = pytest.mark.parametrize("signs_up_first", [False, True], ids=["payment_first", "signup_first"])


def code_of(company: Company, external_id: str) -> str:
    return company.sign_up(external_id)["user"]["referral_code"]


def click_on(company: Company, code: str) -> str:
    return company.ok("POST", "/v1/clicks", {"code": code})["id"]


def referral(company: Company, referrer: str, referee: str) -> dict[str, Any] | None:
    listed = company.ok("GET", f"/v1/users/{referrer}/referrals")["data"]
    return next((each for each in listed if each["referee"] == referee), None)


def trace(company: Company, superuser: psycopg.Connection) -> dict[str, Any]:
    (row,) = rows.find(superuser, "SELECT trace FROM referrals WHERE company_id = %(id)s", id=company.id)
    return row["trace"]


def decided(company: Company, superuser: psycopg.Connection) -> list[tuple[str, str, str | None]]:
    found = rows.find(
        superuser,
        "SELECT kind, outcome, reason FROM touch_decisions WHERE company_id = %(id)s ORDER BY kind, ref, outcome",
        id=company.id,
    )
    return [(row["kind"], row["outcome"], row["reason"]) for row in found]


@providers
@orders
@pytest.mark.parametrize("by", ["click", "code"])
def test_a_payment_names_who_sent_its_person(
    company: Company, superuser: psycopg.Connection, carry: Carry, by: str, *, signs_up_first: bool
) -> None:
    code = code_of(company, "ada")
    carried = {by: code if by == "code" else click_on(company, code)}
    if signs_up_first:
        assert company.sign_up("ben")["attribution"]["outcome"] == "none"
        assert carry(company, "ben", **carried).json["outcome"] == "applied"
    else:
        assert carry(company, "ben", **carried).json["outcome"] == "parked"
        answer = company.sign_up("ben")
        assert answer["attribution"] == {
            "outcome": "attributed", "reason": None, "source": by, "click_id": carried.get("click"),
        }  # fmt: skip
        assert {award["event"] for award in answer["awards"]} == {"registered", "welcome", "qualified"}
    bound = referral(company, "ada", "ben")
    assert bound is not None
    assert (bound["source"], bound["stage"], bound["code"]) == (by, "qualified", code)
    assert company.balance("ada") == 5 + 25
    assert company.balance("ben") == 25
    assert trace(company, superuser)["by"] == ("payment" if signs_up_first else "signup")
    assert decided(company, superuser) == ([(by, "attributed", None)] if signs_up_first else [])
    assert books.faults(superuser, company.id) == []


@providers
@orders
def test_alone_they_leave_the_payment_parked_until_something_names_the_person(
    company: Company, carry: Carry, *, signs_up_first: bool
) -> None:
    code = code_of(company, "ada")
    if signs_up_first:
        company.sign_up("ben")
    assert carry(company, click=click_on(company, code), code=code).json["outcome"] == "parked"
    assert referral(company, "ada", "ben") is None
    if not signs_up_first:
        assert company.sign_up("ben")["attribution"]["outcome"] == "none"  # nobody knows yet that it was Ben
    assert carry(company, "ben").json["outcome"] == "applied"
    bound = referral(company, "ada", "ben")
    assert bound is not None
    assert (bound["source"], bound["stage"]) == ("code", "qualified")
    assert company.balance("ada") == 5 + 25


def test_a_signup_that_names_the_payer_is_who_was_sent(company: Company) -> None:
    code = code_of(company, "ada")
    stripe(company, code=code, payer="ben")
    body = {"user": {"external_id": "ben", "stripe_customer_id": "cus_ben"}}
    assert company.ok("POST", "/v1/signups", body)["attribution"]["source"] == "code"
    whop(company, code=code, payer="cleo")
    body = {"user": {"external_id": "cleo", "whop_user_id": "user_cleo"}}
    assert company.ok("POST", "/v1/signups", body)["referral"]["stage"] == "qualified"


@pytest.mark.parametrize("money_first", [False, True])
@orders
def test_the_checkout_of_a_subscription_names_who_sent_and_its_invoice_is_the_money(
    company: Company, *, signs_up_first: bool, money_first: bool
) -> None:
    """The session's own metadata does not reach the invoice: they meet in the subscription."""
    click = click_on(company, code_of(company, "ada"))
    session = {
        "id": "evt_session", "object": "event", "type": "checkout.session.completed", "livemode": False,
        "created": int(datetime.now(UTC).timestamp()),
        "data": {"object": {
            "id": "cs_1", "object": "checkout.session", "mode": "subscription", "payment_status": "paid",
            "client_reference_id": "ben", "customer": "cus_1", "subscription": "sub_1", "invoice": "in_1",
            "metadata": {"goodword_click": click}, "created": int(datetime.now(UTC).timestamp()),
        }},
    }  # fmt: skip
    if signs_up_first:
        company.sign_up("ben")
    events = [session, invoice_paid("evt_money", "in_1")]
    for event in reversed(events) if money_first else events:
        company.deliver(event)
    if not signs_up_first:
        company.sign_up("ben")
    bound = referral(company, "ada", "ben")
    assert bound is not None
    assert (bound["source"], bound["stage"]) == ("click", "qualified")
    assert company.balance("ada") == 5 + 25


@orders
def test_a_promotion_code_that_is_a_referral_code_names_who_sent(company: Company, *, signs_up_first: bool) -> None:
    code = code_of(company, "ada")
    for number, (person, promotion) in enumerate([("ben", code.lower()), ("cleo", "SUMMER25")]):
        if signs_up_first:
            company.sign_up(person)
        event = invoice_paid(f"evt_{number}", f"in_{number}", user=person, customer=f"cus_{person}")
        event["data"]["object"]["discounts"] = [{"id": "di_1", "promotion_code": {"id": "promo_1", "code": promotion}}]
        event["data"]["object"]["parent"]["subscription_details"]["subscription"] = f"sub_{person}"
        company.deliver(event)
        at_whop = whop_payment(
            f"msg_{number}", f"pay_{number}", user=f"{person}-2", buyer={"id": f"user_{person}"},
            promo_code={"id": "promo_1", "code": promotion},
        )  # fmt: skip
        if signs_up_first:
            company.sign_up(f"{person}-2")
        company.deliver_whop(at_whop)
        if not signs_up_first:
            outcomes = {company.sign_up(each)["attribution"]["outcome"] for each in (person, f"{person}-2")}
            assert outcomes == ({"attributed"} if person == "ben" else {"none"})  # a shop's own code is no candidate
    assert {each["referee"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]} == {"ben", "ben-2"}


@providers
def test_what_the_signup_itself_names_comes_first(company: Company, carry: Carry) -> None:
    ada, cleo = code_of(company, "ada"), code_of(company, "cleo")
    carry(company, "ben", code=cleo)
    assert company.sign_up("ben", referral_code=ada)["referral"]["referrer"] == "ada"
    carry(company, "dan", code=cleo, payer="2")
    assert company.sign_up("dan", referral_code="NOBODYS")["referral"]["referrer"] == "cleo"
    carry(company, "ben", code=cleo)  # he is referred already
    assert referral(company, "cleo", "ben") is None


@pytest.mark.parametrize(("model", "referrer"), [("last_touch", "cleo"), ("first_touch", "ada")])
def test_of_several_the_programs_model_chooses(company: Company, model: str, referrer: str) -> None:
    company.ok("PUT", "/v1/program", {"attribution": {"model": model}})
    company.set_clock(START)
    for number, person in enumerate(["ada", "cleo"]):
        stripe(company, "ben", code=code_of(company, person), paid_at=START - timedelta(days=5 - number))
    assert company.sign_up("ben")["referral"]["referrer"] == referrer


@providers
def test_after_the_grace_a_payment_refers_nobody_and_says_why_once(
    company: Company, superuser: psycopg.Connection, carry: Carry
) -> None:
    code = code_of(company, "ada")
    company.set_clock(START)
    company.sign_up("ben")
    company.set_clock(START + timedelta(days=8))
    for months in range(3):
        paid_at = START + timedelta(days=8 + 30 * months)
        assert carry(company, "ben", code=code, paid_at=paid_at).json["outcome"] == "applied"
    assert referral(company, "ada", "ben") is None
    assert decided(company, superuser) == [("code", "rejected", "user_too_old")]
    (row,) = rows.find(superuser, "SELECT trace FROM touch_decisions WHERE company_id = %(id)s", id=company.id)
    assert [each["reason"] for each in row["trace"]["candidates"]] == ["user_too_old"]
    done = rows.find(
        superuser,
        "SELECT details FROM activity WHERE company_id = %(id)s AND action = 'late_attribution_rejected'",
        id=company.id,
    )
    assert [row["details"] for row in done] == [{"by": "payment", "code": code, "reason": "user_too_old"}]


@providers
def test_the_grace_is_asked_of_when_it_was_carried_and_not_of_when_it_came(company: Company, carry: Carry) -> None:
    """A delivery that Stripe or Whop could not make for a week is the same event."""
    code = code_of(company, "ada")
    company.set_clock(START)
    company.sign_up("ben")
    company.set_clock(START + timedelta(days=20))
    carry(company, "ben", code=code, paid_at=START + timedelta(days=6))
    bound = referral(company, "ada", "ben")
    assert bound is not None
    assert bound["stage"] == "qualified"


@providers
def test_that_it_was_carried_earlier_than_was_known_is_asked_again(
    company: Company, superuser: psycopg.Connection, carry: Carry
) -> None:
    """A renewal's event may overtake that of the first payment."""
    code = code_of(company, "ada")
    company.set_clock(START)
    company.sign_up("ben")
    company.set_clock(START + timedelta(days=40))
    for days, outcome in [(36, "rejected"), (37, "rejected"), (33, "rejected"), (5, "attributed"), (4, "attributed")]:
        carry(company, "ben", code=code, paid_at=START + timedelta(days=days))
        assert [each[1] for each in decided(company, superuser)] == [outcome]
    bound = referral(company, "ada", "ben")
    assert bound is not None
    assert bound["stage"] == "qualified"
    assert (company.balance("ada"), company.balance("ben")) == (5 + 25 + 10, 25)  # and a month


@orders
def test_a_click_beyond_the_window_refers_nobody(
    company: Company, superuser: psycopg.Connection, *, signs_up_first: bool
) -> None:
    company.set_clock(START)
    click = click_on(company, code_of(company, "ada"))
    company.set_clock(START + timedelta(days=91))
    if signs_up_first:
        company.sign_up("ben")
    stripe(company, "ben", click=click, paid_at=START + timedelta(days=91))
    if not signs_up_first:
        assert company.sign_up("ben")["attribution"]["reason"] == "outside_window"
    assert referral(company, "ada", "ben") is None
    assert decided(company, superuser) == ([("click", "rejected", "outside_window")] if signs_up_first else [])


@providers
@orders
def test_nobody_sends_themselves_by_paying(
    company: Company, superuser: psycopg.Connection, carry: Carry, *, signs_up_first: bool
) -> None:
    her = {"email": "ada@example.com"}
    code = company.ok("POST", "/v1/signups", {"user": {"external_id": "ada", **her}})["user"]["referral_code"]
    carry(company, "ada", code=code)
    assert decided(company, superuser) == [("code", "rejected", "self_referral")]
    second = {"user": {"external_id": "ada-2", **her}}
    if signs_up_first:
        company.ok("POST", "/v1/signups", second)
    carry(company, "ada-2", code=code, payer="2")
    if not signs_up_first:
        assert company.ok("POST", "/v1/signups", second)["attribution"]["reason"] == "self_referral"
    assert company.ok("GET", "/v1/users/ada/referrals")["data"] == []


@providers
def test_a_circle_is_never_closed(company: Company, superuser: psycopg.Connection, carry: Carry) -> None:
    company.refer("ada", "ben")
    ben = company.ok("GET", "/v1/users/ben")["referral_code"]
    carry(company, "ada", code=ben)
    assert company.ok("GET", "/v1/users/ben/referrals")["data"] == []
    assert decided(company, superuser) == [("code", "rejected", "cycle")]


@providers
def test_a_capped_code_is_used_up_exactly(company: Company, superuser: psycopg.Connection, carry: Carry) -> None:
    code = code_of(company, "ada")
    company.ok("PATCH", f"/v1/codes/{code}", {"max_uses": 2})
    for person in ("ben", "cleo", "dan"):
        company.sign_up(person)
        carry(company, person, code=code, payer=person)
    assert {each["referee"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]} == {"ben", "cleo"}
    assert decided(company, superuser)[2] == ("code", "rejected", "code_used_up")
    assert company.ok("GET", "/v1/codes?type=auto&user_id=ada")["data"][0]["uses"] == 2


@providers
def test_another_companys_click_and_code_send_nobody(
    company: Company, other: Company, superuser: psycopg.Connection, carry: Carry
) -> None:
    code = code_of(other, "ada")
    company.sign_up("ben")
    assert carry(company, "ben", click=click_on(other, code), code=code).json["outcome"] == "applied"
    assert decided(company, superuser) == [("click", "passed_over", None), ("code", "passed_over", None)]
    assert other.ok("GET", "/v1/users/ada/referrals")["data"] == []


@pytest.mark.parametrize("click", ["nonsense", "clk_", f"clk_{'f' * 32}", "x" * 255, "' OR 1=1 --"])
def test_what_is_no_click_is_passed_over(company: Company, click: str) -> None:
    company.sign_up("ben")
    for person in ("ben", "cleo"):
        assert stripe(company, person, click=click, code="x" * 255, payer=person).status == 200
    assert company.sign_up("cleo")["attribution"]["outcome"] == "none"


def test_a_signup_and_its_payment_at_once_always_meet(company: Company, superuser: psycopg.Connection) -> None:
    amend(company, tiers=FLAT)
    code = code_of(company, "ada")
    people = [f"person-{number}" for number in range(12)]
    with Clients(2) as clients:
        for person in people:
            event = invoice_paid(f"evt_{person}", f"in_{person}", customer=f"cus_{person}")
            details = event["data"]["object"]["parent"]["subscription_details"]
            details |= {"subscription": f"sub_{person}", "metadata": metadata(person, None, code)}
            signup = call(company, "POST", "/v1/signups", {"user": {"external_id": person}})
            answers = clients.fire_each(company.url, [signup, delivery(company, event)])
            assert [answer.status for answer in answers] == [201, 200]
    listed = company.ok("GET", "/v1/users/ada/referrals?limit=100")["data"]
    assert {(each["referee"], each["stage"]) for each in listed} == {(person, "qualified") for person in people}
    assert company.balance("ada") == len(people) * (5 + 25)
    assert books.faults(superuser, company.id) == []
