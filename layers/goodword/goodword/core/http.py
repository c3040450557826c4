"""From an HTTP API event (payload 2.0) to an answer.

A function declares its routes on an `App`; the gateway has matched the route already and names it in `routeKey`, so
routing is one look-up. Errors become problem+json in one place. What is not a refusal but a fault is logged and
raised again: Lambda counts it, and the gateway answers its own plain 500, which can leak nothing.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, overload
from uuid import UUID

import psycopg
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from goodword.core import auth, faults, ids, json_bodies, refusals
from goodword.core.errors import (
    BY_CONSTRAINT,
    Conflict,
    DomainError,
    Forbidden,
    Malformed,
    NotFound,
    Refused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    invalid_fields,
)
from goodword.core.fields import EXTERNAL_ID, EXTERNAL_ID_RULE, NoFields
from goodword.core.observability import log_answer

LARGEST_BODY = 256 * 1024
LARGEST_WEBHOOK = 1024 * 1024
REPLAY_HEADER: Mapping[str, str] = {"idempotent-replay": "true"}
# No answer is anybody else's, now or later, and none is what its content type does not say.
EVERY_ANSWERS_HEADERS: Mapping[str, str] = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

STATUS: Mapping[type[DomainError], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Refused: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}

_EXTERNAL_ID = re.compile(EXTERNAL_ID)
_IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")

M = TypeVar("M", bound=BaseModel)


class Response(NamedTuple):
    """An answer: a status, a body of bytes, headers and cookies."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    cookies: Sequence[str] = ()

    def as_event(self) -> dict[str, object]:
        """The form the gateway takes."""
        headers = {**EVERY_ANSWERS_HEADERS, **self.headers}
        if self.body and "content-type" not in headers:
            error = self.status >= 400  # noqa: PLR2004 - where HTTP's errors begin
            headers["content-type"] = "application/problem+json" if error else "application/json"
        return {
            "statusCode": self.status,
            "headers": headers,
            "cookies": list(self.cookies),
            "body": self.body.decode(),
            "isBase64Encoded": False,
        }


class Request:
    """One request, read from the gateway's event."""

    def __init__(self, event: Mapping[str, Any], *, largest_body: int) -> None:
        context = event["requestContext"]
        self.route = str(event["routeKey"])
        self.method = str(context["http"]["method"])
        self.path = str(event["rawPath"])
        self.path_parameters: Mapping[str, str] = event.get("pathParameters") or {}
        self.query: Mapping[str, str] = event.get("queryStringParameters") or {}
        self.raw_query = str(event.get("rawQueryString") or "")
        # sam local passes names as they were sent; the gateway itself sends them in lower case
        sent: Mapping[str, str] = event.get("headers") or {}
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in sent.items()}
        self.cookies: Sequence[str] = event.get("cookies") or ()
        self.source_ip = str(context["http"]["sourceIp"])
        self.request_id = str(context["requestId"])
        self.domain = str(context["domainName"])
        self._event = event
        self._largest_body = largest_body
        self._caller: auth.Caller | None = None

    @cached_property
    def body(self) -> bytes:
        """The body's own bytes, as they were signed. Raises TooLarge."""
        raw = self._event.get("body") or ""
        if self._event.get("isBase64Encoded"):
            try:
                body = base64.b64decode(raw, validate=True)
            except (binascii.Error, ValueError):
                raise Malformed("malformed_body", "The body cannot be decoded.") from None
        else:
            body = raw.encode("utf-8", "surrogatepass")
        if len(body) > self._largest_body:
            raise TooLarge("body_too_large", f"The body is larger than {self._largest_body // 1024} KiB.")
        return body

    def authenticate(self, needed: auth.Scope) -> None:
        """Find the caller. Raises Unauthenticated or Forbidden."""
        self._caller = auth.authenticate(self.headers.get("authorization"), self.query.get("key"), needed)

    @property
    def api_key(self) -> str:
        """The key itself, as it was sent; empty where there was none."""
        return auth.sent_key(self.headers.get("authorization"), self.query.get("key")) or ""

    @property
    def caller(self) -> auth.Caller:
        """Whoever holds the key; only on routes that ask for one."""
        if self._caller is None:
            raise LookupError("this route asks for no key")
        return self._caller

    @property
    def company_id(self) -> UUID:
        """The caller's company."""
        return self.caller.company_id

    @property
    def user_id(self) -> str:
        """The external id in the path. Raises Refused when it cannot be one."""
        external_id = self.path_parameters["user_id"]
        if not _EXTERNAL_ID.fullmatch(external_id):
            raise Refused("user_id_invalid", f"A user id {EXTERNAL_ID_RULE}.")
        return external_id

    def path_id(self, prefix: str) -> UUID:
        """The id in the path, of a kind that begins so. Raises Refused when it cannot be one."""
        id_ = ids.parse(prefix, self.path_parameters["id"])
        if id_ is None:
            raise invalid_fields(("id", f"must be an id that begins with {prefix}_"))
        return id_

    @property
    def base_url(self) -> str:
        """Where this API answers, as its callers see it."""
        return f"{self.headers.get('x-forwarded-proto', 'https')}://{self.domain}"

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, when there is one. Raises Malformed for one that cannot be."""
        key = self.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise Malformed("idempotency_key_invalid", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
        return key

    def required_idempotency_key(self) -> str:
        """The Idempotency-Key of a request that may not go without. Raises Malformed."""
        key = self.idempotency_key
        if key is None:
            raise Malformed("idempotency_key_required", "This request needs an Idempotency-Key header.")
        return key

    def parse(self, model: type[M]) -> M:
        """The body as a model. Raises Malformed when it is no JSON object, Refused naming every wrong field.

        A POST whose body needs no field needs no body.
        """
        if not self.body and self.method == "POST" and needs_nothing(model):
            return model()
        if json_bodies.is_altered(self.body, self.headers.get("content-length")):
            raise Malformed("malformed_body", "The body is not UTF-8.")
        try:
            return model.model_validate_json(json_bodies.with_marks(self.body))
        except ValidationError as invalid:
            raise _refusal(invalid) from None

    def parse_nothing(self) -> NoFields:
        """The body where there is nothing to say: none, or an object without fields. Raises as `parse` does."""
        return self.parse(NoFields) if self.body else NoFields()

    def parse_query(self, model: type[M]) -> M:
        """The query parameters as a model. Raises Refused naming every wrong one."""
        try:
            return model.model_validate_strings({k: v for k, v in self.query.items() if k != "key"})
        except ValidationError as invalid:
            raise _refusal(invalid) from None


def needs_nothing(model: type[BaseModel]) -> bool:
    """Whether every field of a body may be left out."""
    return not any(field.is_required() for field in model.model_fields.values())


def _refusal(invalid: ValidationError) -> DomainError:
    problems = invalid.errors(include_url=False, include_input=False)
    if any(
        problem["type"] in {"json_invalid", "model_type", "model_attributes_type"} and not problem["loc"]
        for problem in problems
    ):
        return Malformed("malformed_body", "The body is not a JSON object.")
    return invalid_fields(*((".".join(map(str, each["loc"])), refusals.words_for(each)) for each in problems))


def answer(status: int, body: BaseModel | Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(status, to_json(body), headers or {})


def problem(error: DomainError, request_id: str) -> Response:
    """RFC 9457; the shape the SQL function `problem` builds too."""
    status = STATUS[type(error)]
    headers = {"retry-after": str(error.fields["retry_after"])} if "retry_after" in error.fields else {}
    body = {
        "type": f"urn:goodword:problem:{error.code}",
        "title": error.code[:1].upper() + error.code[1:].replace("_", " "),
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
        **{name: value for name, value in error.fields.items() if name != "retry_after"},
    }
    return Response(status, to_json(body), headers)


Handler = Callable[[Request], Response]


class Route(NamedTuple):
    """What a route takes and gives; the OpenAPI document is written from these."""

    key: str
    scope: auth.Scope | None
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answers: Mapping[int, Any]
    summary: str
    handler: Handler


class App:
    """The routes of one function, and its Lambda handler."""

    def __init__(self, largest_body: int = LARGEST_BODY) -> None:
        self.routes: dict[str, Route] = {}
        self._largest_body = largest_body

    @overload
    def route(
        self,
        key: str,
        *,
        scope: auth.Scope | None,
        answers: Mapping[int, Any],
        query: type[BaseModel] | None = None,
        body: None = None,
    ) -> Callable[[Handler], Handler]: ...

    @overload
    def route(
        self,
        key: str,
        *,
        scope: auth.Scope | None,
        answers: Mapping[int, Any],
        query: type[BaseModel] | None = None,
        body: type[M],
    ) -> Callable[[Callable[[Request, M], Response]], Callable[[Request, M], Response]]: ...

    def route(
        self,
        key: str,
        *,
        scope: auth.Scope | None,
        answers: Mapping[int, Any],
        query: type[BaseModel] | None = None,
        body: type[Any] | None = None,
    ) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
        """Declare `METHOD /path/{as}/in/the/template`. A body model is parsed before the handler is called.

        A read with a key that declares no query takes none: a parameter that is misspelt would say nothing.
        """
        takes_no_query = key.startswith("GET ") and scope is not None and query is None
        for model in filter(None, (body, query, *answers.values())):
            model.model_rebuild()  # now, where no request waits for it

        def register(handler: Callable[..., Response]) -> Callable[..., Response]:
            def run(request: Request) -> Response:
                if scope is not None:
                    request.authenticate(scope)
                if takes_no_query:
                    request.parse_query(NoFields)
                return handler(request, request.parse(body)) if body else handler(request)

            self.routes[key] = Route(key, scope, body, query, answers, (handler.__doc__ or "").strip(), run)
            return handler

        return register

    def handle(self, event: Mapping[str, Any], context: object) -> dict[str, object]:  # noqa: ARG002 - Lambda's signature
        """The Lambda handler."""
        started = time.perf_counter()
        request = Request(event, largest_body=self._largest_body)
        response = self._respond(request)
        log_answer(request.route, response.status, request.request_id, (time.perf_counter() - started) * 1000)
        return response.as_event()

    def _respond(self, request: Request) -> Response:
        try:
            return self.routes[request.route].handler(request)
        except DomainError as refusal:
            if isinstance(refusal, Unavailable):
                faults.log_outage(refusal, route=request.route, request_id=request.request_id)
            return problem(refusal, request.request_id)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is logged without its message and raised again
            refusal = BY_CONSTRAINT.get(fault.diag.constraint_name or "") if isinstance(fault, psycopg.Error) else None
            if refusal is None:
                # not an answer but a fault: logged with its request, then Lambda's to count
                raise faults.logged(fault, route=request.route, request_id=request.request_id) from None
            return problem(refusal, request.request_id)
