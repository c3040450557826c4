"""One-trip use cases: a statement that claims its Idempotency-Key, does its work, and keeps what it answers.

The statement builds the bytes of its answer itself, so that a replay is the first answer byte for byte;
`core.idempotency` makes a response of them. Migration 0001 has the beginning and the end that these statements share.
"""

from dataclasses import dataclass, field
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import ids, query


class KeptAnswer(NamedTuple):
    """An answer as it is kept under a key. `replayed`: it was kept before this request came."""

    status: int
    body: bytes
    replayed: bool


@dataclass(frozen=True)
class OneTrip:
    """The request of a one-trip use case: whose it is, its key if it has one, and the ids of what it leaves behind."""

    company_id: UUID
    key: str | None
    hash: bytes | None
    request_id: str
    outbox_id: UUID = field(default_factory=ids.new_id)
    activity_id: UUID = field(default_factory=ids.new_id)

    def answer(self, connection: Connection, statement: LiteralString, **values: object) -> KeptAnswer:
        """The answer of the use case's statement, which has the parameters of the request besides its own values."""
        kept = query.one(connection, KeptAnswer, statement, **vars(self), **values)
        if kept is None:
            raise LookupError("a one-trip use case answers always")
        return kept
