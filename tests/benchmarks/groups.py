"""The groups of benchmarks, in the order in which they are run and shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks import codes, cost, leaderboard, postings, scale, served, starts, warm
from tests.benchmarks.ground import Ground
from tests.benchmarks.table import Budget, Line


@dataclass(frozen=True)
class Group:
    """What is measured together on a fresh ground, and the budgets it is measured against, a line for each."""

    budgets: Sequence[Budget]
    measure: Callable[[Ground], list[Line]]


GROUPS: Mapping[str, Group] = {
    "cost": Group(cost.BUDGETS, cost.measure),
    "postings": Group(postings.BUDGETS, postings.measure),
    "warm": Group(warm.BUDGETS, warm.measure),
    "starts": Group(starts.BUDGETS, starts.measure),
    "codes": Group(codes.BUDGETS, codes.measure),
    "served": Group(served.BUDGETS, served.measure),
    "scale": Group(scale.BUDGETS, scale.measure),
    "leaderboard": Group(leaderboard.BUDGETS, leaderboard.measure),
}
LARGE = ("scale", "leaderboard")
"""What is measured where SCALE=1 asks for it."""
