"""The chain as anybody can compute it again from docs/operations.md, and the sealing of it."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from tests.support.tenants import Tenant
from tests.support.waiting import wait_until

BEFORE_THE_FIRST = bytes(32)

_UNSEALED = """
    SELECT id FROM entries e WHERE company_id = %(company_id)s
        AND NOT EXISTS (SELECT FROM seals s WHERE s.company_id = e.company_id AND s.entry_id = e.id)
"""
_SEALS = """
    SELECT s.position, s.hash AS seal_hash, e.* FROM seals s
    LEFT JOIN entries e ON e.company_id = s.company_id AND e.id = s.entry_id
    WHERE s.company_id = %(company_id)s ORDER BY s.position
"""


def seal(tenant: Tenant, limit: int = 1000) -> tuple[int, bool]:
    """One call of the sealer, as the job's role: how many it sealed, of any company, and whether there may be more."""
    (row,) = tenant.connection("jobs").execute("SELECT sealed, more FROM seal_entries(%s)", (limit,)).fetchall()
    return row


def seal_all(tenant: Tenant) -> None:
    """Seal until every entry of the company has its seal: something else in the cluster may hold them up a moment."""

    def done() -> bool:
        seal(tenant)
        return not tenant.rows(_UNSEALED)

    wait_until(done, "every entry is sealed")


def seals(tenant: Tenant) -> list[dict[str, Any]]:
    """The company's seals in their order, each with the entry it is for."""
    return tenant.rows(_SEALS)


def digest(entry: dict[str, Any]) -> bytes:
    """What a seal says of an entry."""
    said = [
        "goodword entry 1", str(entry["company_id"]), entry["id"], str(entry["user_id"]), entry["type"],
        entry["delta"], entry["debt_delta"], entry["balance_after"], entry["debt_after"], entry["version"],
        entry["reference"], entry["occasion"], entry["note_hash"] and entry["note_hash"].hex(),
        entry["program_version"], written(entry["effective_at"]), written(entry["created_at"]),
    ]  # fmt: skip
    return sha256(json.dumps(said, ensure_ascii=False).encode()).digest()


def written(at: datetime) -> str:
    """An instant as the API writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def hashes(entries: Iterable[dict[str, Any]]) -> list[bytes]:
    """The hashes of a chain over these entries."""
    hash_, chain = BEFORE_THE_FIRST, list[bytes]()
    for entry in entries:
        hash_ = sha256(hash_ + digest(entry)).digest()
        chain.append(hash_)
    return chain
