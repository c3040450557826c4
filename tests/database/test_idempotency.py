"""Idempotency-Keys: the first request with a key decides, and its twins wait for it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from goodword.core.idempotency import is_decision
from tests.support.tenants import Answer, AsRole, Tenant
from tests.support.waiting import LONGEST_SECONDS, wait_until_blocked

FIRST, OTHER = b"first request", b"other request"


def claim(connection: psycopg.Connection, company_id: UUID, key: str, hashed: bytes) -> tuple[str, int, bytes]:
    row = connection.execute(
        "SELECT outcome, status, body FROM claim_idempotency_key(%s, %s, %s)", (company_id, key, hashed)
    ).fetchone()
    assert row is not None
    return row


def store(connection: psycopg.Connection, company_id: UUID, key: str, body: bytes, status: int = 201) -> None:
    connection.execute("SELECT keep_idempotent_answer(%s, %s, %s::smallint, %s)", (company_id, key, status, body))


@contextmanager
def meanwhile(work: Callable[[], tuple[str, int, bytes]]) -> Iterator[Future[tuple[str, int, bytes]]]:
    """Run something in a thread of its own while the block runs; its result is there afterwards."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(work)


def test_a_key_is_claimed_once_and_replayed_ever_after(tenant: Tenant) -> None:
    connection = tenant.connection("app")
    assert claim(connection, tenant.id, "k", FIRST) == ("claimed", None, None)
    store(connection, tenant.id, "k", b"answer")
    for _ in range(2):
        assert claim(connection, tenant.id, "k", FIRST) == ("replayed", 201, b"answer")


def test_another_request_under_the_key_is_told_so(tenant: Tenant) -> None:
    connection = tenant.connection("app")
    claim(connection, tenant.id, "k", FIRST)
    store(connection, tenant.id, "k", b"answer")
    assert claim(connection, tenant.id, "k", OTHER) == ("reused", None, None)


@pytest.mark.parametrize("kept", [False, True])
def test_what_decided_nothing_leaves_the_key_free(tenant: Tenant, *, kept: bool) -> None:
    connection = tenant.connection("app")
    statuses = [status for status in range(100, 600) if is_decision(status) is kept]
    for status in statuses:
        key = f"k{status}"
        assert claim(connection, tenant.id, key, FIRST)[0] == "claimed"
        store(connection, tenant.id, key, b"answer", status)
        assert claim(connection, tenant.id, key, FIRST)[0] == ("replayed" if kept else "claimed")
    assert {200, 201, 204, 409, 422} <= set(statuses) if kept else {400, 401, 403, 404, 413, 429, 503} <= set(statuses)


def test_a_key_that_is_kept_for_a_time_is_free_again_after_it(tenant: Tenant) -> None:
    connection = tenant.connection("click")
    kept_for_a_day = "SELECT outcome, status, body FROM claim_idempotency_key(%s, 'k', %s, interval '1 day')"
    connection.execute(kept_for_a_day, (tenant.id, FIRST))
    store(connection, tenant.id, "k", b"answer")
    replayed = connection.execute(kept_for_a_day, (tenant.id, FIRST)).fetchone()
    assert replayed == ("replayed", 201, b"answer")
    tenant.superuser.execute("UPDATE idempotent_answers SET kept_until = clock_timestamp() WHERE key = 'k'")
    assert connection.execute(kept_for_a_day, (tenant.id, OTHER)).fetchone() == ("claimed", None, None)
    store(connection, tenant.id, "k", b"another answer")
    replayed = connection.execute(kept_for_a_day, (tenant.id, OTHER)).fetchone()
    assert replayed == ("replayed", 201, b"another answer")


def test_an_answer_past_its_retention_is_not_done_again(tenant: Tenant) -> None:
    connection = tenant.connection("app")
    claim(connection, tenant.id, "k", FIRST)
    tenant.superuser.execute("UPDATE idempotent_answers SET status = NULL, body = NULL WHERE key = 'k'")
    assert claim(connection, tenant.id, "k", FIRST) == ("expired", None, None)
    assert claim(connection, tenant.id, "k", OTHER) == ("reused", None, None)


def test_companies_have_keys_of_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    assert claim(tenant.connection("app"), tenant.id, "k", FIRST)[0] == "claimed"
    assert claim(other_tenant.connection("app"), other_tenant.id, "k", OTHER)[0] == "claimed"


@pytest.mark.parametrize(("hashed", "expected"), [
    (FIRST, ("replayed", 201, b"answer")),
    (OTHER, ("reused", None, None)),
])  # fmt: skip
def test_a_twin_in_flight_waits_for_the_answer(
    tenant: Tenant, as_role: AsRole, hashed: bytes, expected: tuple[str, int, bytes]
) -> None:
    first, twin = tenant.connection("app"), as_role("app")
    first.execute("BEGIN")
    assert claim(first, tenant.id, "k", FIRST)[0] == "claimed"
    with meanwhile(lambda: claim(twin, tenant.id, "k", hashed)) as answer:
        wait_until_blocked(tenant.superuser)
        store(first, tenant.id, "k", b"answer")
        first.execute("COMMIT")
        assert answer.result() == expected


def test_a_twin_takes_over_when_the_first_decided_nothing(tenant: Tenant, as_role: AsRole) -> None:
    first, twin = tenant.connection("app"), as_role("app")
    first.execute("BEGIN")
    assert claim(first, tenant.id, "k", FIRST)[0] == "claimed"
    with meanwhile(lambda: claim(twin, tenant.id, "k", OTHER)) as answer:
        wait_until_blocked(tenant.superuser)
        store(first, tenant.id, "k", b"nobody known", 404)
        first.execute("COMMIT")
        assert answer.result() == ("claimed", None, None)


def test_a_twin_takes_over_when_the_first_fails(tenant: Tenant, as_role: AsRole) -> None:
    first, twin = tenant.connection("app"), as_role("app")
    first.execute("BEGIN")
    assert claim(first, tenant.id, "k", FIRST)[0] == "claimed"
    with meanwhile(lambda: claim(twin, tenant.id, "k", FIRST)) as answer:
        wait_until_blocked(tenant.superuser)
        first.execute("ROLLBACK")
        assert answer.result() == ("claimed", None, None)


def test_many_twins_do_it_once(tenant: Tenant) -> None:
    """One redemption; the same bytes for everyone."""
    user_id = tenant.add_user("ada")
    tenant.post({"user_id": user_id, "points": 100})
    option = tenant.add_option(cost=10)
    twins = 8
    others = [tenant.twin() for _ in range(twins)]
    start = threading.Barrier(twins, timeout=LONGEST_SECONDS)

    def redeem(other: Tenant) -> Answer:
        start.wait()
        return other.redeem("ada", option, key="once")

    with ThreadPoolExecutor(twins) as threads:
        answers = list(threads.map(redeem, others))
    assert {(status, raw) for status, raw, _ in answers} == {(201, answers[0].raw)}
    assert sorted(replayed for *_, replayed in answers) == [False] + [True] * (twins - 1)
    assert tenant.wallet(user_id)["balance"] == 90
