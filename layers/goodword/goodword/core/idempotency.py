"""One request, one effect: the Idempotency-Key lives in the transaction of what it protects.

The same key with the same request gives the first answer, byte for byte; with another request it is a conflict. What is
kept is a decision: a refusal by a rule is one too, while everything else that its transaction did is rolled back. An
answer that decided nothing (an unknown user, a rate limit) is not kept: the same key may be tried again when the user
has signed up (docs/decisions/0021).
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

import psycopg
from psycopg import Connection
from pydantic import BaseModel

from goodword.core import database, http, query
from goodword.core.errors import BY_CONSTRAINT, Conflict, DomainError, Refused
from goodword.core.http import REPLAY_HEADER, STATUS, Request, Response
from goodword.core.one_trip import KeptAnswer, OneTrip
from goodword.core.query import Later

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

BROWSERS_KEYS_KEPT = timedelta(days=1)
"""How long a key sent with a publishable API key is known: anybody may send any number of them."""

SUCCESSES = range(200, 300)

_CLAIM = "SELECT outcome, status, body FROM claim_idempotency_key(%(company_id)s, %(key)s, %(hash)s, %(kept)s)"
_KEEP = "SELECT keep_idempotent_answer(%(company_id)s, %(key)s, %(status)s::smallint, %(body)s)"


class _Claimed(NamedTuple):
    """What became of a claim, and the answer that is kept under the key, if there is one."""

    outcome: Literal["claimed", "replayed", "reused", "expired"]
    status: int
    body: bytes


def is_decision(status: int) -> bool:
    """Whether an answer decided its request and is kept under its key. The SQL function of this name says the same."""
    return status in SUCCESSES or status in {STATUS[Conflict], STATUS[Refused]}


def request_hash(request: Request, body: BaseModel) -> bytes:
    """What makes two requests the same: method, path and parsed body."""
    return hashlib.sha256(f"{request.method} {request.path}\n{body.model_dump_json()}".encode()).digest()


def one_trip(request: Request, body: BaseModel, *, required: bool = True) -> OneTrip:
    """The request as a one-trip use case takes it. Raises Malformed for a missing key where one is required."""
    key = request.required_idempotency_key() if required else request.idempotency_key
    return OneTrip(request.company_id, key, request_hash(request, body) if key else None, request.request_id)


def response_of(kept: KeptAnswer) -> Response:
    """The response of an answer as it is kept."""
    return Response(kept.status, kept.body, REPLAY_HEADER if kept.replayed else {})


def shown(kept: Response, model: type[M], show: Callable[[M], M]) -> Response:
    """A kept answer as its caller may see it, where that is not as it is kept; a refusal is seen as it is."""
    if kept.status not in SUCCESSES:
        return kept
    return http.answer(kept.status, show(model.model_validate_json(kept.body)), kept.headers)


def answer_once(
    request: Request,
    body: BaseModel,
    status: int,
    work: Callable[Concatenate[Connection, P], BaseModel],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Response:
    """The answer of `work(connection, …)` under a fixed status, as `respond_once` gives it."""

    def run(connection: Connection) -> Later[BaseModel]:
        done = work(connection, *args, **kwargs)
        return lambda: done

    return respond_once(request, body, lambda done: http.answer(status, done), run)


def respond_once(
    request: Request,
    body: BaseModel,
    respond: Callable[[T], Response],
    work: Callable[Concatenate[Connection, P], Later[T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Response:
    """Run `work(connection, …)` in one transaction, once per Idempotency-Key where the request has one.

    What it comes to is read last: after COMMIT, or just before the response is kept under its key.
    """
    key = request.idempotency_key
    if key is None:
        return respond(database.transact(work, *args, **kwargs)())
    claim = {
        "company_id": request.company_id,
        # whoever holds the publishable key cannot take a server's keys
        "key": f"browser {key}" if request.caller.is_browser else key,
        "hash": request_hash(request, body),
        "kept": BROWSERS_KEYS_KEPT if request.caller.is_browser else None,
    }

    def once_per_key(connection: Connection, run: Callable[[Connection], Response]) -> Response:
        kept = _claim(connection, claim, request.request_id)
        if kept is not None:
            return kept
        response = run(connection)
        query.do(connection, _KEEP, **claim, status=response.status, body=response.body)
        return response

    try:
        return database.transact(once_per_key, lambda connection: respond(work(connection, *args, **kwargs)()))
    except (DomainError, psycopg.IntegrityError) as fault:
        refusal = _refusal(fault)
        if refusal is None or request.caller.is_browser or not is_decision(STATUS[type(refusal)]):
            raise  # the claim was rolled back with everything else
        response = http.problem(refusal, request.request_id)
    return database.transact(once_per_key, lambda _: response)


def answer_at_once(
    request: Request,
    body: BaseModel,
    status: int,
    work: Callable[Concatenate[Connection, P], BaseModel],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Response:
    """As `answer_once`, for a `work` of a single statement: one trip where the request has no key."""
    if request.idempotency_key is None:
        return http.answer(status, database.once(work, *args, **kwargs))
    return answer_once(request, body, status, work, *args, **kwargs)


def _refusal(fault: DomainError | psycopg.IntegrityError) -> DomainError | None:
    return fault if isinstance(fault, DomainError) else BY_CONSTRAINT.get(fault.diag.constraint_name or "")


def _claim(connection: Connection, claim: Mapping[str, object], request_id: str) -> Response | None:
    """The answer that is known for the key, or that it cannot be used; None where the key is now ours."""
    claimed = query.one(connection, _Claimed, _CLAIM, **claim)
    if claimed is None:
        raise LookupError("claim_idempotency_key answers always")
    outcome, status, body = claimed
    if outcome == "reused":
        detail = "This Idempotency-Key was used before with another request."
        return http.problem(Conflict("idempotency_key_reused", detail), request_id)
    if outcome == "expired":
        detail = "This request was done before; its stored answer is past its retention."
        return http.problem(Conflict("idempotency_answer_expired", detail), request_id)
    return response_of(KeptAnswer(status, body, replayed=True)) if outcome == "replayed" else None
