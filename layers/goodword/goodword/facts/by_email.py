"""Linking by e-mail: the weakest of the keys that say whose a payment or a subscription is.

An event shows an e-mail beside its objects, a user has verified one. Where they are equal, what has these objects is
that user's, unless a stronger key names anybody, before or after: then it is theirs. Where two users have verified it,
it is nobody's. So an owner follows from the sets of what was shown, verified and named (`owner_of`). No e-mail ever
links an object to a person: an owner by e-mail is written down as such, and is that for as long as nobody knows better.

E-mails meet as keyed hashes of their normal form, made under every key alive: one key that was alive at both times is
enough. Where there is none, an event that shows the address finds the user by it and hashes anew.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import normal_email
from goodword.core import privacy, query
from goodword.facts.kinds import EmailSeen, Fact, IdentityLinked


class Hashed(NamedTuple):
    """An e-mail in its normal form, and its hashes by the ids of their keys."""

    email: str
    by_key: dict[int, bytes]

    @property
    def hashes(self) -> list[bytes]:
        return list(self.by_key.values())


class ShownEmail(NamedTuple):
    """An e-mail that an event shows, with the objects beside which it shows it."""

    objects: tuple[str, ...]
    hashed: Hashed


_VERIFY = "SELECT verify_email(%(company_id)s, %(email)s, %(hashes)s::bytea[], %(key_ids)s::smallint[])"


def hashed(connection: Connection, email: str | None) -> Hashed | None:
    """An e-mail as it is compared; one trip where no keys are kept."""
    normal = normal_email(email)
    if not normal:
        return None
    keys = privacy.live_keys(connection)
    return Hashed(normal, {key.id: digest for key in keys if (digest := key.hash("email", normal))})


def shown(connection: Connection, facts: Sequence[Fact]) -> list[ShownEmail]:
    """The e-mails that an event shows, each with its objects; none where the event names whose all of these are."""
    named = {name for fact in facts if isinstance(fact, IdentityLinked) and fact.external_id for name in fact.objects}
    unnamed = (fact for fact in facts if isinstance(fact, EmailSeen) and not named.issuperset(fact.objects))
    emails = ((fact.objects, hashed(connection, fact.email)) for fact in unnamed)
    return [ShownEmail(objects, email) for objects, email in emails if email is not None]


def rows(emails: Iterable[ShownEmail]) -> list[dict[str, object]]:
    """The e-mails that an event shows, as the SQL function `store_emails` takes them."""
    return [
        {
            "email": email.hashed.email,
            "objects": email.objects,
            "hashes": [rf"\x{digest.hex()}" for digest in email.hashed.hashes],
            "key_ids": list(email.hashed.by_key),
        }
        for email in emails
    ]


def verify(connection: Connection, company_id: UUID, email: Hashed) -> None:
    """Keep that a user has verified this e-mail, which `users.verified_email` says by now; costs no trip of its own.

    What is theirs by it is then to be claimed (`ownership.claim_of`). Needs: the locks of the e-mail and of the user.
    """
    values = {"email": email.email, "hashes": email.hashes, "key_ids": list(email.by_key)}
    query.do(connection, _VERIFY, company_id=company_id, **values)
