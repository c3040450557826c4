"""Cold starts: what a handler imports before its first event, beside the two libraries nobody could do without.

Counted are instructions above those of an empty interpreter, which valgrind gives alike under any load. Where it is not
installed, milliseconds of CPU time stand in for them.
"""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from local.pool import environment_of
from local.template import Function, load
from tests.benchmarks.ground import ROOT, BenchmarkError, Ground
from tests.benchmarks.table import Budget, Compared, Line

HOT: Mapping[str, Budget] = {
    name: Budget(f"imports of {name.removesuffix('Function')} / psycopg and BaseModel", 1.4)
    for name in (
        "TrackClickFunction", "AttributeSignupFunction", "RedeemPointsFunction", "CheckAccessFunction",
        "ReceiveStripeWebhookFunction", "ReceiveWhopWebhookFunction",
    )
}  # fmt: skip
BUDGETS = tuple(HOT.values())

NOTHING = ""
LIBRARIES = "import psycopg; from pydantic import BaseModel"
HANDLER = "import app, sys; sys.exit('boto3 is imported' if 'boto3' in sys.modules else 0)"
ROUNDS = 9
"""Of CPU time; instructions are the same each time."""
COUNTER = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
COUNTED = re.compile(r"I +refs: +([0-9,]+)")

Price = Callable[[Function, str], float]
"""What a function's interpreter takes for a piece of code."""


def measure(ground: Ground) -> list[Line]:
    """The budgets of the hot functions. Raises BenchmarkError where one brings boto3 along."""
    functions = load(ROOT / "template.yaml").functions(ground.prepared.parameters)
    hot = [functions[name] for name in HOT]
    for function in hot:  # so that all bytecode is there
        _milliseconds(function, HANDLER)
    counts = shutil.which(COUNTER[0]) is not None
    price, rounds, unit = (_instructions, 1, "M instructions") if counts else (_milliseconds, ROUNDS, "ms of CPU")
    measured = [_round(price, hot) for _ in range(rounds)]
    return [_line(budget, unit, [each[place] for each in measured]) for place, budget in enumerate(BUDGETS)]


def _round(price: Price, functions: Sequence[Function]) -> list[tuple[float, float]]:
    """Of each function what it imports, and what the libraries are beside it; the interpreter taken off."""
    nothing = price(functions[0], NOTHING)
    libraries = price(functions[0], LIBRARIES) - nothing
    return [(price(function, HANDLER) - nothing, libraries) for function in functions]


def _line(budget: Budget, unit: str, pairs: Sequence[tuple[float, float]]) -> Line:
    found = Compared.of(pairs)
    return budget.line(found.ratio, f"{found.judged:,.0f} of {found.other:,.0f} {unit}; without boto3")


def _instructions(function: Function, code: str) -> float:
    """Millions of instructions."""
    found = COUNTED.search(_run(function, code, COUNTER))
    if found is None:
        raise BenchmarkError("valgrind counted no instructions")
    return int(found[1].replace(",", "")) / 1_000_000


def _milliseconds(function: Function, code: str) -> float:
    """Milliseconds of CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(function, code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def _run(function: Function, code: str, prefix: Sequence[str] = ()) -> str:
    """Run code as the function's process would; what was written to stderr."""
    # hashes in one order, or the same imports would take other numbers of instructions each time
    environment = {**environment_of(function, {}), "PYTHONHASHSEED": "0"}
    result = subprocess.run(
        [*prefix, sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise BenchmarkError(f"{function.logical_id}: {result.stderr.strip()}")
    return result.stderr
