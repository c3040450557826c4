"""The README's walk, command by command: what it prints is what the reader sees."""

import json
from pathlib import Path

from tests.support.companies import DESTINATION, Company
from tests.support.walks import walk

README = Path(__file__).resolve().parents[2] / "README.md"
DEMO_DESTINATION = "https://app.example.com/welcome"


def test_the_readme_prints_what_it_says(company: Company, tmp_path: Path) -> None:
    (tmp_path / "line.json").write_text(json.dumps(company.line) + "\n")
    assert walk(README, tmp_path, seen=lambda text: text.replace(DESTINATION, DEMO_DESTINATION)) > 15
