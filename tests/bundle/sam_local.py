"""The command `python -m tests.bundle.sam_local BUILD [FUNCTION [EVENT]]`: the examples through `sam local`, compared.

An example goes to its function by `sam local invoke` and, where a route leads there, over HTTP by `sam local
start-api`, each time about a company made for it. What comes back has to be what the function answers on the local
server; the tests hold that answer, and the one under the emulator, to one table. The exit code is 1 where any answer
differs, and 2 where there is no container engine.
"""

import base64
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from local import events, scene, setup
from local.client import Client
from local.postgres import Cluster, ClusterError
from local.scene import SceneError
from local.server import ServerError, listen
from local.server_process import ServeError, serve
from local.setup import SetupError
from tests.bundle.containers import Engine, EngineError
from tests.bundle.sam import Sam, SamError

VARYING = (
    (re.compile(r"\b([a-z]+_)[\w-]{24,}"), r"\1…"),  # ids and keys
    (re.compile(r"\b(txn_)\d+"), r"\1…"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z"), "<time>"),
    (re.compile(r"\b[0-9A-Z]{8}\b"), "<code>"),
    (re.compile(r"https?://[^/\"]+(?=/r/|/webhooks/)"), "<url>"),
    (re.compile(r'("request_id": ?")[^"]+'), r"\1…"),
)
"""What differs between two runs of one example."""


@dataclass(frozen=True)
class Answer:
    """What came back. Of a function that no route leads to, all of it is the body."""

    status: int | None
    headers: dict[str, str]
    cookies: list[str]
    body: str

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """The answer that a function's result stands for."""
        if "statusCode" not in result:
            return cls(None, {}, [], json.dumps(result))
        return cls(result["statusCode"], result["headers"], result["cookies"], result["body"])

    def like(self, other: Self) -> str:
        """All of it that the other one has too, as text, without what differs between two runs."""
        headers = [f"{name}: {self.headers.get(name)}" for name in sorted(other.headers)]
        text = "\n".join([str(self.status), *headers, *self.cookies, self.body])
        for pattern, constant in VARYING:
            text = pattern.sub(constant, text)
        return text


Run = Callable[[str, dict[str, Any]], Answer]
"""Sends an event to a function, named by its logical id, and tells what came back."""


def main(arguments: list[str]) -> int:
    """Run the command; answer the exit code."""
    build, chosen = Path(arguments[0]).absolute(), "__".join(arguments[1:])
    names = [name for name in events.names() if name.startswith(chosen)]
    if not names:
        print(f"events/ has nothing that begins with {chosen}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that everything is stopped on the way out
    try:
        engine = Engine()
    except EngineError as error:
        print(f"{error}; `sam local` needs one, so nothing was run (DOCKER_HOST names it)", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="goodword-") as home:
            return _compare(engine, build, Path(home), names)
    except (EngineError, SamError, SceneError, ServeError, ServerError, SetupError, ClusterError) as error:
        print(f"goodword: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _compare(engine: Engine, build: Path, home: Path, names: list[str]) -> int:
    host, address = engine.host()
    with _postgres(home / "postgres", address) as cluster:
        database_url = cluster.superuser_url(setup.DATABASE)
        prepared = setup.prepare(database_url, role_prefix="goodword", home=home)
        parameters = {**prepared.parameters, "DatabaseHost": host, "DatabasePort": str(cluster.port)}
        sam = Sam(build, parameters, _passwords(Path(prepared.environment["PGPASSFILE"])), home)
        try:
            with serve(home, DATABASE_URL=database_url) as server:
                return _Comparison(sam, server.line["url"]).run(names)
        finally:
            if left := engine.remove(sam.containers):
                print(f"removed {len(left)} containers that sam local had left", file=sys.stderr)


@contextmanager
def _postgres(data: Path, address: str) -> Iterator[Cluster]:
    with listen(0) as free:
        port = free.getsockname()[1]
    cluster = Cluster(data, port=port, address=address, durable=False)
    try:
        cluster.start()
        setup.create_database(cluster.superuser_url())
        yield cluster
    finally:
        cluster.stop()


def _passwords(passfile: Path) -> dict[str, str]:
    """Role → password, from libpq's own file."""
    entries = (line.split(":") for line in passfile.read_text().splitlines())
    return {user: password for _host, _port, _database, user, password in entries}


class _Comparison:
    def __init__(self, sam: Sam, url: str) -> None:
        self._sam = sam
        self._url = url
        self._asked = self._wrong = 0

    def run(self, names: list[str]) -> int:
        """These examples, both ways; the exit code."""
        expected = {name: self._ask(name, self._by_server) for name in names}
        for name in expected:
            self._tell("invoke", name, lambda function, event: Answer.of(self._sam.invoke(function, event)), expected)
        with self._sam.start_api() as url:
            for name in expected:
                if self._sam.functions[events.logical_id(name)].routes:
                    self._tell("start-api", name, lambda _function, event: _over_http(url, event), expected)
        print(f"{self._asked - self._wrong} of {self._asked} answers are those of the local server")
        return 1 if self._wrong else 0

    def _ask(self, name: str, run: Run) -> Answer:
        """The answer to an example about a fresh company."""
        client = Client(self._url)
        company = {"name": "Examples", "destination_url": "https://shop.example/start"}
        line = client.send("POST", "/_local/companies", company).json
        client.close()
        return run(events.logical_id(name), events.load(name, scene.prepare(line)))

    def _tell(self, way: str, name: str, run: Run, expected: Mapping[str, Answer]) -> None:
        """Ask, compare, print a line."""
        wanted, status, began = expected[name].like(expected[name]), None, time.monotonic()
        try:
            answer = self._ask(name, run)
            shown, status = answer.like(expected[name]), answer.status
        except SamError as error:
            shown = str(error)
        self._asked += 1
        self._wrong += shown != wanted
        verdict = "ok" if shown == wanted else "WRONG"
        print(f"{verdict:5} {way:9} {name:52} {status or '':3} {time.monotonic() - began:5.1f} s", flush=True)
        if shown != wanted:
            print(f"expected:\n{wanted}\nanswered:\n{shown}", flush=True)

    def _by_server(self, logical_id: str, event: dict[str, Any]) -> Answer:
        client = Client(self._url)
        answer = client.send("POST", f"/_local/functions/{logical_id}/invocations", event)
        client.close()
        if answer.status != 200:
            raise SamError(f"{logical_id} fails on the local server already: {answer.raw.decode()}")
        return Answer.of(answer.json)


def _over_http(url: str, event: Mapping[str, Any]) -> Answer:
    """Send the request that an event was made from."""
    headers = {name: value for name, value in event["headers"].items() if name not in {"host", "content-length"}}
    if "cookies" in event:
        headers["cookie"] = "; ".join(event["cookies"])
    body = event.get("body")
    raw = None if body is None else base64.b64decode(body) if event["isBase64Encoded"] else body.encode()
    path = event["rawPath"] + (f"?{event['rawQueryString']}" if event["rawQueryString"] else "")
    client = Client(url)
    answer = client.send(event["requestContext"]["http"]["method"], path, raw=raw, headers=headers)
    client.close()
    cookies = [answer.headers["set-cookie"]] if "set-cookie" in answer.headers else []
    return Answer(answer.status, answer.headers, cookies, answer.raw.decode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
