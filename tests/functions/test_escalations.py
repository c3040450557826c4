"""Reviews that nobody decides on in time are handed on by a job, once, whoever runs it and how often."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from goodword.core.jobs import Batch
from goodword.fraud import escalations
from tests.functions.test_advance_referrals import release
from tests.support.answers import time_of
from tests.support.companies import Company
from tests.support.connections import AsRole
from tests.support.growth import Referrer
from tests.support.suspects import (
    NOON,
    WARY,
    OpenShop,
    ada_of,
    announced,
    awards_for,
    decide,
    queue,
    review_of,
    suspect,
)

DAY = timedelta(days=1)


@pytest.fixture
def shop(open_shop: OpenShop) -> Company:
    """A company with no overdue review; nor has any other one: the job comes by for all companies."""
    shop = open_shop(WARY)
    release(shop)
    return shop


@pytest.fixture
def ada(shop: Company) -> Referrer:
    return ada_of(shop)


def test_a_review_is_handed_on_when_its_time_is_over_and_only_then(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    review_id = suspect(ada, "ben")
    before = shop.ok("PATCH", f"/v1/reviews/{review_id}", {"assigned_to": "Dana", "priority": "high"})
    due_at = time_of(before["due_at"])
    shop.set_clock(due_at - timedelta(microseconds=1))
    assert release(shop)["reviews"] == 0
    shop.set_clock(due_at)
    assert release(shop)["reviews"] == 1
    assert shop.ok("GET", f"/v1/reviews/{review_id}") == before | {
        "status": "escalated", "updated_at": before["due_at"],
    }  # fmt: skip
    shop.set_clock(due_at + DAY)
    assert release(shop)["reviews"] == 0
    assert announced(superuser, shop, "review.escalated") == [{"id": review_id, "referral_id": before["referral_id"]}]
    assert set(awards_for(shop, "ben").values()) == {("held", "review")}
    assert decide(shop, review_id, "approve")["status"] == "approved"


def test_what_was_decided_or_handed_on_before_is_left_alone(
    shop: Company, ada: Referrer, superuser: psycopg.Connection
) -> None:
    approved, rejected, escalated = (suspect(ada, person) for person in ("ben", "cleo", "dan"))
    decide(shop, approved, "approve")
    decide(shop, rejected, "reject")
    decide(shop, escalated, "escalate")
    shop.set_clock(NOON + 30 * DAY)
    assert release(shop)["reviews"] == 0
    assert [review_of(shop, person)["status"] for person in ("ben", "cleo", "dan")] == [
        "approved", "rejected", "escalated",
    ]  # fmt: skip
    assert len(announced(superuser, shop, "review.escalated")) == 1


@pytest.fixture
def overdue(shop: Company, ada: Referrer) -> list[str]:
    """Six reviews whose time is over."""
    reviews = [suspect(ada, f"person_{number}") for number in range(6)]
    shop.set_clock(NOON + 30 * DAY)
    return sorted(reviews)


def escalated(superuser: psycopg.Connection, company: Company) -> list[str]:
    events = announced(superuser, company, "review.escalated")
    return sorted(str(event["id"]) for event in events)


def test_a_review_that_somebody_decides_on_just_now_is_passed_over(
    shop: Company, overdue: list[str], superuser: psycopg.Connection, as_role: AsRole
) -> None:
    jobs = as_role("jobs")
    with superuser.transaction():
        superuser.execute(
            "SELECT FROM reviews WHERE company_id = %s AND public_id('rvw', id) = %s FOR UPDATE", (shop.id, overdue[0])
        )
        assert batch(jobs).counts == {"reviews": 5}
    assert escalated(superuser, shop) == overdue[1:]
    assert release(shop)["reviews"] == 1
    assert escalated(superuser, shop) == overdue


def test_runs_at_once_hand_on_each_review_once(
    shop: Company, overdue: list[str], superuser: psycopg.Connection, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escalations, "REVIEWS_PER_BATCH", 2)
    runs = [as_role("jobs") for _ in range(4)]
    with ThreadPoolExecutor(len(runs)) as pool:
        done = [pool.submit(to_the_end, run) for run in runs]
        assert sum(each.result() for each in done) == len(overdue)
    assert escalated(superuser, shop) == overdue
    assert {review["status"] for review in queue(shop)} == {"escalated"}


def to_the_end(connection: psycopg.Connection) -> int:
    """How many reviews a run hands on, batch by batch."""
    reviews, more = 0, True
    while more:
        done = batch(connection)
        reviews, more = reviews + done.counts["reviews"], done.more
    return reviews


def test_a_run_that_is_killed_hands_on_what_it_has_committed_and_the_next_one_the_rest(
    shop: Company, overdue: list[str], superuser: psycopg.Connection, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escalations, "REVIEWS_PER_BATCH", 4)
    first = as_role("jobs")
    batch(first)
    with first.transaction(force_rollback=True):  # it is killed before it commits
        assert escalations.escalate(first).counts == {"reviews": 2}
    assert len(escalated(superuser, shop)) == 4
    assert release(shop)["reviews"] == 2
    assert escalated(superuser, shop) == overdue


def batch(connection: psycopg.Connection) -> Batch:
    with connection.transaction():
        return escalations.escalate(connection)
