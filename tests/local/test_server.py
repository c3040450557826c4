"""local/server.py: the two routes that only the local server has."""

import json
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


def test_a_port_that_is_taken_is_an_error_of_one_line() -> None:
    with listen(0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=rf"^port {port} is in use; choose another one with PORT$"):
            listen(port)
    with pytest.raises(ServerError, match=r"^port 70000 cannot be used"):
        listen(70_000)


def test_only_this_machine_is_listened_to() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
