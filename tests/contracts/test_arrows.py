"""The arrows of the house: a room imports those before it in FLOORS. Insight reads all; only functions read it."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers/goodword/goodword"
FLOORS = (
    "core",
    "accounts",
    "facts",
    "access",
    "program",
    "points",
    "campaigns",
    "awards",
    "fraud",
    "referral",
    "payments",
    "insight",
)
MODULES = sorted(path for path in LAYER.rglob("*.py") if path.relative_to(LAYER).parts[0] in FLOORS)
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))
FORBIDDEN_IN_DOMAIN = {"os", "boto3", "http", "urllib.request", "requests", "aws_lambda_powertools"}


@cache
def imports_of(path: Path) -> set[str]:
    """Every module a file imports, at its top or inside; `from goodword.x import y` counts as goodword.x.y too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "goodword" and len(parts) > 1 and parts[1] in FLOORS else None


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 20
    assert len(HANDLERS) > 5


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LAYER)))
def test_nothing_imports_upward(path: Path) -> None:
    own = path.relative_to(LAYER).parts[0]
    upward = {name for name in imports_of(path) if (to := room(name)) and FLOORS.index(to) > FLOORS.index(own)}
    assert not upward
    assert own == "insight" or not any(room(name) == "insight" for name in imports_of(path))


@pytest.mark.parametrize(
    "path", [each for each in MODULES if "core" not in each.parts], ids=lambda path: str(path.relative_to(LAYER))
)
def test_a_domain_module_knows_no_http_no_aws_and_no_process(path: Path) -> None:
    imported = imports_of(path)
    assert not imported & FORBIDDEN_IN_DOMAIN
    assert not any(name.startswith("goodword.core.http") for name in imported)


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_is_thin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= max(70, 20 + 10 * text.count("@app.route("))
    assert ".execute(" not in text
    tops = {name.split(".")[0] for name in imports_of(path)}
    assert tops <= {"goodword", "collections"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LAYER)))
def test_a_module_says_what_it_is_for_and_stays_one_thing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400


SDK = {"boto3", "botocore"}
USES_AWS = LAYER / "core/secrets_manager.py"


def test_only_who_asks_providers_imports_an_http_client() -> None:
    """It is slow to import. A handler loads whatever its modules name, and the modules that these name."""
    by_name = {".".join(path.relative_to(LAYER.parent).with_suffix("").parts): path for path in MODULES}

    def asks(path: Path, seen: set[Path]) -> bool:
        names = imports_of(path)
        nearest = {by_name[name] for name in names & by_name.keys()} - seen
        seen |= nearest
        return "http.client" in names or any(asks(each, seen) for each in nearest)

    assert {path.parent.name for path in HANDLERS if asks(path, set())} == {"reconcile_payments"}


def test_no_hot_path_imports_boto3() -> None:
    importing = [path for path in [*MODULES, *HANDLERS] if {name.split(".")[0] for name in imports_of(path)} & SDK]
    assert importing == [USES_AWS]


def test_who_uses_boto3_imports_it_at_its_first_use() -> None:
    tree = ast.parse(USES_AWS.read_text(encoding="utf-8"))
    at_once = [
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    ]
    assert {name.split(".")[0] for name in at_once}.isdisjoint(SDK)
