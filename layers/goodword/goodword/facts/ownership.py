"""Ownership: whose a payment, a subscription or a profile is, by all that is known.

A payment whose person is not known yet is parked, and claimed when a signup or a link makes the person known; so is
what is somebody's by e-mail (`by_email`), from them. The rule is the SQL function `owner_of`.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import Identity
from goodword.core import query
from goodword.core.query import Later
from goodword.facts.kinds import ProfileSeen

# That an event links them says more, and stays.
_REMEMBER = """
    INSERT INTO identity_links (company_id, provider, object_id, external_id, by_reference, linked_at)
    VALUES (%(company_id)s, %(provider)s, %(object_id)s, %(external_id)s, true, 'infinity')
    ON CONFLICT ON CONSTRAINT identity_links_pk DO NOTHING
"""

_CLAIM_OF = "SELECT claim_of(%(company_id)s, %(external_id)s, %(hashes)s::bytea[])"

_IS_NAMED = """
    SELECT EXISTS (SELECT FROM identity_links WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM payments WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
        OR EXISTS (SELECT FROM subscriptions WHERE company_id = %(company_id)s AND external_id = %(external_id)s)
"""

# One statement: whose profile it is must be known before anything beside it is claimed, and would cost a trip.
_FILL_IN = """
    SELECT fill_in_user(%(company_id)s, person_of(%(company_id)s, %(provider)s, %(objects)s, %(names)s),
        %(whop_user_id)s, %(username)s, %(email)s, %(avatar_url)s)
"""


def remember(connection: Connection, company_id: UUID, before: Identity, after: Identity) -> None:
    """Keep whose own a customer or a Whop user was that is replaced: it stays theirs until somebody else has it.

    Needs: the locks of the object and of the user, as `locks.hold_changed` takes them.
    """
    replaced = (
        ("stripe", before.stripe_customer_id, after.stripe_customer_id),
        ("whop", before.whop_user_id, after.whop_user_id),
    )
    for provider, former, present in replaced:
        if former and former != present:
            values = {"provider": provider, "object_id": former, "external_id": after.external_id}
            connection.execute(_REMEMBER, {"company_id": company_id, **values})


def claim_of(connection: Connection, company_id: UUID, external_id: str, hashes: Sequence[bytes]) -> list[UUID]:
    """Give a user what is theirs, also by the hashes of an e-mail that they have verified; the users to be settled.

    Needs: the locks of the user's own objects, of the e-mail and of the user, as `locks.hold_newcomer` takes them.
    """
    values = {"external_id": external_id, "hashes": list(hashes)}
    return [user_id for (user_id,) in connection.execute(_CLAIM_OF, {"company_id": company_id, **values})]


def is_named(connection: Connection, company_id: UUID, external_id: str) -> Later[bool]:
    """Ask whether any event has named a person. Needs: the person's lock."""
    cursor = connection.execute(_IS_NAMED, {"company_id": company_id, "external_id": external_id})
    return lambda: cursor.fetchone() == (True,)


def fill_in(
    connection: Connection, company_id: UUID, provider: str, objects: Sequence[str], names: Collection[str],
    profile: ProfileSeen,
) -> None:  # fmt: skip
    """Give the user behind an event what its profile says and the app has not.

    Needs: the locks of the objects and of the people beside them; nobody else can take the Whop user in between.
    """
    values = {
        "provider": provider,
        "objects": objects,
        "names": list(names),
        "whop_user_id": profile.whop_user_id,
        "username": profile.username,
        "email": profile.email,
        "avatar_url": profile.avatar_url,
    }
    query.do(connection, _FILL_IN, company_id=company_id, **values)
