"""local/server.py: the two routes that only the local server has."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.server import ServerError, listen
from tests.gateway.support import TEMPLATE, Client, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("server"), TEMPLATE) as client:
        yield client


def invoke(client: Client, function: str, event: object) -> tuple[int, object]:
    reply = client.send("POST", f"/_local/functions/{function}/invocations", body=json.dumps(event).encode())
    return reply.status, reply.json


def test_any_function_runs_once_with_the_posted_event(client: Client) -> None:
    status, result = invoke(client, "EchoFunction", {"made": "up"})
    assert status == 200
    assert isinstance(result, dict)
    assert json.loads(result["body"]) == {"made": "up"}
    assert invoke(client, "EchoFunction", {"headers": {"x-do": '{"answer": [1, null]}'}}) == (200, [1, None])


def test_a_failing_function_answers_its_error(client: Client) -> None:
    status, error = invoke(client, "EchoFunction", {"headers": {"x-do": '{"raise": "no"}'}})
    assert status == 500
    assert isinstance(error, dict)
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no")


def test_only_its_own_timeout_ends_a_function_that_is_run_by_hand(tmp_path: Path) -> None:
    with serving(tmp_path / "impatient", TEMPLATE, integration_timeout=0.1) as client:
        slow = {"headers": {"x-do": '{"sleep": 0.3}'}}
        assert client.send("GET", "/long", [("x-do", '{"sleep": 0.3}')]).status == 503
        assert invoke(client, "EchoFunction", slow)[0] == 200
        status, error = invoke(client, "HurriedFunction", {"headers": {"x-do": '{"sleep": 9}'}})
        assert isinstance(error, dict)
        assert (status, error["errorType"]) == (500, "Sandbox.Timedout")


def test_a_function_that_is_not_there_is_not_found(client: Client) -> None:
    assert invoke(client, "NoFunction", {}) == (404, {"message": "the template has no function NoFunction"})
    assert client.send("GET", "/_local/functions/EchoFunction/invocations").status == 404
    assert client.send("POST", "/_local/anything").status == 404


def test_a_company_is_opened_as_asked_for(client: Client) -> None:
    body = {"name": "Ada's", "destination_url": "https://ada.example.com"}
    reply = client.send("POST", "/_local/companies", body=json.dumps(body).encode())
    assert (reply.status, reply.json) == (200, {**body, "livemode": "False"})
    reply = client.send("POST", "/_local/companies", body=json.dumps({**body, "livemode": True}).encode())
    assert reply.json["livemode"] == "True"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[]",
        b"",
        b'{"name": "A"}',
        b'{"name": 1, "destination_url": "https://a.example"}',
        b'{"name": "A", "destination_url": "https://a.example", "livemode": "yes"}',
        b'{"name": "A", "destination_url": "https://a.example", "colour": "red"}',
        b'{"name": "refused", "destination_url": "https://a.example"}',
    ],
)
def test_bad_input_is_answered_with_a_reason(client: Client, body: bytes) -> None:
    reply = client.send("POST", "/_local/companies", body=body)
    assert reply.status == 400
    assert reply.json["message"]


FOREIGN = [
    [("origin", "https://evil.example")],
    [("origin", "null")],
    [("origin", "http://127.0.0.1:3000")],
    [("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "same-origin")],
    [("host", "evil.example")],
    [("host", "localhost.evil.example:3000")],
    [("host", "127.0.0.1.evil.example")],
    [("host", "127.0.0.1:3000@evil.example")],
    [("host", "")],
    [("host", "127.0.0.1"), ("host", "evil.example")],
]
OWN = [[("host", "127.0.0.1")], [("host", "LOCALHOST:3000")], [("sec-fetch-site", "none")]]
LOCAL = ["/_local/companies", "/_local/functions/EchoFunction/invocations", "/%5Flocal/companies", "/_local/anything"]
ADA = b'{"name": "Ada", "destination_url": "https://ada.example.com"}'


@pytest.mark.parametrize("path", LOCAL)
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_opens_no_company_and_runs_no_job(client: Client, headers: list[tuple[str, str]], path: str) -> None:
    reply = client.send("POST", path, headers, body=ADA)
    assert (reply.status, reply.json["message"][:16]) == (403, "/_local/ answers")


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_a_program_of_this_machine_opens_a_company(client: Client, headers: list[tuple[str, str]]) -> None:
    assert client.send("POST", "/_local/companies", headers, body=ADA).status == 200


def test_a_page_may_still_ask_the_api(client: Client) -> None:
    assert client.send("GET", "/things/best", [("origin", "https://app.example.com")]).status == 200


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that gives each request a fifth of a second to arrive."""
    with serving(tmp_path_factory.mktemp("hurried") / "server", TEMPLATE, request_seconds=0.2) as client:
        yield client


HALVES = [
    b"",
    b"GET /things/be",
    b"GET /things/best HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /things HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
    b"POST /things HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
    b"POST /_local/companies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n" + ADA,
]


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_a_request_that_is_never_finished_is_given_up(hurried: Client, half: bytes) -> None:
    heard = hurried.raw(half)
    assert heard.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert heard.endswith(b'\r\n\r\n{"message":"Request Timeout"}')
    assert heard.count(b"HTTP/1.1") == 1


def test_a_second_request_is_given_up_too(hurried: Client) -> None:
    whole = b"GET /things/best HTTP/1.1\r\nHost: localhost\r\n\r\n"
    first, second = hurried.raw(whole + b"GET /th").split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"408")


def test_a_function_may_take_longer_than_a_request(hurried: Client) -> None:
    assert hurried.send("GET", "/long", do={"sleep": 0.5}).status == 200


def test_half_a_body_of_a_client_that_has_gone_reaches_no_function(client: Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    head = f"POST /things HTTP/1.1\r\nHost: localhost\r\nX-Do: {json.dumps({'touch': str(mark)})}\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as gone:
        gone.sendall(f"{head}Content-Length: 10\r\n\r\n12345".encode())
    assert client.send("POST", "/things").status == 200  # asked later, and answered
    assert not mark.exists()


def test_a_port_that_is_taken_is_an_error_of_one_line() -> None:
    with listen(0) as listener:
        port = listener.getsockname()[1]
        own = rf"^port {port} is in use by process {os.getpid()} \(\S+\), .*: stop that one, or .* with PORT$"
        with pytest.raises(ServerError, match=own):
            listen(port)
    with pytest.raises(ServerError, match=r"^port 70000 cannot be used"):
        listen(70_000)


def test_only_this_machine_is_listened_to() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
