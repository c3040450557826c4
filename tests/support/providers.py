"""Stripe's and Whop's APIs on this machine: lists in pages, as their documentation says, and ways to fail."""

import json
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.waiting import PATIENCE

WAIT_SECONDS = 60 * PATIENCE
MOST_TYPES = 20


class Question(NamedTuple):
    """What was asked: the path with the provider before it (`/whop/refunds`), the parameters, the headers."""

    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]


class Said(NamedTuple):
    """An answer instead of the right one."""

    status: int
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


class Account:
    """What one key may see. `events` are Stripe's, `objects` Whop's by the name of their list.

    `instead` are answers to give before right ones, `largest_page` is what a page holds at most.
    """

    def __init__(self) -> None:
        self.key = f"rk_test_{uuid.uuid4().hex}"
        self.events: list[dict[str, Any]] = []
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.instead: deque[Said] = deque()
        self.largest_page = 100
        self.asked: list[Question] = []
        self._held_at: int | None = None
        self._arrived, self._go_on = threading.Event(), threading.Event()

    def hold_at(self, question: int) -> None:
        """Keep whoever asks so many questions (from 1) waiting for the answer to that one, until `go_on`."""
        self._held_at = question
        self._arrived.clear()
        self._go_on.clear()

    def wait_until_held(self) -> None:
        """Wait until somebody waits."""
        assert self._arrived.wait(WAIT_SECONDS)

    def go_on(self) -> None:
        """Hold nobody any more."""
        self._held_at = None
        self._go_on.set()

    def paths(self) -> list[str]:
        """What was asked for, without the parameters."""
        return [question.path for question in self.asked]

    def answer(self, question: Question) -> Said:
        """What the provider says."""
        self.asked.append(question)
        if self._held_at == len(self.asked):
            self._arrived.set()
            self._go_on.wait(WAIT_SECONDS)
        if self.instead:
            return self.instead.popleft()
        provider, _, path = question.path.removeprefix("/").partition("/")
        if provider == "stripe":
            return self._stripe(path, question.query)
        return self._whop(path, question)

    def _stripe(self, path: str, query: Mapping[str, list[str]]) -> Said:
        types = query["types[]"]
        if path != "v1/events" or len(types) > MOST_TYPES:
            return Said(400)
        since, limit = int(query["created[gte]"][0]), min(int(query["limit"][0]), self.largest_page)
        found = [event for event in self.events if event["created"] >= since and event["type"] in types]
        found.sort(key=lambda event: event["created"], reverse=True)
        if "starting_after" in query:
            found = found[[event["id"] for event in found].index(query["starting_after"][0]) + 1 :]
        return _said({"object": "list", "url": "/v1/events", "data": found[:limit], "has_more": len(found) > limit})

    def _whop(self, path: str, question: Question) -> Said:
        query = {name: value for name, (value,) in question.query.items()}
        if question.headers["api-version-date"] != "2026-10-15-1" or path not in {
            "payments", "refunds", "disputes", "memberships",
        }:  # fmt: skip
            return Said(400)
        assert (query["order"], query["direction"]) == ("created_at", "asc")
        since, after = datetime.fromisoformat(query["created_after"]), int(query.get("after", "cursor_0")[7:])
        found = [
            each for each in self.objects.get(path, ())
            if datetime.fromisoformat(each["created_at"]) > since
            and each.get("account_id", query["account_id"]) in (query["account_id"], "biz_strange")
        ]  # fmt: skip
        found.sort(key=lambda each: each["created_at"])
        end = after + min(int(query["first"]), self.largest_page)
        info = {"end_cursor": f"cursor_{end}", "has_next_page": end < len(found), "has_previous_page": after > 0}
        return _said({"data": found[after:end], "page_info": info | {"start_cursor": f"cursor_{after}"}})


class Providers:
    """The server of both; `accounts` are known by their keys."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.accounts))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.variables = {
            "STRIPE_API_URL": f"{self.url}/stripe",
            "WHOP_API_URL": f"{self.url}/whop",
            "WHOP_SANDBOX_API_URL": f"{self.url}/sandbox",
        }

    def open(self, events: Iterable[dict[str, Any]] = (), **objects: list[dict[str, Any]]) -> Account:
        """A new account with a key of its own."""
        account = Account()
        account.events += events
        account.objects |= objects
        self.accounts[account.key] = account
        return account

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _said(body: object) -> Said:
    return Said(200, json.dumps(body).encode())


def _handler(accounts: Mapping[str, Account]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            to = urlsplit(self.path)
            account = accounts.get(self.headers.get("authorization", "").removeprefix("Bearer "))
            asked = Question(to.path, parse_qs(to.query, strict_parsing=True), dict(self.headers.items()))
            said = account.answer(asked) if account else Said(401, b'{"error": {"message": "Invalid API Key"}}')
            self.send_response(said.status)
            for name, value in (*said.headers, ("content-length", str(len(said.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    return Handler
