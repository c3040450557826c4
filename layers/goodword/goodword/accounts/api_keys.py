"""Making API keys. The key itself is shown once and never stored; `goodword.core.auth` recognises it by its hash."""

import secrets
from uuid import UUID

from psycopg import Connection

from goodword.core import auth, ids
from goodword.core.auth import Scope

_INSERT = """
    INSERT INTO api_keys (company_id, id, kind, scope, key_hash)
    VALUES (%(company_id)s, %(id)s, %(kind)s, %(scope)s, %(key_hash)s)
"""


def create(connection: Connection, company_id: UUID, livemode: bool, scope: Scope) -> str:  # noqa: FBT001 - the company's own flag
    """A new key of the given scope: `gw_pub_…` for browsers, else `gw_live_…` or `gw_test_…`."""
    publishable = scope is Scope.PUBLISHABLE
    kind = "pub" if publishable else "live" if livemode else "test"
    key = f"gw_{kind}_{secrets.token_urlsafe(30)}"
    connection.execute(
        _INSERT,
        {
            "company_id": company_id,
            "id": ids.new_id(),
            "kind": "publishable" if publishable else "secret",
            "scope": scope.name.lower(),
            "key_hash": auth.key_hash(key),
        },
    )
    return key
