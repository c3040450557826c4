"""Rows 46 and 47 of docs/gateway.md: browsers on another origin."""

from tests.gateway.support import Client, Reply

ALLOWED, OTHER = ("Origin", "https://app.example.com"), ("Origin", "https://evil.example.com")
ASKED = ("Access-Control-Request-Method", "POST")


def cors(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers if name.startswith("access-control-")}


def test_row_46_an_allowed_origin_may_read_the_answer(open_gateway: Client, gateway: Client) -> None:
    assert cors(open_gateway.send("GET", "/x", [ALLOWED])) == {
        "access-control-allow-origin": ALLOWED[1],
        "access-control-expose-headers": "retry-after,x-more",
    }
    assert cors(open_gateway.send("GET", "/x", [OTHER])) == {}
    assert cors(open_gateway.send("GET", "/x")) == {}
    theirs = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "mine"}}
    assert cors(open_gateway.send("GET", "/x", [OTHER], do={"answer": theirs})) == {}
    assert cors(gateway.send("GET", "/x", [ALLOWED])) == {}


def test_row_47_a_preflight_is_answered_by_the_gateway(open_gateway: Client) -> None:
    reply = open_gateway.send("OPTIONS", "/things", [ALLOWED, ASKED])
    assert (reply.status, reply.body) == (204, b"")
    assert cors(reply) == {
        "access-control-allow-origin": ALLOWED[1],
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "authorization",
        "access-control-max-age": "60",
    }
    assert cors(open_gateway.send("OPTIONS", "/things", [OTHER, ASKED])) == {}
    assert open_gateway.send("OPTIONS", "/things", [ALLOWED]).json["routeKey"] == "$default"
