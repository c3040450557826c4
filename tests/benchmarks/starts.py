"""Cold starts: what a handler imports before its first event, beside the two libraries nobody could do without."""

import json
import statistics
import subprocess
import sys

from local.pool import environment_of
from local.template import Function, load
from tests.benchmarks.ground import ROOT, BenchmarkError, Ground
from tests.benchmarks.table import Line

HOT = (
    "TrackClickFunction", "AttributeSignupFunction", "RedeemPointsFunction", "CheckAccessFunction",
    "ReceiveStripeWebhookFunction", "ReceiveWhopWebhookFunction",
)  # fmt: skip
ROUNDS = 15
BUDGET = 1.6

_IMPORT = """
import json, sys, time
began = time.perf_counter()
import {modules}
took = time.perf_counter() - began
print(json.dumps({{"milliseconds": took * 1000, "boto3": "boto3" in sys.modules}}))
"""


def measure(ground: Ground) -> list[Line]:
    """The budget of the slowest of the hot functions."""
    functions = load(ROOT / "template.yaml").functions(ground.prepared.parameters)
    hot = [functions[name] for name in HOT]
    libraries: list[float] = []
    handlers: dict[str, list[float]] = {name: [] for name in HOT}
    for _ in range(ROUNDS):
        libraries.append(_import(hot[0], "psycopg, pydantic"))
        for function in hot:
            handlers[function.logical_id].append(_import(function, "app"))
    ratios = {
        name: statistics.median(own / other for own, other in zip(took, libraries, strict=True))
        for name, took in handlers.items()
    }
    slowest = max(ratios, key=ratios.__getitem__)
    detail = (
        f"{slowest}: {statistics.median(handlers[slowest]):.0f} ms of {statistics.median(libraries):.0f} ms, "
        f"the slowest of {len(HOT)}; without boto3"
    )
    what = "imports of a hot handler / psycopg, pydantic"
    return [Line(what, BUDGET, ratios[slowest], at_most=True, detail=detail)]


def _import(function: Function, modules: str) -> float:
    """Milliseconds that an import takes in a fresh interpreter. Raises BenchmarkError where it brings boto3 along."""
    result = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(modules=modules)],
        env=environment_of(function, {}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        raise BenchmarkError(f"{function.logical_id}: {result.stderr.strip()}")
    found = json.loads(result.stdout)
    if found["boto3"]:
        raise BenchmarkError(f"{function.logical_id} imports boto3")
    return found["milliseconds"]
