"""Wallets and lots can be written anew from entries and allocations, also while they are in use."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from goodword.insight import checks, windows
from tests.support import books
from tests.support.chain import seal
from tests.support.everything import REFEREE, fill
from tests.support.tenants import Tenant
from tests.support.waiting import again_and_again

WALLETS = "SELECT * FROM wallets WHERE company_id = %(company_id)s ORDER BY user_id"
LOTS = "SELECT id, user_id, amount, remaining FROM lots WHERE company_id = %(company_id)s ORDER BY id"


def rebuild(tenant: Tenant) -> list[tuple[UUID, int, int, int]]:
    return (
        tenant.connection("migrator")
        .execute("SELECT user_id, balance_before, balance_after, lots_changed FROM rebuild_wallets(%s)", (tenant.id,))
        .fetchall()
    )


def patient(tenant: Tenant) -> Tenant:
    """A twin that waits for locks as long as it takes."""
    twin = tenant.twin()
    for role in ("app", "admin", "migrator"):
        twin.connection(role).execute("SET lock_timeout = 0")
        twin.connection(role).execute("SET statement_timeout = 0")
    return twin


def faults(tenant: Tenant) -> dict[str, list[str]]:
    return checks.faults(tenant.connection("admin"), tenant.id, windows.WHOLE)


@pytest.fixture
def ben(tenant: Tenant) -> UUID:
    """Somebody with awards, a gift and a purchase; and Cleo, who is in debt."""
    fill(tenant)
    cleo = tenant.add_user("cleo")
    tenant.post({"user_id": cleo, "points": 5, "reference": "gift"})
    assert tenant.redeem("cleo", tenant.add_option(cost=5)).status == 201
    tenant.post({"user_id": cleo, "points": 5, "type": "REVERSAL", "reference": "gift"})
    (row,) = tenant.rows(
        "SELECT id FROM users WHERE company_id = %(company_id)s AND external_id = %(ben)s", ben=REFEREE
    )
    return row["id"]


@pytest.mark.usefixtures("ben")
def test_what_is_right_is_left_alone(tenant: Tenant) -> None:
    before = (tenant.rows(WALLETS), tenant.rows(LOTS))
    assert rebuild(tenant) == []
    assert (tenant.rows(WALLETS), tenant.rows(LOTS)) == before


TAMPERINGS: dict[str, LiteralString] = {
    "balances": """
        UPDATE wallets SET balance = balance + 7, total_earned = total_earned + 7
        WHERE company_id = %(company_id)s AND debt = 0
    """,
    "totals": """
        UPDATE wallets SET total_spent = total_spent - 1, total_earned = total_earned + 1
        WHERE company_id = %(company_id)s
    """,
    "debts": "UPDATE wallets SET debt = debt + 1 WHERE company_id = %(company_id)s AND balance = 0",
    "versions": "UPDATE wallets SET version = version + 1 WHERE company_id = %(company_id)s",
    "expiries": "UPDATE wallets SET next_expiry_at = NULL WHERE company_id = %(company_id)s",
    "late expiries": """
        UPDATE wallets SET next_expiry_at = next_expiry_at + interval '1 day' WHERE company_id = %(company_id)s
    """,
    "empty lots": "UPDATE lots SET remaining = 0 WHERE company_id = %(company_id)s",
    "full lots": "UPDATE lots SET remaining = amount WHERE company_id = %(company_id)s",
    "no wallets": "DELETE FROM wallets WHERE company_id = %(company_id)s",
}


@pytest.mark.parametrize("what", TAMPERINGS)
@pytest.mark.usefixtures("ben")
def test_what_is_wrong_is_written_anew(tenant: Tenant, what: str) -> None:
    before = (tenant.rows(WALLETS), tenant.rows(LOTS))
    with tenant.superuser.transaction():
        tenant.superuser.execute("SET LOCAL session_replication_role = replica")
        tenant.superuser.execute(TAMPERINGS[what], {"company_id": tenant.id})
    assert faults(tenant) != {}
    assert rebuild(tenant) != []
    assert faults(tenant) == {}
    assert books.faults(tenant.superuser, tenant.id) == []
    assert (tenant.rows(WALLETS), tenant.rows(LOTS)) == before
    assert rebuild(tenant) == []


def test_it_tells_what_it_changed(tenant: Tenant, ben: UUID) -> None:
    balance = tenant.wallet(ben)["balance"]
    tenant.superuser.execute(
        "UPDATE wallets SET balance = 1, total_earned = 1 - total_spent - total_expired - total_reversed"
        " WHERE company_id = %s AND user_id = %s",
        (tenant.id, ben),
    )
    tenant.superuser.execute(
        "UPDATE lots SET remaining = remaining - 1 WHERE company_id = %s AND user_id = %s AND open", (tenant.id, ben)
    )
    (lots,) = tenant.rows(
        "SELECT count(*) FROM lots WHERE company_id = %(company_id)s AND user_id = %(ben)s AND open", ben=ben
    )
    assert rebuild(tenant) == [(ben, 1, balance, lots["count"])]


@pytest.mark.parametrize("role", ["click", "webhook", "app", "admin", "jobs"])
def test_no_function_of_ours_may(tenant: Tenant, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connection(role).execute("SELECT rebuild_wallets(%s)", (tenant.id,))


def test_one_company_alone_is_rebuilt(tenant: Tenant, other_tenant: Tenant) -> None:
    fill(other_tenant)
    other_tenant.superuser.execute("UPDATE wallets SET next_expiry_at = NULL WHERE company_id = %s", (other_tenant.id,))
    before = other_tenant.rows(WALLETS)
    assert rebuild(tenant) == []
    assert other_tenant.rows(WALLETS) == before


@pytest.mark.newest
def test_nothing_is_lost_and_no_check_fails_while_many_post(tenant: Tenant) -> None:
    """Wallets rebuilt and entries sealed all the while: every look at the books finds them right."""
    names = [f"user-{number}" for number in range(4)]
    users = {name: tenant.add_user(name) for name in names}
    option = tenant.add_option(cost=3)
    for user in users.values():
        tenant.post({"user_id": user, "points": 10, "expiry_months": 1})
    looks = list[dict[str, list[str]]]()

    def client(number: int) -> None:
        throw = random.Random(number)  # noqa: S311 - the same throws in every run; no secret
        twin = patient(tenant)
        for turn in range(40):
            name = throw.choice(names)
            reference = f"{number} {turn}"
            twin.post({"user_id": users[name], "points": 5, "reference": reference, "expiry_months": 1})
            if twin.redeem(name, option).status == 201 and throw.random() < 0.5:
                twin.post({"user_id": users[name], "points": 4, "type": "REVERSAL", "reference": reference})
            twin.adjust(name, -1)

    def on_its_own(deed: Callable[[Tenant], object]) -> Callable[[], object]:
        twin = patient(tenant)
        return lambda: deed(twin)

    with (
        again_and_again(on_its_own(lambda twin: looks.append(faults(twin))), pause_seconds=0) as checking,
        again_and_again(on_its_own(rebuild), pause_seconds=0) as rebuilding,
        again_and_again(on_its_own(seal), pause_seconds=0) as sealing,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(client, range(4)))
    assert min(checking["done"], rebuilding["done"], sealing["done"]) > 1
    assert [look for look in looks if look] == []
    assert books.faults(tenant.superuser, tenant.id) == []
    assert rebuild(tenant) == []
