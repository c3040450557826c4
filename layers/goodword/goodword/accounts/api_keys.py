"""API keys: made, listed and revoked. A key is shown once and stored as its hash, by which `core.auth` recognises it.

A company always keeps a key of scope admin: without one, nobody could make another. Keys belong to the machinery: they
expire in real time, whatever a test company's clock says.
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.core import auth, clock, ids, paging, query, sealing
from goodword.core.auth import Scope
from goodword.core.errors import NotFound, Refused, invalid_fields
from goodword.core.fields import AnswerModel, GivenInstant, Instant, RequestModel, Text
from goodword.core.ids import KeyId
from goodword.core.paging import Page, PageQuery

RANDOM_BYTES = 30
PREFIX_LENGTH = 12
"""So many characters of a key are shown for good: its kind, and a few by which people tell it from others."""

KeyKind = Literal["secret", "publishable"]


class NewApiKey(RequestModel):
    """The body of POST /v1/api-keys. A publishable key may what browsers may, whatever `scope` says."""

    name: Text
    kind: KeyKind = "secret"
    scope: Literal["read", "write", "admin"] | None = None
    expires_at: GivenInstant | None = None


class ApiKey(AnswerModel):
    """A key as it is listed: `prefix` is its beginning, `last_used_at` is exact to the minute."""

    id: KeyId
    name: str
    kind: KeyKind
    scope: Literal["publishable", "read", "write", "admin"]
    prefix: str
    last_used_at: Instant | None
    created_at: Instant
    expires_at: Instant | None


class CreatedApiKey(ApiKey):
    """A new key with its `secret`, shown this once: the key itself.

    A repetition under the same Idempotency-Key shows it again, but null to another API key than the first one's.
    """

    secret: str | None


class ApiKeyList(Page[ApiKey]):
    """A page of the keys that are not revoked, newest first."""


class ApiKeyQuery(PageQuery):
    """How GET /v1/api-keys is asked."""

    after: str | None = Field(default=None, pattern=r"^key_[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class DrawnKey:
    """A key before it is written. It is drawn before the first attempt, so that a repeated one writes the same."""

    scope: Scope
    livemode: bool
    id: UUID = field(default_factory=ids.new_id)
    random: str = field(default_factory=lambda: secrets.token_urlsafe(RANDOM_BYTES))

    @property
    def kind(self) -> KeyKind:
        """Whether browsers may hold it."""
        return "publishable" if self.scope is Scope.PUBLISHABLE else "secret"

    @property
    def secret(self) -> str:
        """The key itself: `gw_pub_…` for browsers, else `gw_live_…` or `gw_test_…`."""
        mode = "live" if self.livemode else "test"
        return f"gw_{'pub' if self.kind == 'publishable' else mode}_{self.random}"


_INSERT = """
    INSERT INTO api_keys (company_id, id, name, kind, scope, prefix, key_hash, expires_at)
    VALUES (%(company_id)s, %(id)s, %(name)s, %(kind)s, %(scope)s, %(prefix)s, %(key_hash)s, %(expires_at)s)
    ON CONFLICT ON CONSTRAINT api_keys_pk DO NOTHING
"""

_READ = """
    SELECT id, name, kind, scope, prefix, last_used_at, created_at, expires_at FROM api_keys
    WHERE company_id = %(company_id)s AND (%(id)s::uuid IS NULL OR id = %(id)s) AND revoked_at IS NULL
        AND (%(after)s::uuid IS NULL OR (created_at, id) < (
            SELECT created_at, id FROM api_keys WHERE company_id = %(company_id)s AND id = %(after)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""

_IS_KEY = "SELECT 1 FROM api_keys WHERE company_id = %(company_id)s AND id = %(after)s"

# Of two that are revoked at once, the second is looked for when the first is gone.
_HOLD_ADMIN_KEYS = """
    SELECT id FROM api_keys
    WHERE company_id = %(company_id)s AND scope = 'admin' AND revoked_at IS NULL
        AND coalesce(expires_at, 'infinity') > clock_timestamp()
    ORDER BY id FOR NO KEY UPDATE
"""

_REVOKE = """
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())
    WHERE company_id = %(company_id)s AND id = %(id)s
    RETURNING id
"""


def draw(new: NewApiKey, livemode: bool) -> DrawnKey:  # noqa: FBT001 - the company's own flag
    """The key that is asked for. Raises Refused for a secret key without a scope."""
    if new.kind == "publishable":
        return DrawnKey(Scope.PUBLISHABLE, livemode)
    if new.scope is None:
        raise invalid_fields(("scope", "is required"))
    return DrawnKey(Scope[new.scope.upper()], livemode)


def issue(connection: Connection, company_id: UUID, drawn: DrawnKey, new: NewApiKey, api_key: str) -> CreatedApiKey:
    """Write the key that is asked for; its secret is sealed under the `api_key` of the request (`core.sealing`).

    Raises Refused for an end that does not lie ahead.
    """
    if new.expires_at is not None and new.expires_at <= clock.real_now():
        raise invalid_fields(("expires_at", "must lie ahead"))
    _insert(connection, company_id, drawn, new)
    made = query.one(connection, ApiKey, _READ, company_id=company_id, id=drawn.id, after=None, limit=1)
    if made is None:
        raise LookupError(f"no key {drawn.id}")
    return CreatedApiKey(**made.model_dump(), secret=sealing.sealed(drawn.secret, api_key, str(drawn.id)))


def shown(created: CreatedApiKey, api_key: str) -> CreatedApiKey:
    """A new key as it is answered to whoever asked for it."""
    secret = sealing.unsealed(created.secret or "", api_key, str(created.id))
    return created.model_copy(update={"secret": secret if secret.startswith(created.prefix) else None})


def create(connection: Connection, company_id: UUID, livemode: bool, scope: Scope) -> str:  # noqa: FBT001 - as above
    """Write a key that no request asks for, as are a new company's first ones; the key itself."""
    drawn = DrawnKey(scope, livemode)
    _insert(connection, company_id, drawn, NewApiKey(name=f"First {drawn.kind} key", kind=drawn.kind))
    return drawn.secret


def listed(connection: Connection, company_id: UUID, page: ApiKeyQuery) -> ApiKeyList:
    """A page of the company's keys, newest first. Raises Refused for an `after` that is none of them."""
    values = {"company_id": company_id, "after": ids.parse("key", page.after) if page.after else None}
    keys = query.every(connection, ApiKey, _READ, id=None, limit=page.limit, **values)
    if page.after and not keys:
        paging.refuse_unknown(connection, _IS_KEY, "is no key of this company", **values)
    return ApiKeyList.of(keys, page.limit)


def revoke(connection: Connection, company_id: UUID, key_id: UUID | None) -> None:
    """Let a key work no more, at the latest 30 seconds from now; once more changes nothing.

    Raises NotFound, and Refused for the last key of scope admin.
    """
    values = {"company_id": company_id, "id": key_id}
    if connection.execute(_HOLD_ADMIN_KEYS, values).fetchall() == [(key_id,)]:
        raise Refused("last_admin_key", "This is the last key of scope admin: make another one first.")
    if connection.execute(_REVOKE, values).fetchone() is None:
        raise NotFound("api_key_not_found", "There is no such API key.")


def _insert(connection: Connection, company_id: UUID, drawn: DrawnKey, new: NewApiKey) -> None:
    values = {
        "company_id": company_id,
        "id": drawn.id,
        "name": new.name,
        "kind": drawn.kind,
        "scope": drawn.scope.name.lower(),
        "prefix": drawn.secret[:PREFIX_LENGTH],
        "key_hash": auth.key_hash(drawn.secret),
        "expires_at": new.expires_at,
    }
    connection.execute(_INSERT, values)
