"""The console blocks of a page: their commands are run, and must print what the page says."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def steps_of(page: Path) -> list[tuple[str, str]]:
    """The commands of a page, each with what it says is printed; `…` stands for anything."""
    steps: list[tuple[str, str]] = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], ""))
            else:
                command, printed = steps[-1]
                steps[-1] = (command, f"{printed}{line}\n")
    return steps


def walk(page: Path, folder: Path, before: str = "", seen: Callable[[str], str] = str) -> int:
    """Run the commands of a page in one shell, after ours; answer how many there are. `seen` edits what is printed."""
    steps = steps_of(page)
    script = "\n".join([before, *(f"{command}\necho; echo '--{number}'" for number, (command, _) in enumerate(steps))])
    result = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert not result.stderr
    printed = re.split(r"\n?--\d+\n", seen(result.stdout))
    for (command, expected), got in zip(steps, printed, strict=False):
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.fullmatch(pattern, got.strip(), re.DOTALL), f"$ {command}\n{got}\n!=\n{expected}"
    return len(steps)
