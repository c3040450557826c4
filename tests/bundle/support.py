"""What the tests of the bundle look for in it."""

import sys
from pathlib import Path

import pytest

from local import template

ROOT = Path(__file__).parents[2]
ARCHITECTURES = ("arm64", "x86_64")
FUNCTIONS = template.load(ROOT / "template.yaml").functions({"DatabaseHost": "database.example"})

# The only tests of this house that may be left out, and on Linux they never are: what they run is a Linux program.
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="AWS's Runtime Interface Emulator runs on Linux only")


def files(folder: Path) -> dict[str, Path]:
    """The files below a folder, without bytecode, by their names in it."""
    return {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
