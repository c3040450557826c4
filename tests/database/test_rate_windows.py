"""Sliding windows: hits are counted one after the other, in real time, and only where they were let through."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked


def hit(
    tenant: Tenant, most: int, *, subject: bytes = b"ada", connection: psycopg.Connection | None = None
) -> int | None:
    """One hit on a window of a minute: None, or how long to wait."""
    row = (connection or tenant.connection("admin")).execute(
        "SELECT take_hit(%s, 'test', %s, %s, interval '1 minute')", (tenant.id, subject, most)
    )
    return row.fetchall()[0][0]


def grow_older(tenant: Tenant, seconds: float) -> None:
    """As if all hits had been made so much earlier."""
    tenant.superuser.execute(
        "UPDATE rate_windows SET hits = ARRAY(SELECT hit - make_interval(secs => %s) FROM unnest(hits) AS hit)"
        " WHERE company_id = %s",
        (seconds, tenant.id),
    )


def test_a_window_slides(tenant: Tenant) -> None:
    assert hit(tenant, 2) is None
    grow_older(tenant, 20)
    assert hit(tenant, 2) is None
    assert hit(tenant, 2) in {39, 40}  # when the first is a minute old
    grow_older(tenant, 40)
    assert hit(tenant, 2) is None
    assert hit(tenant, 2) in {19, 20}


def test_a_refused_hit_does_not_count(tenant: Tenant) -> None:
    assert hit(tenant, 1) is None
    grow_older(tenant, 30)
    assert [hit(tenant, 1) in {29, 30} for _ in range(3)] == [True] * 3
    grow_older(tenant, 30)
    assert hit(tenant, 1) is None


def test_nothing_fits_into_a_window_for_none(tenant: Tenant) -> None:
    assert hit(tenant, 0) == 60


def test_subjects_and_companies_have_windows_of_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    assert [hit(tenant, 1), hit(tenant, 1, subject=b"bob"), hit(other_tenant, 1)] == [None] * 3
    assert None not in [hit(tenant, 1), hit(tenant, 1, subject=b"bob"), hit(other_tenant, 1)]


def test_a_set_clock_moves_no_window(tenant: Tenant) -> None:
    assert hit(tenant, 1) is None
    tenant.set_clock(datetime(2100, 1, 1, tzinfo=UTC))
    assert hit(tenant, 1) is not None


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("commits", [True, False])
def test_a_hit_waits_for_the_one_before_it(tenant: Tenant, known: bool, commits: bool) -> None:  # noqa: FBT001 - cases
    """And counts it only if it was committed, whether or not the window was there before."""
    if known:
        hit(tenant, 1)
        grow_older(tenant, 60)
    twin, first = tenant.twin(), tenant.connection("admin")
    with ThreadPoolExecutor(1) as thread:
        with first.transaction(force_rollback=not commits):
            assert hit(tenant, 1, connection=first) is None
            second = thread.submit(hit, twin, 1)
            wait_until_blocked(tenant.superuser)
        assert (second.result() is None) == (not commits)
