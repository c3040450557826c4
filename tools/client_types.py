"""The types of the Python client, written from the OpenAPI document: what its methods take and give, and no more.

`python -m tools.client_types` writes clients/python/goodword_client/schemas.py; a test holds the file to the document.
"""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

from tools import openapi

TARGET = openapi.ROOT / "clients/python/goodword_client/schemas.py"
WANTED = (
    "NewUser", "SignupAnswer", "ActivationAnswer", "User", "Referral", "Award", "Balance", "LedgerEntry",
    "RedemptionOption", "Redemption", "Entitlement", "UsageAnswer",
    "UsageReturnAnswer",
)  # fmt: skip
HEAD = '''\
"""What the client takes and gives. Written from docs/openapi.json by `make openapi`: change nothing here."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict
'''
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = dict[str, Any]


def text() -> str:
    """The whole file."""
    schemas: dict[str, Schema] = openapi.document()["components"]["schemas"]
    wanted = set(WANTED)
    while more := {name for each in wanted for name in _references(schemas[each])} - wanted:
        wanted |= more
    source = HEAD + "".join(_class(name, schemas[name]) for name in sorted(wanted))
    formatter = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(formatter, input=source, capture_output=True, text=True, check=True).stdout


def _references(node: object) -> Iterator[str]:
    """The schemas that a schema names."""
    if isinstance(node, list):
        for each in cast("list[object]", node):
            yield from _references(each)
    elif isinstance(node, dict):
        for name, value in cast("Schema", node).items():
            if name == "$ref":
                yield value.removeprefix(openapi.REFERENCE)
            else:
                yield from _references(value)


def _class(name: str, schema: Schema) -> str:
    lines = [f"\n\nclass {name}(TypedDict):"]
    if description := schema.get("description"):
        lines.append(f'    """{" ".join(description.partition(chr(10) * 2)[0].split())}"""\n')
    for field, value in schema["properties"].items():
        type_ = _type(value)
        lines.append(f"    {field}: {type_ if field in schema.get('required', []) else f'NotRequired[{type_}]'}")
    return "\n".join(lines) + "\n"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return schema["$ref"].removeprefix(openapi.REFERENCE)
    if "anyOf" in schema and "type" not in schema:
        return " | ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "enum" in schema:
        values = ", ".join(f'"{value}"' for value in schema["enum"])
        return f"Literal[{values}]"
    if schema.get("type") == "array":
        return f"list[{_type(schema['items'])}]"
    if schema.get("type") == "object":
        return "dict[str, object]"
    return SIMPLE[schema["type"]]


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(openapi.ROOT)}", file=sys.stderr)
