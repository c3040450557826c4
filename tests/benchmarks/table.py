"""What a benchmark says: a line for each budget (docs/benchmarks.md, Budgets), what was measured, kept or not.

Everything is measured side by side: what is judged and what it is compared with take turns in short rounds, so that a
machine that is busy with something else is busy for both. A ratio is the median of the rounds' ratios.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 7

Measure = Callable[[], float]


@dataclass(frozen=True)
class Line:
    """One budget. `at_most` tells on which side of it what was measured has to lie."""

    what: str
    budget: float
    measured: float
    at_most: bool
    detail: str

    @property
    def kept(self) -> bool:
        """Whether the budget is kept, by the numbers as they are printed."""
        measured, budget = round(self.measured, 2), self.budget
        return measured <= budget if self.at_most else measured >= budget

    def cells(self) -> tuple[str, ...]:
        """The line as the table shows it."""
        sign = "≤" if self.at_most else "≥"
        return (
            self.what, f"{sign} {_number(self.budget)}", f"{_number(self.measured)}",
            "kept" if self.kept else "missed", self.detail,
        )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


@dataclass(frozen=True)
class Compared:
    """Two medians, and the median of the ratios of the rounds they were measured in together."""

    judged: float
    other: float
    ratio: float


def compare(judged: Measure, other: Measure, *, rounds: int = ROUNDS) -> Compared:
    """Measure both in turns, each one first every other time; a round before the first warms them up."""
    judged()
    other()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            second = other()
            pairs.append((judged(), second))
        else:
            pairs.append((judged(), other()))
    return Compared(
        statistics.median(one for one, _ in pairs),
        statistics.median(two for _, two in pairs),
        statistics.median(one / two for one, two in pairs),
    )


def show(lines: Sequence[Line]) -> str:
    """The lines as a table."""
    rows = [("what", "budget", "measured", "", "in numbers"), *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in padded)
