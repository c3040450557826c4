"""No statement of a hot path is planned at every call: what PostgreSQL plans anew costs more than most statements do.

A connection plans a prepared statement anew for its first five uses, and then keeps a plan for all where that is no
dearer by its reckoning. Whether it does is in the statement's text.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import psycopg
import pytest

from goodword.access import entitlements
from goodword.core import ids
from goodword.facts.kinds import IdentityLinked, ObjectsLinked, PaymentSucceeded
from goodword.payments import inbox
from goodword.payments.inbox import KeptEvent
from goodword.referral import code_checks
from goodword.referral.code_checks import Browser
from tests.support.everything import click, sign_up
from tests.support.tenants import AsRole, Tenant

CALLS = 50
ANEW_AT_FIRST = 5

numbers = count(1)


@pytest.fixture
def tenant(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Tenant:
    """A company with ada, who has points and a code."""
    tenant = Tenant.open(opener, as_role, superuser)
    sign_up(tenant, "ada")
    assert tenant.adjust("ada", 10_000).status == 201
    return tenant


def code_of_ada(tenant: Tenant) -> str:
    (row,) = tenant.rows("SELECT code FROM codes WHERE company_id = %(company_id)s AND type = 'auto' LIMIT 1")
    return row["code"]


def signing_up(tenant: Tenant) -> Callable[[], object]:
    code = code_of_ada(tenant)
    return lambda: sign_up(tenant, f"ben{next(numbers)}", referral_code=code)


def signing_up_by_click(tenant: Tenant) -> Callable[[], object]:
    clicked = ids.public("clk", click(tenant, code_of_ada(tenant)))
    return lambda: sign_up(tenant, f"ben{next(numbers)}", click_id=clicked)


def following(tenant: Tenant) -> Callable[[], object]:
    code = code_of_ada(tenant)
    return lambda: click(tenant, code)


def checking(tenant: Tenant) -> Callable[[], object]:
    code, connection = code_of_ada(tenant), tenant.connection("click")
    return lambda: code_checks.check(connection, tenant.id, code, Browser(ids.new_id(), f"203.0.113.{next(numbers)}"))


def redeeming(tenant: Tenant) -> Callable[[], object]:
    option = tenant.add_option(cost=1)
    return lambda: tenant.redeem("ada", option)


def using(tenant: Tenant) -> Callable[[], object]:
    return lambda: tenant.consume("ada", "ai_calls")


def giving_back(tenant: Tenant) -> Callable[[], object]:
    used = tenant.consume("ada", "photos", 5).json["usage_id"]
    return lambda: tenant.give_back("ada", used, 1)


def reading_a_balance(tenant: Tenant) -> Callable[[], object]:
    return lambda: tenant.balance("ada")


def reading_entitlements(tenant: Tenant) -> Callable[[], object]:
    return lambda: entitlements.of_user(tenant.connection("app"), tenant.id, "ada")


def paying(tenant: Tenant) -> Callable[[], object]:
    code, endpoint_id = code_of_ada(tenant), ids.parse("whe", tenant.line["stripe_endpoint"].rpartition("/")[2])
    assert endpoint_id is not None

    def pay() -> None:
        person = f"ben{next(numbers)}"
        sign_up(tenant, person, referral_code=code)
        at, objects = datetime.now(UTC), (f"cus_{person}", f"in_{person}")
        event = KeptEvent(
            id=ids.new_id(), company_id=tenant.id, endpoint_company_id=tenant.id, endpoint_id=endpoint_id,
            provider="stripe", event_id=f"evt_{person}", type="invoice.paid", livemode=False, headers={}, body=b"{}",
        )  # fmt: skip
        facts = (
            IdentityLinked(objects, person, None, None, at),
            PaymentSucceeded(objects[1], objects, person, None, None, "usd", 1900, 1900, at, None),
            ObjectsLinked(objects),
        )
        with tenant.transaction("webhook") as connection:
            assert inbox.receive(connection, event, facts).outcome == "applied"

    return pay


@pytest.mark.parametrize(
    ("role", "calling"),
    [
        ("app", signing_up), ("app", signing_up_by_click), ("click", following), ("click", checking),
        ("app", redeeming), ("app", using), ("app", giving_back), ("app", reading_a_balance),
        ("app", reading_entitlements), ("webhook", paying),
    ],
)  # fmt: skip
def test_what_is_asked_again_and_again_is_planned_once(
    tenant: Tenant, role: str, calling: Callable[[Tenant], Callable[[], object]]
) -> None:
    call, connection = calling(tenant), tenant.connection(role)
    before = _planned(connection)
    for _ in range(CALLS):
        call()
    planned = {prepared: times - before.get(prepared, 0) for prepared, times in _planned(connection).items()}
    assert planned, "it was prepared"
    assert {prepared: times for prepared, times in planned.items() if times > ANEW_AT_FIRST} == {}


def _planned(connection: psycopg.Connection) -> dict[tuple[str, str], int]:
    """How many times the statements prepared on a connection, by name and text, were planned anew.

    One text may be prepared under two names, and the connection serves other tests too.
    """
    prepared = connection.execute("SELECT name, statement, custom_plans FROM pg_prepared_statements").fetchall()
    return {(name, statement): times for name, statement, times in prepared}
