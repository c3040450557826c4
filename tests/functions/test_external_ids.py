"""The app's own ids of its users: whatever an app is likely to use is usable wherever an id is taken."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from goodword.core.fields import EXTERNAL_ID
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.requests import ADA, OF_ADA, REQUESTS, ROUTES, Asked
from tools import openapi

IDS = [
    "a+b@x.com", "o'brien@x.com", "auth0|1", "dGVzdA==", "a&b=c;d,e!f$g(h)*i[j]~", "...", ".a", "a..b", "clk_1",
    f"clk_{'0' * 31}", "-", "0", "x" * 128, "550e8400-e29b-41d4-a716-446655440000",
]  # fmt: skip
NO_IDS = [
    "", ".", "..", "a b", " a", "a/b", "a\\b", "a?b", "a#b", "a%b", 'a"b', "a<b", "a>b", "a{b", "a}b", "a^b", "a`b",
    "é", "a\n", "a\0", "x" * 129, "clk_" + "0" * 32, f"clk_{'aB' * 16}@x.com",
]  # fmt: skip

# Where an id is taken besides in a path, by the name of the field in its model.
TAKEN_IN = {
    "NewActivation.user_id", "LateAttribution.referrer_id", "NewCode.user_id", "NewUser.external_id",
    "GET /v1/codes?user_id", "GET /v1/reviews?referrer",
}  # fmt: skip


def taken_in(document: dict[str, Any]) -> Iterator[str]:
    """Every field of a body and every parameter of a query that takes an id, as the document says."""
    for name, schema in document["components"]["schemas"].items():
        for field, inner in schema.get("properties", {}).items():
            if repr(EXTERNAL_ID) in repr(inner):
                yield f"{name}.{field}"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation["parameters"]:
                if parameter["in"] == "query" and repr(EXTERNAL_ID) in repr(parameter):
                    yield f"{method.upper()} {path}?{parameter['name']}"


def about(value: Any, external_id: str) -> Any:  # noqa: ANN401 - any JSON value
    """The same body about another user."""
    return {name: external_id if member == ADA else member for name, member in value.items()}


def test_every_place_that_takes_an_id_is_known() -> None:
    document = openapi.document()
    assert set(taken_in(document)) == TAKEN_IN
    for path, operations in document["paths"].items():
        for operation in operations.values():
            of_users = [each for each in operation["parameters"] if each["name"] == "user_id" and each["in"] == "path"]
            assert bool(of_users) == ("{user_id}" in path)
            assert all(each["schema"]["pattern"] == EXTERNAL_ID for each in of_users)


@pytest.mark.parametrize("external_id", IDS)
def test_an_id_is_usable_everywhere(company: Company, external_id: str) -> None:
    asked = Asked(company)
    in_path = quote(external_id, safe="")
    referee = company.sign_up(external_id, referral_code=company.ok("GET", "/v1/users/ada")["referral_code"])
    assert (referee["user"]["external_id"], referee["referral"]["referee"]) == (external_id, external_id)
    company.ok("POST", f"/v1/users/{in_path}/points", {"points": 100, "note": ""}, key="points")
    for key, good in REQUESTS.items():
        if "{user_id}" not in key and ADA not in (good.body or {}).values():
            continue
        method, headers = key.partition(" ")[0], {"idempotency-key": uuid4().hex}
        body = None if good.body is None else about(asked.body(key), external_id)
        answer = company.api.send(method, asked.path(key, user_id=in_path), body, headers=headers)
        if any(thing in key for thing in OF_ADA):
            problem(answer, 422 if key.endswith("/claim") else 404, answer.json["code"])
            assert answer.json["code"] != "user_not_found"
        else:
            assert answer.status in ROUTES[key].answers, (key, answer.raw)
    assert company.ok("GET", f"/v1/users/{in_path}")["external_id"] == external_id
    (custom,) = company.ok("GET", f"/v1/codes?type=custom&user_id={in_path}")["data"]
    assert custom["user_id"] == external_id
    company.sign_up("zoe")
    late = {"referrer_id": external_id, "reason": "said so"}
    assert company.ok("PUT", "/v1/users/zoe/referrer", late)["referral"]["referrer"] == external_id
    (brought,) = company.ok("GET", f"/v1/users/{in_path}/referrals?limit=1")["data"]
    assert company.ok("GET", f"/v1/users/{in_path}/referrals?after={brought['id']}")["data"] == []


@pytest.mark.parametrize("external_id", NO_IDS)
def test_what_can_be_no_id_is_refused_everywhere(shared: Company, asked: Asked, external_id: str) -> None:
    signup = {"user": {"external_id": external_id}}
    assert fields(shared.api.send("POST", "/v1/signups", signup)) == {"user.external_id"}
    assert fields(shared.api.send("POST", "/v1/activations", {"user_id": external_id})) == {"user_id"}
    code = {**asked.body("POST /v1/codes"), "user_id": external_id}
    assert fields(shared.api.send("POST", "/v1/codes", code)) == {"user_id"}
    late = {"referrer_id": external_id, "reason": "x"}
    assert fields(shared.api.send("PUT", "/v1/users/ada/referrer", late)) == {"referrer_id"}
    assert fields(shared.api.send("GET", f"/v1/codes?user_id={quote(external_id, safe='')}")) == {"user_id"}


def test_an_id_is_given_in_the_path_as_clients_encode_it(company: Company) -> None:
    """Some encode more than they must, and some less."""
    company.sign_up("a+b@x.com")
    for spelled in ("a+b@x.com", "a%2Bb%40x.com", "a%2bb@x.com", "%61+b@x.com"):
        assert company.ok("GET", f"/v1/users/{spelled}")["external_id"] == "a+b@x.com"
