"""Keyed hashes: how an address, a device, a user agent or the e-mail of nobody known is stored.

A plain hash of an IPv4 address is undone by trying all four billion; a keyed one is not. A key is made of two halves: a
row of the database, and the deployment's secret, which no dump of the database holds. With either of them destroyed,
nothing that was hashed can be linked to anybody. The keys are kept in the process for a few minutes.
"""

import hmac
import time
from contextlib import suppress
from typing import NamedTuple

from psycopg import Connection

from goodword.core import addresses
from goodword.core.settings import privacy_settings

KEPT_SECONDS = 300

_LIVE = "SELECT id, key FROM surviving_privacy_keys()"


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
    return live_keys(connection)[0]


def compared_keys(connection: Connection) -> tuple[PrivacyKey, ...]:
    """The keys under which what comes is compared with what is stored: the current one and the one before it."""
    return live_keys(connection)[:2]


def live_keys(connection: Connection) -> tuple[PrivacyKey, ...]:
    """Every key that has not been destroyed, newest first; one trip when none is kept.

    Where all have been, a new one is made: nothing that is stored can be linked any more, but people go on signing up.
    """
    global _kept  # noqa: PLW0603 - the process's own short-lived copy
    if _kept is None or _kept[0] < time.monotonic():
        rows = connection.execute(_LIVE).fetchall()
        secret = privacy_settings().privacy_secret.get_secret_value().encode()
        keys = tuple(PrivacyKey(id_, hmac.digest(secret, row, "sha256")) for id_, row in rows)
        _kept = (time.monotonic() + KEPT_SECONDS, keys)
    return _kept[1]
