"""What `sam build` makes is whole, compiled, for the right processor, and holds nothing else."""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bundle import emulator
from tests.bundle.conftest import Make
from tests.bundle.support import FUNCTIONS, ROOT, files, needs_linux

LAYER = ROOT / "layers/goodword"
LARGEST = 250 * 1024 * 1024
"""Bytes that Lambda allows a function and its layers, unzipped."""
UNCHECKED_HASH = 0b01
"""The flags of bytecode that is used without a look at its source (PEP 552)."""
COMPILED_FROM_ANOTHER_SOURCE = """
import importlib.util, pathlib, sys
for source in pathlib.Path(sys.argv[1]).rglob("*.py"):
    compiled = pathlib.Path(importlib.util.cache_from_source(source))
    if compiled.read_bytes()[8:16] != importlib.util.source_hash(source.read_bytes()):
        print(compiled)
"""
LOADED_BY = """
import importlib, pathlib
loaded_by, known = {}, set()
for folder in sys.argv[1:]:
    sys.modules.pop("app", None)
    sys.path.insert(0, folder)
    importlib.import_module("app")
    sys.path.remove(folder)
    loaded_by[pathlib.Path(folder).name] = sorted(sys.modules.keys() - known)
    known.update(sys.modules)
say(loaded_by)
"""
"""Loads one function after the other, and says what each is the first to load."""
ELF_MACHINES = {62: "x86_64", 183: "arm64"}


def test_the_template_is_valid() -> None:
    assert "is a valid SAM Template" in Make("validate").finish()


def test_a_function_is_its_source(build: Path) -> None:
    for logical_id, function in FUNCTIONS.items():
        built, source = files(build / logical_id), files(function.folder)
        assert "app.py" in built
        assert {name: path.read_bytes() for name, path in built.items()} == {
            name: path.read_bytes() for name, path in source.items()
        }
        assert not list((build / logical_id).rglob("__pycache__"))


def test_the_layer_holds_our_package_as_it_is(build: Path) -> None:
    built, source = files(build / "GoodwordLayer/python/goodword"), files(LAYER / "goodword")
    assert {name: path.read_bytes() for name, path in built.items()} == {
        name: path.read_bytes() for name, path in source.items()
    }


def test_the_layer_holds_the_pinned_packages_and_nothing_else(build: Path) -> None:
    layer = build / "GoodwordLayer"
    pins = dict(re.findall(r"^([\w.-]+)==([^\\ ;]+)", (LAYER / "requirements.txt").read_text(), re.MULTILINE))
    installed = {
        "-".join(name.split("_")): version
        for name, version in (folder.stem.rsplit("-", 1) for folder in (layer / "python").glob("*.dist-info"))
    }
    assert installed == {name: version for name, version in pins.items() if name in installed}
    assert {"aws-lambda-powertools", "psycopg", "psycopg-binary", "pydantic"} <= installed.keys()
    assert {path.name for path in layer.iterdir()} <= {"python", "certs"}
    # Lambda has boto3 of its own; the rest would only make every cold start longer
    unwanted = re.compile(r"boto3|botocore|tests?|bin|pip|requirements.*|Makefile|.*\.in")
    assert [path.name for path in (layer / "python").iterdir() if unwanted.fullmatch(path.name)] == []


def test_all_of_the_layer_is_compiled_for_good(build: Path) -> None:
    """A .pyc is used without a look at any file's date, and is that of the source beside it."""
    packages = build / "GoodwordLayer/python"
    sources, compiled = list(packages.rglob("*.py")), set(packages.rglob("*.pyc"))
    assert len(sources) > 100
    assert compiled == {source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc" for source in sources}
    assert {path for path in compiled if int.from_bytes(path.read_bytes()[4:8], "little") != UNCHECKED_HASH} == set()
    assert run(COMPILED_FROM_ANOTHER_SOURCE, packages) == ""


def test_the_libraries_are_for_the_processor(build: Path) -> None:
    libraries = [path for path in (build / "GoodwordLayer").rglob("*") if path.is_file() and is_library(path)]
    assert len(libraries) > 3
    machines = {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries}
    assert {ELF_MACHINES[machine] for machine in machines} == {build.parent.name}


def is_library(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def test_it_is_as_small_as_lambda_asks(build: Path) -> None:
    layer = sum(path.stat().st_size for path in (build / "GoodwordLayer").rglob("*") if path.is_file())
    for logical_id in FUNCTIONS:
        own = sum(path.stat().st_size for path in (build / logical_id).rglob("*") if path.is_file())
        assert layer + own < LARGEST


@needs_linux
def test_psycopg_knows_its_version(builds: dict[str, Path]) -> None:
    pinned = re.search(r"^psycopg==(\S+)", (LAYER / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    said = in_lambda(builds, "import psycopg; say([psycopg.__version__, psycopg.pq.__impl__])")
    assert said == [pinned[1], "binary"]


@needs_linux
def test_a_cold_start_loads_no_sdk(builds: dict[str, Path]) -> None:
    """boto3 is there to be imported, as in Lambda; it would cost a cold start 100 ms and more."""
    functions = [name for name, function in FUNCTIONS.items() if function.routes]
    loaded_by = in_lambda(builds, LOADED_BY, *(builds[emulator.architecture()] / name for name in functions))
    assert list(loaded_by) == functions
    assert "goodword.core.http" in loaded_by[functions[0]]
    # powertools looks whether botocore is there, which costs little; what is slow is its session
    sdks = {"boto3", "botocore.session", "aws_xray_sdk", "stripe"}
    assert {name: sdks.intersection(loaded) for name, loaded in loaded_by.items() if sdks.intersection(loaded)} == {}


def in_lambda(builds: dict[str, Path], code: str, *arguments: Path) -> Any:  # noqa: ANN401 - whatever the code says
    """Run code beside the built layer; what it gives to `say`."""
    path = [builds[emulator.architecture()] / "GoodwordLayer/python", emulator.packages()]
    said = run(f"import json, sys; say = lambda it: print(json.dumps(it))\n{code}", *arguments, path=path)
    return json.loads(said)


def run(code: str, *arguments: Path, path: Sequence[Path] = ()) -> str:
    """Run code with Lambda's version of Python and no packages but those on the path; what it prints."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1", "LOG_LEVEL": "INFO"}
    command = [emulator.python(), "-S", "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
