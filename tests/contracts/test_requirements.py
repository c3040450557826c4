"""What is tested is what is deployed, and no file says where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "goodword" / "requirements.txt"
RUN, DEV = ROOT / "requirements" / "run.txt", ROOT / "requirements" / "dev.txt"
LOCKED = [LAYER, RUN, DEV, ROOT / "requirements" / "sam.txt"]


def pins(path: Path) -> dict[str, str]:
    """Package → version (and the marker that limits it)."""
    return dict(re.findall(r"^([\w.-]+)==([^\\]+?) *\\$", path.read_text(), re.MULTILINE))


def blocks(path: Path) -> set[str]:
    """Each package with its pin and its hashes."""
    return set(re.findall(r"^[\w.-]+==.*\n(?: {4}.*\n)*", path.read_text(), re.MULTILINE))


def asked_for(path: Path) -> set[str]:
    return {line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-"))}


def test_the_tests_run_against_the_versions_of_the_layer() -> None:
    layer = pins(LAYER)

    assert {"aws-lambda-powertools", "psycopg", "psycopg-binary", "pydantic"} <= layer.keys()
    assert layer.items() <= pins(RUN).items() <= pins(DEV).items()
    assert blocks(LAYER) <= blocks(RUN) <= blocks(DEV)


def test_pyproject_names_the_packages_of_the_layer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(project["dependencies"]) == asked_for(LAYER.with_suffix(".in"))


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_locked_file_names_packages_and_hashes_only(path: Path) -> None:
    line = re.compile(r"[\w.-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")

    assert [text for text in path.read_text().splitlines() if not line.fullmatch(text)] == []
