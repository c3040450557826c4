"""A large ledger beside a small one: what a call takes in each, and how fast points expire in the large one.

The handlers run in processes of their own, which speak to one database each, and take turns with the same calls.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any, Self

from goodword.core import ids
from goodword.payments import signatures
from goodword.points import expiry
from local import events
from local.pool import environment_of
from local.template import Function, load
from tests.benchmarks import ledgers
from tests.benchmarks.ground import ROOT, BenchmarkError, Ground, database
from tests.benchmarks.ledgers import NOW, PER_USER
from tests.benchmarks.table import ROUNDS, Budget, Compared, Line
from tests.support.stripe_objects import invoice_paid

SMALL, MIDDLE = 10_000, 1_000_000
ENTRIES = int(os.environ.get("ENTRIES") or 10_000_000)
CALLS = 100
"""Of each path in a round."""
SECONDS = 10

PATHS: Mapping[str, str] = {
    "signup": "attribute_signup__with_code",
    "first payment": "receive_stripe_webhook__invoice_paid_basil",
    "redeem": "redeem_points__quota",
    "balance": "redeem_points__balance",
}
"""What is measured, each by an event; a round's payments are of those who have just signed up."""

_LARGE = {path: Budget(f"{path}, in a large ledger / a small one", 1.2) for path in PATHS}
_MIDDLE = {path: Budget(f"{path}, in a middle ledger / a small one", 1.2) for path in PATHS}
_EXPIRED = Budget("lots expired", 50_000, at_most=False, unit="a second")
BUDGETS = (*_LARGE.values(), *_MIDDLE.values(), _EXPIRED)

_OFFER = """
    INSERT INTO redemption_options (company_id, id, kind, name, feature, quantity, cost_points, created_at)
    VALUES (%(company_id)s, %(option)s, 'quota', 'Calls', 'ai_calls', 1, 1, clock_timestamp())
"""


def measure(ground: Ground) -> list[Line]:
    """The budgets of growth. Raises BenchmarkError where the disk has no room for it."""
    sizes = (SMALL, MIDDLE, ENTRIES) if ENTRIES > MIDDLE else (SMALL, ENTRIES)
    ledgers.ask_for_room(sum(sizes))
    with ExitStack() as until_then:
        callers: dict[int, Callers] = {}
        for size in sizes:
            its_ground = ground if size == ENTRIES else until_then.enter_context(beside(ground, f"entries_{size}"))
            ledgers.lay(its_ground, size)
            callers[size] = until_then.enter_context(Callers(its_ground, size // PER_USER))
        rounds = [_round(callers, turn) for turn in range(ROUNDS + 1)][1:]
    lines = [
        _line(budgets[path], path, size, rounds)
        for size, budgets in ((ENTRIES, _LARGE), (MIDDLE, _MIDDLE))
        if size in callers and size != SMALL
        for path in PATHS
    ]
    return [*lines, _expire(ground)]


class Callers:
    """The handlers on one database, each in a process of its own, and what they are asked next."""

    def __init__(self, ground: Ground, users: int) -> None:
        option = ids.new_id()
        ground.superuser.execute(_OFFER, {"company_id": ground.company_id, "option": option})
        self._line = ground.line
        self._values = {
            **ground.line, "option_id": ids.public("opt", option), "code": "",
            "endpoint_id": ground.line["stripe_endpoint"].rpartition("/")[2],
        }  # fmt: skip
        self._users = users
        self._dice = Random(1)  # noqa: S311 - no secret
        self._newcomers, self._payers = count(), count()
        functions = load(ROOT / "template.yaml").functions(ground.prepared.parameters)
        self._processes = {
            name: start(functions[name], ground) for name in {events.logical_id(event) for event in PATHS.values()}
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def p50(self, path: str) -> float:
        """The median of some calls of a path, in milliseconds."""
        process = self._processes[events.logical_id(PATHS[path])]
        asked = json.dumps([self._event(path) for _ in range(CALLS)])
        if process.stdin is None or process.stdout is None:
            raise LookupError("both are pipes")
        process.stdin.write(f"{asked}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"{path} was refused: see the last line of its log")
        return float(answer)

    def _event(self, path: str) -> dict[str, Any]:
        event = events.load(PATHS[path], self._values)
        event["headers"]["idempotency-key"] = str(ids.new_id())
        if path == "signup":
            body = json.loads(event["body"])
            body["user"] = {"external_id": f"newcomer_{next(self._newcomers)}"}
            body["referral_code"] = f"USER_{self._dice.randrange(self._users)}"
            return _with_body(event, json.dumps(body))
        if path == "first payment":
            payer = f"newcomer_{next(self._payers)}"
            paid = invoice_paid(
                f"evt_{payer}", f"in_{payer}", user=payer, paid_at=NOW, customer=f"cus_{payer}",
                subscription=f"sub_{payer}",
            )  # fmt: skip
            body = json.dumps(paid)
            signed = signatures.sign(body.encode(), self._line["stripe_secret"], int(time.time()))
            event["headers"]["stripe-signature"] = signed
            return _with_body(event, body)
        event["pathParameters"]["user_id"] = f"user_{self._dice.randrange(self._users)}"
        return event


def beside(ground: Ground, name: str) -> AbstractContextManager[Ground]:
    """A further database of the same cluster."""
    home = ground.home / name
    home.mkdir()
    return database(ground.cluster, home, home.name)


def start(function: Function, ground: Ground) -> subprocess.Popen[str]:
    """A function on a database, in a process that times its handler (`tests.benchmarks.timed_handler`)."""
    environment = environment_of(function, dict(ground.prepared.environment))
    environment["PYTHONPATH"] += f":{ROOT}"
    log = (ground.home / f"{function.logical_id}.log").open("wb")  # no pipe: whoever reads along takes time
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.timed_handler"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip


def _with_body(event: dict[str, Any], body: str) -> dict[str, Any]:
    event["headers"]["content-length"] = str(len(body.encode()))
    return {**event, "body": body}


Round = Mapping[int, Mapping[str, float]]
"""By entries of the ledger and path: the median milliseconds of a call."""


def _round(callers: Mapping[int, Callers], turn: int) -> Round:
    """Measure each path in all ledgers, each ledger first in its turn."""
    sizes = list(callers)
    found: dict[int, dict[str, float]] = {size: {} for size in sizes}
    for path in PATHS:
        for place in range(len(sizes)):
            size = sizes[(turn + place) % len(sizes)]
            found[size][path] = callers[size].p50(path)
    return found


def _line(budget: Budget, path: str, size: int, rounds: Sequence[Round]) -> Line:
    found = Compared.of([(each[size][path], each[SMALL][path]) for each in rounds])
    detail = f"p50 {found.judged:.2f} ms at {size:,} entries, {found.other:.2f} ms at {SMALL:,}"
    return budget.line(found.ratio, detail)


def _expire(ground: Ground) -> Line:
    """Book what has expired, as the job does, once all lots have."""
    later = NOW + timedelta(days=30)
    ground.superuser.execute("UPDATE companies SET test_now = %s WHERE id = %s", (later, ground.company_id))
    before = _open_lots(ground)
    with ground.connect("jobs") as jobs:
        began, more = time.perf_counter(), True
        while more and time.perf_counter() - began < SECONDS:
            with jobs.transaction():
                more = expiry.batch(jobs).more
        took = time.perf_counter() - began
    rate = (before - _open_lots(ground)) / took
    return _EXPIRED.line(rate, "five lots a wallet, each at an instant of its own; one run of the job")


def _open_lots(ground: Ground) -> int:
    (row,) = ground.superuser.execute("SELECT count(*) FROM lots WHERE open").fetchall()
    return row[0]
