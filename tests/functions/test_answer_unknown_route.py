"""Everything that is no route."""

import pytest

from tests.support.answers import problem
from tests.support.companies import Company


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v2/program"),
        ("GET", "/v1/program/"),
        ("GET", "/v1//program"),
        ("GET", "/r/"),
        ("GET", "/v1/users//balance"),
        ("GET", "/v1/users/a%2Fb/balance"),
        ("DELETE", "/v1/program"),
        ("POST", "/v1/program"),
        ("PATCH", "/v1/signups"),
        ("OPTIONS", "/v1/signups"),
        ("GET", "/v1/signups"),
        ("HEAD", "/v1/program"),
        ("GET", "/wp-login.php"),
        ("GET", "/%00"),
        ("GET", "/_local/companies"),
    ],
)
def test_a_path_or_a_method_that_is_no_route_is_not_found(shared: Company, method: str, path: str) -> None:
    answer = shared.api.send(method, path)
    if method == "HEAD":
        assert (answer.status, answer.raw) == (404, b"")
    elif path.startswith("/_local/"):
        assert answer.status == 404
    else:
        problem(answer, 404, "route_not_found")


def test_nobody_needs_a_key_to_learn_that_there_is_nothing(shared: Company) -> None:
    problem(shared.browser.send("GET", "/nothing"), 404, "route_not_found")


@pytest.mark.parametrize("raw", [b"x" * 300 * 1024, b"\xff\x00", b"{"])
def test_a_body_makes_no_difference(shared: Company, raw: bytes) -> None:
    problem(shared.api.send("POST", "/nothing", raw=raw), 404, "route_not_found")


def test_an_answer_names_the_request_it_answers(shared: Company) -> None:
    answer = shared.api.send("GET", "/nothing")
    assert answer.json["request_id"] == answer.headers["apigw-requestid"]
