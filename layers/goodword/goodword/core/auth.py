"""API keys: who is calling, for which company, and how far they may go.

Keys are random and long, so their plain SHA-256 is what the database holds. A known key is remembered for at most
30 seconds, so a revoked one works no longer than that and a warm request asks the database nothing. Whoever asks for a
key also keeps that it was used, in the same statement, if that was last kept a minute ago or longer.
"""

import hashlib
import re
import time
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import database
from goodword.core.errors import Forbidden, Unauthenticated

REMEMBERED_SECONDS = 30
REMEMBERED_KEYS = 1000

_SECRET_KEY = re.compile("gw_(live|test)_")

_FIND_KEY = """
    WITH used AS (
        UPDATE api_keys SET last_used_at = clock_timestamp()
        WHERE key_hash = %(key_hash)s AND revoked_at IS NULL
            AND coalesce(expires_at, 'infinity') > clock_timestamp()
            AND coalesce(last_used_at, '-infinity') < clock_timestamp() - interval '1 minute'
    )
    SELECT api_keys.company_id, companies.livemode, api_keys.scope, api_keys.id,
        extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
    FROM api_keys JOIN companies ON companies.id = api_keys.company_id
    WHERE key_hash = %(key_hash)s AND revoked_at IS NULL AND coalesce(expires_at, 'infinity') > clock_timestamp()
"""


class Scope(IntEnum):
    """What a key may do; each scope includes the ones before it. Browsers hold publishable keys."""

    PUBLISHABLE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Caller(NamedTuple):
    """The company on whose behalf a request comes, and its key with the scope."""

    company_id: UUID
    livemode: bool
    scope: Scope
    key_id: UUID

    @property
    def is_browser(self) -> bool:
        """Whether the key is publishable: the caller's own address then stands for the visitor's."""
        return self.scope is Scope.PUBLISHABLE


class _Found(NamedTuple):
    """The caller behind a key, and how long it may be remembered."""

    caller: Caller
    remembered_seconds: float


_remembered: dict[bytes, tuple[float, Caller]] = {}


def key_hash(key: str) -> bytes:
    """What the database knows of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def authenticate(authorization: str | None, key_parameter: str | None, needed: Scope) -> Caller:
    """The caller behind a bearer key or `?key=`. Raises Unauthenticated, or Forbidden for too little scope."""
    if key_parameter and _SECRET_KEY.search(key_parameter):  # beside a good header, too: addresses are written down
        raise Unauthenticated("key_misplaced", "A secret key belongs into the Authorization header, never into a URL.")
    key = sent_key(authorization, key_parameter)
    if not key or not key.startswith("gw_"):
        raise Unauthenticated("key_missing", "Send an API key as this header: Authorization: Bearer gw_…")
    caller = known_caller(key)
    if caller is None:
        raise Unauthenticated("key_unknown", "This API key is not known, has expired or has been revoked.")
    if caller.is_browser and not authorization and needed > Scope.PUBLISHABLE:
        raise Unauthenticated("key_missing", "Send a secret API key: Authorization: Bearer gw_…")
    if caller.scope < needed:
        raise Forbidden("scope_insufficient", f"This needs a key of scope {needed.name.lower()}.")
    return caller


def known_caller(key: str) -> Caller | None:
    """The caller a key stands for, or None."""
    hashed = key_hash(key)
    remembered = _remembered.get(hashed)
    if remembered and remembered[0] > time.monotonic():
        return remembered[1]
    found = database.once(_find, hashed)
    if found is None:
        return None
    if len(_remembered) >= REMEMBERED_KEYS:
        _remembered.clear()
    _remembered[hashed] = (time.monotonic() + found.remembered_seconds, found.caller)
    return found.caller


def publishable_company(key: str) -> UUID | None:
    """The company that a publishable key names; None for every other text."""
    caller = known_caller(key) if key.startswith("gw_pub_") else None
    return caller.company_id if caller else None


def sent_key(authorization: str | None, key_parameter: str | None) -> str | None:
    """The key that a request sends: the bearer, or else what `?key=` says."""
    if not authorization:
        return key_parameter
    kind, _, key = authorization.partition(" ")
    return key.strip() if kind.lower() == "bearer" else None


def _find(connection: Connection, hashed: bytes) -> _Found | None:
    row = connection.execute(_FIND_KEY, {"key_hash": hashed}).fetchone()
    if row is None:
        return None
    company_id, livemode, scope, key_id, seconds_left = row
    seconds = REMEMBERED_SECONDS if seconds_left is None else min(REMEMBERED_SECONDS, seconds_left)
    return _Found(Caller(company_id, livemode, Scope[scope.upper()], key_id), seconds)
