"""A ledger posting, with its key and its lot, beside the least that any ledger does: one balance, one row.

What lies between the two is measured as well (`rungs`): where the floor of a ledger lies that books nothing twice and
knows what expires.
"""

from collections.abc import Callable
from itertools import count

from tests.benchmarks import rungs
from tests.benchmarks.ground import CLIENTS, SECONDS, Ground
from tests.benchmarks.rungs import RUNGS
from tests.benchmarks.table import ROUNDS, Budget, Line, compare

ACCOUNTS = 20_000
POSTING = Budget("ledger posting / UPDATE … RETURNING + INSERT", 0.45, at_most=False)
BUDGETS = (POSTING, *(rung.budget for rung in RUNGS))
ROUNDS_OF_A_POSTING = 15

_LOAD = """
    SELECT count(post_entry(%(company_id)s, lpad(to_hex(n), 32, '0')::uuid, 'IMPORT', 5,
        'awd_0190000000000000' || lpad(n::text, 16, '0'), p_program_version => 1, p_expiry_months => 12))
    FROM generate_series(0, %(accounts)s - 1) AS n
"""

_POST = f"""
{rungs.NUMBERED}
SELECT goodword.post_entry(:company, lpad(to_hex(:account::bigint), 32, '0')::uuid, 'IMPORT', 5,
    'awd_0190000000000001' || :number, p_program_version => 1, p_expiry_months => 12);
"""

Post = Callable[[str], float]
"""Postings a second by a script."""


def measure(ground: Ground) -> list[Line]:
    """The budget of a posting, and what it is made of."""
    ground.add_users(ACCOUNTS)
    ground.superuser.execute(_LOAD, {"company_id": ground.company_id, "accounts": ACCOUNTS})
    ground.superuser.execute(rungs.GROUND)
    ground.superuser.execute(rungs.LOAD, {"accounts": ACCOUNTS})
    firsts = count(10**15, 10**12)

    def post(script: str) -> float:
        scope = {"company": ground.company_id, "accounts": ACCOUNTS, "clients": CLIENTS}
        return ground.pgbench(script, role="app", variables={**scope, "next": 0, "first": next(firsts)})

    lines = [_line(ground, POSTING, post, _POST, ROUNDS_OF_A_POSTING)]
    for rung in RUNGS:
        ground.superuser.execute(rung.change)
        lines.append(_line(ground, rung.budget, post, rung.posting, ROUNDS))
    return lines


def _line(ground: Ground, budget: Budget, post: Post, script: str, rounds: int) -> Line:
    ground.settle()
    found = compare(lambda: post(script), lambda: post(rungs.PLAIN), rounds=rounds)
    own, plain = _log_of(ground, post, script), _log_of(ground, post, rungs.PLAIN)
    detail = f"{found.judged:,.0f} of {found.other:,.0f} a second, {own:,.0f} of {plain:,.0f} bytes of log each"
    return budget.line(found.ratio, f"{detail}; {CLIENTS} clients")


def _log_of(ground: Ground, post: Post, script: str) -> float:
    """Bytes of the write-ahead log that a posting leaves, once its pages are in it whole."""
    before = ground.log_position()
    postings = post(script) * SECONDS
    return (ground.log_position() - before) / postings
