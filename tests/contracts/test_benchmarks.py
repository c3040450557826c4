"""The benchmarks' page says what the benchmarks are: every group, every budget."""

import json
import re

from tests.benchmarks import results
from tests.benchmarks.groups import GROUPS

PAGE = results.PAGE.read_text(encoding="utf-8")


def test_every_group_is_explained() -> None:
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \|$", _section("What is measured"), re.MULTILINE) == list(GROUPS)


def test_every_budget_stands_on_the_page_as_it_is_measured() -> None:
    shown = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", _section("Budgets"), re.MULTILINE)
    assert shown == [(name, budget.what, str(budget)) for name, group in GROUPS.items() for budget in group.budgets]


def test_no_two_budgets_have_one_name() -> None:
    names = [budget.what for group in GROUPS.values() for budget in group.budgets]
    assert len(set(names)) == len(names)


def test_the_page_shows_the_results_that_were_kept() -> None:
    kept = json.loads((results.FOLDER / "results.json").read_text(encoding="utf-8"))
    assert PAGE.partition(results.HEADING)[2] == results.shown({name: kept[name] for name in GROUPS if name in kept})


def _section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
