"""A redemption's points given back: into the very lots they came from, once, and what was bought ends."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from local import setup
from local.postgres import Cluster
from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import LONGEST_SECONDS, wait_until_blocked

NOW = datetime.fromisoformat("2030-01-31T12:00:00Z")
A_MONTH_LATER = datetime.fromisoformat("2030-02-28T12:00:00Z")
TICK = timedelta(microseconds=1)


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user without points, on 31 January 2030."""
    tenant.set_clock(NOW)
    return tenant.add_user("ada")


def redeem(tenant: Tenant, option: UUID, quantity: int = 1) -> UUID:
    answer = tenant.redeem("ada", option, quantity)
    assert answer.status == 201
    return UUID(hex=answer.json["id"].removeprefix("red_"))


def spend(tenant: Tenant, points: int) -> UUID:
    return redeem(tenant, tenant.add_option(cost=points))


def test_a_refund_is_an_entry_and_gives_the_points_back_into_the_lots_they_came_from(tenant: Tenant, ada: UUID) -> None:
    tenant.post(
        {"user_id": ada, "points": 10, "expiry_months": 1},
        {"user_id": ada, "points": 20},
        {"user_id": ada, "points": 30},
    )
    redemption = spend(tenant, 25)
    assert tenant.remaining(ada) == [0, 5, 30]
    later = NOW + timedelta(days=1)
    tenant.set_clock(later)
    answer = tenant.refund(redemption)
    assert answer.status == 200
    assert {
        "id": f"red_{redemption.hex}", "kind": "quota", "quantity": 1, "cost_points": 25, "status": "refunded",
        "balance_after": 60, "grant": None, "created_at": "2030-01-31T12:00:00.000000Z",
    }.items() <= answer.json.items()  # fmt: skip
    assert tenant.remaining(ada) == [10, 20, 30]
    assert tenant.changes(ada)[3:] == [("REDEMPTION_QUOTA", -25, 0, 35, 0), ("REDEMPTION_REFUND", 25, 0, 60, 0)]
    entry = tenant.entries(ada)[-1]
    assert (entry["reference"], entry["occasion"]) == (f"red_{redemption.hex}", "")
    assert entry["effective_at"] == entry["created_at"] == later
    assert tenant.burned(ada) == [(4, 10, 10), (4, 20, 15), (5, 10, -10), (5, 20, -15)]
    wallet = tenant.wallet(ada)
    assert (wallet["balance"], wallet["total_earned"], wallet["total_spent"], wallet["next_expiry_at"]) == (
        60, 60, 0, A_MONTH_LATER,
    )  # fmt: skip
    stored = tenant.rows("SELECT status, refunded_at FROM redemptions WHERE company_id = %(company_id)s")
    assert stored == [{"status": "refunded", "refunded_at": later}]
    events = tenant.rows("SELECT type, data FROM outbox_events WHERE company_id = %(company_id)s ORDER BY created_at")
    assert [event["type"] for event in events] == ["redemption.fulfilled", "redemption.refunded"]
    assert events[1]["data"]["id"] == f"red_{redemption.hex}"
    actions = tenant.rows("SELECT action FROM activity WHERE company_id = %(company_id)s ORDER BY created_at")
    assert [row["action"] for row in actions] == ["redeemed", "redemption_refunded"]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_refund_happens_once(tenant: Tenant, ada: UUID) -> None:
    """Its key brings its answer again; another key is told."""
    tenant.post({"user_id": ada, "points": 10})
    redemption = spend(tenant, 10)
    first = tenant.refund(redemption, key="once")
    again = tenant.refund(redemption, key="once")
    assert (again.status, again.raw, again.replayed) == (200, first.raw, True)
    key = uuid4().hex
    other = tenant.refund(redemption, key=key)
    assert (other.status, other.json["code"], other.replayed) == (409, "redemption_refunded", False)
    assert tenant.refund(redemption, key=key) == other._replace(replayed=True)
    assert [entry["type"] for entry in tenant.entries(ada)] == ["IMPORT", "REDEMPTION_QUOTA", "REDEMPTION_REFUND"]
    assert tenant.wallet(ada)["balance"] == 10


def test_what_cannot_be_refunded_changes_nothing(tenant: Tenant, other_tenant: Tenant, ada: UUID) -> None:
    tenant.post({"user_id": ada, "points": 20})
    mine, other = spend(tenant, 10), spend(tenant, 10)
    before = tenant.wallet(ada)
    for refused, code in [
        (tenant.refund(uuid4()), "redemption_not_found"),
        (other_tenant.refund(mine), "redemption_not_found"),
    ]:
        assert (refused.status, refused.json["code"]) == (404, code)
    assert tenant.wallet(ada) == before
    assert tenant.refund(mine, key="k").status == 200
    reused = tenant.refund(other, key="k")
    assert (reused.status, reused.json["code"]) == (409, "idempotency_key_reused")
    assert tenant.wallet(ada)["balance"] == 10
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_is_past_its_term_expires_again_at_once(tenant: Tenant, ada: UUID) -> None:
    """In one entry, dated by the refund, however many terms have ended; what has not expired can be spent."""
    for points, months in [(10, 1), (20, 2), (30, 3), (40, None)]:
        tenant.post({"user_id": ada, "points": points, "expiry_months": months})
    redemption = spend(tenant, 75)
    assert tenant.remaining(ada) == [0, 0, 0, 25]
    later = datetime.fromisoformat("2030-04-01T00:00:00Z")
    tenant.set_clock(later)
    answer = tenant.refund(redemption)
    assert answer.json["balance_after"] == 70
    assert tenant.remaining(ada) == [0, 0, 30, 40]
    assert tenant.changes(ada)[5:] == [("REDEMPTION_REFUND", 75, 0, 100, 0), ("EXPIRY", -30, 0, 70, 0)]
    refund, expiry = tenant.entries(ada)[5:]
    assert expiry["effective_at"] == expiry["created_at"] == later
    assert expiry["occasion"] == f"2030-04-01T00:00:00.000000Z txn_{refund['id']}"
    assert tenant.burned(ada)[4:] == [(6, 10, -10), (6, 20, -20), (6, 30, -30), (6, 40, -15), (7, 10, 10), (7, 20, 20)]
    wallet = tenant.wallet(ada)
    assert (wallet["total_spent"], wallet["total_expired"]) == (0, -30)
    assert books.faults(tenant.superuser, tenant.id) == []


def test_yesterday_stays_what_it_was_when_expired_points_come_back(tenant: Tenant, ada: UUID) -> None:
    """A term that ended between spending and refund changes no balance of the days between."""
    tenant.post({"user_id": ada, "points": 10, "expiry_months": 1}, {"user_id": ada, "points": 5})
    redemption = spend(tenant, 10)
    refunded = A_MONTH_LATER + timedelta(days=1)
    moments = [NOW, A_MONTH_LATER - TICK, A_MONTH_LATER, A_MONTH_LATER + TICK, refunded - TICK, refunded]
    said = []
    for moment in moments:
        tenant.set_clock(moment)
        if moment == refunded:
            tenant.refund(redemption)
        said.append(standing(tenant))
    assert said == [(5, -10, 0)] * 5 + [(5, 0, -10)]
    tenant.set_clock(refunded + timedelta(days=1))
    assert [standing(tenant, moment) for moment in moments] == said


def standing(tenant: Tenant, as_of: datetime | None = None) -> tuple[int, int, int]:
    balance = tenant.balance("ada", as_of)
    return balance.balance, balance.total_spent, balance.total_expired


@pytest.mark.parametrize(("offset", "left"), [(-TICK, 10), (timedelta(), 0), (TICK, 0)])
def test_a_refund_beside_the_very_microsecond_of_an_expiry(
    tenant: Tenant, ada: UUID, offset: timedelta, left: int
) -> None:
    tenant.post({"user_id": ada, "points": 10, "expiry_months": 1})
    redemption = spend(tenant, 10)
    tenant.set_clock(A_MONTH_LATER + offset)
    assert tenant.refund(redemption).json["balance_after"] == left == tenant.spendable(ada)
    tenant.set_clock(A_MONTH_LATER + TICK)
    assert tenant.spendable(ada) == 0
    tenant.adjust("ada", 1)
    assert tenant.changes(ada)[2:4] == [("REDEMPTION_REFUND", 10, 0, 10, 0), ("EXPIRY", -10, 0, 0, 0)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_came_back_expires_at_its_own_term(tenant: Tenant, ada: UUID) -> None:
    """Also where nothing else of the wallet would have expired so early."""
    tenant.post({"user_id": ada, "points": 10, "expiry_months": 1}, {"user_id": ada, "points": 5, "expiry_months": 2})
    redemption = spend(tenant, 10)
    tenant.book_expiry()
    tenant.set_clock(A_MONTH_LATER - TICK)
    tenant.refund(redemption)
    assert tenant.spendable(ada) == 15
    tenant.set_clock(A_MONTH_LATER)
    assert tenant.spendable(ada) == 5
    tenant.book_expiry()
    assert tenant.changes(ada)[-1] == ("EXPIRY", -10, 0, 5, 0)
    assert tenant.entries(ada)[-1]["effective_at"] == A_MONTH_LATER
    assert books.faults(tenant.superuser, tenant.id) == []


def test_two_refunds_at_one_instant_both_let_expire(tenant: Tenant, ada: UUID) -> None:
    """Beside what expires at that very instant by itself."""
    tenant.post({"user_id": ada, "points": 30, "expiry_months": 1})
    redemptions = [spend(tenant, 10), spend(tenant, 10)]
    tenant.set_clock(A_MONTH_LATER)
    for redemption in redemptions:
        tenant.refund(redemption)
    assert tenant.changes(ada)[3:] == [
        ("EXPIRY", -10, 0, 0, 0),
        ("REDEMPTION_REFUND", 10, 0, 10, 0), ("EXPIRY", -10, 0, 0, 0),
        ("REDEMPTION_REFUND", 10, 0, 10, 0), ("EXPIRY", -10, 0, 0, 0),
    ]  # fmt: skip
    assert {entry["effective_at"] for entry in tenant.entries(ada)[3:]} == {A_MONTH_LATER}
    assert books.faults(tenant.superuser, tenant.id) == []


def test_debt_is_repaid_out_of_what_comes_back_in_burn_order(tenant: Tenant, ada: UUID) -> None:
    award = {"user_id": ada, "points": 12, "reference": "awd_1", "priority": 200}
    tenant.post(award, {"user_id": ada, "points": 10, "expiry_months": 1}, {"user_id": ada, "points": 20})
    redemption = spend(tenant, 42)
    tenant.post({**award, "type": "REVERSAL"})
    assert tenant.refund(redemption).json["balance_after"] == 30
    assert tenant.changes(ada)[4:] == [
        ("REVERSAL", 0, 12, 0, 12), ("REDEMPTION_REFUND", 42, 0, 42, 12), ("DEBT_REPAYMENT", -12, -12, 30, 0),
    ]  # fmt: skip
    refund, repaid = tenant.entries(ada)[5:]
    assert repaid["reference"] == f"txn_{refund['id']}"
    assert tenant.lots(ada) == [(12, 12, None), (10, 0, A_MONTH_LATER), (20, 18, None)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_expires_again_repays_no_debt(tenant: Tenant, ada: UUID) -> None:
    award = {"user_id": ada, "points": 12, "reference": "awd_1"}
    tenant.post(award, {"user_id": ada, "points": 10, "expiry_months": 1})
    redemption = spend(tenant, 22)
    tenant.set_clock(A_MONTH_LATER)
    tenant.post({**award, "type": "REVERSAL"})
    assert tenant.refund(redemption).json["balance_after"] == 0
    assert tenant.changes(ada)[4:] == [
        ("REDEMPTION_REFUND", 22, 0, 22, 12), ("EXPIRY", -10, 0, 12, 12), ("DEBT_REPAYMENT", -12, -12, 0, 0),
    ]  # fmt: skip
    assert tenant.wallet(ada)["debt"] == 0
    assert books.faults(tenant.superuser, tenant.id) == []


def test_what_came_back_can_be_reversed(tenant: Tenant, ada: UUID) -> None:
    """From the earning's own lot again."""
    award = {"user_id": ada, "points": 10, "reference": "awd_1", "priority": 200}
    tenant.post(award)
    redemption = spend(tenant, 10)
    tenant.post({"user_id": ada, "points": 20})
    tenant.refund(redemption)
    tenant.post({**award, "type": "REVERSAL"})
    assert tenant.lots(ada) == [(10, 0, None), (20, 20, None)]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_the_stock_and_the_limit_get_their_pieces_back(tenant: Tenant, ada: UUID) -> None:
    tenant.post({"user_id": ada, "points": 100})
    option = tenant.add_option(cost=1, stock=3, per_user_limit=3)
    redemption = redeem(tenant, option, 2)
    redeem(tenant, option)
    assert tenant.redeem("ada", option).json["code"] == "out_of_stock"
    assert tenant.refund(redemption).status == 200
    assert tenant.refund(redemption).status == 409
    assert tenant.rows("SELECT stock FROM redemption_options WHERE id = %(id)s", id=option) == [{"stock": 2}]
    redeem(tenant, option, 2)
    assert tenant.redeem("ada", option).json["code"] == "out_of_stock"
    unlimited = tenant.add_option(cost=1)
    tenant.refund(redeem(tenant, unlimited))
    assert tenant.rows("SELECT stock FROM redemption_options WHERE id = %(id)s", id=unlimited) == [{"stock": None}]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_the_quota_that_was_bought_ends_and_no_other(tenant: Tenant, ada: UUID) -> None:
    """What was used of it stays used; all points come back all the same."""
    tenant.post({"user_id": ada, "points": 2})
    first, second = (redeem(tenant, tenant.add_option(cost=1, quantity=quantity)) for quantity in (5, 7))
    assert tenant.consume("ada", "ai_calls", 2).json["extra"] == 10
    later = NOW + timedelta(hours=1)
    tenant.set_clock(later)
    tenant.refund(first)
    assert tenant.wallet(ada)["balance"] == 1
    assert tenant.consume("ada", "ai_calls", 8).json["code"] == "limit_reached"
    assert tenant.consume("ada", "ai_calls", 7).json["extra"] == 0
    assert tenant.consume("ada", "ai_calls").status == 422
    quota = tenant.rows("SELECT redemption_id, used, ended_at FROM quota_grants WHERE company_id = %(company_id)s")
    assert {row["redemption_id"]: (row["used"], row["ended_at"]) for row in quota} == {
        first: (2, later), second: (7, None),
    }  # fmt: skip
    assert books.faults(tenant.superuser, tenant.id) == []


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'gone'", "redemptions_status_ck"),
        ("status = 'refunded'", "redemptions_times_ck"),
        ("refunded_at = created_at", "redemptions_times_ck"),
        ("quantity = 0", "redemptions_quantity_ck"),
    ],
)
def test_a_redemption_that_contradicts_itself_cannot_be_stored(
    tenant: Tenant, ada: UUID, change: LiteralString, constraint: str
) -> None:
    tenant.post({"user_id": ada, "points": 1})
    spend(tenant, 1)
    statement = sql.SQL("UPDATE redemptions SET {} WHERE company_id = %s").format(sql.SQL(change))
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        tenant.superuser.execute(statement, (tenant.id,))
    assert refused.value.diag.constraint_name == constraint


def test_points_cannot_come_back_twice_whatever_the_redemption_says(tenant: Tenant, ada: UUID) -> None:
    """The entry's own key holds, should the status ever be wrong."""
    tenant.post({"user_id": ada, "points": 10})
    redemption, _ = spend(tenant, 5), spend(tenant, 5)
    tenant.refund(redemption)
    tenant.superuser.execute(
        "UPDATE redemptions SET status = 'fulfilled', refunded_at = NULL WHERE id = %s", (redemption,)
    )
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        tenant.refund(redemption)
    assert refused.value.diag.constraint_name == "entries_once_uq"
    assert tenant.wallet(ada)["balance"] == 5


CLIENTS = 20


@pytest.mark.parametrize("one_key", [True, False])
def test_one_redemption_refunded_by_20_clients_at_once_is_refunded_once(
    tenant: Tenant, ada: UUID, *, one_key: bool
) -> None:
    tenant.post({"user_id": ada, "points": 10})
    option = tenant.add_option(cost=5, stock=1)
    redemption = redeem(tenant, option)
    # a client that fails must not keep the others waiting for ever
    start = threading.Barrier(CLIENTS, timeout=LONGEST_SECONDS)

    def refund(client: int) -> tuple[int, bytes]:
        own = tenant.twin()
        own.connection("admin")
        start.wait()
        answer = own.refund(redemption, key="once" if one_key else str(client))
        return answer.status, answer.raw if one_key else b""

    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = list(threads.map(refund, range(CLIENTS)))
    if one_key:
        assert answers == [(200, answers[0][1])] * CLIENTS
    else:
        assert sorted(status for status, _ in answers) == [200] + [409] * (CLIENTS - 1)
    assert tenant.changes(ada)[2:] == [("REDEMPTION_REFUND", 5, 0, 10, 0)]
    assert tenant.rows("SELECT stock FROM redemption_options WHERE id = %(id)s", id=option) == [{"stock": 1}]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_refund_and_uses_of_its_quota_at_once(tenant: Tenant, ada: UUID) -> None:
    """Each use came before the refund or is refused; after the refund's answer there is none."""
    tenant.post({"user_id": ada, "points": 1})
    redemption = redeem(tenant, tenant.add_option(cost=1, quantity=1_000_000))
    clients = 4
    # a client that fails must not keep the others waiting for ever
    start = threading.Barrier(clients + 1, timeout=LONGEST_SECONDS)
    used_some = threading.Event()

    def use(_: int) -> tuple[int, str]:
        own, uses = tenant.twin(), 0
        start.wait()
        while (answer := own.consume("ada", "ai_calls")).status == 200:
            uses += 1
            used_some.set()
        return uses, answer.json["code"]

    with ThreadPoolExecutor(clients) as threads:
        using = [threads.submit(use, client) for client in range(clients)]
        start.wait()
        assert used_some.wait(30)
        assert tenant.refund(redemption).status == 200
        after = tenant.consume("ada", "ai_calls")
        heard = [each.result() for each in using]
    assert after.status == 422
    assert {code for _, code in heard} <= {"limit_reached", "feature_disabled"}
    (quota,) = tenant.rows("SELECT used FROM quota_grants WHERE company_id = %(company_id)s")
    assert quota["used"] == sum(uses for uses, _ in heard) > 0
    assert tenant.wallet(ada)["balance"] == 1
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_use_that_meets_a_refund_half_done_is_whole_or_refused(tenant: Tenant, ada: UUID, cluster: Cluster) -> None:
    """The refund waits for the wallet and holds the quota, for which the use waits."""
    tenant.post({"user_id": ada, "points": 1})
    redemption = redeem(tenant, tenant.add_option(cost=1, quantity=2))
    with ThreadPoolExecutor(2) as threads, psycopg.connect(cluster.superuser_url(setup.DATABASE)) as holder:
        holder.execute("SELECT 1 FROM goodword.wallets WHERE company_id = %s FOR UPDATE", (tenant.id,))
        refunding = threads.submit(tenant.patient_twin("admin").refund, redemption)
        wait_until_blocked(tenant.superuser)
        using = threads.submit(tenant.patient_twin("app").consume, "ada", "ai_calls")
        wait_until_blocked(tenant.superuser, clients=2)
        holder.rollback()
        assert refunding.result().status == 200
        used = using.result().status == 200
    (quota,) = tenant.rows("SELECT used FROM quota_grants WHERE company_id = %(company_id)s")
    assert quota["used"] == used
    assert tenant.consume("ada", "ai_calls").status == 422
    assert books.faults(tenant.superuser, tenant.id) == []
