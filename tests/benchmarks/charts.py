"""A picture of a group's ratios: a bar for each, red where its budget is missed."""

from collections.abc import Sequence
from pathlib import Path

import leather

from tests.benchmarks.table import Line, number

TITLES = {
    "cost": "CPU time of a call, in floors",
    "postings": "Postings a second, in those of a bare UPDATE … RETURNING + INSERT",
    "warm": "Time of a warm handler, in those of its bare statement",
    "starts": "Instructions of a handler's imports, in those of psycopg and BaseModel",
    "scale": "Time of a call in a large ledger, in those of a small one",
}
"""The groups of which a picture says more than the table."""

WIDTH = 900
ROW_HEIGHT = 34
AROUND = 120
COLOURS = {"kept": "#4c78a8", "missed": "#c44e52", "": "#9aa5b1"}
TEXT = "#333333"


def draw(path: Path, group: str, lines: Sequence[Line]) -> None:
    """Write the group's picture, where there is to be one."""
    if group not in TITLES:
        return
    ratios = [line for line in lines if not line.budget.unit]
    named = {_name(line): line for line in ratios}
    leather.theme.label_color = leather.theme.title_color = TEXT
    chart = leather.Chart(TITLES[group])
    chart.add_bars(
        [(line.measured, name) for name, line in named.items()],
        fill_color=lambda bar: COLOURS[named[bar.y].verdict],
    )
    chart.add_x_scale(0, max(line.measured for line in ratios))
    chart.to_svg(str(path), width=WIDTH, height=AROUND + ROW_HEIGHT * len(ratios))


def _name(line: Line) -> str:
    budget = "" if line.budget.bound is None else f" ({line.budget})"
    return f"{line.budget.what}: {number(line.measured)}{budget}"
