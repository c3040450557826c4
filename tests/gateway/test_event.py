"""Rows 9 to 30 of docs/gateway.md: what a function receives."""

import base64
import json
import re
import time
from calendar import timegm

import pytest

from tests.gateway.support import Client


def test_row_09_the_path_is_decoded(gateway: Client) -> None:
    event = gateway.event("GET", "/caf%C3%A9%20au%2Blait")
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/café au+lait"


def test_row_10_an_encoded_question_mark_ends_the_path(gateway: Client) -> None:
    event = gateway.event("GET", "/things/best%3Fa=1?b=2")
    assert (event["routeKey"], event["rawPath"]) == ("GET /things/best", "/things/best")
    assert event["rawQueryString"] == "b=2"


def test_row_11_an_encoded_slash_separates_segments(gateway: Client) -> None:
    assert gateway.event("GET", "/things%2Fbest")["routeKey"] == "GET /things/best"
    assert gateway.event("GET", "/things/a%2Fb")["routeKey"] == "$default"


def test_row_12_path_parameters_are_decoded_once(gateway: Client) -> None:
    assert gateway.event("GET", "/things/a%2Bb%7Cc%C3%BC")["pathParameters"] == {"thing": "a+b|cü"}
    assert gateway.event("GET", "/things/a%252Fb")["pathParameters"] == {"thing": "a%2Fb"}
    assert "pathParameters" not in gateway.event("GET", "/things/best")


def test_row_13_the_raw_query_is_as_it_was_sent(gateway: Client) -> None:
    assert gateway.event("GET", "/x?a=%20b+c&a=%2F&&=")["rawQueryString"] == "a=%20b+c&a=%2F&&="
    assert gateway.event("GET", "/x")["rawQueryString"] == ""


def test_row_14_query_parameters_are_decoded_and_joined(gateway: Client) -> None:
    event = gateway.event("GET", "/x?a=%20b&c=d+e&a=%2F&empty=&bare")
    assert event["queryStringParameters"] == {"a": " b,/", "c": "d e", "empty": "", "bare": ""}
    assert "queryStringParameters" not in gateway.event("GET", "/x")


def test_row_15_header_names_are_in_lower_case(gateway: Client) -> None:
    headers = gateway.event("GET", "/x", [("X-Made-UP", "Value")])["headers"]
    assert headers["x-made-up"] == "Value"
    assert [name for name in headers if name != name.lower()] == []


def test_row_16_repeated_headers_are_joined(gateway: Client) -> None:
    headers = gateway.event("GET", "/x", [("X-Many", "a"), ("x-many", "b, c"), ("X-MANY", "")])["headers"]
    assert headers["x-many"] == "a,b, c,"


def test_row_17_cookies_are_a_list(gateway: Client) -> None:
    event = gateway.event("GET", "/x", [("Cookie", "a=1; b=2,3;"), ("Cookie", "c=")])
    assert event["cookies"] == ["a=1", "b=2,3", "c="]
    assert "cookie" not in event["headers"]
    assert "cookies" not in gateway.event("GET", "/x")


def test_row_18_headers_about_the_connection_do_not_arrive(gateway: Client) -> None:
    about = ["Connection", "Keep-Alive", "TE", "Trailer"]
    headers = gateway.event("GET", "/x", [(name, "close") for name in about])["headers"]
    assert headers.keys().isdisjoint({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


def test_row_19_the_length_always_arrives(gateway: Client) -> None:
    assert gateway.event("GET", "/x")["headers"]["content-length"] == "0"
    reply = gateway.raw(
        b"POST /things HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    )
    event = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert (event["body"], event["headers"]["content-length"]) == ("abcdefg", "7")
    assert "transfer-encoding" not in event["headers"]


def test_row_20_the_source_is_the_peer(gateway: Client) -> None:
    forged = [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "203.0.113.9")]
    assert gateway.event("GET", "/x", forged)["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_row_21_the_peer_is_added_to_forwarded_for(gateway: Client) -> None:
    assert gateway.event("GET", "/x")["headers"]["x-forwarded-for"] == "127.0.0.1"
    headers = gateway.event("GET", "/x", [("X-Forwarded-For", "203.0.113.9")])["headers"]
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"


def test_row_22_forwarded_proto_and_port_are_the_gateways(gateway: Client) -> None:
    headers = gateway.event("GET", "/x", [("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "1")])["headers"]
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", str(gateway.port))


def test_row_23_there_is_a_trace_id(gateway: Client) -> None:
    made = gateway.event("GET", "/x")["headers"]["x-amzn-trace-id"]
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", made)
    given = f"{made[:-4]}0000"
    assert gateway.event("GET", "/x", [("X-Amzn-Trace-Id", given)])["headers"]["x-amzn-trace-id"] == given


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/html; charset=utf-8", "Application/JSON", "application/xml", "application/javascript"],
)
def test_row_24_texts_arrive_as_text(gateway: Client, content_type: str) -> None:
    event = gateway.event("POST", "/things", [("Content-Type", content_type)], '{"ü": 1}\n'.encode())
    assert (event["body"], event["isBase64Encoded"]) == ('{"ü": 1}\n', False)


@pytest.mark.parametrize(
    "content_type",
    [None, "application/octet-stream", "application/x-www-form-urlencoded", "application/problem+json", "image/png"],
)
def test_row_25_everything_else_arrives_in_base64(gateway: Client, content_type: str | None) -> None:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    event = gateway.event("POST", "/things", headers, b"a=1\x00\xff")
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"a=1\x00\xff", True)


def test_row_26_a_text_that_is_none_is_repaired(gateway: Client) -> None:
    event = gateway.event("POST", "/things", [("Content-Type", "application/json")], b'{"a": "\xff\x00"}')
    assert (event["body"], event["isBase64Encoded"]) == ('{"a": "\ufffd\x00"}', False)


def test_row_27_without_a_body_there_is_no_body(gateway: Client) -> None:
    event = gateway.event("POST", "/things", [("Content-Type", "application/json"), ("Content-Length", "0")])
    assert "body" not in event
    assert event["isBase64Encoded"] is False


def test_row_28_the_context_describes_the_request(gateway: Client) -> None:
    headers = [("Host", "api.example.com:8443"), ("User-Agent", "tester/1")]
    event = gateway.event("GET", "/things/best?a=1", headers)
    context = event["requestContext"]
    assert (event["version"], context["accountId"], context["apiId"]) == ("2.0", "123456789012", "local")
    assert (context["domainName"], context["domainPrefix"]) == ("api.example.com:8443", "api")
    assert (context["stage"], context["routeKey"]) == ("$default", "GET /things/best")
    assert context["http"] == {
        "method": "GET",
        "path": "/things/best",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "tester/1",
    }


def test_row_29_every_request_has_an_id(gateway: Client) -> None:
    replies = [gateway.send("GET", "/x") for _ in range(3)]
    ids = [reply.json["requestContext"]["requestId"] for reply in replies]
    assert len(set(ids)) == 3
    assert [reply.one("apigw-requestid") for reply in replies] == ids


def test_row_30_the_time_is_told_twice(gateway: Client) -> None:
    before = time.time()
    context = gateway.event("GET", "/x")["requestContext"]
    assert before - 0.001 <= context["timeEpoch"] / 1000 <= time.time()
    assert timegm(time.strptime(context["time"], "%d/%b/%Y:%H:%M:%S +0000")) == context["timeEpoch"] // 1000
