"""docs/gateway.md and its tests say the same."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parent.parent / "docs/gateway.md"


def test_every_row_has_one_test() -> None:
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", TABLE.read_text(), re.MULTILINE)]
    source = "".join(path.read_text() for path in sorted(HERE.glob("test_*.py")))
    tests = [int(number) for number in re.findall(r"^def test_row_(\d+)_", source, re.MULTILINE)]
    assert rows == list(range(1, len(rows) + 1))
    assert sorted(tests) == rows
