"""Identities: how it is known that somebody was given before what everybody is given once.

A trial, or a coupon, is given once per person, whatever account they come by next. Whoever was given it is known by
keyed hashes of all that says who they are; these say nothing of the person, and so an erased one is known by them too.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from psycopg import Connection

from goodword.accounts import users
from goodword.core import privacy
from goodword.core.privacy import PrivacyKey


class Identifiable(Protocol):
    """Somebody by all that says who they are; an e-mail says it once it is verified."""

    @property
    def external_id(self) -> str: ...
    @property
    def verified_email(self) -> str | None: ...
    @property
    def whop_user_id(self) -> str | None: ...
    @property
    def stripe_customer_id(self) -> str | None: ...


class Marks(NamedTuple):
    """The hashes of a person: those under which they may be known, and those under which they will be."""

    known: Sequence[bytes]
    new: Sequence[bytes]
    key_id: int


_MARK = """
    INSERT INTO identity_marks (company_id, occasion, hash, hash_key_id)
    SELECT %(company_id)s, %(occasion)s, hash, %(key_id)s FROM unnest(%(hashes)s::bytea[]) AS hash
    ON CONFLICT ON CONSTRAINT identity_marks_pk DO NOTHING
"""


def marks(connection: Connection, person: Identifiable) -> Marks:
    """The marks of a person, under every privacy key that is left; one trip where the process knows none."""
    keys = privacy.live_keys(connection)
    new = _hashes(keys[0], person)
    return Marks([*new, *(each for key in keys[1:] for each in _hashes(key, person))], new, keys[0].id)


def remember(connection: Connection, company_id: UUID, occasion: str, marks: Marks) -> None:
    """Know a person as one who was given something; costs no trip of its own."""
    values = {"company_id": company_id, "occasion": occasion, "hashes": list(marks.new), "key_id": marks.key_id}
    connection.execute(_MARK, values)


def _hashes(key: PrivacyKey, person: Identifiable) -> list[bytes]:
    named = (
        ("external_id", person.external_id),
        ("mailbox", users.untagged(person.verified_email)),
        ("whop_user", person.whop_user_id),
        ("stripe_customer", person.stripe_customer_id),
    )
    return [digest for kind, value in named if (digest := key.hash(kind, value)) is not None]
