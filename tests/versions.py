"""The command `python -m tests.versions [OPTIONS]`: tests/database on the other PostgreSQLs that are on this machine.

The tests as a whole run on the newest; production may be any of these. All are tested at once, and what each test run
says is shown when it has ended. OPTIONS are pytest's. The exit code is 1 where a test fails on any of them.
"""

import subprocess
import sys
from pathlib import Path

from local.postgres import installations

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {15, 16, 17}


def main(options: list[str]) -> int:
    """Run the command; answer the exit code."""
    runs = {major: start(major, options) for major in sorted(OTHERS & installations().keys())}
    failed: list[int] = []
    for major, run in runs.items():
        said, _ = run.communicate()
        print(f"tests/database on PostgreSQL {major}\n{said}", flush=True)
        if run.returncode:
            failed.append(major)
    for major in failed:
        print(f"tests/database fails on PostgreSQL {major}", file=sys.stderr)
    return 1 if failed else 0


def start(major: int, options: list[str]) -> "subprocess.Popen[str]":
    """Begin to test what may differ from the newest."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/database", "-m", "not newest", f"--postgres={major}"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
