"""The benchmarks' page says what the benchmarks are: every group, every budget."""

import json
import re
from pathlib import Path

from tests.benchmarks import charts, results
from tests.benchmarks.groups import GROUPS
from tests.benchmarks.table import Budget

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


def test_a_picture_names_every_ratio_and_leaves_out_what_has_a_unit(tmp_path: Path) -> None:
    kept, missed, told = Budget("redeem", 2), Budget("signup", 5), Budget("redirects", None, unit="a second")
    picture = tmp_path / "cost.svg"
    charts.draw(picture, "cost", [kept.line(1.5, ""), missed.line(8.9, ""), told.line(3000, "")])
    text = picture.read_text()
    assert "redeem: 1.50 (≤ 2.00)" in text
    assert "signup: 8.90 (≤ 5.00)" in text
    assert "redirects" not in text
    assert [text.count(colour) for colour in (charts.COLOURS["kept"], charts.COLOURS["missed"])] == [1, 1]


def _section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
