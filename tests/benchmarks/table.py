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
class Budget:
    """What is measured, and the bound that it has to keep; None where it is only told.

    A ratio has no unit. `at_most` tells on which side of the bound the number has to lie.
    """

    what: str
    bound: float | None
    at_most: bool = True
    unit: str = ""

    def __str__(self) -> str:
        if self.bound is None:
            return "told"
        return f"{'≤' if self.at_most else '≥'} {number(self.bound)}{self.unit and f' {self.unit}'}"

    def line(self, measured: float, detail: str) -> "Line":
        """What was measured."""
        return Line(self, measured, detail)


@dataclass(frozen=True)
class Line:
    """A budget, and what was measured."""

    budget: Budget
    measured: float
    detail: str

    @property
    def verdict(self) -> str:
        """Whether the budget is kept, by the numbers as they are printed; nothing where there is none."""
        bound, measured = self.budget.bound, round(self.measured, 2)
        if bound is None:
            return ""
        return "kept" if (measured <= bound if self.budget.at_most else measured >= bound) else "missed"

    def cells(self) -> tuple[str, ...]:
        """The line as a table shows it."""
        return self.budget.what, str(self.budget), number(self.measured), self.verdict, self.detail


def number(value: float) -> str:
    """A number as a person reads it."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


@dataclass(frozen=True)
class Compared:
    """Two medians, and the median of the ratios of the rounds they were measured in together."""

    judged: float
    other: float
    ratio: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Compared":
        """What rounds of a judged and another number come to."""
        return cls(
            statistics.median(one for one, _ in pairs),
            statistics.median(two for _, two in pairs),
            statistics.median(one / two for one, two in pairs),
        )


def compare(judged: Measure, other: Measure, *, rounds: int = ROUNDS) -> Compared:
    """Measure both in turns, each one first every other time; a round before the first warms them up."""
    judged()
    other()
    pairs: list[tuple[float, float]] = []
    for turn in range(rounds):
        if turn % 2:
            second = other()
            pairs.append((judged(), second))
        else:
            pairs.append((judged(), other()))
    return Compared.of(pairs)


HEAD = ("what", "budget", "measured", "", "in numbers")


def show(lines: Sequence[Line]) -> str:
    """The lines as a table."""
    rows = [HEAD, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in padded)
