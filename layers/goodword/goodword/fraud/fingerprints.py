"""Fingerprints: where people were seen, as keyed hashes of an address, its block, a device and a user agent.

A person and an address and a device are one row, whatever comes of it again. How many people registered from somewhere
is counted where it is asked, so that no two of them wait for one counter (docs/decisions/0043).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.accounts.activity import IpAsn, IpCountry, IpType
from goodword.core import addresses, query
from goodword.core.privacy import PrivacyKey

SeenIn = Literal["registration", "login"]


class Seen(NamedTuple):
    """Where somebody is seen, as an app or a browser says. None of it is stored."""

    ip: str | None = None
    ip_type: IpType | None = None
    ip_country: IpCountry | None = None
    ip_asn: IpAsn | None = None
    user_agent: str | None = None
    device_fingerprint: str | None = None

    @property
    def public_ip(self) -> str | None:
        """The address, where it can say who is behind it."""
        return self.ip if self.ip and addresses.is_public(self.ip) else None

    @property
    def is_anywhere(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.public_ip or self.device_fingerprint)

    def hashes(self, keys: Sequence[PrivacyKey]) -> "SeenHashes":
        """What is compared with what is stored: under every key, the address and the device."""
        ip = addresses.holder(self.public_ip) if self.public_ip else None
        return SeenHashes(_hashes(keys, "ip", ip), _hashes(keys, "device", self.device_fingerprint))

    def row(
        self, key: PrivacyKey, hashes: "SeenHashes", context: SeenIn, referrer_id: UUID | None = None
    ) -> Mapping[str, object] | None:
        """The row that keeps it, as the SQL function `see_user` takes it; None where there is nothing to keep.

        `hashes` are those under the current `key` first.
        """
        if not self.is_anywhere:
            return None
        ip = self.public_ip
        return {
            "ip_hash": query.as_bytea(hashes.ips[0] if ip else None),
            "block_hash": query.as_bytea(key.hash("block", addresses.block(ip)) if ip else None),
            "device_hash": query.as_bytea(hashes.devices[0] if self.device_fingerprint else None),
            "agent_hash": query.as_bytea(key.hash("agent", self.user_agent)),
            "hash_key_id": key.id,
            "ip_type": self.ip_type or "unknown",
            "ip_country": self.ip_country,
            "ip_asn": self.ip_asn,
            "context": context,
            "referrer_id": referrer_id,
        }


class SeenHashes(NamedTuple):
    """An address and a device, each under every key that is compared; empty where there is none."""

    ips: list[bytes]
    devices: list[bytes]


class _AtSignup(NamedTuple):
    ip_hash: bytes | None
    device_hash: bytes | None
    ip_type: IpType


_AT_SIGNUP = """
    SELECT ip_hash, device_hash, ip_type FROM user_fingerprints
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND context = 'registration'
"""

_ATTRIBUTE = """
    UPDATE user_fingerprints SET referrer_id = %(referrer_id)s, attributed_at = %(at)s
    WHERE company_id = %(company_id)s AND user_id = %(user_id)s AND context = 'registration'
"""


def at_signup(connection: Connection, company_id: UUID, user_id: UUID) -> tuple[SeenHashes, IpType | None]:
    """Where somebody was seen as they signed up, and of what kind the address was, as far as it is known."""
    seen = query.one(connection, _AtSignup, _AT_SIGNUP, company_id=company_id, user_id=user_id)
    if seen is None:
        return SeenHashes([], []), None
    hashes = SeenHashes([seen.ip_hash] if seen.ip_hash else [], [seen.device_hash] if seen.device_hash else [])
    return hashes, seen.ip_type


def attribute(connection: Connection, company_id: UUID, user_id: UUID, referrer_id: UUID, at: datetime) -> None:
    """From an instant on, where somebody signed up counts among the places of their referrer's referees."""
    query.do(connection, _ATTRIBUTE, company_id=company_id, user_id=user_id, referrer_id=referrer_id, at=at)


def _hashes(keys: Sequence[PrivacyKey], kind: str, value: str | None) -> list[bytes]:
    return [digest for key in keys if (digest := key.hash(kind, value))]
