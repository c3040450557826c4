"""The Python client against the served bundle, and against servers that do not answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from goodword_client import Goodword, Problem
from tests.support.companies import Company
from tools import client_types


@pytest.fixture
def goodword(company: Company) -> Iterator[Goodword]:
    with Goodword(company.url, company.line["secret_key"]) as kept:
        yield kept


@contextmanager
def answering(*answers: str) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers, one a connection; an empty one hangs up. Its URL, and what it was sent."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    request = ""
                    while not request.endswith("}"):
                        request += connection.recv(65536).decode()
                    heard.append(request)
                    body = answer.partition("\r\n\r\n")[2]
                    sized = f"\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
                    head = answer.replace("\r\n\r\n", sized, 1)
                    connection.sendall(head.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        thread.join(10)


AWAY = (
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n" + '{"message":"Service Unavailable"}'
)
DONE = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"allowed": true}'


def test_the_types_are_what_the_document_says() -> None:
    assert client_types.TARGET.read_text(encoding="utf-8") == client_types.text(), "run `make openapi`"


def test_everything_an_app_does_in_a_life(goodword: Goodword, company: Company) -> None:
    code = goodword.sign_up({"external_id": "ada+1@x.com", "username": "Ada"})["user"]["referral_code"]
    click = company.ok("POST", "/v1/clicks", {"code": code}, key="click")["id"]
    signup = goodword.sign_up({"external_id": "ben"}, click_id=click, app_id="web")
    assert signup["attribution"]["outcome"] == "attributed"
    assert signup["referral"] is not None
    assert [award["event"] for award in goodword.activate("ben")["awards"]] == ["registered", "welcome"]
    assert [referral["referee"] for referral in goodword.referrals("ada+1@x.com")] == ["ben"]
    assert [award["points"] for award in goodword.awards("ben")] == [25]
    offered = {"kind": "quota", "name": "20 AI calls", "feature": "ai_calls", "quantity": 20, "cost_points": 10}
    goodword.call("POST", "/v1/redemption-options", **offered)
    (option,) = goodword.redemption_options()
    for _ in range(2):
        assert goodword.redeem("ben", option["id"], key="order-1")["balance_after"] == 15
    used = goodword.use("ben", "ai_calls", quantity=3)
    assert used["remaining"] == 17
    assert goodword.give_back("ben", used["usage_id"], quantity=2)["returnable"] == 1
    assert goodword.entitlement("ben", "ai_calls")["remaining"] == 19
    assert [entry["delta"] for entry in goodword.transactions("ben")] == [-10, 25]
    assert goodword.balance("ben")["balance"] == 15
    assert goodword.user("ben")["balance"] == 15


def test_a_refusal_says_its_code_and_what_else_was_said(goodword: Goodword) -> None:
    goodword.sign_up({"external_id": "ada"})
    with pytest.raises(Problem, match="404 user_not_found") as unknown:
        goodword.user("nobody")
    assert unknown.value.status == 404
    with pytest.raises(Problem) as refused:
        goodword.use("ada", "teleportation")
    assert (refused.value.code, refused.value.fields["status"]) == ("feature_unknown", 422)


def test_a_long_list_is_read_to_its_end(goodword: Goodword) -> None:
    goodword.sign_up({"external_id": "ada"})
    for number in range(101):
        goodword.call("POST", "/v1/users/ada/points", points=1, note=f"gift {number}")
    assert [entry["balance_after"] for entry in goodword.transactions("ada")] == list(range(101, 0, -1))


def use(url: str) -> object:
    with Goodword(url, "gw_test_", timeout=5) as goodword:
        return goodword.use("ada", "photos")["allowed"]


@pytest.mark.parametrize("first", ["", AWAY], ids=["hung up", "away"])
def test_a_request_that_fails_is_sent_again_under_its_key(first: str) -> None:
    with answering(first, DONE) as (url, heard):
        assert use(url) is True
    keys = {line for request in heard for line in request.splitlines() if line.startswith("idempotency-key")}
    assert len(heard) == 2
    assert len(keys) == 1


def test_a_server_that_stays_away_is_a_problem_and_one_that_is_not_there_an_oserror() -> None:
    with answering(AWAY, AWAY, AWAY) as (url, _), pytest.raises(Problem, match="503 : Service Unavailable"):
        use(url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="does not answer"):
        use(f"http://127.0.0.1:{port}")
