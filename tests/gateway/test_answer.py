"""Rows 31 to 45 of docs/gateway.md: what a client receives, and the limits."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.support import TEMPLATE, Client, serving
from tests.support.waiting import wait_until

INTERNAL_SERVER_ERROR = (500, b'{"message":"Internal Server Error"}')


def test_row_31_a_result_with_a_status_is_the_response(gateway: Client) -> None:
    answer = {"statusCode": 418, "headers": {"X-Made-Up": "yes", "Content-Type": "text/x-tea"}, "body": "Tee, heiß"}
    reply = gateway.send("GET", "/x", do={"answer": answer})
    assert (reply.status, reply.body) == (418, "Tee, heiß".encode())
    assert (reply.one("x-made-up"), reply.one("content-type")) == ("yes", "text/x-tea")
    assert gateway.send("GET", "/x", do={"answer": {"statusCode": 202}}).body == b""


@pytest.mark.parametrize("result", [{"body": "x"}, [1, None], "Hallo", 7, None])
def test_row_32_a_result_without_a_status_is_the_body(gateway: Client, result: object) -> None:
    reply = gateway.send("GET", "/x", do={"answer": result})
    assert (reply.status, reply.json, reply.one("content-type")) == (200, result, "application/json")


def test_row_33_a_response_is_plain_text_unless_it_says_otherwise(gateway: Client) -> None:
    reply = gateway.send("GET", "/x", do={"answer": {"statusCode": 200, "body": "{}"}})
    assert reply.one("content-type") == "text/plain; charset=utf-8"


def test_row_34_every_cookie_is_a_header(gateway: Client) -> None:
    answer = {"statusCode": 200, "headers": {"set-cookie": "a=1"}, "cookies": ["b=2; Secure", "c=3"]}
    assert gateway.send("GET", "/x", do={"answer": answer}).all("set-cookie") == ["a=1", "b=2; Secure", "c=3"]


def test_row_35_base64_is_decoded(gateway: Client) -> None:
    answer = {"statusCode": 200, "body": base64.b64encode(b"\x00\xff").decode(), "isBase64Encoded": True}
    reply = gateway.send("GET", "/x", do={"answer": answer})
    assert (reply.body, reply.one("content-length")) == (b"\x00\xff", "2")


def test_row_36_numbers_and_booleans_are_sent_as_text(gateway: Client) -> None:
    answer = {"statusCode": 200, "headers": {"x-count": 5, "x-ratio": 0.5, "x-true": True}}
    reply = gateway.send("GET", "/x", do={"answer": answer})
    assert [reply.one(name) for name in ("x-count", "x-ratio", "x-true")] == ["5", "0.5", "true"]


def test_row_37_length_date_and_connection_are_the_gateways(gateway: Client) -> None:
    theirs = {"Content-Length": "99", "Date": "yesterday", "Transfer-Encoding": "chunked", "Apigw-Requestid": "mine"}
    reply = gateway.send("GET", "/x", do={"answer": {"statusCode": 200, "headers": theirs, "body": "four"}})
    assert (reply.body, reply.one("content-length"), reply.all("transfer-encoding")) == (b"four", "4", [])
    assert reply.one("date") != "yesterday"
    assert reply.one("apigw-requestid") != "mine"


def test_row_38_the_response_to_head_has_a_length_and_no_body(gateway: Client) -> None:
    reply = gateway.send("HEAD", "/heads/one", do={"answer": {"statusCode": 200, "body": "12345"}})
    assert (reply.body, reply.one("content-length")) == (b"", "5")


@pytest.mark.parametrize("status", [204, 304])
def test_row_39_some_responses_have_no_body(gateway: Client, status: int) -> None:
    reply = gateway.send("GET", "/x", do={"answer": {"statusCode": status, "body": "x"}})
    assert (reply.status, reply.body, reply.all("content-length")) == (status, b"", [])


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "200"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": 100},
        {"statusCode": 600},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
        {"statusCode": 200, "cookies": "a=1"},
    ],
)
def test_row_40_a_result_that_is_no_response_is_an_error(gateway: Client, answer: dict[str, Any]) -> None:
    reply = gateway.send("GET", "/x", do={"answer": answer})
    assert (reply.status, reply.body) == INTERNAL_SERVER_ERROR


@pytest.mark.parametrize(("path", "do"), [("/x", {"raise": "secret"}), ("/x", {"exit": 3}), ("/hurry", {"sleep": 9})])
def test_row_41_a_function_that_fails_is_an_error(gateway: Client, path: str, do: dict[str, Any]) -> None:
    reply = gateway.send("GET", path, do=do)
    assert (reply.status, reply.body) == INTERNAL_SERVER_ERROR
    assert gateway.send("GET", path).status == 200


def test_row_42_a_function_that_takes_too_long_goes_on_unheard(tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    with serving(tmp_path / "gateway", TEMPLATE, integration_timeout=0.2) as client:
        # an event that nobody waits for any more is given to no process that starts too late for it
        wait_until(lambda: client.send("GET", "/long").status == 200, "the function's process is there")
        reply = client.send("GET", "/long", do={"sleep": 0.6, "touch": str(finished)})
        assert (reply.status, reply.body) == (503, b'{"message":"Service Unavailable"}')
        assert not finished.exists()
        wait_until(finished.exists, "the function goes on to its end")


def test_row_43_a_body_of_more_than_ten_megabytes_is_refused(gateway: Client) -> None:
    reply = gateway.send("POST", "/things", [("Content-Type", "text/plain")], b"x" * (10 * 1024 * 1024 + 1))
    assert (reply.status, reply.body) == (413, b'{"message":"Request Entity Too Large"}')


def test_row_44_an_event_of_more_than_six_megabytes_is_refused(gateway: Client) -> None:
    text = [("Content-Type", "text/plain")]
    reply = gateway.send("POST", "/things", text, b"x" * 6_291_556)
    assert (reply.status, reply.body) == (413, b'{"message":"Request Entity Too Large"}')
    assert gateway.send("POST", "/things", [*text, ("x-do", '{"answer": 1}')], b"x" * 6_000_000).status == 200


def test_row_45_too_large_a_head_is_refused(gateway: Client) -> None:
    assert gateway.send("GET", "/x", [("x-large", "x" * 9_900)]).status == 200
    for target, value in (("/x", "x" * 10_240), (f"/x?{'q' * 10_240}", "")):
        reply = gateway.send("GET", target, [("x-large", value)])
        assert (reply.status, reply.body) == (431, b'{"message":"Request Header Fields Too Large"}')
