"""A large leaderboard beside a small one: what a page takes in each, the first one and one behind rank 1,000.

Everybody on a board has brought five people on average: a million referrals are 200,000 who brought them. The handler
runs in a process of its own for each database, as it does for the ledgers of `scale`.
"""

import json
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg

from local import events
from local.template import load
from tests.benchmarks import scale
from tests.benchmarks.ground import ROOT, BenchmarkError, Ground
from tests.benchmarks.table import Budget, Line, compare

SMALL, LARGE = 10_000, 1_000_000
"""Referrals."""
PER_REFERRER = 5
RANK = 1_000
CALLS = 100
"""Of each page in a round."""
EVENT = "report_insight__leaderboard"

_FIRST = Budget("first page, of a million referrals / of 10,000", 2)
_LATER = Budget("page behind rank 1,000, of a million referrals / of 10,000", 2)
BUDGETS = (_FIRST, _LATER)

_LAY_PEOPLE = """
    INSERT INTO users (company_id, id, external_id, created_at)
    SELECT %(company_id)s, lpad(to_hex(n), 32, '0')::uuid, 'user_' || n, clock_timestamp()
    FROM generate_series(1, %(people)s) AS n
"""

# As many with one, two … nine referrals, and points that follow them loosely: no two stand together by much.
_LAY_SCORES = """
    INSERT INTO scores (company_id, board, user_id, qualified, points, reserved, last_qualified_at)
    SELECT %(company_id)s, board, lpad(to_hex(n), 32, '0')::uuid, 1 + n %% 9, 30 * (1 + n %% 9) + n %% 7 * 5, 0,
        clock_timestamp() - n %% 1000 * interval '1 minute'
    FROM generate_series(1, %(people)s) AS n CROSS JOIN (VALUES ('all'), ('2026-11'), ('2026-12')) AS boards (board)
"""

_AT_RANK = """
    SELECT external_id FROM scores JOIN users ON users.company_id = scores.company_id AND users.id = scores.user_id
    WHERE scores.company_id = %(company_id)s AND board = 'all'
    ORDER BY -qualified, -points, last_qualified_at, scores.user_id OFFSET %(rank)s - 1 LIMIT 1
"""


def measure(ground: Ground) -> list[Line]:
    """The budgets of leaderboards."""
    with ExitStack() as until_then:
        small = until_then.enter_context(Board(until_then.enter_context(scale.beside(ground, "small")), SMALL))
        large = until_then.enter_context(Board(ground, LARGE))
        lines: list[Line] = []
        for budget, is_first in ((_FIRST, True), (_LATER, False)):
            found = compare(partial(large.p50, is_first=is_first), partial(small.p50, is_first=is_first))
            detail = f"p50 {found.judged:.2f} ms at {LARGE:,} referrals, {found.other:.2f} ms at {SMALL:,}"
            lines.append(budget.line(found.ratio, detail))
    return lines


class Board:
    """The scores of so many referrals in a database, and the handler that reads them."""

    def __init__(self, ground: Ground, referrals: int) -> None:
        scope = {"company_id": ground.company_id, "people": referrals // PER_REFERRER, "rank": RANK}
        with psycopg.connect(ground.superuser_url, autocommit=True) as writer:
            writer.execute("SET search_path = goodword")
            # past the triggers: the rows are right, and every one of them would be looked up
            writer.execute("SET session_replication_role = replica")
            writer.execute(_LAY_PEOPLE, scope)
            writer.execute(_LAY_SCORES, scope)
        ground.settle()
        (row,) = ground.superuser.execute(_AT_RANK, scope).fetchall()
        self._first = events.load(EVENT, ground.line)
        self._later = _asking(self._first, {"limit": "20", "after": row[0]})
        functions = load(ROOT / "template.yaml").functions(ground.prepared.parameters)
        self._process = scale.start(functions[events.logical_id(EVENT)], ground)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def p50(self, *, is_first: bool) -> float:
        """The median of some calls, in milliseconds."""
        asked = json.dumps([self._first if is_first else self._later] * CALLS)
        if self._process.stdin is None or self._process.stdout is None:
            raise LookupError("both are pipes")
        self._process.stdin.write(f"{asked}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchmarkError("a leaderboard was refused: see the last line of its log")
        return float(answer)


def _asking(event: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    raw = "&".join(f"{name}={value}" for name, value in query.items())
    return {**event, "queryStringParameters": query, "rawQueryString": raw}
