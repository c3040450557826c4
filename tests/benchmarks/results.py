"""What was measured, kept: a file of numbers, a picture of each family of ratios, and the page that shows them.

`RECORD=1` writes `results.json` and `<group>.svg` into docs/benchmarks, and docs/benchmarks.md from its heading Results
on. Groups that are not measured this time keep what they had, with its own date and machine.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.ground import ROOT, Ground
from tests.benchmarks.table import HEAD, Budget, Line

PAGE = ROOT / "docs/benchmarks.md"
FOLDER = ROOT / "docs/benchmarks"
HEADING = "\n## Results\n"

Kept = dict[str, Any]
"""What is known of a group's last run: date, commit, machine, and its lines."""


def of_run(ground: Ground, lines: Sequence[Line]) -> Kept:
    """What a group's run came to, where and when."""
    (version,) = ground.superuser.execute("SHOW server_version").fetchall()[0]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "postgresql": version,
            "python": platform.python_version(),
        },
        "lines": [asdict(line) for line in lines],
    }


def keep(measured: Mapping[str, Kept]) -> dict[str, Kept]:
    """Put groups in the place of what was kept of them; what is kept of all of them now."""
    path = FOLDER / "results.json"
    groups = {**(json.loads(path.read_text()) if path.exists() else {}), **measured}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(groups, indent=2, ensure_ascii=False) + "\n")
    return groups


def write_page(groups: Mapping[str, Kept]) -> None:
    """Write the page's results anew."""
    PAGE.write_text(PAGE.read_text().partition(HEADING)[0] + HEADING + shown(groups))


def shown(groups: Mapping[str, Kept]) -> str:
    """What stands under the heading: a table for each group, and its picture where there is one."""
    return "".join(_section(name, group) for name, group in groups.items())


def lines_of(group: Kept) -> list[Line]:
    """The lines of a group as they were measured."""
    return [Line(Budget(**line["budget"]), line["measured"], line["detail"]) for line in group["lines"]]


def _section(name: str, group: Kept) -> str:
    machine = group["machine"]
    where = (
        f"{group['date']}, commit {group['commit']}: {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']} GiB, PostgreSQL {machine['postgresql']}, Python {machine['python']}."
    )
    rows = [HEAD, ("---",) * len(HEAD), *(line.cells() for line in lines_of(group))]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    picture = f"\n![{name}](benchmarks/{name}.svg)\n" if (FOLDER / f"{name}.svg").exists() else ""
    return f"\n### {name}\n\n{where}\n\n{table}{picture}"


def _commit() -> str:
    """The commit that was measured; a plus where the tree differs from it."""
    head = _git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    """Its name, as Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
