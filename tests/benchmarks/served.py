"""Requests a second of one function in four processes behind the local server, the making of the load included.

They are told, not judged: on a machine that others use they say more about the others.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from urllib.parse import urlsplit

from local.client import Client
from local.server_process import ROOT, ServeError, serve
from tests.benchmarks.ground import BenchmarkError, Ground
from tests.benchmarks.table import ROUNDS, Budget, Line

WORKERS = 4
CONNECTIONS = 16
BEFORE = 600
REDIRECTS = Budget("redirects recorded", None, unit="a second")
SIGNUPS = Budget("signups with attribution", None, unit="a second")
BUDGETS = (REDIRECTS, SIGNUPS)
SCRIPT = ROOT / "tests/benchmarks/load.py"


def measure(ground: Ground) -> list[Line]:
    """Redirects and signups."""
    try:
        with serve(ground.home, DATABASE_URL=ground.superuser_url, GOODWORD_WORKERS=str(WORKERS)) as server:
            url, key = server.line["url"], server.line["secret_key"]
            client = Client(url, key)
            ada = client.send("POST", "/v1/signups", {"user": {"external_id": "ada"}})
            client.close()
            code = ada.json["user"]["referral_code"]
            people = count()

            def follow() -> str:
                return _request("GET", f"/r/{code}?utm_source=newsletter", {"user-agent": "Mozilla/5.0 (X11)"})

            def sign_up() -> str:
                body = {"user": {"external_id": f"user-{next(people)}"}, "referral_code": code}
                return _request("POST", "/v1/signups", {"authorization": f"Bearer {key}"}, json.dumps(body))

            # plans that were made for empty tables are no measure: a database that is used has been analysed
            _fire(url, [sign_up() for _ in range(BEFORE)], 201)
            ground.settle()
            return [
                _measure(url, REDIRECTS, follow, (302, 4_000)),
                _measure(url, SIGNUPS, sign_up, (201, 600)),
            ]
    except ServeError as error:
        raise BenchmarkError(str(error)) from error


def _request(method: str, path: str, headers: dict[str, str], body: str = "") -> str:
    sent = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n{body}"


def _measure(url: str, budget: Budget, make: Callable[[], str], expected: tuple[int, int]) -> Line:
    status, number = expected
    rates = [_fire(url, [make() for _ in range(number)], status) for _ in range(ROUNDS + 1)][1:]
    detail = f"{WORKERS} processes, {CONNECTIONS} connections, {min(rates):,.0f} to {max(rates):,.0f}"
    return budget.line(statistics.median(rates), detail)


def _fire(url: str, requests: list[str], status: int) -> float:
    """Requests a second, all of which must be answered with the status."""
    parts = urlsplit(url)
    job = {"host": parts.hostname, "port": parts.port, "connections": CONNECTIONS, "requests": requests}
    result = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT)], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise BenchmarkError(f"the load could not be made: {result.stderr.strip()}")
    heard = json.loads(result.stdout)
    if heard["statuses"] != {str(status): len(requests)}:
        raise BenchmarkError(f"other answers than {status}: {heard['statuses']}")
    return len(requests) / heard["seconds"]
