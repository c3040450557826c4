"""A viral code beside a thousand codes: whether one row that everybody comes through slows anybody down.

The statements are sent to the database as the function sends them, by more clients than a busy code has processors.
"""

from collections.abc import Mapping

from goodword.referral import clicks, code_checks
from tests.benchmarks.ground import Ground
from tests.benchmarks.table import Budget, Line, compare

CODES = 1_000

_CLICKS = Budget(f"clicks: one code / {CODES} codes", 0.7, at_most=False)
_CHECKS = Budget(f"code checks: one code / {CODES} codes", 0.7, at_most=False)
BUDGETS = (_CLICKS, _CHECKS)

_SHARE = """
    INSERT INTO codes (company_id, id, code, type, user_id, created_at, updated_at)
    SELECT company_id, id, upper(external_id), 'auto', id, created_at, created_at FROM users
    WHERE company_id = %(company_id)s
"""

_SEEN = """
    INSERT INTO rate_windows (company_id, kind, subject, hits)
    SELECT %(company_id)s, 'code_validation', sha256(n::text::bytea), ARRAY[clock_timestamp()]
    FROM generate_series(1, 10000) AS n
"""

# What the function sends, with pgbench's own expressions in the places of its parameters.
_CLICK_VALUES = {
    "code": "'USER_' || :code", "company_id": "NULL::uuid", "id": "uuidv7()", "received_at": "clock_timestamp()",
    "counted": "true", "previous_id": "NULL::uuid", "previous_at": "NULL::timestamptz", "app_id": "NULL",
    "landing_url": "NULL", "referrer_url": "'https://news.example/issues/42'", "ip_hash": "sha256('ip')",
    "agent_hash": "sha256('agent')", "device_hash": "NULL::bytea", "hash_key_id": "1::smallint",
}  # fmt: skip
_CHECK_VALUES = {
    "company_id": ":company::uuid", "code": "'USER_' || :code", "subject": "sha256((:who)::text::bytea)",
}  # fmt: skip


def measure(ground: Ground) -> list[Line]:
    """The budgets of clicks and of code checks."""
    ground.add_users(CODES)
    ground.superuser.execute(_SHARE, {"company_id": ground.company_id})
    ground.superuser.execute(_SEEN, {"company_id": ground.company_id})
    ground.settle()
    return [
        _measure(ground, _CLICKS, clicks._RECORD, _CLICK_VALUES),  # noqa: SLF001 - the very statement
        _measure(ground, _CHECKS, code_checks._CHECK, _CHECK_VALUES),  # noqa: SLF001 - the very statement
    ]


def _measure(ground: Ground, budget: Budget, statement: str, values: Mapping[str, str]) -> Line:
    def run(shared: int) -> float:
        script = f"\\set code random(0, {shared - 1})\n\\set who random(1, {10**9})\n{statement % values};\n"
        return ground.pgbench(script, role="click", variables={"company": ground.company_id})

    found = compare(lambda: run(1), lambda: run(CODES))
    detail = f"{found.judged:,.0f} of {found.other:,.0f} a second"
    return budget.line(found.ratio, detail)
