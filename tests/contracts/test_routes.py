"""A route is declared four times, and they agree: template.yaml, its function, docs/api.md and docs/openapi.json."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import BaseModel

from tools import openapi, operations

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {function.logical_id: function for function in openapi.served_functions()}
ROUTES = {
    key: route
    for function in FUNCTIONS.values()
    for key, route in openapi.routes_of(function.folder).items()
    if key != "$default"
}


class Row(NamedTuple):
    """A row of a table of docs/api.md: a route, the scope of its key, and what it takes."""

    route: str
    key: str
    takes: str


ROWS = [
    Row(*row)
    for row in re.findall(
        r"^\| `([A-Z]+ /\S+)` \| (\S+) \|(.*?)\|", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
]


def fields(model: type[BaseModel]) -> dict[str, bool]:
    """The fields of a model by the names that clients use, and whether each is required."""
    return {field.alias or name: field.is_required() for name, field in model.model_fields.items()}


def names(text: str) -> list[str]:
    """`code, kind: "quota", stock?` without what a field holds."""
    return [name.partition(":")[0].strip() for name in text.split(",") if name]


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_function_answers_exactly_the_routes_that_the_template_gives_it(logical_id: str) -> None:
    function = FUNCTIONS[logical_id]
    assert set(openapi.routes_of(function.folder)) == set(function.routes)


def test_the_openapi_document_is_what_the_models_say() -> None:
    assert json.loads((ROOT / "docs/openapi.json").read_text()) == openapi.document(), "run `make openapi`"


def test_the_page_of_the_api_has_every_route_once_with_its_key() -> None:
    keys = {key: "none" if route.scope is None else route.scope.name.lower() for key, route in ROUTES.items()}
    assert sorted((row.route, row.key) for row in ROWS) == sorted(keys.items())
    assert {row.route for row in ROWS if "(K)" in row.takes} == openapi.KEY_REQUIRED


@pytest.mark.parametrize("row", [row for row in ROWS if "{" in row.takes], ids=lambda row: row.route)
def test_the_page_of_the_api_names_the_fields_of_a_body(row: Row) -> None:
    (body,) = re.findall(r"`\{(.*)\}`", row.takes)
    model = ROUTES[row.route].body
    assert model is not None
    assert {name.rstrip("?"): not name.endswith("?") for name in names(body)} == fields(model)


@pytest.mark.parametrize("route", [key for key, route in ROUTES.items() if route.query])
def test_the_page_of_the_api_names_the_parameters_of_a_query(route: str) -> None:
    (takes,) = [row.takes for row in ROWS if row.route == route]
    model = ROUTES[route].query
    assert model is not None
    assert sorted(names(takes.strip(" `?"))) == sorted(fields(model))


DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_every_route_of_the_document_has_a_name_of_its_own_and_the_section_of_its_page() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    sections = {
        route: heading
        for heading, text in re.findall(r"^##+ (.+)\n((?:(?!##).*\n)*)", page, re.MULTILINE)
        for route in re.findall(r"^\| `([A-Z]+ /\S+)` \|", text, re.MULTILINE)
        if "+}" not in route
    }
    assert {route: operation.section for route, operation in operations.OPERATIONS.items()} == sections
    names = [operation.name for operation in operations.OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("route", [key for key, route in ROUTES.items() if route.body])
def test_an_example_of_the_document_is_a_body_that_is_taken(route: str) -> None:
    method, path = route.split(" ", 1)
    content = DOCUMENT["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    body = ROUTES[route].body
    assert body is not None
    body.model_validate_json(json.dumps(content["example"]))


def test_a_webhook_of_the_document_has_a_body_and_its_signature() -> None:
    for provider, signature in (("stripe", "Stripe-Signature"), ("whop", "webhook-signature")):
        receive = DOCUMENT["paths"][f"/webhooks/{provider}/{{endpoint_id}}"]["post"]
        assert {"id", "type", "data"} <= receive["requestBody"]["content"]["application/json"]["example"].keys()
        assert signature in {parameter["name"] for parameter in receive["parameters"]}


def test_the_idempotency_key_is_told_wherever_it_is_taken() -> None:
    taking = {
        f"{method.upper()} {path}"
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    }
    assert taking == {key for key, route in ROUTES.items() if key.startswith("POST") and route.scope is not None}


def test_the_page_and_the_document_call_what_is_answered_alike() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    answers = re.findall(r"^\| `[A-Z]+ /\S+` \|[^|]*\|[^|]*\| (?:20[01] )?`([A-Z]\w+)`", page, re.MULTILINE)
    assert len(answers) > 35
    assert set(answers) <= SCHEMAS.keys()
    assert all(re.fullmatch(r"[A-Za-z]+", name) for name in SCHEMAS)
    assert openapi.NAMES.keys().isdisjoint(SCHEMAS)
