"""The functions that people wait for start as goodword/cold_start.py asks, the models of their own routes built.

What only some requests need they load then (docs/decisions/0044-expressions-and-disposable-domains.md).
"""

import json
import subprocess
import sys

import pytest

from local.pool import environment_of
from tests.benchmarks.starts import HOT
from tests.contracts.support import FUNCTIONS

STARTED = """
import gc, json, sys
import goodword.cold_start
assert not gc.isenabled()
import app
models = [m for route in app.app.routes.values() for m in (route.body, route.query, *route.answers.values()) if m]
print(json.dumps({
    "collects": gc.isenabled(),
    "kept": gc.get_freeze_count() > 0,
    "unbuilt": [model.__name__ for model in models if not model.__pydantic_complete__],
    "built": len(models),
    "loaded": sorted({"re2", "disposable_email_domains"} & sys.modules.keys()),
}))
"""


@pytest.mark.parametrize("name", HOT)
def test_a_hot_function_puts_collecting_off_and_builds_its_own_models(name: str) -> None:
    function = FUNCTIONS[name]
    first = next(line for line in (function.folder / "app.py").read_text().splitlines() if line.startswith("from "))
    assert first == "from goodword import cold_start"
    environment = environment_of(function, {})
    said = subprocess.run([sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, check=True)
    started = json.loads(said.stdout)
    assert started.pop("built") > 0
    assert started == {"collects": True, "kept": True, "unbuilt": [], "loaded": []}
