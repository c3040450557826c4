"""Two years of one subscriber by the test clock, month by month, worked out by hand.

The default program. Ben comes through ada, who came through zoe, on 31 January 2031 and is billed at every month's end.
Ada is given 5 + 10 for the registration and the first use, 25 for the first month that is kept, 10 for each other paid
month from 2 to 12 and 15 for retention; zoe 5 for each paid month from 1 to 6.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

import pytest

from tests.support import books
from tests.support.plays import Joined, Named, Play, SignUp, Spend
from tests.support.stories import PROGRAMS, REGISTERED, Back, Sale, Status, Subscribed, Use
from tests.support.tenants import Tenant, amend

PRICE = 1900


def on(day: str, hour: int = 10) -> datetime:
    """An hour of a day, ten by default."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def paid(month: int, day: str, *, settled: str | None = None) -> Sale:
    """The payment of a month, whose billing begins on a day; `settled` is when the money came."""
    return Sale(month, PRICE, PRICE, "usd", on(settled or day), on(day))


def refunded(number: int, month: int, day: str, amount: int = PRICE, status: Status = "succeeded") -> Back:
    """A refund of a month's payment, with what became of it on a day. They all begin on 1 May, but the first."""
    return Back("refund", number, month, amount, on("2031-08-10" if number == 1 else "2032-05-01"), status, on(day))


def disputed(month: int, status: Status, began: str, day: str) -> Back:
    """A dispute about a month's payment, with what became of it on a day."""
    return Back("dispute", month, month, PRICE, on(began), status, on(day))


class Row(NamedTuple):
    """A day, the steps of it, and how far the referral is then and what ada and zoe have got for it."""

    day: datetime
    steps: tuple[Sale | Back | Subscribed | Joined | Named | SignUp | Use | Spend, ...]
    stage: str
    ada: int
    zoe: int


EVERYTHING_BACK = tuple(
    each
    for number, month in enumerate([1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], 10)
    for each in (Joined(month), refunded(number, month, "2032-05-01", 950 if month == 7 else PRICE))
)

LIFE = (
    Row(REGISTERED, (SignUp(), Named()), "registered", 5, 0),
    Row(on("2031-01-31", 9) + timedelta(minutes=30), (Use("chat", REGISTERED + timedelta(minutes=30)),),
        "activated", 15, 0),
    # month 1, with a subscription
    Row(on("2031-01-31"), (Subscribed(1, on("2031-01-31")), paid(1, "2031-01-31")), "qualified", 40, 5),
    # February has no 31st
    Row(on("2031-02-28"), (paid(2, "2031-02-28"),), "qualified", 50, 10),
    Row(on("2031-03-02", 9), (), "qualified", 50, 10),
    # thirty days after the first payment, to the hour
    Row(on("2031-03-02"), (), "retained", 65, 10),
    Row(on("2031-03-31"), (paid(3, "2031-03-31"),), "retained", 75, 15),
    # April is paused
    Row(on("2031-04-30"), (), "retained", 75, 15),
    Row(on("2031-05-31"), (paid(5, "2031-05-31"),), "retained", 85, 20),
    # June is paid twelve days late, and is June all the same
    Row(on("2031-06-30"), (), "retained", 85, 20),
    Row(on("2031-07-12"), (paid(6, "2031-06-30", settled="2031-07-12"),), "retained", 95, 25),
    # level 2 has had its six months
    Row(on("2031-07-31"), (paid(7, "2031-07-31"),), "retained", 105, 25),
    # half of July goes back
    Row(on("2031-08-10"), (Joined(7), refunded(1, 7, "2031-08-10", 950)), "retained", 100, 25),
    Row(on("2031-08-31"), (paid(8, "2031-08-31"), Joined(8)), "retained", 110, 25),
    # a dispute about August: what is paid stays, September waits
    Row(on("2031-09-05"), (disputed(8, "open", "2031-09-05", "2031-09-05"),), "retained", 110, 25),
    Row(on("2031-09-30"), (paid(9, "2031-09-30"),), "retained", 110, 25),
    # lost: August is taken back, September is given
    Row(on("2031-10-10"), (disputed(8, "lost", "2031-09-05", "2031-10-10"),), "retained", 110, 25),
    Row(on("2031-10-31"), (paid(10, "2031-10-31"),), "retained", 120, 25),
    # won after all
    Row(on("2031-11-15"), (disputed(8, "won", "2031-09-05", "2031-11-15"),), "retained", 130, 25),
    Row(on("2031-11-30"), (paid(11, "2031-11-30"), Joined(11)), "retained", 140, 25),
    # an inquiry becomes a dispute, which is won: nothing moves
    Row(on("2031-12-03"), (disputed(11, "warning", "2031-12-03", "2031-12-03"),), "retained", 140, 25),
    Row(on("2031-12-05"), (disputed(11, "open", "2031-12-03", "2031-12-05"),), "retained", 140, 25),
    Row(on("2031-12-20"), (disputed(11, "won", "2031-12-03", "2031-12-20"),), "retained", 140, 25),
    Row(on("2031-12-31"), (paid(12, "2031-12-31"),), "retained", 150, 25),
    # a second payment of December, and the months after the twelfth: 31 January, and 29 February of a leap year
    Row(on("2032-01-05"), (paid(13, "2032-01-05"),), "retained", 150, 25),
    Row(on("2032-01-31"), (paid(14, "2032-01-31"),), "retained", 150, 25),
    Row(on("2032-02-29"), (paid(15, "2032-02-29"),), "retained", 150, 25),
    # the subscription ends long after the thirtieth day, and ada spends
    Row(on("2032-03-10"), (Subscribed(1, on("2032-03-10"), on("2032-03-10")),), "retained", 150, 25),
    Row(on("2032-04-01"), (Spend(160),), "retained", 150, 25),
    # all money goes back: what is left is what was given for coming and using, and ada owes what she has spent
    Row(on("2032-05-01"), EVERYTHING_BACK, "cancelled", 15, 0),
    # the refund of month 2 fails: it is the one that qualifies, and the stage comes back with what belongs to it
    Row(on("2032-05-10"), (refunded(11, 2, "2032-05-10", status="failed"),), "retained", 55, 5),
    # and is made once more
    Row(on("2032-05-20"), (refunded(30, 2, "2032-05-20"),), "cancelled", 15, 0),
    # ben comes back, under a new subscription: month 24 qualifies, and thirty days later he is retained anew
    Row(on("2033-01-15"), (Subscribed(2, on("2033-01-15")), paid(24, "2033-01-15")), "qualified", 40, 0),
    Row(on("2033-02-15"), (paid(25, "2033-02-15"),), "retained", 55, 0),
)  # fmt: skip


@pytest.fixture
def subscriber(tenant: Tenant) -> Play:
    """Ben, before he comes. Points do not expire here, so that the table can be read."""
    amend(tenant, PROGRAMS["fixed"])
    return Play(tenant)


@pytest.mark.newest
def test_two_years_month_by_month(subscriber: Play) -> None:
    for row in LIFE:
        subscriber.at(row.day)
        for step in row.steps:
            if isinstance(step, SignUp | Use | Spend):
                subscriber.take(step)
            else:
                subscriber.tell(step)
        subscriber.run_jobs()
        is_now = (subscriber.referral()["stage"], subscriber.gained("ada"), subscriber.gained("zoe"))
        assert is_now == (row.stage, row.ada, row.zoe), row
        assert books.faults(subscriber.tenant.superuser, subscriber.tenant.id) == []
    assert subscriber.spent == 160
    wallet = subscriber.tenant.wallet(subscriber.user("ada"))
    assert (wallet["balance"], wallet["debt"]) == (0, 160 - 25 - 55)
    months = {
        (award["event"], award["period"]): (award["status"], award["points"], award["reversed_points"])
        for award in subscriber.awards()
        if award["period"] is not None
    }
    assert months == {
        ("qualified", 24): ("paid", 25, 0),
        **{("recurring", month): ("reversed", 10, 10) for month in (2, 3, 5, 6, 7, 8, 9, 10, 11, 12)},
        **{("l2", month): ("reversed", 5, 5) for month in (1, 2, 3, 5, 6)},
    }


@pytest.mark.newest
@pytest.mark.parametrize("seed", range(3))
def test_the_same_two_years_told_in_one_night_in_any_order(subscriber: Play, seed: int) -> None:
    """All of it at the end and shuffled, what ada spends aside: it comes to the same."""
    steps = [step for row in LIFE for step in row.steps if not isinstance(step, Use | Spend | SignUp)]
    Random(seed).shuffle(steps)  # noqa: S311 - any order will do
    subscriber.take(SignUp())
    subscriber.at(LIFE[-1].day)
    subscriber.take(Use("chat", REGISTERED + timedelta(minutes=30)))
    for step in steps:
        subscriber.tell(step)
    subscriber.run_jobs()
    last = LIFE[-1]
    is_now = (subscriber.referral()["stage"], subscriber.gained("ada"), subscriber.gained("zoe"))
    assert is_now == (last.stage, last.ada, last.zoe)
    assert books.faults(subscriber.tenant.superuser, subscriber.tenant.id) == []
