"""One request, one effect: the Idempotency-Key lives in the transaction of what it protects.

The same key with the same request gives the first answer, byte for byte; with another request it is a conflict. A
refusal is an answer too and is kept, while everything else that its transaction did is rolled back. Only what says of
itself that it may be asked again later is no answer.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg import Connection
from pydantic import BaseModel

from goodword.core import database, http, ids
from goodword.core.errors import BY_CONSTRAINT, Conflict, DomainError, TooManyRequests, Unavailable
from goodword.core.http import REPLAY_HEADER, Request, Response

_CLAIM = "SELECT outcome, status, body FROM claim_idempotency_key(%(company_id)s, %(key)s, %(hash)s)"
_STORE = "SELECT keep_idempotent_answer(%(company_id)s, %(key)s, %(status)s::smallint, %(body)s)"


def request_hash(request: Request, body: BaseModel) -> bytes:
    """What makes two requests the same: method, path and parsed body."""
    return hashlib.sha256(f"{request.method} {request.path}\n{body.model_dump_json()}".encode()).digest()


def one_trip(request: Request, body: BaseModel, *, required: bool = True) -> dict[str, object]:
    """The parameters that every one-trip use case takes besides its own. Raises Malformed for a missing key."""
    key = request.required_idempotency_key() if required else request.idempotency_key
    return {
        "company_id": request.company_id,
        "key": key,
        "hash": request_hash(request, body) if key else None,
        "request_id": request.request_id,
        "outbox_id": ids.new_id(),
        "activity_id": ids.new_id(),
    }


def one_trip_answer(connection: Connection, statement: LiteralString, parameters: Mapping[str, object]) -> Response:
    """The answer that a one-trip use case built and stored itself."""
    row = connection.execute(statement, parameters).fetchone()
    if row is None:
        raise LookupError("a one-trip use case answers always")
    status, stored, replayed = row
    return Response(status, stored, REPLAY_HEADER if replayed else {})


def once(request: Request, body: BaseModel, work: Callable[[Connection], Response]) -> Response:
    """As `transact`, for a `work` of a single statement: one trip where the request has no key."""
    return database.once(work) if request.idempotency_key is None else transact(request, body, work)


def transact(request: Request, body: BaseModel, work: Callable[[Connection], Response]) -> Response:
    """Run `work` in one transaction, once per Idempotency-Key where the request has one."""
    key = request.idempotency_key
    if key is None:
        return database.transact(work)
    if request.caller.is_browser:
        key = f"browser {key}"  # whoever holds the publishable key cannot take a server's keys
    hashed = request_hash(request, body)

    def once_per_key(connection: Connection, do: Callable[[Connection], Response]) -> Response:
        replay = _claim(connection, request.company_id, key, hashed)
        if replay is not None:
            return replay
        response = do(connection)
        connection.execute(
            _STORE,
            {"company_id": request.company_id, "key": key, "status": response.status, "body": response.body},
        )
        return response

    try:
        return database.transact(lambda connection: once_per_key(connection, work))
    except (TooManyRequests, Unavailable):
        raise
    except DomainError as refusal:
        if request.caller.is_browser:
            raise
        return _keep(request, refusal, once_per_key)
    except psycopg.IntegrityError as violation:
        refusal = BY_CONSTRAINT.get(violation.diag.constraint_name or "")
        if refusal is None:
            raise
        return _keep(request, refusal, once_per_key)


def _keep(
    request: Request,
    refusal: DomainError,
    once_per_key: Callable[[Connection, Callable[[Connection], Response]], Response],
) -> Response:
    response = http.problem(refusal, request.request_id)
    return database.transact(lambda connection: once_per_key(connection, lambda _: response))


def _claim(connection: Connection, company_id: UUID, key: str, hashed: bytes) -> Response | None:
    row = connection.execute(_CLAIM, {"company_id": company_id, "key": key, "hash": hashed}).fetchone()
    if row is None:
        raise LookupError("claim_idempotency_key answers always")
    outcome, status, stored = row
    if outcome == "reused":
        raise Conflict("idempotency_key_reused", "This Idempotency-Key was used before with another request.")
    if outcome == "expired":
        raise Conflict(
            "idempotency_answer_expired", "This request was done before; its stored answer is past its retention."
        )
    return Response(status, stored, REPLAY_HEADER) if outcome == "replayed" else None
