"""A payment finds its person through objects of its sale, also when everything happens at once."""

import threading
from datetime import UTC, datetime

from goodword.facts import keep
from goodword.facts.kinds import IdentityLinked, ObjectsLinked, PaymentSucceeded
from tests.support.tenants import AsRole, Tenant
from tests.support.waiting import wait_until_blocked

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PAID = PaymentSucceeded("in_1", ("in_1",), None, None, None, "usd", 1900, 1900, NOW, None)
BENS = IdentityLinked(("pi_1",), "ben", None, None, NOW)


def owner(tenant: Tenant) -> object:
    (payment,) = tenant.rows("SELECT user_id FROM payments WHERE company_id = %(company_id)s")
    return payment["user_id"]


def test_a_payment_and_a_link_of_its_partner_in_flight_together_do_not_miss_each_other(
    tenant: Tenant, as_role: AsRole
) -> None:
    ben = tenant.add_user("ben")
    paying, linking = as_role("webhook"), as_role("webhook")
    keep(paying, tenant.id, "stripe", [ObjectsLinked(("in_1", "pi_1"))])

    def link() -> None:
        with linking.transaction():
            keep(linking, tenant.id, "stripe", [BENS])

    other = threading.Thread(target=link)
    with paying.transaction():
        keep(paying, tenant.id, "stripe", [PAID])
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    assert owner(tenant) == ben


def test_of_several_people_the_one_linked_first_paid(tenant: Tenant) -> None:
    ada, _ = tenant.add_user("ada"), tenant.add_user("ben")
    connection = tenant.connection("webhook")
    later = IdentityLinked(("cus_1",), "ben", None, None, NOW.replace(month=2))
    keep(connection, tenant.id, "stripe", [later])
    keep(connection, tenant.id, "stripe", [IdentityLinked(("sub_1",), "ada", None, None, NOW)])
    paid = PaymentSucceeded("in_2", ("cus_1", "sub_1"), None, None, None, "usd", 100, 100, NOW, None)
    keep(connection, tenant.id, "stripe", [paid])
    assert owner(tenant) == ada
