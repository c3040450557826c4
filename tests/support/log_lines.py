"""The log of a run, read as Lambda reads what a function writes while its log format is JSON."""

import json
import re
from pathlib import Path
from typing import Any

# RFC 3339, of which Lambda takes no other form: 2026-11-27T21:28:54.787+00:00
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
# what the local server says to the person at its terminal, which Lambda has no part in
_SERVERS_OWN = re.compile(
    r"Preparing the database …|Serving on http://\S+ \(Ctrl-C ends it\)|Stopping …"
    r"|WARNING:  (Invalid HTTP request received|Unsupported upgrade request)\."
)


def level_of(line: dict[str, Any]) -> str:
    """The level by which Lambda keeps or drops a line: INFO for whatever it cannot read."""
    level = line.get("level", line.get("log_level"))
    if not _TIMESTAMP.fullmatch(str(line.get("timestamp"))) or level not in LEVELS:
        return "INFO"
    return level


def kept(line: dict[str, Any], at: str) -> bool:
    """Whether a line is still there with the application's log level at that."""
    return LEVELS.index(level_of(line)) >= LEVELS.index(at)


def read(log: Path) -> list[dict[str, Any]]:
    """What the functions wrote, line by line; a line that is no JSON object fails."""
    lines = []
    for line in log.read_text().splitlines():
        if not _SERVERS_OWN.fullmatch(line):
            lines.append(json.loads(line))
            assert isinstance(lines[-1], dict), line
    return lines


def assert_readable(log: Path) -> None:
    """Every line of the functions has the level for Lambda that it says it has."""
    for line in read(log):
        assert level_of(line) == line.get("level", line.get("log_level")), line
