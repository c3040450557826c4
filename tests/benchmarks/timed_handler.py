"""One handler, timed event by event; run as a process of its own by `tests.benchmarks.scale` and `leaderboard`.

Each line of its input is a JSON list of events; for each it writes a line with the median of the milliseconds that the
handler took. What the handler logs is written, as in production, and read by nobody.
"""

import json
import statistics
import sys
import time
from typing import Any

from app import lambda_handler  # type: ignore[import-not-found] - the function's folder is on the path


def milliseconds(event: dict[str, Any]) -> float:
    began = time.perf_counter()
    answer = lambda_handler(event, None)
    took = time.perf_counter() - began
    if answer["statusCode"] >= 400:
        raise LookupError(answer["body"])
    return took * 1000


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(f"{statistics.median(milliseconds(event) for event in json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
