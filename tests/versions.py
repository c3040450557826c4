"""The command `python -m tests.versions [OPTIONS]`: tests/database on the other PostgreSQLs that are on this machine.

The tests as a whole run on the newest; production may be any of these. OPTIONS are pytest's. The exit code is 1 where a
test fails on any of them.
"""

import subprocess
import sys
from pathlib import Path

from local.postgres import installations

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {15, 16, 17}


def main(options: list[str]) -> int:
    """Run the command; answer the exit code."""
    failed: list[int] = []
    for major in sorted(OTHERS & installations().keys()):
        print(f"tests/database on PostgreSQL {major}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "tests/database", f"--postgres={major}", *options]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(major)
    for major in failed:
        print(f"tests/database fails on PostgreSQL {major}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
