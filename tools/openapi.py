"""The OpenAPI document, written from the routes that the functions declare and the models these name.

`python -m tools.openapi` writes docs/openapi.json; a test holds the file to what the models say.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from goodword.core.auth import Scope
from goodword.core.fields import EXTERNAL_ID
from goodword.core.http import App, Route, needs_nothing
from local.template import Function, load
from tools import operations
from tools.operations import OPERATIONS, PARAMETERS

ROOT = Path(__file__).resolve().parent.parent
ABOUT = """\
Who referred whom, what each of them earned, what they may still spend and what they may use.

A server asks with a secret key of scope read, write or admin; a browser with a publishable key, and only where that is
taken. A list gives `has_more` and is read on with `after`. A POST under an Idempotency-Key is done once, however often
it is sent. A refusal has one form, RFC 9457, with a stable `code`."""
SERVERS = [
    {
        "url": "https://{host}",
        "description": "The company's own AWS account",
        "variables": {"host": {"default": "api.example.com", "description": "The domain of the HTTP API"}},
    },
    {"url": "http://127.0.0.1:3000", "description": "`make serve`"},
]
NAMES = {
    "Activation": "NewActivation", "AwardTerms-Input": "NewAwardTerms", "AwardTerms-Output": "AwardTerms",
    "Awards-Input": "NewAwardRules", "Awards-Output": "AwardRules", "Caps": "AwardCaps",
    "CampaignAwards-Input": "NewCampaignAwards", "CampaignAwards-Output": "CampaignAwards",
    "CampaignRules-Input": "NewCampaignRules", "CampaignRules-Output": "CampaignRules", "Entry": "LedgerEntry",
    "EntryList": "LedgerEntryList", "Expiring": "ExpiringPoints", "Fraud": "FraudRules", "Head": "ChainHead",
    "Limit": "PlanLimit", "Limits": "RateLimits", "NewOption": "NewRedemptionOption", "Option": "RedemptionOption",
    "OptionList": "RedemptionOptionList", "Program-Input": "NewProgram", "Program-Output": "Program",
    "Receipt": "WebhookReceipt", "Share": "AwardShare", "Signals": "FraudSignals", "Signup": "NewSignup",
    "Thresholds": "FraudThresholds", "Usage": "NewUsage", "UsageReturn": "NewUsageReturn", "Windows": "FraudWindows",
}  # fmt: skip
"""Models whose names say enough in their modules, and too little in a document of all."""
REFERENCE = "#/components/schemas/"
PROBLEM = {"$ref": f"{REFERENCE}Problem"}
IDEMPOTENCY_KEY = "The same key with the same request gives the first answer again, and nothing happens twice."
SIGNATURES = {
    "stripe": {"Stripe-Signature": "`t=…,v1=…`: an HMAC of time and body"},
    "whop": {
        "webhook-id": "The id of the delivery",
        "webhook-timestamp": "Unix seconds",
        "webhook-signature": "`v1,…`: an HMAC of id, time and body",
        "x-whop-signature": "`t=…,v1=…`: the only one of API version v5",
    },
}
DESCRIPTIONS = {200: "OK", 201: "Created", 204: "No content", 302: "Found", 503: "Ask again"}
# A redemption, its refund and an adjustment may not go without the key; a usage and the rest may carry one.
KEY_REQUIRED = {
    "POST /v1/users/{user_id}/redemptions", "POST /v1/redemptions/{id}/refund", "POST /v1/users/{user_id}/points",
    "POST /v1/users/{user_id}/coupons", "POST /v1/reviews/decisions",
}  # fmt: skip


def routes_of(folder: Path) -> dict[str, Route]:
    """The routes a function's folder declares."""
    specification = importlib.util.spec_from_file_location(f"functions.{folder.name}", folder / "app.py")
    if specification is None or specification.loader is None:
        raise FileNotFoundError(folder / "app.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    app: App = module.app
    return app.routes


def served_functions() -> list[Function]:
    """The functions that answer HTTP; parameters without a default have nothing to do with their routes."""
    template = load(ROOT / "template.yaml")
    unset = {name: "" for name, parameter in template.parameters.items() if "Default" not in parameter}
    return [function for function in template.functions(unset).values() if function.routes]


def document() -> dict[str, Any]:
    """The whole document."""
    routes = [route for function in served_functions() for route in routes_of(function.folder).values()]
    # a greedy route is what it is without the rest of the path
    served = sorted((route for route in routes if route.key != "$default" and "+}" not in route.key), key=_order)
    bodies = {route.body for route in served if route.body}
    answers = {model for route in served for model in route.answers.values() if model}
    names, schemas = models_json_schema(
        [
            *((body, "validation") for body in _sorted(bodies)),
            *((model, "serialization") for model in _sorted(answers)),
        ],
        ref_template=REFERENCE + "{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in served:
        method, path = route.key.split(" ", 1)
        paths.setdefault(path, {})[method.lower()] = _operation(route, names)
    sections = dict.fromkeys(operation.section for operation in OPERATIONS.values())
    written: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Goodword", "version": "1", "description": ABOUT},
        "servers": SERVERS,
        "tags": [{"name": section} for section in sections],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "secretKey": {"type": "http", "scheme": "bearer", "description": "gw_live_… or gw_test_…"},
                "publishableKey": {"type": "apiKey", "in": "query", "name": "key", "description": "gw_pub_…"},
            },
            "schemas": {
                **{_name(model): {**schema, "title": _name(model)} for model, schema in schemas["$defs"].items()},
                "Problem": _problem(),
            },
        },
    }
    return _renamed(written)


def _renamed(node: Any) -> Any:  # noqa: ANN401 - any part of the document
    """A part of the document with its references to schemas by the names that the document gives them."""
    if isinstance(node, list):
        return [_renamed(each) for each in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        return {**node, "$ref": REFERENCE + _name(reference.removeprefix(REFERENCE))}
    return {name: _renamed(each) for name, each in node.items()}


def _name(model: str) -> str:
    return NAMES.get(model, model)


def _order(route: Route) -> tuple[str, str]:
    method, path = route.key.split(" ", 1)
    return (path, method)


def _sorted(models: set[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _operation(route: Route, names: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's own map of (model, mode)
    method, path = route.key.split(" ", 1)
    named = OPERATIONS[route.key]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": named.name,
        "tags": [named.section],
        "parameters": [*_path_parameters(path), *_query_parameters(route), *_headers(route, method)],
        "responses": {
            **{str(status): _response(status, model, names) for status, model in route.answers.items()},
            "default": {
                "description": "A refusal or a fault, RFC 9457",
                "content": {"application/problem+json": {"schema": PROBLEM}},
            },
        },
        "security": _security(route),
    }
    if named.example:
        # a provider's event is read by readers of its own, and only its signature is looked at before
        schema = names[route.body, "validation"] if route.body else {"type": "object"}
        content = {"schema": schema, "example": operations.example(named.example)}
        required = route.body is None or method != "POST" or not needs_nothing(route.body)
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.scope is None:
        return []
    secret: list[dict[str, list[str]]] = [{"secretKey": []}]
    return [*secret, {"publishableKey": []}] if route.scope is Scope.PUBLISHABLE else secret


def _path_parameters(path: str) -> list[dict[str, Any]]:
    patterns = {"user_id": {"pattern": EXTERNAL_ID}}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name],
            "schema": {"type": "string", **patterns.get(name, {})},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": PARAMETERS[name],
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]


def _headers(route: Route, method: str) -> list[dict[str, Any]]:
    if method != "POST":
        return []
    if route.scope is None:
        provider = route.key.split("/")[2]
        return [
            {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}
            for name, meaning in SIGNATURES[provider].items()
        ]
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": route.key in KEY_REQUIRED,
            "description": IDEMPOTENCY_KEY,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ]


def _response(status: int, model: type[BaseModel] | None, names: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    response: dict[str, Any] = {"description": DESCRIPTIONS[status]}
    if model is not None:
        response["content"] = {"application/json": {"schema": names[model, "serialization"]}}
    return response


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": text,
            "request_id": text,
            "errors": {"type": "array", "items": {"type": "object", "properties": {"field": text, "message": text}}},
        },
    }


if __name__ == "__main__":
    target = ROOT / "docs/openapi.json"
    target.write_text(json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {target.relative_to(ROOT)}", file=sys.stderr)
