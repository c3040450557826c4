"""The command `python -m tests.benchmarks [NAME …]`: measure against the budgets, and print a table.

What is missed is said, not raised: a machine may be slow, or busy. The exit code is 1 only where something could not be
measured. SCALE=1 measures a large ledger too; ENTRIES says how large.
"""

import os
import sys
from collections.abc import Callable

import psycopg

from local.postgres import ClusterError
from tests.benchmarks import codes, postings, scale, served, starts, warm
from tests.benchmarks.ground import BenchmarkError, Ground, ground
from tests.benchmarks.table import Line, show

BENCHMARKS: dict[str, Callable[[Ground], list[Line]]] = {
    "postings": postings.measure,
    "warm": warm.measure,
    "starts": starts.measure,
    "served": served.measure,
    "codes": codes.measure,
    "scale": scale.measure,
}
USUAL = [name for name in BENCHMARKS if name != "scale" or os.environ.get("SCALE") == "1"]


def main(names: list[str]) -> int:
    """Run the command; answer the exit code."""
    if unknown := sorted(set(names) - BENCHMARKS.keys()):
        sys.stderr.write(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}\n")
        return 1
    lines: list[Line] = []
    try:
        for name in names or USUAL:
            sys.stderr.write(f"Measuring {name} …\n")
            with ground() as fresh:
                lines += BENCHMARKS[name](fresh)
    except (BenchmarkError, ClusterError, psycopg.Error, OSError) as error:
        sys.stderr.write(f"benchmark: {error}\n")
        return 1
    sys.stdout.write(show(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
