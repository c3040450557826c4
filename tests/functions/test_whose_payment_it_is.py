"""Two people on one customer: whose a payment is follows from all that was told, and not from its order."""

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import books, rows, stripe_objects
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

NOON = datetime(2031, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
numbers = itertools.count()

_OWNERS = """
    SELECT payment_key, u.external_id, claimed_by
    FROM payments p LEFT JOIN users u ON u.company_id = p.company_id AND u.id = p.user_id WHERE p.company_id = %(id)s
"""


def event_id() -> str:
    return f"evt_whose_{next(numbers)}"


def session(user: str, number: int, at: datetime) -> dict[str, Any]:
    value = stripe_objects.subscribing(
        id=f"cs_{number}", client_reference_id=user, subscription=f"sub_{number}", invoice=f"in_{number}", created=at
    )
    return stripe_objects.event("checkout.session.completed", value, id=event_id())


def invoice(number: int, subscription: int, *, user: str | None = None) -> dict[str, Any]:
    return invoice_paid(
        event_id(), f"in_{number}", user=user, paid_at=NOON + number * HOUR, subscription=f"sub_{subscription}"
    )


def cart(number: int) -> dict[str, Any]:
    """A one-time purchase on the same customer, whose reference is that of a cart."""
    value = stripe_objects.session(
        id=f"cs_{number}", client_reference_id="cart", payment_intent=None, created=NOON + number * HOUR
    )
    return stripe_objects.event("checkout.session.completed", value, id=event_id())


def sign_up(company: Company, person: str, **user: str) -> None:
    code = company.line["ada"]
    company.ok("POST", "/v1/signups", {"user": {"external_id": person, **user}, "referral_code": code})


def deliver(sent: dict[str, Any]) -> Callable[[Company], None]:
    def tell(company: Company) -> None:
        assert company.deliver(sent | {"id": event_id()}).json["outcome"] in {"applied", "parked"}

    return tell


DEEDS: dict[str, Callable[[Company], None]] = {
    "guest pays": deliver(invoice(1, 1)),
    "guest checks out": deliver(session("guest", 1, NOON)),
    "guest's renewal": deliver(invoice(2, 1)),
    "guest signs up": lambda company: sign_up(company, "guest"),
    "ben signs up": lambda company: sign_up(company, "ben", stripe_customer_id="cus_1"),
    "ben checks out": deliver(session("ben", 3, NOON + HOUR)),
    "ben pays": deliver(invoice(3, 3)),
    "ben is named": deliver(invoice(4, 3, user="ben")),
    "somebody buys a cart": deliver(cart(5)),
    "another cart": deliver(cart(6)),
    "cart signs up": lambda company: sign_up(company, "cart"),
    "an app's own word": deliver(invoice(7, 1, user="cleo")),
    "cleo signs up": lambda company: sign_up(company, "cleo"),
}


@pytest.fixture
def company(company: Company) -> Company:
    company.set_clock(NOON + 24 * HOUR)
    company.line["ada"] = company.sign_up("ada")["user"]["referral_code"]
    return company


def owners(superuser: psycopg.Connection, company: Company) -> dict[str, tuple[str | None, str | None]]:
    found = rows.find(superuser, _OWNERS, id=company.id)
    return {row["payment_key"]: (row["external_id"], row["claimed_by"]) for row in found}


def test_a_customer_of_a_guest_who_never_signs_up_is_the_users_who_says_so(
    company: Company, superuser: psycopg.Connection
) -> None:
    for deed in ("guest checks out", "guest pays", "ben signs up", "guest's renewal"):
        DEEDS[deed](company)
    assert owners(superuser, company) == dict.fromkeys(("in_1", "in_2"), ("ben", "key"))


def test_who_was_linked_first_has_it_once_they_sign_up(company: Company, superuser: psycopg.Connection) -> None:
    for deed in ("guest checks out", "guest pays", "ben signs up"):
        DEEDS[deed](company)
    assert [each["stage"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]] == ["qualified"]
    DEEDS["guest signs up"](company)
    assert owners(superuser, company) == {"in_1": ("guest", "key")}
    stages = {each["referee"]: each["stage"] for each in company.ok("GET", "/v1/users/ada/referrals")["data"]}
    assert stages == {"guest": "qualified", "ben": "registered"}
    assert company.balance("ada") == 5 + 5 + 25
    assert books.faults(superuser, company.id) == []


@pytest.mark.soak
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(deeds={"guest checks out", "guest pays", "guest's renewal", "ben signs up"}, again=[], chance=0)
@example(deeds={"somebody buys a cart", "ben signs up", "guest checks out", "cart signs up"}, again=[], chance=1)
@given(
    deeds=st.sets(st.sampled_from(sorted(DEEDS)), min_size=2),
    again=st.lists(st.sampled_from(sorted(DEEDS)), max_size=3),
    chance=st.integers(0, 2**16),
)
def test_in_any_order_it_ends_with_the_same_people(
    server: str, opener: psycopg.Connection, superuser: psycopg.Connection, deeds: set[str], again: list[str],
    chance: int,
) -> None:  # fmt: skip
    ends: list[object] = []
    for order in (sorted(deeds), shuffled([*deeds, *(each for each in again if each in deeds)], chance)):
        company = Company.write(opener, server)
        company.set_clock(NOON + 24 * HOUR)
        company.line["ada"] = company.sign_up("ada")["user"]["referral_code"]
        for deed in order:
            DEEDS[deed](company)
        referrals = company.ok("GET", "/v1/users/ada/referrals")["data"]
        stages = {each["referee"]: (each["stage"], str(each["revenue"])) for each in referrals}
        ends.append((owners(superuser, company), stages, company.balance("ada")))
        assert books.faults(superuser, company.id) == []
        company.close()
    assert ends[0] == ends[1]


def shuffled(deeds: list[str], chance: int) -> list[str]:
    order = sorted(deeds)
    random.Random(chance).shuffle(order)  # noqa: S311 - a reproducible order, no secret
    return order
