"""One name, one thing: no two modules of the layer give a public class, or a type, the same name."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers/goodword/goodword"


def types_of(path: Path) -> set[str]:
    """The public classes and aliases of types (`Name = …`, in capitals and small letters) of a module."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if name[0].isupper() and not name.isupper() and not is_variable(node):
                    names.add(name)
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


def is_variable(node: ast.stmt) -> bool:
    """`Row = TypeVar("Row")` names nothing outside its own signatures."""
    value = getattr(node, "value", None)
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


def test_no_two_public_types_of_the_layer_share_a_name() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in LAYER.rglob("*.py"):
        for name in types_of(path):
            places[name].add(str(path.relative_to(LAYER)))
    assert len(places) > 100
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
