"""The README's walk, command by command: what it prints is what the reader sees."""

import json
import re
import subprocess
from pathlib import Path

from tests.support.companies import Company

README = Path(__file__).resolve().parents[2] / "README.md"
DEMO_DESTINATION = "https://app.example.com/welcome"


def walk() -> list[tuple[str, str]]:
    """The commands of the README's console blocks, each with what it says is printed; `…` stands for anything."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], ""))
            else:
                command, printed = steps[-1]
                steps[-1] = (command, f"{printed}{line}\n")
    return steps


def test_the_readme_prints_what_it_says(company: Company, tmp_path: Path) -> None:
    (tmp_path / "line.json").write_text(json.dumps(company.line) + "\n")
    steps = walk()
    assert len(steps) > 15
    script = "\n".join(f"{command}\necho; echo '--{number}'" for number, (command, _) in enumerate(steps))
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not result.stderr
    printed = re.split(r"\n?--\d+\n", result.stdout.replace("https://shop.example/start", DEMO_DESTINATION))
    for (command, expected), got in zip(steps, printed, strict=False):
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.fullmatch(pattern, got.strip(), re.DOTALL), f"$ {command}\n{got}\n!=\n{expected}"
