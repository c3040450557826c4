"""A posting whose connection ends in the middle, at each table it writes to: nothing of it stays.

Sent again it is done, and sent once more it is answered as before.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from goodword.core import ids
from local import setup
from local.postgres import Cluster
from tests.support import books, rows, tellers
from tests.support.tellers import Order
from tests.support.tenants import AsRole, Tenant
from tests.support.waiting import wait_until_blocked

_CHANGING = (
    "wallets", "lots", "redemptions", "redemption_options", "quota_grants", "usage_counters", "access_grants",
    "grant_intervals", "grant_schedules",
)  # fmt: skip

_END_BLOCKED = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename LIKE 'goodword\\_%' AND datname = current_database() AND wait_event_type = 'Lock'
"""


class Scene(NamedTuple):
    """Ada earned 90 points, spent 40 of them, and waits for a reward; Ben has no wallet yet.

    The last of an unlock is left.
    """

    tenant: Tenant
    option: UUID
    unlock: UUID
    redemption: UUID
    unlocked: UUID
    reward: UUID

    @classmethod
    def of(cls, tenant: Tenant) -> "Scene":
        ada, _ = tenant.add_user("ada"), tenant.add_user("ben")
        tenant.post({"user_id": ada, "points": 20, "reference": "one"}, {"user_id": ada, "points": 30})
        option = tenant.add_option(cost=5, stock=10)
        redemption = _redeemed(tenant, option, 8)
        tenant.post({"user_id": ada, "points": 40})
        unlock, reward = tenant.add_unlock(cost=10, stock=2), tenant.add_reward(cost=10, stock=1)
        return cls(tenant, option, unlock, redemption, _redeemed(tenant, unlock), _redeemed(tenant, reward))

    def users(self) -> list[UUID]:
        found = self.tenant.rows("SELECT id FROM users WHERE company_id = %(company_id)s ORDER BY external_id")
        return [row["id"] for row in found]

    def stands(self) -> dict[str, Any]:
        """What is stored: how many rows in every table, and the rows that postings change."""
        superuser = self.tenant.superuser
        look = sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE company_id = %s ORDER BY 1")
        changing = {
            table: superuser.execute(look.format(sql.Identifier(table)), (self.tenant.id,)).fetchall()
            for table in _CHANGING
        }
        return {"counts": rows.count(superuser, self.tenant.id), **changing}


def _redeemed(tenant: Tenant, option: UUID, quantity: int = 1) -> UUID:
    redemption = ids.parse("red", tenant.redeem("ada", option, quantity).json["id"])
    assert redemption is not None
    return redemption


def _post(scene: Scene) -> Order:
    """Takes back more than Ada has, gives Ben his first points, and gives Ada some that repay her debt."""
    ada, ben = scene.users()
    return tellers.post(
        scene.tenant,
        "post",
        {"user_id": ada, "type": "REVERSAL", "points": 20, "reference": "one", "note": "charged back"},
        {"user_id": ben, "type": "IMPORT", "points": 30, "reference": "two"},
        {"user_id": ada, "type": "IMPORT", "points": 30, "reference": "three"},
    )


def _redeem(scene: Scene) -> Order:
    return tellers.redeem(scene.tenant, "redeem", "ada", scene.option)


def _refund(scene: Scene) -> Order:
    return tellers.refund(scene.tenant, "refund", scene.redemption)


def _unlock(scene: Scene) -> Order:
    return tellers.redeem(scene.tenant, "unlock", "ada", scene.unlock)


def _lock(scene: Scene) -> Order:
    return tellers.refund(scene.tenant, "lock", scene.unlocked)


def _fail(scene: Scene) -> Order:
    """A reward that cannot be given."""
    return tellers.fail(scene.tenant, "fail", scene.reward)


POSTINGS: dict[Callable[[Scene], Order], tuple[str, ...]] = {
    _post: ("wallets", "entries", "entry_notes", "lots", "allocations"),
    _redeem: (
        "idempotent_answers", "entries", "lots", "allocations", "redemption_options", "redemptions", "quota_grants",
        "outbox_events", "activity", "wallets",
    ),
    _refund: (
        "idempotent_answers", "redemption_options", "entries", "lots", "allocations", "wallets", "quota_grants",
        "redemptions", "outbox_events", "activity",
    ),
    _unlock: ("redemption_options", "wallets", "redemptions", "access_grants", "grant_intervals", "outbox_events"),
    _lock: ("redemption_options", "wallets", "access_grants", "grant_intervals", "redemptions", "activity"),
    _fail: ("redemption_options", "entries", "wallets", "redemptions", "outbox_events"),
}  # fmt: skip


@pytest.fixture
def scene(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Scene:
    return Scene.of(Tenant.open(opener, as_role, superuser))


@pytest.mark.parametrize(("make", "table"), [(make, table) for make, tables in POSTINGS.items() for table in tables])
def test_a_posting_killed_in_the_middle_leaves_nothing_and_is_done_when_sent_again(
    scene: Scene, cluster: Cluster, as_role: AsRole, make: Callable[[Scene], Order], table: str
) -> None:
    before = scene.stands()
    order = make(scene)
    kill_at(table, order, cluster, scene.tenant.superuser, as_role(order.role))
    assert scene.stands() == before

    first = order.carry_out(as_role(order.role))
    done = scene.stands()
    assert done["counts"] - before["counts"], "it was done"
    again = order.carry_out(as_role(order.role))
    assert [row[:2] for row in again] == [row[:2] for row in first]
    assert scene.stands() == done, "once"
    assert books.faults(scene.tenant.superuser, scene.tenant.id) == []


def kill_at(
    table: str, order: Order, cluster: Cluster, superuser: psycopg.Connection, connection: psycopg.Connection
) -> None:
    """Send an order, and end its connection when it is about to write to a table."""
    with psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder, ThreadPoolExecutor(1) as thread:
        tellers.be_patient(connection)
        holder.execute(sql.SQL("LOCK TABLE goodword.{} IN SHARE MODE").format(sql.Identifier(table)))
        working = thread.submit(order.carry_out, connection)
        try:
            wait_until_blocked(superuser)
        finally:
            superuser.execute(_END_BLOCKED)
        with pytest.raises(psycopg.OperationalError):
            working.result()
