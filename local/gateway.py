"""A gateway: turns HTTP requests into events of functions, and their results into HTTP responses.

It does so as an API Gateway HTTP API with Lambda proxy integrations (payload format 2.0) and the stage `$default`.
Every behaviour is a row of docs/gateway.md, with its source in AWS's documentation where there is one, and has a test
of the row's number. It has no behaviour that the HTTP API lacks. It is an ASGI application.
"""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from local.cors import without_cors
from local.pool import FunctionError, FunctionPools, PatienceError, PayloadTooLargeError
from local.routes import Routes
from local.template import ACCOUNT

INTEGRATION_TIMEOUT_SECONDS = 30.0
LARGEST_BODY = 10 * 1024 * 1024
LARGEST_HEAD = 10_240
"""Bytes of the request line and the values of the headers together."""
API_ID = "local"

TEXT_TYPES = frozenset({"application/javascript", "application/json", "application/xml"})
"""Content types that reach a function as text, beside text/*; all others arrive in base64."""

CONNECTION_HEADERS = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers about one connection: they are the gateway's business, in both directions."""
OWN_RESPONSE_HEADERS = CONNECTION_HEADERS | {"apigw-requestid", "content-length", "date"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Response:
    """What goes back to the client."""

    status: int
    headers: Headers
    body: bytes


class ClientGoneError(Exception):
    """The client has gone before its request was whole; nobody waits for an answer."""


class _RefusalError(Exception):
    """The gateway answers by itself, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        body = json.dumps({"message": message}, separators=(",", ":")).encode()
        self.response = Response(status, [(b"content-type", b"application/json")], body)


class Gateway:
    """The ASGI application."""

    def __init__(self, pools: FunctionPools, *, integration_timeout: float = INTEGRATION_TIMEOUT_SECONDS) -> None:
        self._pools = pools
        self._routes = Routes(pools.functions.values())
        self._cors = pools.cors
        self._integration_timeout = integration_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = base64.b64encode(secrets.token_bytes(11)).decode()
        try:
            response = await self._serve(scope, receive, request_id)
        except _RefusalError as refusal:
            response = refusal.response
        headers = [*self._cross_origin(scope, response), (b"apigw-requestid", request_id.encode())]
        await respond(send, Response(response.status, headers, response.body))

    def _cross_origin(self, scope: Scope, response: Response) -> Headers:
        """The headers of an answer as a browser on another origin needs them."""
        if self._cors is None:
            return response.headers
        origin = _header(scope, b"origin")
        given = without_cors(response.headers)
        if origin is None:
            return given
        preflight = _is_preflight(scope)
        return [*given, *(self._cors.for_preflight(origin) if preflight else self._cors.for_answer(origin))]

    async def _serve(self, scope: Scope, receive: Receive, request_id: str) -> Response:
        check_head(scope)
        body = await read_body(receive, LARGEST_BODY)
        if body is None:
            raise _RefusalError(413, "Request Entity Too Large")
        if self._cors is not None and _is_preflight(scope):
            return Response(204, [], b"")
        # an encoded question mark ends the path like any other (row 10)
        path = unquote(scope["raw_path"].decode("latin-1")).partition("?")[0]
        route = self._routes.find(scope["method"], path)
        if route is None:
            raise _RefusalError(404, "Not Found")
        route_key, logical_id, parameters = route
        event = event_of(scope, body, path=path, route_key=route_key, parameters=parameters, request_id=request_id)
        try:
            result = await self._pools.invoke(logical_id, event, patience=self._integration_timeout)
            return response_of(result)
        except PayloadTooLargeError as error:
            raise _RefusalError(413, "Request Entity Too Large") from error
        except PatienceError as error:
            raise _RefusalError(503, "Service Unavailable") from error
        except (FunctionError, MalformedResultError) as error:
            raise _RefusalError(500, "Internal Server Error") from error


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _is_preflight(scope: Scope) -> bool:
    asked = _header(scope, b"origin") is not None and _header(scope, b"access-control-request-method") is not None
    return scope["method"] == "OPTIONS" and asked


def check_head(scope: Scope) -> None:
    """Refuse a request whose request line and headers are too large."""
    line = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    if line + sum(len(value) for _, value in scope["headers"]) > LARGEST_HEAD:
        raise _RefusalError(431, "Request Header Fields Too Large")


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The whole body of a request; None if it is larger than the limit. Raises ClientGoneError."""
    message = await _received(receive)
    if not message.get("more_body"):
        body = cast("bytes", message.get("body", b""))
        return body if len(body) <= limit else None
    chunks, size = [cast("bytes", message["body"])], len(message["body"])
    # it is read to its end in any case: a client that is still sending does not read our answer
    while message.get("more_body"):
        message = await _received(receive)
        size += len(message.get("body", b""))
        if size <= limit:
            chunks.append(message.get("body", b""))
    return b"".join(chunks) if size <= limit else None


async def _received(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message


async def respond(send: Send, response: Response) -> None:
    """Send a response, with its length."""
    headers, body = response.headers, response.body
    if response.status in (204, 304):
        body = b""
    else:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def event_of(
    scope: Scope, body: bytes, *, path: str, route_key: str, parameters: dict[str, str], request_id: str
) -> dict[str, Any]:
    """The event of payload format 2.0."""
    headers, cookies = _headers_of(scope, body)
    query = scope["query_string"].decode("latin-1")
    host = headers.get("host", "")
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": scope["method"],
                "path": path,
                "protocol": f"HTTP/{scope['http_version']}",
                "sourceIp": scope["client"][0],
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _query_of(query)
    if parameters:
        event["pathParameters"] = parameters
    if body:
        if _is_text(headers.get("content-type", "")):
            event["body"] = body.decode(errors="replace")
        else:
            event["body"] = base64.b64encode(body).decode()
            event["isBase64Encoded"] = True
    return event


def _headers_of(scope: Scope, body: bytes) -> tuple[dict[str, str], list[str]]:
    """Headers and cookies of the event."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name == "cookie":
            cookies += [cookie for part in value.split(";") if (cookie := part.strip())]
        elif name not in CONNECTION_HEADERS:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    peer = scope["client"][0]
    headers["content-length"] = str(len(body))
    headers["x-forwarded-for"] = f"{headers['x-forwarded-for']}, {peer}" if "x-forwarded-for" in headers else peer
    headers["x-forwarded-port"] = str(scope["server"][1])
    headers["x-forwarded-proto"] = scope["scheme"]
    if "x-amzn-trace-id" not in headers:
        headers["x-amzn-trace-id"] = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return headers, cookies


def _query_of(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _is_text(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in TEXT_TYPES


class MalformedResultError(Exception):
    """A function's result is no response of payload format 2.0."""


def response_of(result: object) -> Response:
    """The response that a function's result stands for. Raises MalformedResultError."""
    if not isinstance(result, dict) or "statusCode" not in result:
        return Response(200, [(b"content-type", b"application/json")], json.dumps(result).encode())
    answer = cast("dict[str, Any]", result)
    status = answer["statusCode"]
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:  # noqa: PLR2004
        raise MalformedResultError("statusCode")
    headers = _headers_out(answer)
    body = _body_of(answer)
    if body and not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    return Response(status, headers, body)


def _headers_out(answer: dict[str, Any]) -> Headers:
    """The headers of a result, and its cookies as one header each."""
    headers: object = answer.get("headers") or {}
    cookies: object = answer.get("cookies") or []
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise MalformedResultError("headers")
    pairs = [(name.lower(), value) for name, value in cast("dict[str, object]", headers).items()]
    pairs = [(name, value) for name, value in pairs if name not in OWN_RESPONSE_HEADERS]
    pairs += [("set-cookie", cookie) for cookie in cast("list[object]", cookies)]
    return [(name.encode(), _header_text(value).encode()) for name, value in pairs]


def _header_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float) or "\r" in str(value) or "\n" in str(value):
        raise MalformedResultError("headers")
    return str(value)


def _body_of(answer: dict[str, Any]) -> bytes:
    body = answer.get("body") or ""
    if not isinstance(body, str):
        raise MalformedResultError("body")
    if not answer.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedResultError("body") from error
