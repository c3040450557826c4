"""Keyed hashes: how an address, a device or a user agent is stored.

A plain hash of an IPv4 address is undone by trying all four billion; an HMAC is not, and destroying its key makes
what was hashed under it anonymous. The newest key is kept in the process for a few minutes.
"""

import hmac
import time
from dataclasses import dataclass

from psycopg import Connection

KEPT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class PrivacyKey:
    """A key with the id under which its hashes are stored."""

    id: int
    key: bytes

    def hash(self, kind: str, value: str | None) -> bytes | None:
        """The 32-byte keyed hash of a value of one kind (`ip`, `agent`, `device`); None stays None."""
        return (
            None if not value else hmac.digest(self.key, f"{kind}:{value}".encode("utf-8", "surrogatepass"), "sha256")
        )


_kept: tuple[float, PrivacyKey] | None = None


def current_key(connection: Connection) -> PrivacyKey:
    """The newest key that has not been destroyed; one trip when none is kept."""
    global _kept  # noqa: PLW0603 - the process's own short-lived copy
    if _kept is None or _kept[0] < time.monotonic():
        row = connection.execute(
            "SELECT id, key FROM privacy_keys WHERE key IS NOT NULL ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if row is None:
            raise LookupError("every privacy key has been destroyed")
        _kept = (time.monotonic() + KEPT_SECONDS, PrivacyKey(*row))
    return _kept[1]
