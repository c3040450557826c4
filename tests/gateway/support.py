"""A gateway over functions made up for the tests: real sockets, real processes."""

import asyncio
import http.client
import json
import queue
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.gateway import INTEGRATION_TIMEOUT_SECONDS
from local.pool import FunctionPools
from local.protocol import REQUEST_SECONDS
from local.server import ADDRESS, Application, Server, listen
from local.template import load
from tests.support.waiting import LONGEST_SECONDS

HANDLER = '''
import json, os, threading

def lambda_handler(event, context):
    """Answer the event itself, or do what the header x-do says."""
    wanted = json.loads(event.get("headers", {}).get("x-do", "{}"))
    if "answer" in wanted:
        return wanted["answer"]
    if "raise" in wanted:
        raise ValueError(wanted["raise"])
    if "exit" in wanted:
        os._exit(wanted["exit"])
    if "sleep" in wanted:
        threading.Event().wait(wanted["sleep"])
    if "touch" in wanted:
        open(wanted["touch"], "w").close()
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
'''

TEMPLATE = """
Globals: {Function: {CodeUri: echo/, Handler: app.lambda_handler, Timeout: 1}}
Resources:
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 30
      Events:
        One: {Type: HttpApi, Properties: {Method: GET, Path: "/things/{thing}"}}
        Literal: {Type: HttpApi, Properties: {Method: GET, Path: /things/best}}
        Rest: {Type: HttpApi, Properties: {Method: GET, Path: "/files/{path+}"}}
        File: {Type: HttpApi, Properties: {Method: GET, Path: "/files/{file}"}}
        Deep: {Type: HttpApi, Properties: {Method: GET, Path: "/files/deep/{path+}"}}
        Part: {Type: HttpApi, Properties: {Method: GET, Path: "/things/{thing}/parts/{part}"}}
        Post: {Type: HttpApi, Properties: {Method: POST, Path: /things}}
        Head: {Type: HttpApi, Properties: {Method: HEAD, Path: "/heads/{thing}"}}
        Long: {Type: HttpApi, Properties: {Method: GET, Path: /long}}
  HurriedFunction:
    Type: AWS::Serverless::Function
    Properties: {Events: {Hurry: {Type: HttpApi, Properties: {Method: GET, Path: /hurry}}}}
"""
WITH_DEFAULT = (
    TEMPLATE
    + """
  DefaultFunction:
    Type: AWS::Serverless::Function
    Properties: {Events: {Default: {Type: HttpApi}}}
"""
)


WITH_CORS = (
    WITH_DEFAULT
    + """
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration:
        AllowOrigins: ["https://app.example.com"]
        AllowMethods: [GET, POST]
        AllowHeaders: [authorization]
        ExposeHeaders: [retry-after, x-more]
        MaxAge: 60
"""
)


@dataclass(frozen=True)
class Reply:
    """What came back over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        """The values of a header, in their order."""
        return [value for header, value in self.headers if header.lower() == name]

    def one(self, name: str) -> str:
        """The value of a header that must be there once."""
        (value,) = self.all(name)
        return value


class Client:
    """Sends requests exactly as they are given."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        do: dict[str, Any] | None = None,
    ) -> Reply:
        """One request; `do` is what the function shall do instead of answering its event."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=LONGEST_SECONDS)
        try:
            given = {name.lower() for name, _ in headers}
            connection.putrequest(method, target, skip_host="host" in given, skip_accept_encoding=True)
            for name, value in (*headers, *([("x-do", json.dumps(do))] if do is not None else [])):
                connection.putheader(name, value)
            if body and not given & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def event(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> dict[str, Any]:
        """The event that the function received."""
        reply = self.send(method, target, headers, body)
        assert reply.status == 200, reply
        return reply.json

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes, which must ask to close the connection."""
        with socket.create_connection((ADDRESS, self.port), timeout=LONGEST_SECONDS) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def serving(
    folder: Path,
    template: str,
    *,
    integration_timeout: float = INTEGRATION_TIMEOUT_SECONDS,
    request_seconds: float = REQUEST_SECONDS,
) -> Generator[Client]:
    """A server over a template, running in a thread of this process."""
    (folder / "echo").mkdir(parents=True)
    (folder / "echo" / "app.py").write_text(HANDLER)
    (folder / "template.yaml").write_text(template)
    listener = listen(0)
    servers: queue.Queue[Server] = queue.Queue()

    def open_company(name: str, livemode: bool, destination_url: str) -> dict[str, str]:  # noqa: FBT001
        if name == "refused":
            raise ValueError("name: refused")
        return {"name": name, "livemode": str(livemode), "destination_url": destination_url}

    async def serve() -> None:
        pools = FunctionPools(load(folder / "template.yaml"), {}, {})
        application = Application(pools, open_company, integration_timeout=integration_timeout)
        server = Server(application, request_seconds=request_seconds)
        servers.put(server)
        await server.serve(sockets=[listener])
        await pools.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server = servers.get(timeout=LONGEST_SECONDS)
    try:
        yield Client(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
