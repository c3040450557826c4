"""Sliding windows: hits are counted one after the other, in real time, and only where they were let through."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    most=st.integers(1, 4),
    seconds=st.sampled_from([1, 60, 3600]),
    pauses=st.lists(st.one_of(st.integers(0, 3), st.integers(0, 4 * 10**9)), min_size=1, max_size=16),
)
def test_no_interval_of_a_window_s_length_holds_more_than_the_limit(
    tenant: Tenant, most: int, seconds: int, pauses: list[int]
) -> None:
    """At any offset: intervals that end between hits hold no more than those that end at one."""
    window, at, taken = timedelta(seconds=seconds), datetime(2027, 1, 15, tzinfo=UTC), list[datetime]()
    known: list[datetime] = []
    for pause in pauses:
        at += timedelta(microseconds=pause * seconds // 1000)
        counted, retry_after = hits_with(tenant, known, at, most, window)
        is_full = sum(hit > at - window for hit in taken) == most
        assert (counted is None) == is_full == (retry_after is not None)
        if counted is None:
            assert retry_after is not None
            assert 1 <= retry_after <= seconds
            free = at + timedelta(seconds=retry_after)
            assert hits_with(tenant, known, free, most, window)[0] is not None
            assert hits_with(tenant, known, free - timedelta(seconds=1), most, window)[0] is None
        else:
            taken.append(at)
            known = counted
    assert all(later - first >= window for first, later in zip(taken, taken[most:], strict=False))


def hits_with(
    tenant: Tenant, known: list[datetime], at: datetime, most: int, window: timedelta
) -> tuple[list[datetime] | None, int | None]:
    """What a hit at that instant comes to."""
    values = {"known": known, "at": at, "most": most, "window": window}
    statement = "SELECT hits, retry_after FROM hits_with(%(known)s::timestamptz[], %(at)s, %(most)s, %(window)s)"
    return tenant.connection("admin").execute(statement, values).fetchall()[0]


def test_a_limit_that_was_lowered_waits_for_as_many_hits_as_are_too_many(tenant: Tenant) -> None:
    minute, at = timedelta(minutes=1), datetime(2027, 1, 15, tzinfo=UTC)
    known = [at - timedelta(seconds=seconds) for seconds in (50, 40, 30, 20)]
    assert [hits_with(tenant, known, at, most, minute)[1] for most in (4, 3, 2, 1, 0)] == [10, 20, 30, 40, 60]


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
