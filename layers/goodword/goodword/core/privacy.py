"""Keyed hashes: how an address, a device, a user agent or the e-mail of nobody known is stored.

A plain hash of an IPv4 address is undone by trying all four billion; an HMAC is not, and destroying its key makes
what was hashed under it anonymous. The keys are kept in the process for a few minutes.
"""

import hmac
import time
from contextlib import suppress
from typing import NamedTuple

from psycopg import Connection

from goodword.core import addresses

KEPT_SECONDS = 300


class PrivacyKey(NamedTuple):
    """A key with the id under which its hashes are stored."""

    id: int
    key: bytes

    def hash(self, kind: str, value: str | None) -> bytes | None:
        """The 32-byte keyed hash of a value of one kind (`ip`, `agent`, `device`, `email`); None stays None."""
        if not value:
            return None
        if kind == "ip":
            with suppress(ValueError):
                value = addresses.canonical(value)
        return hmac.digest(self.key, f"{kind}:{value}".encode("utf-8", "surrogatepass"), "sha256")


_kept: tuple[float, tuple[PrivacyKey, ...]] | None = None


def current_key(connection: Connection) -> PrivacyKey:
    """The newest key that has not been destroyed; one trip when none is kept."""
    keys = live_keys(connection)
    if not keys:
        raise LookupError("every privacy key has been destroyed")
    return keys[0]


def live_keys(connection: Connection) -> tuple[PrivacyKey, ...]:
    """Every key that has not been destroyed, newest first; one trip when none is kept."""
    global _kept  # noqa: PLW0603 - the process's own short-lived copy
    if _kept is None or _kept[0] < time.monotonic():
        rows = connection.execute("SELECT id, key FROM privacy_keys WHERE key IS NOT NULL ORDER BY id DESC").fetchall()
        keys = tuple(PrivacyKey(*row) for row in rows)
        _kept = (time.monotonic() + (KEPT_SECONDS if keys else 0), keys)
    return _kept[1]
