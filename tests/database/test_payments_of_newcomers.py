"""A payment that waits for its person to sign up is theirs, whichever comes first; and whom events link."""

import threading
from datetime import UTC, datetime, timedelta

from goodword.facts.kinds import IdentityLinked, PaymentSucceeded
from goodword.payments import inbox
from goodword.referral import signups
from goodword.referral.signups import Signup, SignupIds
from tests.support.everything import BASE_URL
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked

AT = datetime(2026, 1, 1, tzinfo=UTC)
LINK = IdentityLinked(("cus_1",), "ben", None, None, AT)
PAYMENT = PaymentSucceeded("in_1", ("cus_1", "in_1"), None, None, None, "usd", 1900, 1900, AT, None)


def test_who_signs_up_while_a_payment_of_their_customer_waits_for_them_has_it(tenant: Tenant) -> None:
    """The customer is linked to them before; the payment's event has found no user yet, and waits for the person."""
    with tenant.transaction("webhook") as connection:
        inbox.apply(connection, tenant.id, "stripe", [LINK])
    other = threading.Thread(target=_pay, args=[tenant.patient_twin("webhook")])
    with tenant.transaction("app") as connection:
        signup = Signup.model_validate({"user": {"external_id": "ben"}})
        signups.sign_up(connection, tenant.id, signup, SignupIds(), BASE_URL)()
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    (payment,) = tenant.rows("SELECT user_id FROM payments WHERE company_id = %(company_id)s")
    assert payment["user_id"] is not None


def test_an_event_that_says_twice_whom_it_links_says_it_once(tenant: Tenant) -> None:
    by_reference = IdentityLinked(("cus_1",), None, None, None, AT - timedelta(days=1), "ben")
    with tenant.transaction("webhook") as connection:
        inbox.apply(connection, tenant.id, "stripe", [LINK, LINK, by_reference])
    links = tenant.rows("SELECT by_reference, linked_at FROM identity_links WHERE company_id = %(company_id)s")
    assert links == [{"by_reference": False, "linked_at": by_reference.at}]


def _pay(tenant: Tenant) -> None:
    with tenant.transaction("webhook") as connection:
        inbox.apply(connection, tenant.id, "stripe", [PAYMENT])
