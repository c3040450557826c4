"""A server: the gateway and the two routes of the local server, listening on this machine only.

`POST /_local/functions/{LogicalId}/invocations` runs a function once with the posted event, as `sam local invoke`
does; it is how scheduled functions are run here. `POST /_local/companies` opens a fresh company. Neither exists in AWS,
and neither asks for a key: they answer programs of this machine, and no page that its browser shows.
"""

import asyncio
import contextlib
import errno
import json
import re
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn

from local import listeners
from local.gateway import (
    INTEGRATION_TIMEOUT_SECONDS,
    ClientGoneError,
    Gateway,
    Headers,
    Receive,
    Response,
    Scope,
    Send,
    read_body,
    respond,
)
from local.pool import LARGEST_PAYLOAD, FunctionError, FunctionPools, PayloadTooLargeError, UnknownFunctionError
from local.protocol import REQUEST_SECONDS, Protocol

ADDRESS = "127.0.0.1"
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 60
"""How long a connection may be idle between two requests; a client that comes back later finds it closed."""
GRACE_SECONDS = 5
"""How long running requests may go on when the server is asked to stop."""
JSON: Headers = [(b"content-type", b"application/json")]
INVOCATIONS = re.compile(r"/_local/functions/(\w+)/invocations")
OWN_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:\d+)?", re.IGNORECASE)

OpenCompany = Callable[[str, bool, str], dict[str, str]]
"""Opens a company, given its name, its livemode and its destination URL. Raises ValueError where they cannot be."""


class ServerError(Exception):
    """The server cannot listen; the message is one line that says why."""


class ForeignPageError(Exception):
    """A browser sent the request for a page, or for a name that somebody has made to mean this machine."""


class BadRequestError(Exception):
    """The client's mistake, in words for its author."""


def listen(port: int) -> socket.socket:
    """Take a port of this machine, any free one for 0. Raises ServerError."""
    # asyncio turns off Nagle's delay, which costs 40 ms a response, only for sockets that name TCP
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    # so that a port can be taken again while connections of an earlier run still linger
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        if in_use:
            process = listeners.listener(port)
            raise ServerError(
                f"port {port} is in use by {f'process {process}' if process else 'another program'}, "
                "perhaps an earlier start: "
                "stop that one, or choose another port with PORT"
            ) from error
        raise ServerError(f"port {port} cannot be used: {error}; choose another one with PORT") from error
    return listener


class Application:
    """The ASGI application: the local routes before the gateway."""

    def __init__(
        self,
        pools: FunctionPools,
        open_company: OpenCompany,
        *,
        integration_timeout: float = INTEGRATION_TIMEOUT_SECONDS,
    ) -> None:
        self._pools = pools
        self._gateway = Gateway(pools, integration_timeout=integration_timeout)
        self._open_company = open_company

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        with contextlib.suppress(ClientGoneError):
            if path.startswith("/_local/"):
                await respond(send, await self._answer_local(scope, path, receive))
            else:
                await self._gateway(scope, receive, send)

    async def _answer_local(self, scope: Scope, path: str, receive: Receive) -> Response:
        try:
            refuse_pages(scope["headers"])
            return await self._local(scope["method"], path, receive)
        except ForeignPageError as error:
            return _json(403, {"message": str(error)})
        except BadRequestError as error:
            return _json(400, {"message": str(error)})

    async def _local(self, method: str, path: str, receive: Receive) -> Response:
        invocation = INVOCATIONS.fullmatch(path)
        if method != "POST" or (invocation is None and path != "/_local/companies"):
            return _json(404, {"message": "Not Found"})
        posted = await _read_json(receive)
        if invocation is None:
            return _json(200, await self._company(*_company_of(posted)))
        try:
            return _json(200, await self._pools.invoke(invocation[1], posted))
        except FunctionError as error:
            return _json(500, error.report)
        except UnknownFunctionError as error:
            return _json(404, {"message": f"the template has no function {error}"})
        except PayloadTooLargeError:
            return _json(413, {"message": "the event is larger than Lambda takes"})

    async def _company(self, name: str, livemode: bool, destination_url: str) -> dict[str, str]:  # noqa: FBT001
        try:
            return await asyncio.to_thread(self._open_company, name, livemode, destination_url)
        except ValueError as error:
            raise BadRequestError(str(error)) from error


def refuse_pages(headers: Headers) -> None:
    """Let in what no browser sends for a page. Raises ForeignPageError."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
        raise ForeignPageError("/_local/ answers to the host 127.0.0.1 or localhost alone")
    for name, value in headers:
        if name == b"origin" or (name == b"sec-fetch-site" and value != b"none"):
            raise ForeignPageError("/_local/ answers no page in a browser")


def _json(status: int, content: object) -> Response:
    return Response(status, JSON, json.dumps(content).encode())


async def _read_json(receive: Receive) -> Any:  # noqa: ANN401 - any JSON value may be posted
    body = await read_body(receive, LARGEST_PAYLOAD)
    if body is None:
        raise BadRequestError("the body is too large")
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error


def _company_of(posted: object) -> tuple[str, bool, str]:
    """Name, livemode and destination URL of a company to open."""
    if not isinstance(posted, dict):
        raise BadRequestError("the body must be an object")
    fields: dict[str, object] = {"livemode": False, **posted}
    if unknown := sorted(fields.keys() - {"name", "livemode", "destination_url"}):
        raise BadRequestError(f"unknown field: {', '.join(unknown)}")
    name, livemode, destination_url = fields.get("name"), fields["livemode"], fields.get("destination_url")
    if not isinstance(name, str) or not isinstance(livemode, bool) or not isinstance(destination_url, str):
        raise BadRequestError("a company needs a name, a destination_url and perhaps livemode: true or false")
    return name, livemode, destination_url


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever runs the server decides when it stops."""

    def __init__(self, application: Application, *, request_seconds: float = REQUEST_SECONDS) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=type("Protocol", (Protocol,), {"limit_seconds": request_seconds}),
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_level="warning",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
