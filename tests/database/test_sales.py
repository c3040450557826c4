"""What belongs to one sale: a part of it that stands in for the whole, and how much of it went back."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from goodword.facts import keep
from goodword.facts.kinds import Fact, IdentityLinked, ObjectsLinked, PaymentSucceeded, TakenBack
from tests.support.tenants import AsRole, Tenant
from tests.support.waiting import wait_until_blocked

NOW = datetime(2030, 1, 1, tzinfo=UTC)
INTENT = PaymentSucceeded(
    "intent:pi_1", ("pi_1", "ch_1", "cus_1"), None, None, None, "usd", 1900, 1900, NOW - timedelta(minutes=1), None,
    stands_in_for="pi_1",
)  # fmt: skip
CHARGE = ObjectsLinked(("pi_1", "ch_1"))
INVOICE = PaymentSucceeded("in_1", ("in_1", "cus_1", "sub_1"), None, None, None, "usd", 1900, 1600, NOW, None)
LINK = ObjectsLinked(("in_1", "pi_1"))
BACK = TakenBack("refund", "re_1", ("ch_1",), 500, "usd", "succeeded", NOW, NOW)
BENS = IdentityLinked(("cus_1",), "ben", None, None, NOW)


def counting(tenant: Tenant) -> list[str]:
    """The keys of the payments that count."""
    found = tenant.rows(
        "SELECT payment_key FROM payments WHERE company_id = %(company_id)s AND NOT superseded ORDER BY payment_key"
    )
    return [row["payment_key"] for row in found]


def refunded(tenant: Tenant) -> str | None:
    (row,) = tenant.rows(
        "SELECT payment_key FROM takebacks t LEFT JOIN payments p ON p.company_id = t.company_id"
        " AND p.id = t.payment_id WHERE t.company_id = %(company_id)s"
    )
    return row["payment_key"]


def record(tenant: Tenant, *facts: Fact) -> tuple[set[str], bool]:
    """Store facts; the people concerned, and whether money was parked."""
    with tenant.transaction("webhook") as connection:
        kept = keep(connection, tenant.id, "stripe", facts)
    people = tenant.rows(
        "SELECT external_id FROM users WHERE company_id = %(company_id)s AND id = ANY (%(ids)s)",
        ids=sorted(kept.concerned),
    )
    return {row["external_id"] for row in people}, kept.parked


@pytest.mark.parametrize("order", list(permutations((INTENT, INVOICE, LINK, BACK))))
def test_in_every_order_the_sale_counts_and_its_refund_is_its(tenant: Tenant, order: tuple[Fact, ...]) -> None:
    for fact in order:
        # whoever tells of the intent says which charge was its
        record(tenant, *(fact, CHARGE) if fact is INTENT else (fact,))
    assert counting(tenant) == ["in_1"]
    assert refunded(tenant) == "in_1"


def test_until_the_sale_is_known_its_part_counts(tenant: Tenant) -> None:
    tenant.add_user("ben")
    record(tenant, BENS)
    assert record(tenant, INTENT, CHARGE, BACK) == ({"ben"}, False)
    assert (counting(tenant), refunded(tenant)) == (["intent:pi_1"], "intent:pi_1")
    assert record(tenant, INVOICE) == ({"ben"}, False)
    assert counting(tenant) == ["in_1", "intent:pi_1"], "nothing says yet that they are one"
    assert record(tenant, LINK) == ({"ben"}, False)
    assert (counting(tenant), refunded(tenant)) == (["in_1"], "in_1")


def test_who_had_the_part_and_who_has_the_sale_are_both_concerned(tenant: Tenant) -> None:
    tenant.add_user("ada")
    tenant.add_user("ben")
    record(tenant, PaymentSucceeded(
        "intent:pi_1", ("pi_1",), "ada", None, None, "usd", 1900, 1900, NOW, None, stands_in_for="pi_1"
    ))  # fmt: skip
    sale = PaymentSucceeded("pi_1", ("cs_1", "pi_1"), "ben", None, None, "usd", 1900, 1600, NOW, None)
    assert record(tenant, sale) == ({"ada", "ben"}, False)


def test_a_customers_other_sale_supersedes_nothing(tenant: Tenant) -> None:
    record(tenant, INTENT)
    record(tenant, INVOICE)
    record(tenant, ObjectsLinked(("in_2", "pi_1")))
    assert counting(tenant) == ["in_1", "intent:pi_1"]


def test_a_part_and_its_sale_in_flight_together_do_not_miss_each_other(tenant: Tenant, as_role: AsRole) -> None:
    record(tenant, LINK)
    part = PaymentSucceeded(
        "intent:pi_1", ("pi_1",), None, None, None, "usd", 1900, 1900, NOW, None, stands_in_for="pi_1"
    )
    sale = PaymentSucceeded("in_1", ("in_1",), None, None, None, "usd", 1900, 1600, NOW, None)
    one, another = as_role("webhook"), as_role("webhook")

    def tell_of_the_sale() -> None:
        with another.transaction():
            keep(another, tenant.id, "stripe", [sale])

    other = threading.Thread(target=tell_of_the_sale)
    with one.transaction():
        keep(one, tenant.id, "stripe", [part])
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    assert counting(tenant) == ["in_1"]


def test_a_refund_and_its_sale_two_steps_away_in_flight_together_do_not_miss_each_other(
    tenant: Tenant, as_role: AsRole
) -> None:
    record(tenant, LINK)
    record(tenant, CHARGE)
    one, another = as_role("webhook"), as_role("webhook")

    def tell_of_the_refund() -> None:
        with another.transaction():
            keep(another, tenant.id, "stripe", [BACK])

    other = threading.Thread(target=tell_of_the_refund)
    with one.transaction():
        keep(one, tenant.id, "stripe", [INVOICE])
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    assert refunded(tenant) == "in_1"


@pytest.mark.parametrize(
    ("back", "payment", "part"),
    [
        pytest.param((500, "usd"), (1900, "usd"), (500, 1900), id="one currency"),
        pytest.param((500, "usd"), (1900, "usd", 2500, "eur"), (500, 1900), id="the payment has another one, too"),
        pytest.param((500, "eur", 450, "usd"), (1900, "usd", 2500, "eur"), (500, 2500), id="both have both"),
        pytest.param((500, "usd", 450, "eur"), (1900, "usd", 2500, "eur"), (500, 1900), id="the first one first"),
        pytest.param((500, "gbp", 450, "eur"), (1900, "usd", 2500, "eur"), (450, 2500), id="the others"),
        pytest.param((500, "gbp", 450, "usd"), (1900, "usd", 2500, "eur"), (450, 1900), id="the last resort"),
        pytest.param((500, None), (1900, "usd"), (500, 1900), id="not said"),
        pytest.param((500, "usd"), (1900, None), (500, 1900), id="not known"),
        pytest.param((500, "gbp"), (1900, "usd", 2500, "eur"), (1900, 1900), id="nothing in common"),
    ],
)
def test_how_much_of_a_payment_went_back(
    tenant: Tenant, back: tuple[Any, ...], payment: tuple[Any, ...], part: tuple[int, int]
) -> None:
    gross, paid_in, *other = payment
    amount, currency, *other_amount = back
    record(
        tenant,
        PaymentSucceeded("pay_1", ("pay_1",), None, None, None, paid_in, gross, gross, NOW, None, *other),
        TakenBack("refund", "rf_1", ("pay_1",), amount, currency, "succeeded", NOW, NOW, *other_amount),
    )
    (found,) = tenant.rows(
        "SELECT taken.part, taken.whole FROM takebacks t JOIN payments p ON p.company_id = t.company_id"
        " AND p.id = t.payment_id, taken_part(t, p) AS taken WHERE t.company_id = %(company_id)s"
    )
    assert (found["part"], found["whole"]) == part


def test_thirds_of_a_payment_in_another_currency_come_to_all_of_it(tenant: Tenant) -> None:
    """In the payment's own minor units a third of it would be rounded."""
    record(
        tenant,
        PaymentSucceeded("pay_1", ("pay_1",), None, None, None, "usd", 100, 100, NOW, None, 90, "eur"),
        *(
            TakenBack("refund", f"rf_{number}", ("pay_1",), 30, "eur", "succeeded", NOW, NOW + timedelta(days=number))
            for number in range(3)
        ),
    )
    found = tenant.rows(
        "SELECT taken.part, taken.whole FROM takebacks t JOIN payments p ON p.company_id = t.company_id"
        " AND p.id = t.payment_id, taken_part(t, p) AS taken WHERE t.company_id = %(company_id)s"
    )
    assert sum(row["part"] for row in found) == 90
    assert {row["whole"] for row in found} == {90}
