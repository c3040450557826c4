"""Linking by e-mail below the handlers: late verification, keys that come and go, and who waits for whom."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from goodword.awards import settlement
from goodword.core import privacy
from goodword.facts import by_email, keep, locks, ownership
from goodword.facts.kinds import EmailSeen, Fact, PaymentSucceeded
from goodword.fraud.first_payments import FirstPayments
from tests.support.everything import sign_up
from tests.support.tenants import AsRole, Tenant
from tests.support.waiting import wait_until_blocked

EMAIL, ANOTHER = "ben@app.example", "another@app.example"


def paid(number: int = 1, email: str | None = EMAIL) -> list[Fact]:
    objects = (f"in_{number}", "cus_1")
    payment = PaymentSucceeded(f"in_{number}", objects, None, None, None, "usd", 1900, 1900, datetime.now(UTC), None)
    return [payment, EmailSeen(objects, email)] if email else [payment]


def tell(tenant: Tenant, facts: list[Fact]) -> tuple[list[UUID], bool]:
    with tenant.transaction("webhook") as connection:
        kept = keep(connection, tenant.id, "stripe", facts)
        settlement.settle(connection, tenant.id, sorted(kept.concerned), FirstPayments())
    return sorted(kept.concerned), kept.parked


def enter(tenant: Tenant, person: str, email: str = EMAIL, *, verified: bool = True, code: str | None = None) -> str:
    user = {"external_id": person, "email": email, "email_verified": verified}
    own = sign_up(tenant, person, user=user, referral_code=code).user.referral_code
    assert own is not None
    return own


def verify(tenant: Tenant, person: str) -> list[UUID]:
    """What a route does that hears from the app that a user's e-mail has been verified."""
    with tenant.transaction("app") as connection:
        email = by_email.hashed(connection, EMAIL)
        assert email is not None
        locks.hold_emails(connection, tenant.id, email.hashes)
        locks.hold_people(connection, tenant.id, [person])
        connection.execute(
            "UPDATE users SET email_verified = true, verified_email = %s WHERE company_id = %s AND external_id = %s",
            (email.email, tenant.id, person),
        )
        by_email.verify(connection, tenant.id, email)
        concerned = ownership.claim_of(connection, tenant.id, person, email.hashes)
        settlement.settle(connection, tenant.id, concerned, FirstPayments())
    return concerned


def owners(tenant: Tenant) -> list[str | None]:
    rows = tenant.rows(
        """
        SELECT u.external_id FROM payments p LEFT JOIN users u ON u.company_id = p.company_id AND u.id = p.user_id
        WHERE p.company_id = %(company_id)s ORDER BY p.payment_key
        """
    )
    return [row["external_id"] for row in rows]


@pytest.fixture
def keys(superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A connection that may change the deployment's privacy keys, which this process then reads each time."""
    monkeypatch.setattr(privacy, "_kept", None)
    monkeypatch.setattr(privacy, "KEPT_SECONDS", -1)
    before = superuser.execute("SELECT id, key FROM privacy_keys").fetchall()
    yield superuser
    superuser.execute("DELETE FROM privacy_keys WHERE id <> ALL (%s)", [[key_id for key_id, _ in before]])
    for key_id, key in before:
        superuser.execute("UPDATE privacy_keys SET key = %s WHERE id = %s", (key, key_id))


def add_key(keys: psycopg.Connection) -> None:
    keys.execute("INSERT INTO privacy_keys (key) VALUES (sha256(uuid_send(gen_random_uuid())))")


def destroy_all_keys(keys: psycopg.Connection) -> None:
    keys.execute("UPDATE privacy_keys SET key = NULL")


# Verified late


def test_what_is_parked_is_claimed_when_its_e_mail_is_verified(tenant: Tenant) -> None:
    ada = enter(tenant, "ada", ANOTHER)
    enter(tenant, "ben", verified=False, code=ada)
    assert tell(tenant, paid()) == ([], True)
    assert len(verify(tenant, "ben")) == 1
    assert owners(tenant) == ["ben"]
    assert tenant.balance("ada").balance == 5 + 25
    assert len(tell(tenant, paid(2, None))[0]) == 1


def test_a_second_one_who_verifies_it_takes_it_from_the_first_and_gives_it_to_nobody(tenant: Tenant) -> None:
    ada = enter(tenant, "ada", ANOTHER)
    enter(tenant, "ben", code=ada)
    enter(tenant, "twin", verified=False)
    tell(tenant, paid())
    assert tenant.balance("ada").balance == 5 + 25
    (former,) = verify(tenant, "twin")
    assert tenant.rows("SELECT external_id FROM users WHERE id = %(id)s", id=former) == [{"external_id": "ben"}]
    assert owners(tenant) == [None]
    assert tenant.balance("ada").balance == 5


# Keys


def test_with_several_keys_everybody_is_found(tenant: Tenant, keys: psycopg.Connection) -> None:
    tell(tenant, paid())
    add_key(keys)
    enter(tenant, "ben")
    assert owners(tenant) == ["ben"]
    add_key(keys)
    tell(tenant, [paid(2)[0], EmailSeen(("in_2", "cus_2"), EMAIL)])
    assert owners(tenant) == ["ben", "ben"]


def test_what_was_hashed_under_a_destroyed_key_is_nobodys_any_more(tenant: Tenant, keys: psycopg.Connection) -> None:
    tell(tenant, paid())
    destroy_all_keys(keys)
    add_key(keys)
    enter(tenant, "ben")
    assert owners(tenant) == [None]
    tell(tenant, paid())  # the provider shows it again
    assert owners(tenant) == ["ben"]


def test_a_user_is_found_whose_signup_no_key_remembers(tenant: Tenant, keys: psycopg.Connection) -> None:
    enter(tenant, "ben")
    destroy_all_keys(keys)
    add_key(keys)
    tell(tenant, paid())
    tell(tenant, paid(2, None))
    assert owners(tenant) == ["ben", "ben"]


def test_without_any_key_a_new_one_is_made(tenant: Tenant, keys: psycopg.Connection) -> None:
    enter(tenant, "ben")
    destroy_all_keys(keys)
    tell(tenant, paid())
    assert owners(tenant) == ["ben"]


# Who waits for whom


@pytest.mark.parametrize("first", ["payment", "signup"])
def test_a_payment_and_a_signup_wait_for_each_other_at_an_e_mail_of_before(
    tenant: Tenant, as_role: AsRole, first: str
) -> None:
    """The payment does not show the e-mail: its customer was seen with it."""
    tell(tenant, [EmailSeen(("cus_1",), EMAIL)])
    twin = Tenant(tenant.line, as_role, tenant.superuser)
    deeds = {"payment": lambda: tell(twin, paid(1, None)), "signup": lambda: enter(twin, "ben")}
    other = threading.Thread(target=deeds["signup" if first == "payment" else "payment"])
    with tenant.connection("webhook" if first == "payment" else "app").transaction():
        if first == "payment":
            keep(tenant.connection("webhook"), tenant.id, "stripe", paid(1, None))
        else:
            enter(tenant, "ben")
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    assert owners(tenant) == ["ben"]


def test_two_who_verify_two_e_mails_of_one_payment_at_once_both_count(tenant: Tenant, as_role: AsRole) -> None:
    tell(tenant, [*paid(), EmailSeen(("cus_1",), ANOTHER)])
    twin = Tenant(tenant.line, as_role, tenant.superuser)
    other = threading.Thread(target=lambda: enter(twin, "another", ANOTHER))
    with tenant.connection("app").transaction():
        enter(tenant, "ben")
        other.start()
        wait_until_blocked(tenant.superuser)
    other.join()
    assert owners(tenant) == [None]
