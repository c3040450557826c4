"""Clients as processes of their own, which fire prepared requests at the same moment.

Threads of one process would take turns; these do not.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO
from urllib.parse import urlsplit

from goodword.payments import signatures
from local.client import Answer
from tests.support.companies import Company
from tests.support.waiting import PATIENCE

SCRIPT = Path(__file__).with_name("one_client.py")


class Call(NamedTuple):
    """A request, ready to be sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None


def call(company: Company, method: str, path: str, body: object = None, *, key: str | None = None) -> Call:
    """A request under the company's secret key; `key` is its Idempotency-Key."""
    headers = {"authorization": f"Bearer {company.line['secret_key']}"}
    if key is not None:
        headers["idempotency-key"] = key
    if body is None:
        return Call(method, path, headers)
    return Call(method, path, {**headers, "content-type": "application/json"}, json.dumps(body))


def delivery(company: Company, event: object) -> Call:
    """A signed Stripe event."""
    body = json.dumps(event)
    signed = signatures.sign(body.encode(), company.line["stripe_secret"], int(time.time()))
    headers = {"stripe-signature": signed, "content-type": "application/json"}
    return Call("POST", urlsplit(company.line["stripe_endpoint"]).path, headers, body)


class Clients:
    """A number of client processes, used again and again."""

    def __init__(self, number: int) -> None:
        pairs = [socket.socketpair() for _ in range(number)]
        theirs = [their.fileno() for _, their in pairs]
        # one process begins, and makes the clients out of itself: each alone would load the same once more
        self._process = subprocess.Popen([sys.executable, "-I", "-S", SCRIPT, *map(str, theirs)], pass_fds=theirs)
        self._clients = [ours.makefile("rw", encoding="utf-8") for ours, _ in pairs]
        for pair in pairs:
            for end in pair:
                end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()  # the end of its input is the end of a client
        self._process.wait()

    def fire(
        self, base_url: str, plans: Sequence[Sequence[Call]], *, pause_seconds: float = 0.0, insists: int = 0
    ) -> list[list[Answer]]:
        """Let one client fire each plan, all beginning at once; what each heard, in the order of its plan.

        After a 503 a client waits for the pause, and asks the same again, so many times at most.
        """
        assert len(plans) <= len(self._clients), "there are not that many clients"
        clients = self._clients[: len(plans)]
        for client, plan in zip(clients, plans, strict=True):
            job = {
                "host": urlsplit(base_url).netloc,
                "calls": [each._asdict() for each in plan],
                "pause": pause_seconds,
                "insists": insists,
                "timeout": 60 * PATIENCE,
            }
            _tell(client, json.dumps(job))
        assert [_listen(client) for client in clients] == ["ready\n"] * len(clients)
        for client in clients:
            _tell(client, "go")
        heard = [json.loads(_listen(client)) for client in clients]
        return [[Answer(status, headers, body.encode("latin-1")) for status, headers, body in each] for each in heard]

    def fire_each(self, base_url: str, calls: Sequence[Call]) -> list[Answer]:
        """One request a client, all at once."""
        return [answer for (answer,) in self.fire(base_url, [[each] for each in calls])]

    def insist(self, base_url: str, plans: Sequence[Sequence[Call]]) -> list[list[Answer]]:
        """Fire plans at a database that is back: whoever hears 503 of a process that rests comes back, as told."""
        return self.fire(base_url, plans, pause_seconds=0.5, insists=20)


def _tell(client: TextIO, line: str) -> None:
    client.write(f"{line}\n")
    client.flush()


def _listen(client: TextIO) -> str:
    line = client.readline()
    assert line, "a client heard no answer at all and has ended; see its error above"
    return line
