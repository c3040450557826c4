"""The months of a referral's payments, counted from the first one.

An anniversary is the first payment's instant so many calendar months later, in UTC, its day clamped to the month's end
and always reckoned from the original day: 31 January, 28 February, 31 March (docs/rules.md, Periods).
"""

from calendar import monthrange
from datetime import UTC, datetime


def months_after(first: datetime, months: int) -> datetime:
    """The anniversary `months` calendar months after `first`."""
    first = first.astimezone(UTC)
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    day = min(first.day, monthrange(year, month + 1)[1])
    return first.replace(year=year, month=month + 1, day=day)


def containing(first: datetime, at: datetime) -> int:
    """The period, from 1, in which an instant lies: from one anniversary, inclusive, to the next."""
    first, at = first.astimezone(UTC), at.astimezone(UTC)
    months = (at.year - first.year) * 12 + at.month - first.month
    return 1 + max(months if months_after(first, months) <= at else months - 1, 0)


def index(first: datetime, start: datetime) -> int:
    """The period, from 1, of a payment whose billing period starts at `start`: that of the nearest anniversary.

    Nearest, so that neither month ends nor a settlement some days early or late moves a payment into another month. Of
    two equally near ones it is the earlier.
    """
    if start == first:
        return 1
    first, start = first.astimezone(UTC), start.astimezone(UTC)
    about = (start.year - first.year) * 12 + start.month - first.month
    candidates = range(max(about - 1, 0), max(about + 1, 0) + 1)
    return 1 + min(candidates, key=lambda months: (abs(months_after(first, months) - start), months))
