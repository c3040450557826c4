"""Every route is declared three times, and the three agree: template.yaml, its function, and the OpenAPI document."""

import json
from pathlib import Path

import pytest

from local import openapi

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {function.logical_id: function for function in openapi.served_functions()}


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_a_function_answers_exactly_the_routes_that_the_template_gives_it(logical_id: str) -> None:
    function = FUNCTIONS[logical_id]
    assert set(openapi.routes_of(function.folder)) == set(function.routes)


def test_the_openapi_document_is_what_the_models_say() -> None:
    assert json.loads((ROOT / "docs/openapi.json").read_text()) == openapi.document(), "run `make openapi`"
