"""Requests of every kind at once about the same people: each waits for another, and none for one that waits for it.

A deadlock ends well, because its victim begins again; but only after a second in which nobody gets on. So it is
PostgreSQL that counts them, in its log.
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.faults.test_late_attribution_at_once import bind
from tests.faults.test_payments_at_once import session_completed
from tests.functions.test_codes import click
from tests.support import books, stripe_objects
from tests.support.clients import Call, Clients, call, delivery
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

PAIRS = 24
NUMBERS = range(PAIRS)
Scene = list[Call]


def code_of(company: Company, person: str) -> str:
    return company.sign_up(person)["user"]["referral_code"]


def invoice(
    number: int, *, name: str = "", user: str | None = None, customer: str = "", code: str | None = None
) -> dict[str, Any]:
    """An invoice of one number's customer and payment intent."""
    return invoice_paid(
        f"evt_{name}{number}", f"in_{name}{number}", user=user, customer=customer or f"cus_{number}",
        subscription=f"sub_{name}{number}", payment_intent=f"pi_{name}{number}",
        metadata={"goodword_code": code} if code else {},
    )  # fmt: skip


def stripe(company: Company, event_id: str, event_type: str, **value: object) -> Call:
    shown = {"created": int(time.time()), "currency": "usd", **value}
    return delivery(company, stripe_objects.event(event_type, shown, id=event_id))


def refund(company: Company, number: int, *, name: str = "") -> Call:
    value = {"id": f"re_{name}{number}", "amount": 1900, "status": "succeeded", "payment_intent": f"pi_{name}{number}"}
    return stripe(company, f"evt_refund_{name}{number}", "refund.created", **value)


def run(function: str) -> Call:
    return Call("POST", f"/_local/functions/{function}Function/invocations", {}, "{}")


def deliver(company: Company, event: object) -> None:
    assert company.deliver(event).status == 200


def payments_with_a_code_and_bindings_of_their_payers(company: Company) -> Scene:
    code = code_of(company, "ada")
    for number in NUMBERS:
        company.sign_up(f"user_{number}")
    return [
        each for number in NUMBERS for each in (
            delivery(company, invoice(number, user=f"user_{number}", code=code)),
            bind(company, f"user_{number}", referral_code=code),
        )
    ]  # fmt: skip


def payments_and_bindings_of_two_people_on_two_customers(company: Company) -> Scene:
    """Each customer is one's by a session, and the other one is named on it next."""
    code, scene = code_of(company, "ada"), Scene()
    for number in NUMBERS[::2]:
        people, customers = (f"a_{number}", f"b_{number}"), (f"cus_{number}_1", f"cus_{number}_2")
        for person, customer in zip(people, customers, strict=True):
            company.sign_up(person)
            session = session_completed(
                f"evt_{customer}", f"cs_{customer}", customer=customer, subscription=f"sub_{customer}", user=person
            )
            deliver(company, session)
        for person, customer in zip(people, reversed(customers), strict=True):
            named = invoice(number, name=f"{customer}_", user=person, customer=customer, code=code)
            scene += [delivery(company, named), bind(company, person, referral_code=code)]
    return scene


def signups_of_people_on_one_customer_and_its_payments(company: Company) -> Scene:
    scene = Scene()
    for number in NUMBERS[::2]:
        customer, code = f"cus_{number}", code_of(company, f"ada_{number}")
        for position, guest in enumerate((f"a_guest_{number}", f"z_guest_{number}")):
            name = f"{number}_{position}"
            session = session_completed(
                f"evt_{name}", f"cs_{name}", customer=customer, subscription=f"sub_{name}", user=guest
            )
            deliver(company, session)
            scene.append(signup(company, code, {"external_id": guest}))
        scene += [
            signup(company, code, {"external_id": f"payer_{number}", "stripe_customer_id": customer}),
            delivery(company, invoice(number, customer=customer)),
            delivery(company, invoice(number, name="own_", user=f"a_guest_{number}", customer=customer, code=code)),
        ]
    return scene


def signup(company: Company, code: str, user: dict[str, object]) -> Call:
    return call(company, "POST", "/v1/signups", {"user": user, "referral_code": code})


def one_sale_told_from_both_ends_refunded_and_bound(company: Company) -> Scene:
    code, scene = code_of(company, "ada"), Scene()
    for number in NUMBERS[::2]:
        user = f"user_{number}"
        company.sign_up(user)
        again = invoice(number, user=user) | {"id": f"evt_again_{number}", "type": "invoice.payment_succeeded"}
        part = {"payment": {"payment_intent": f"pi_{number}"}, "invoice": f"in_{number}"}
        intent = {"id": f"pi_{number}", "amount_received": 1900, "latest_charge": f"ch_{number}"}
        charge = {"id": f"ch_{number}", "amount": 1900, "payment_intent": f"pi_{number}"}
        scene += [
            delivery(company, invoice(number, user=user, code=code)),
            stripe(company, f"evt_part_{number}", "invoice_payment.paid", **part),
            stripe(company, f"evt_pi_{number}", "payment_intent.succeeded", metadata={"goodword_user": user}, **intent),
            stripe(company, f"evt_ch_{number}", "charge.succeeded", **charge),
            refund(company, number),
            delivery(company, again),
            bind(company, user, referral_code=code),
        ]
    return scene


def a_cap_that_changes_while_its_code_is_used(company: Company) -> Scene:
    code = code_of(company, "ada")
    (known,) = company.ok("GET", "/v1/codes?type=auto")["data"]
    for number in NUMBERS:
        company.sign_up(f"user_{number}")
    return [
        each for number in NUMBERS for each in (
            call(company, "PATCH", f"/v1/codes/{known['code']}", {"max_uses": 1000 + number if number % 2 else None}),
            signup(company, code, {"external_id": f"new_{number}"}),
            delivery(company, invoice(number, user=f"user_{number}", code=code)),
            bind(company, f"user_{number}", referral_code=code),
        )
    ]  # fmt: skip


def points_spent_while_what_earned_them_is_taken_back(company: Company) -> Scene:
    option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 5, "cost_points": 10, "stock": 500}
    bought = {"option_id": company.ok("POST", "/v1/redemption-options", option)["id"]}
    code, redemptions = code_of(company, "ada"), "/v1/users/ada/redemptions"
    scene: Scene = [run("AdvanceReferrals"), run("ReleaseAwards"), run("ExpirePoints"), run("ReplayWebhooks")]
    for number in NUMBERS[::2]:
        company.ok("POST", "/v1/signups", {"user": {"external_id": f"user_{number}"}, "referral_code": code})
        deliver(company, invoice(number, user=f"user_{number}"))
        spent = company.ok("POST", redemptions, bought, key=f"before_{number}")["id"]
        scene += [
            call(company, "POST", redemptions, bought, key=f"after_{number}"),
            refund(company, number),
            call(company, "POST", f"/v1/redemptions/{spent}/refund", key=f"back_{number}"),
            delivery(company, invoice(number, name="next_", user=f"user_{number}")),
        ]
    return scene


def programs_that_change_while_people_come_and_pay(company: Company) -> Scene:
    code, scene = code_of(company, "ada"), Scene()
    for number in NUMBERS[::2]:
        company.sign_up(f"user_{number}")
        scene += [
            call(company, "PUT", "/v1/program", {"awards": {"welcome": {"points": number + 1}}}),
            signup(company, code, {"external_id": f"new_{number}"}),
            delivery(company, invoice(number, user=f"user_{number}", code=code)),
            bind(company, f"user_{number}", referral_code=code),
        ]
    return scene


def texts_of_promotion_codes_and_their_uses(company: Company) -> Scene:
    code, scene = code_of(company, "ada"), Scene()
    for number in NUMBERS[::2]:
        user, promotion = f"user_{number}", f"promo_{number}"
        company.sign_up(user, app_id=None)
        used = invoice(number, user=user)
        used["data"]["object"]["discounts"] = [{"id": f"di_{number}", "promotion_code": promotion}]
        scene += [
            delivery(company, used),
            stripe(company, f"evt_promo_{number}", "promotion_code.created", id=promotion, code=code),
            bind(company, user, referral_code=code),
            delivery(company, invoice(number, name="next_", user=user)),
        ]
    return scene


def signups_whose_code_is_off_and_whose_click_is_anothers(company: Company) -> Scene:
    """Half of them name Ada and come by Ben, the others the other way round; some come by a code under a cap."""
    codes = [code_of(company, person) for person in ("ada", "ben")]
    clicks = [click(company, code) for code in codes]
    off, capped = ([f"{name}-{code}" for code in codes] for name in ("OFF", "CAP"))
    for person, (shut, limited) in zip(("ada", "ben"), zip(off, capped, strict=True), strict=True):
        company.ok("POST", "/v1/codes", {"code": shut, "user_id": person, "active": False})
        company.ok("POST", "/v1/codes", {"code": limited, "user_id": person, "max_uses": 1000})
    scene = Scene()
    for number in NUMBERS:
        user = {"user": {"external_id": f"user_{number}"}}
        company.sign_up(f"late_{number}")
        scene += [
            call(company, "POST", "/v1/signups", {
                **user, "referral_code": off[number % 2], "click_id": clicks[1 - number % 2],
            }),
            signup(company, capped[number % 2], {"external_id": f"new_{number}"}),
            bind(company, f"late_{number}", referral_code=capped[number % 2]),
        ]  # fmt: skip
    return scene


SCENES = [
    payments_with_a_code_and_bindings_of_their_payers,
    payments_and_bindings_of_two_people_on_two_customers,
    signups_of_people_on_one_customer_and_its_payments,
    one_sale_told_from_both_ends_refunded_and_bound,
    a_cap_that_changes_while_its_code_is_used,
    points_spent_while_what_earned_them_is_taken_back,
    programs_that_change_while_people_come_and_pay,
    texts_of_promotion_codes_and_their_uses,
    signups_whose_code_is_off_and_whose_click_is_anothers,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nobody_waits_for_one_who_waits_for_them(
    company: Company, clients: Clients, superuser: psycopg.Connection, deadlocks: Callable[[], list[str]],
    scene: Callable[[Company], Scene],
) -> None:  # fmt: skip
    calls = scene(company)
    clients_at_once = 48
    plans = [calls[first::clients_at_once] for first in range(min(clients_at_once, len(calls)))]
    heard = [answer for plan in clients.fire(company.url, plans) for answer in plan]
    refused = {answer.json.get("code") for answer in heard if answer.status >= 300}
    assert refused <= {"insufficient_points"}, [answer.raw for answer in heard if answer.status >= 300]
    assert deadlocks() == []
    assert books.faults(superuser, company.id) == []
