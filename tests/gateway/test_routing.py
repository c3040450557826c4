"""Rows 1 to 8 of docs/gateway.md: which function serves a request."""

from tests.gateway.support import Client


def test_row_01_a_literal_segment_beats_a_variable(gateway: Client) -> None:
    assert gateway.event("GET", "/things/best")["routeKey"] == "GET /things/best"
    event = gateway.event("GET", "/things/other")
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "GET /things/{thing}"


def test_row_02_a_variable_takes_one_segment(gateway: Client) -> None:
    assert gateway.event("GET", "/things/a/parts/b")["pathParameters"] == {"thing": "a", "part": "b"}
    assert gateway.event("GET", "/things/a/b")["routeKey"] == "$default"
    assert gateway.event("GET", "/things/")["routeKey"] == "$default"
    event = gateway.event("GET", "/files/a/b%20c/d")
    assert (event["routeKey"], event["pathParameters"]) == ("GET /files/{path+}", {"path": "a/b c/d"})
    assert gateway.event("GET", "/files/a")["routeKey"] == "GET /files/{file}"
    assert gateway.event("GET", "/files/deep/a")["routeKey"] == "GET /files/deep/{path+}"
    assert gateway.event("POST", "/files/a/b")["routeKey"] == "$default"
    assert gateway.event("GET", "/files/")["routeKey"] == "$default"


def test_row_03_the_method_must_be_the_routes(gateway: Client, strict_gateway: Client) -> None:
    assert gateway.event("DELETE", "/things/best")["routeKey"] == "$default"
    assert strict_gateway.send("DELETE", "/things/best").status == 404


def test_row_04_the_default_route_serves_the_rest(gateway: Client) -> None:
    event = gateway.event("PUT", "/anything/at/all")
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "$default"
    assert "pathParameters" not in event


def test_row_05_without_any_route_it_is_not_found(strict_gateway: Client) -> None:
    reply = strict_gateway.send("GET", "/anything")
    assert (reply.status, reply.body) == (404, b'{"message":"Not Found"}')
    assert reply.one("content-type") == "application/json"


def test_row_06_head_and_options_need_routes_of_their_own(gateway: Client, strict_gateway: Client) -> None:
    assert strict_gateway.send("HEAD", "/things/best").status == 404
    assert strict_gateway.send("HEAD", "/heads/one").status == 200
    preflight = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "GET")]
    assert strict_gateway.send("OPTIONS", "/things/best", preflight).status == 404
    reply = gateway.send("OPTIONS", "/things/best", preflight)
    assert reply.json["routeKey"] == "$default"
    assert not [name for name, _ in reply.headers if name.lower().startswith("access-control-")]


def test_row_07_a_trailing_slash_makes_another_path(gateway: Client) -> None:
    event = gateway.event("GET", "/things/best/")
    assert (event["routeKey"], event["rawPath"]) == ("$default", "/things/best/")
    assert gateway.event("GET", "/files/a/")["pathParameters"] == {"path": "a/"}


def test_row_08_empty_segments_count(gateway: Client) -> None:
    event = gateway.event("GET", "/things//best")
    assert (event["routeKey"], event["rawPath"]) == ("$default", "/things//best")
