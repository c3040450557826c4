"""template.yaml and docs/architecture.md, as the contract tests read them."""

import re
from pathlib import Path
from typing import Any

from local import template

ROOT = Path(__file__).parents[2]
TEMPLATE = template.load(ROOT / "template.yaml")
PARAMETERS = {"DatabaseHost": "database.example", "DatabaseRolePrefix": "acme", "DatabaseResourceId": "cluster-EXAMPLE"}
FUNCTIONS = TEMPLATE.functions(PARAMETERS)
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def properties(logical_id: str) -> template.Node:
    """What the template says of a resource itself, without what Globals add."""
    return TEMPLATE.resources[logical_id]["Properties"]


def resources_of(kind: str) -> dict[str, template.Node]:
    """Logical id → properties, for each resource of a type."""
    return {name: resource["Properties"] for name, resource in TEMPLATE.resources.items() if resource["Type"] == kind}


def schedules_of(logical_id: str) -> list[template.Node]:
    """The properties of a function's schedules."""
    events: list[Any] = list(properties(logical_id).get("Events", {}).values())
    return [event["Properties"] for event in events if event["Type"] in template.SCHEDULES]


def section(heading: str) -> str:
    """What stands under a heading of docs/architecture.md."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    return text
