"""Whose limit of a feature counts (docs/rules.md, Limits), once more in pure Python: the SQL is held against it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

Limit = int | None
"""None is unlimited."""
FOREVER = datetime.max.replace(tzinfo=UTC)


class Row(NamedTuple):
    """What somebody says of a feature; who has no row says nothing."""

    limit: Limit


class Running(NamedTuple):
    """A plan that a user has. By a grant, if it has the `grant`'s number in the order in which grants are made."""

    plan: str
    row: Row | None
    sort_order: int = 0
    grant: int | None = None
    ends_at: datetime = FOREVER


class Winner(NamedTuple):
    """Whose limit it is, and the limit."""

    source: str
    plan: str | None
    grant: int | None
    limit: Limit


def resolve(restriction: Row | None, running: Sequence[Running], after_trial: Running, default: Limit) -> Winner:
    """The limit that counts; `after_trial` is the company's `post_trial_plan`."""
    if restriction is not None:
        return Winner("restriction", None, None, restriction.limit)
    said = [(each, each.row.limit) for each in running if each.row is not None]
    most = None if None in [limit for _, limit in said] else max([limit or 0 for _, limit in said], default=None)
    generous = [each for each, limit in said if limit == most]
    if generous:
        return _first(generous, most)
    if after_trial.plan == "disabled":
        return Winner("plan", "disabled", None, 0)
    if after_trial.row is not None:
        return Winner("plan", after_trial.plan, None, after_trial.row.limit)
    return Winner("default", None, None, default)


def _first(equals: Sequence[Running], limit: Limit) -> Winner:
    """Of equals a grant; of grants the highest plan's, then the one that ends last, then the oldest."""
    by_grant = [each for each in equals if each.grant is not None]
    highest = max(each.sort_order for each in by_grant or equals)
    highest_ones = [each for each in by_grant or equals if each.sort_order == highest]
    last = max(each.ends_at for each in highest_ones)
    winner = min((each for each in highest_ones if each.ends_at == last), key=lambda each: each.grant or 0)
    return Winner("grant" if by_grant else "subscription", winner.plan, winner.grant, limit)
