"""Asking somebody else: what is an answer, what is asked again, and where a key never goes."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from goodword.core import fetching
from goodword.core.fetching import NotAnswered, fetch_json
from tests.support.providers import Account, Providers, Said


@pytest.fixture
def account(providers: Providers) -> Account:
    return providers.open()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long one would have."""
    waited: list[float] = []
    monkeypatch.setattr(fetching.time, "sleep", waited.append)
    return waited


def ask(providers: Providers, account: Account) -> object:
    url = f"{providers.url}/stripe/v1/events?types[]=invoice.paid&limit=1&created[gte]=0"
    return fetch_json(url, account.key, {"x-more": "of it"})


def refused(providers: Providers, account: Account) -> str:
    with pytest.raises(NotAnswered) as fault:
        ask(providers, account)
    return str(fault.value)


def test_an_answer_is_its_json(providers: Providers, account: Account) -> None:
    assert ask(providers, account) == {"object": "list", "url": "/v1/events", "data": [], "has_more": False}
    (asked,) = account.asked
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert (headers["authorization"], headers["x-more"]) == (f"Bearer {account.key}", "of it")


def test_a_fraction_is_the_text_it_was(providers: Providers, account: Account) -> None:
    account.instead.append(Said(200, body=b'{"total": 0.100000000000000000000001, "count": 3}'))
    assert ask(providers, account) == {"total": "0.100000000000000000000001", "count": 3}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_who_is_busy_is_asked_again_with_ever_longer_pauses(
    providers: Providers, account: Account, pauses: list[float], status: int
) -> None:
    account.instead.extend([Said(status)] * 3)
    ask(providers, account)
    assert pauses == [0.5, 1.0, 2.0]
    account.instead.extend([Said(status)] * 4)
    assert refused(providers, account) == f"http_{status}"
    assert len(account.asked) == 8


def test_who_says_when_is_asked_then_or_not_at_all(providers: Providers, account: Account, pauses: list[float]) -> None:
    account.instead.append(Said(429, headers=(("retry-after", "7"),)))
    ask(providers, account)
    assert pauses == [7]
    account.instead.append(Said(429, headers=(("retry-after", "3600"),)))
    assert refused(providers, account) == "http_429"
    account.instead.append(Said(429, headers=(("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),)))
    ask(providers, account)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404])
def test_a_refusal_is_taken_at_once_and_a_redirect_is_one(providers: Providers, account: Account, status: int) -> None:
    account.instead.append(Said(status, b"{}", (("location", f"{providers.url}/elsewhere"),)))
    assert refused(providers, account) == f"http_{status}"
    assert len(account.asked) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_no_answer(providers: Providers, account: Account, body: bytes) -> None:
    account.instead.append(Said(200, body))
    assert refused(providers, account) == "not_json"


def test_an_answer_is_bounded(providers: Providers, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LARGEST_ANSWER", 1000)
    account.instead.append(Said(200, json.dumps(["x" * 1000]).encode()))
    assert refused(providers, account) == "too_large"


@pytest.mark.parametrize(
    "url", ["http://api.stripe.com/v1/events", "http://localhost/", "http://127.0.0.1.example/", "file:///etc/passwd"]
)
def test_nobody_else_is_asked_without_tls(url: str) -> None:
    with pytest.raises(NotAnswered, match="not_https"):
        fetch_json(url, "rk_live", {})


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections, says nothing, and hangs up when it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_who_cannot_be_reached_is_not_asked_again(silent: socket.socket, pauses: list[float]) -> None:
    port = silent.getsockname()[1]
    silent.close()
    with pytest.raises(NotAnswered, match="unreachable"):
        fetch_json(f"http://127.0.0.1:{port}/", "rk_live", {})
    assert pauses == []


def test_whoever_shows_no_certificate_of_that_name_hears_no_key(silent: socket.socket) -> None:
    heard = bytearray()

    def listen() -> None:
        connection, _ = silent.accept()
        with connection:
            heard.extend(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

    thread = threading.Thread(target=listen)
    thread.start()
    with pytest.raises(NotAnswered, match="unreachable"):
        fetch_json(f"https://127.0.0.1:{silent.getsockname()[1]}/", "rk_live", {})
    thread.join()
    assert heard
    assert b"rk_live" not in heard


def test_who_hangs_up_or_says_nothing_is_asked_again(
    silent: socket.socket, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "READ_SECONDS", 0.05)
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    with pytest.raises(NotAnswered, match="cut_off"):
        fetch_json(url, "rk_live", {})
    assert len(pauses) == 3
