"""The command `python -m tests.benchmarks [NAME …]`: measure against the budgets, and print a table.

What is missed is said, not raised: a machine may be slow, or busy. The exit code is 1 only where something could not be
measured. SCALE=1 measures a large ledger and leaderboard too; ENTRIES says how large the ledger is. RECORD=1 writes the
results into docs.
"""

import os
import sys
from collections.abc import Mapping

import psycopg

from local.postgres import ClusterError
from tests.benchmarks import charts, results
from tests.benchmarks.ground import BenchmarkError, ground
from tests.benchmarks.groups import GROUPS, LARGE
from tests.benchmarks.table import Line, show

USUAL = [name for name in GROUPS if name not in LARGE or os.environ.get("SCALE") == "1"]


def main(names: list[str]) -> int:
    """Run the command; answer the exit code."""
    if unknown := sorted(set(names) - GROUPS.keys()):
        sys.stderr.write(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(GROUPS)}\n")
        return 1
    measured: dict[str, results.Kept] = {}
    lines: list[Line] = []
    fault = None
    try:
        for name in names or USUAL:
            sys.stderr.write(f"Measuring {name} …\n")
            with ground() as fresh:
                found = GROUPS[name].measure(fresh)
                measured[name] = results.of_run(fresh, found)
                lines += found
    except (BenchmarkError, ClusterError, psycopg.Error, OSError) as error:
        fault = error
    sys.stdout.write(show(lines))
    if os.environ.get("RECORD") == "1":
        _record(measured)
    if fault is not None:
        sys.stderr.write(f"benchmark: {fault}\n")
    return int(fault is not None)


def _record(measured: Mapping[str, results.Kept]) -> None:
    groups = results.keep(measured)
    for name in measured:
        charts.draw(results.FOLDER / f"{name}.svg", name, results.lines_of(groups[name]))
    results.write_page({name: groups[name] for name in GROUPS if name in groups})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
