"""A template: what `template.yaml` says about the functions, read as CloudFormation and SAM would read it.

Only what running a function needs is resolved: its code, limits, environment variables, routes and schedules. What
cannot be resolved is an error that names it, never a guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import yaml

from local.cors import Cors

try:  # five times as fast, and every command begins by reading the template
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # yaml was built without its C library
    from yaml import SafeLoader

DEFAULT_TIMEOUT_SECONDS = 3
DEFAULT_MEMORY_MB = 128
DEFAULT_ROUTE = "$default"
REGION = "us-east-1"
ACCOUNT = "123456789012"

PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "goodword",
    "AWS::URLSuffix": "amazonaws.com",
}

SCHEDULES = {"Schedule": "Schedule", "ScheduleV2": "ScheduleExpression"}
"""Kinds of events that are schedules, and the property that holds the expression."""

MADE_SECRET = "AWS::SecretsManager::Secret"  # noqa: S105 - a type

Node = dict[str, Any]


class TemplateError(Exception):
    """The template asks for something that cannot be resolved here; the message names it."""


@dataclass(frozen=True)
class Function:
    """One AWS::Serverless::Function."""

    logical_id: str
    folder: Path
    handler: str
    timeout: int
    """Seconds one invocation may take."""
    memory: int
    """Megabytes."""
    environment: dict[str, str]
    layers: tuple[Path, ...]
    """Content folders of the template's own layers."""
    routes: tuple[str, ...]
    """Route keys of its HttpApi events: "GET /v1/program", or "$default"."""
    schedules: tuple[str, ...]
    """Schedule expressions of its Schedule and ScheduleV2 events."""


class _Loader(SafeLoader):  # pyright: ignore[reportGeneralTypeIssues] - either of the two
    """YAML with CloudFormation's short forms: `!Sub x` means `Fn::Sub: x`."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Node:
    if isinstance(node, yaml.ScalarNode):
        value: object = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(cast("yaml.MappingNode", node), deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)  # pyright: ignore[reportUnknownMemberType] - the stubs leave it open


def load(path: Path) -> "Template":
    """Read a template file."""
    # a subclass of SafeLoader, whose only addition builds plain dictionaries
    document = cast("Node", yaml.load(path.read_text(), Loader=_Loader))  # noqa: S506
    return Template(path.parent.absolute(), document)


class Template:
    """A template file, before its parameters have values."""

    def __init__(self, root: Path, document: Node) -> None:
        self.root = root
        self.resources: dict[str, Node] = document.get("Resources", {})
        self.parameters: dict[str, Node] = document.get("Parameters", {})
        self.conditions: dict[str, Any] = document.get("Conditions", {})
        self.globals: Node = document.get("Globals", {}).get("Function", {})

    def cors(self) -> Cors | None:
        """The CORS configuration of the HTTP API; None where it has none."""
        for resource in self.resources.values():
            if resource["Type"] == "AWS::Serverless::HttpApi" and "CorsConfiguration" in resource["Properties"]:
                return Cors.of(resource["Properties"]["CorsConfiguration"])
        return None

    def functions(self, parameters: Mapping[str, str] | None = None) -> dict[str, Function]:
        """Logical id → function, with these parameter values over the defaults of the template."""
        given = dict(parameters or {})
        if unknown := sorted(given.keys() - self.parameters.keys()):
            raise TemplateError(f"the template has no parameter {', '.join(unknown)}")
        defaults = {name: _text(node["Default"]) for name, node in self.parameters.items() if "Default" in node}
        made = {name: name for name, each in self.resources.items() if each["Type"] == MADE_SECRET}
        resolver = _Resolver({**made, **defaults, **given, **PSEUDO_PARAMETERS}, self.conditions)
        return {
            logical_id: self._function(logical_id, resource.get("Properties", {}), resolver)
            for logical_id, resource in self.resources.items()
            if resource["Type"] == "AWS::Serverless::Function"
        }

    def _function(self, logical_id: str, own: Node, resolver: "_Resolver") -> Function:
        # SAM merges Globals by kind: scalars replace, maps merge, lists append
        properties = {**self.globals, **own}
        variables = {**_variables(self.globals), **_variables(own)}
        environment = {
            name: value
            for name, node in variables.items()
            if (value := resolver.text(node, f"{logical_id}: environment variable {name}")) is not None
        }
        return Function(
            logical_id=logical_id,
            folder=self.root / properties["CodeUri"],
            handler=properties["Handler"],
            timeout=resolver.number(properties.get("Timeout", DEFAULT_TIMEOUT_SECONDS), f"{logical_id}: Timeout"),
            memory=resolver.number(properties.get("MemorySize", DEFAULT_MEMORY_MB), f"{logical_id}: MemorySize"),
            environment=environment,
            layers=tuple(self._layer(node) for node in [*self.globals.get("Layers", []), *own.get("Layers", [])]),
            routes=tuple(_routes(logical_id, own)),
            schedules=tuple(
                resolver.text(event["Properties"][SCHEDULES[event["Type"]]], f"{logical_id}: schedule") or ""
                for event in own.get("Events", {}).values()
                if event["Type"] in SCHEDULES
            ),
        )

    def _layer(self, node: Any) -> Path:  # noqa: ANN401 - a node of the YAML document
        name = cast("Node", node).get("Ref") if isinstance(node, dict) else None
        layer = self.resources.get(name or "")
        if layer is None or layer["Type"] != "AWS::Serverless::LayerVersion":
            raise TemplateError(f"layer {node} is not a layer of this template")
        return self.root / layer["Properties"]["ContentUri"]


def _variables(properties: Node) -> Node:
    return properties.get("Environment", {}).get("Variables", {})


def _routes(logical_id: str, properties: Node) -> list[str]:
    routes: list[str] = []
    for event in properties.get("Events", {}).values():
        if event["Type"] != "HttpApi":
            continue
        details: Node = event.get("Properties", {})
        if unsupported := details.keys() - {"ApiId", "Method", "Path"}:
            raise TemplateError(f"{logical_id}: HttpApi event with {', '.join(sorted(unsupported))}")
        path = details.get("Path", DEFAULT_ROUTE)
        routes.append(path if path == DEFAULT_ROUTE else f"{details['Method'].upper()} {path}")
    return routes


def _text(value: object) -> str:
    """A scalar as CloudFormation writes it: numbers in decimal, booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _NoValue:
    """What `AWS::NoValue` stands for: as if the property were not there."""


_NO_VALUE = _NoValue()


class _Resolver:
    """Resolves CloudFormation's functions, given the values of the parameters."""

    def __init__(self, values: Mapping[str, str], conditions: Mapping[str, Any]) -> None:
        self._values = values
        self._conditions = conditions

    def text(self, node: object, place: str) -> str | None:
        """The value of a node as text; None for AWS::NoValue."""
        value = self._resolve(node, place)
        return None if isinstance(value, _NoValue) else _text(value)

    def number(self, node: object, place: str) -> int:
        """The value of a node as a whole number."""
        value = self.text(node, place)
        if value is None or not value.isdecimal():
            raise TemplateError(f"{place}: {value} is not a whole number")
        return int(value)

    def _resolve(self, node: object, place: str) -> object:
        if not isinstance(node, dict):
            return node
        ((name, argument),) = cast("Node", node).items()
        method = self._FUNCTIONS.get(name)
        if method is None:
            raise TemplateError(f"{place}: cannot resolve {name} here")
        return method(self, argument, place)

    def _ref(self, name: str, place: str) -> object:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name not in self._values:
            raise TemplateError(f"{place}: no value for {name}")
        return self._values[name]

    def _sub(self, argument: str | list[Any], place: str) -> str:
        text: str
        own: Node
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def replacement(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):  # ${!Literal} stands for ${Literal}
                return "${" + name[1:] + "}"
            return _text(self._resolve(own[name], place) if name in own else self._ref(name, place))

        return re.sub(r"\$\{([^}]+)\}", replacement, text)

    def _if(self, argument: list[Any], place: str) -> object:
        condition, then, otherwise = argument
        return self._resolve(then if self._holds(condition, place) else otherwise, place)

    def _join(self, argument: list[Any], place: str) -> str:
        separator, parts = argument
        return separator.join(_text(self._resolve(part, place)) for part in parts)

    def _holds(self, node: object, place: str) -> bool:
        """The value of a condition, given by name or by its definition."""
        if isinstance(node, str):
            if node not in self._conditions:
                raise TemplateError(f"{place}: the template has no condition {node}")
            return self._holds(self._conditions[node], place)
        ((name, argument),) = cast("Node", node).items()
        if name == "Condition":
            return self._holds(argument, place)
        if name == "Fn::Equals":
            left, right = (self.text(side, place) for side in argument)
            return left == right
        if name == "Fn::Not":
            return not self._holds(argument[0], place)
        if name in ("Fn::And", "Fn::Or"):
            return (all if name == "Fn::And" else any)(self._holds(part, place) for part in argument)
        raise TemplateError(f"{place}: cannot resolve {name} here")

    _FUNCTIONS: ClassVar[dict[str, Callable[["_Resolver", Any, str], object]]] = {
        "Ref": _ref,
        "Fn::Sub": _sub,
        "Fn::If": _if,
        "Fn::Join": _join,
    }
