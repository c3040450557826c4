"""The guard ends its command when whoever started it lets go, wherever that was started."""

import subprocess
import sys

from local.guard import __file__ as GUARD_SCRIPT  # noqa: N812 - a constant of that module

PATIENCE_SECONDS = 15  # less than the guard's own before it gives a second order


def test_a_script_in_the_background_can_start_it() -> None:
    """There the shell has SIGINT and SIGQUIT ignored, which children inherit."""
    background = ["sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh"]
    with subprocess.Popen(
        [*background, sys.executable, "-I", "-S", GUARD_SCRIPT, "sleep", "1000"], stdin=subprocess.PIPE
    ) as guard:
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(PATIENCE_SECONDS) != 0
