"""The months of payments: whatever day, zone and delay they come with, each paid month is found once."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.awards import engine, periods
from goodword.awards.history import Facts, Payment
from goodword.program.document import Program

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")  # the last one moves by half an hour, in October
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def utc(year: int, month: int, day: int, hour: int = 12) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def billed(first: datetime, months: int) -> datetime:
    """When a provider bills `months` later by the wall clock of its zone: on the same day, or the month's last."""
    year, month = divmod(first.month - 1 + months, 12)
    year += first.year
    return first.replace(year=year, month=month + 1, day=min(first.day, monthrange(year, month + 1)[1]))


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (utc(2026, 1, 31), [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31), (6, 30), (7, 31)]),
        (utc(2028, 1, 31), [(1, 31), (2, 29), (3, 31), (4, 30), (5, 31), (6, 30), (7, 31)]),
        (utc(2026, 1, 30), [(1, 30), (2, 28), (3, 30), (4, 30), (5, 30), (6, 30), (7, 30)]),
        (utc(2028, 1, 30), [(1, 30), (2, 29), (3, 30), (4, 30), (5, 30), (6, 30), (7, 30)]),
        (utc(2026, 1, 29), [(1, 29), (2, 28), (3, 29), (4, 29), (5, 29), (6, 29), (7, 29)]),
        (utc(2028, 1, 29), [(1, 29), (2, 29), (3, 29), (4, 29), (5, 29), (6, 29), (7, 29)]),
        (utc(2028, 2, 29), [(2, 29), (3, 29), (4, 29), (5, 29), (6, 29), (7, 29), (8, 29)]),
    ],
)
def test_an_anniversary_is_the_first_day_again_or_the_last_of_a_shorter_month(
    first: datetime, expected: list[tuple[int, int]]
) -> None:
    anniversaries = [periods.months_after(first, months) for months in range(7)]
    assert [(each.month, each.day) for each in anniversaries] == expected
    assert [periods.index(first, each) for each in anniversaries] == [1, 2, 3, 4, 5, 6, 7]
    assert {each.timetz() for each in anniversaries} == {first.timetz()}


def test_the_year_turns_and_the_leap_day_comes_back() -> None:
    assert periods.months_after(utc(2027, 12, 31), 2) == utc(2028, 2, 29)
    assert periods.months_after(utc(2028, 2, 29), 12) == utc(2029, 2, 28)
    assert periods.months_after(utc(2028, 2, 29), 48) == utc(2032, 2, 29)


def test_the_nearest_anniversary_counts_and_of_two_the_earlier() -> None:
    first = utc(2026, 4, 1, 0)
    assert periods.index(first, utc(2026, 4, 16, 0)) == 1
    assert periods.index(first, utc(2026, 4, 16, 0) + timedelta(microseconds=1)) == 2
    assert periods.index(first, utc(2026, 5, 1, 0)) == 2
    assert periods.index(first, utc(2025, 12, 1, 0)) == 1  # nothing lies before the first


def test_a_period_contains_what_lies_from_its_anniversary_to_the_next() -> None:
    first, tick = utc(2026, 1, 31), timedelta(microseconds=1)
    for months, (month, day) in enumerate([(1, 31), (2, 28), (3, 31), (4, 30)], 1):
        assert periods.containing(first, utc(2026, month, day)) == months
        assert periods.containing(first, utc(2026, month, day) - tick) == max(months - 1, 1)
    assert periods.containing(first, utc(2025, 12, 1)) == 1  # nothing lies before the first
    assert periods.containing(first, datetime(2026, 3, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))) == 2


def test_days_are_those_of_utc() -> None:
    """In Auckland it is the 1st of February already when it still is the 31st of January in UTC."""
    auckland = datetime(2026, 2, 1, 8, tzinfo=ZoneInfo("Pacific/Auckland"))
    assert periods.months_after(auckland, 1) == utc(2026, 2, 28, 19)


@pytest.mark.parametrize("zone", ["UTC", *ZONES])
@given(
    day=st.dates(date(2026, 1, 1), date(2029, 12, 31)) | st.sampled_from(
        [date(year, 1, day) for year in (2027, 2028) for day in (29, 30, 31)] + [date(2028, 2, 29)]
    ),
    minutes=st.integers(0, 24 * 60 - 1),
    delays=st.lists(st.integers(-5 * 24 * 60, 5 * 24 * 60), min_size=12, max_size=12),
    starts=st.booleans(),
)  # fmt: skip
def test_no_month_is_lost_and_none_is_paid_twice(
    zone: str, day: date, minutes: int, delays: list[int], starts: bool  # noqa: FBT001 - drawn
) -> None:  # fmt: skip
    """Twelve payments in a row, billed by the wall clock, each settled up to five days early or late."""
    wall = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=ZoneInfo(zone))
    due = [billed(wall, months) for months in range(12)]
    paid = [at.astimezone(UTC) + timedelta(minutes=delay) for at, delay in zip(due, delays, strict=True)]
    payments = tuple(
        Payment(UUID(int=number), f"in_{number:02}", 1900, 1900, "usd", at, due[number] if starts else None)
        for number, at in enumerate(paid)
    )
    registered = paid[0] - 10 * DAY
    standing = engine.standing(Program(), Facts(registered, registered, payments=payments), paid[-1])
    given_ = [(due.event, due.period, due.payment_id) for due in standing.due if due.period]
    assert given_ == [
        ("qualified", 1, UUID(int=0)),
        *(("recurring", month + 1, UUID(int=month)) for month in range(1, 12)),
        *(("l2", month + 1, UUID(int=month)) for month in range(6)),
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_a_change_of_the_clocks_moves_no_payment(zone: str) -> None:
    """Half a year each way, billed a minute before midnight, when the hour of the change may move the day."""
    for month in (3, 10):
        first = datetime(2027, month, 31, 23, 59, tzinfo=ZoneInfo(zone))
        due = [billed(first, months) for months in range(24)]
        assert {at.utcoffset() for at in due} != {first.utcoffset()}
        assert [periods.index(first, at) for at in due] == list(range(1, 25))
        assert [periods.index(due[0], at + 13 * DAY) for at in due[1:]] == list(range(2, 25))
        assert [periods.index(due[0], at - 12 * DAY - HOUR) for at in due[1:]] == list(range(2, 25))


@given(st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)), st.integers(0, 1500 * 24))  # noqa: DTZ001 - made aware
def test_the_month_is_that_of_no_farther_anniversary(first: datetime, hours: int) -> None:
    first = first.replace(tzinfo=UTC)
    start = first + timedelta(hours=hours)
    months = periods.index(first, start) - 1
    distances = [abs(periods.months_after(first, other) - start) for other in range(60)]
    assert distances.index(min(distances)) == months
