"""Warm handlers, each beside its own statement sent bare over psycopg: what parsing, keys and answering add to it.

A handler runs in a process of its own with the environment that template.yaml gives its function, as a worker runs it.
The budget is judged with durable commits, as everything is. What is left of the ratio where commits do not wait for the
disk is told beside it, because a slow disk hides a slow handler.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

from goodword.core import ids
from local import events
from local.pool import environment_of
from local.template import load
from tests.benchmarks.ground import ROOT, BenchmarkError, Ground
from tests.benchmarks.table import Budget, Compared, Line

USERS = 2_000
LARGE = 1_000_000_000

_GIVE = """
    SELECT count(post_entry(%(company_id)s, lpad(to_hex(n), 32, '0')::uuid, 'IMPORT', %(points)s,
        'start_' || n || '_' || lot, p_program_version => 1, p_expiry_months => 12))
    FROM generate_series(0, %(users)s - 1) AS n, generate_series(1, 3) AS lot
"""

_OFFER = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, cost_points, created_at)
    VALUES (%(company_id)s, %(option)s, 'quota', 'Calls', 'ai_calls', 1, 1, clock_timestamp())
"""

_ALLOW = """
    UPDATE plan_limits SET limit_value = %(points)s WHERE company_id = %(company_id)s AND feature = 'weight_entries'
"""

_SHARE = """
    INSERT INTO codes (company_id, id, code, type, user_id, created_at, updated_at)
    SELECT company_id, id, upper(external_id), 'auto', id, created_at, created_at FROM users
    WHERE company_id = %(company_id)s
"""

# Once of everything for everybody: what is vacuumed while it is empty is read as if it stayed so.
_REDEEM = """
    SELECT count(redeem(%(company_id)s, external_id, %(option)s, 1, gen_random_uuid(), 'start r ' || external_id,
        sha256(''), 'start', gen_random_uuid(), gen_random_uuid()))
    FROM users WHERE company_id = %(company_id)s
"""
_CONSUME = """
    SELECT count(consume_usage(%(company_id)s, external_id, 'weight_entries', 1, gen_random_uuid(),
        'start c ' || external_id, sha256(''), 'start', gen_random_uuid(), gen_random_uuid()))
    FROM users WHERE company_id = %(company_id)s
"""
_CLICK = """
    SELECT count(record_click(code, NULL, uuidv7(), clock_timestamp(), true, NULL, NULL, NULL, NULL, NULL, sha256(''),
        sha256(''), NULL, 1::smallint))
    FROM codes WHERE company_id = %(company_id)s
"""

EVENTS: Mapping[Budget, str] = {
    Budget("redeem / its bare statement", 1.5): "redeem_points__quota",
    Budget("use of a feature / its bare statement", 1.5): "check_access__consume",
    Budget("credit / its bare statement", 1.5): "administer_program__give_points",
    Budget("click redirect / its bare statement", 1.3): "track_click__follow",
}
BUDGETS = tuple(EVENTS)


def measure(ground: Ground) -> list[Line]:
    """The budgets of the routes that are one trip."""
    values = prepare(ground)
    durable = {budget: run(ground, event, values) for budget, event in EVENTS.items()}
    ground.superuser.execute("ALTER DATABASE goodword SET synchronous_commit = off")
    lines: list[Line] = []
    for budget, event in EVENTS.items():
        found, hasty = durable[budget], run(ground, event, values)
        detail = (
            f"{found.judged:.2f} ms of {found.other:.2f} ms; where commits do not wait for the disk "
            f"{hasty.ratio:.2f}, {hasty.judged:.2f} ms of {hasty.other:.2f} ms"
        )
        lines.append(budget.line(found.ratio, detail))
    return lines


def prepare(ground: Ground) -> Mapping[str, str]:
    """Users who can pay for everything and have a code to share; the values that the events leave open."""
    option = ids.new_id()
    scope = {"company_id": ground.company_id, "users": USERS, "points": LARGE, "option": option}
    ground.add_users(USERS)
    for statement in (_GIVE, _OFFER, _ALLOW, _SHARE, _REDEEM, _CONSUME, _CLICK):
        ground.superuser.execute(statement, scope)
    ground.settle()
    return {**ground.line, "option_id": ids.public("opt", option), "code": "USER_0"}


def run(ground: Ground, event: str, values: Mapping[str, str]) -> Compared:
    """Compare a function on an event with its statement, in a process of its own."""
    function = load(ROOT / "template.yaml").functions(ground.prepared.parameters)[events.logical_id(event)]
    environment = environment_of(function, dict(ground.prepared.environment))
    environment["PYTHONPATH"] += f":{ROOT}"
    job = {"event": event, "values": values, "company_id": str(ground.company_id), "users": USERS}
    log = ground.home / "one_handler.log"  # no pipe: whoever reads along takes time
    with log.open("wb") as stderr:
        result = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.one_handler"],
            env=environment, input=json.dumps(job), stdout=subprocess.PIPE, stderr=stderr, text=True, check=False,
        )  # fmt: skip
    if result.returncode != 0:
        raise BenchmarkError(f"{event}: {log.read_text().strip().splitlines()[-1]}")
    return Compared(**json.loads(result.stdout))
