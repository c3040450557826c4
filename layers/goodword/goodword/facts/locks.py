"""Locks on what facts are about: advisory, one transaction long. No other module names the SQL that takes them.

Every transaction takes them in this order, or leaves some out, and the locks of rows after them (docs/architecture.md,
The lock order; docs/decisions/0017):

    1. objects of a provider, with their partners: the other objects of the same sale
    2. e-mails, by hash
    3. people, by external id
    4. promotion codes: shared by an event that meets one without a text, alone by the event that tells its text
    5. the company's bindings

Within a kind locks are taken by name, all at once. What a kind leads to may grow while its locks are waited for: one
more partner, another owner. Then all locks of the kind are given back and taken anew. A version of the program has a
lock of its own, taken alone.

The statements of this module return nothing, so they travel with the next statement that does. One lock is taken
elsewhere, by a question that needs it: that of a person who signs up and of whom nothing is known
(`referral/arrivals`, SQL function `lock_newcomer_alone`).
"""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from psycopg import Connection

from goodword.accounts.users import Identity, NewUser
from goodword.core import query

_IDENTITIES = "SELECT lock_identities(%(company_id)s, %(identities)s)"

_SHARED = "SELECT share_identities(%(company_id)s, %(identities)s)"

_EVENT = "SELECT lock_event(%(company_id)s, %(provider)s, %(objects)s, %(names)s, %(hashes)s::bytea[])"

_EMAILS = "SELECT lock_emails(%(company_id)s, %(hashes)s::bytea[])"

_NEWCOMER = """
    SELECT lock_newcomer(
        %(company_id)s, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s, %(hashes)s::bytea[])
"""

_PROMOTION = "SELECT lock_promotion(%(company_id)s, %(provider)s, %(promotion)s, %(code)s, %(most)s)"

_BINDINGS = "SELECT lock_identities(%(company_id)s, ARRAY['late-attribution'])"

_PROGRAM = "SELECT lock_identities(%(company_id)s, ARRAY['program'])"

_PAYMENTS = """
    SELECT id FROM payments WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY id FOR NO KEY UPDATE
"""


def hold_event(
    connection: Connection, company_id: UUID, provider: str, objects: Collection[str], names: Collection[str],
    hashes: Collection[bytes],
) -> None:  # fmt: skip
    """Hold everything that an event is about.

    These are its objects with their partners, its e-mails by their hashes and all that were ever shown beside the
    objects, the people whom it names, and everybody whose payments or subscriptions it may change.
    """
    values = {"provider": provider, "objects": list(objects), "names": list(names), "hashes": list(hashes)}
    query.do(connection, _EVENT, company_id=company_id, **values)


def hold_emails(connection: Connection, company_id: UUID, hashes: Collection[bytes]) -> None:
    """Hold e-mails by their hashes."""
    query.do(connection, _EMAILS, company_id=company_id, hashes=list(hashes))


def hold_people(connection: Connection, company_id: UUID, external_ids: Iterable[str]) -> None:
    """Hold people whom a request names, whether or not they have signed up."""
    people = [f"user:{external_id}" for external_id in external_ids]
    query.do(connection, _IDENTITIES, company_id=company_id, identities=people)


def hold_newcomer(connection: Connection, company_id: UUID, user: NewUser, hashes: Collection[bytes]) -> None:
    """Hold a person who signs up, their own objects and verified e-mail, and the people beside what they will own."""
    own = {"stripe_customer_id": user.stripe_customer_id, "whop_user_id": user.whop_user_id}
    _hold_person(connection, company_id, user.external_id, own, _objects(**own), hashes)


def hold_changed(
    connection: Connection, company_id: UUID, before: Identity, after: Identity, hashes: Collection[bytes]
) -> None:
    """Hold a user who becomes another one to the providers, as `hold_newcomer` does, and what was their own before."""
    own = {"stripe_customer_id": after.stripe_customer_id, "whop_user_id": after.whop_user_id}
    objects = _objects(**own) | _objects(before.stripe_customer_id, before.whop_user_id)
    _hold_person(connection, company_id, after.external_id, own, objects, hashes)


def _hold_person(
    connection: Connection, company_id: UUID, external_id: str, own: Mapping[str, str | None],
    objects: Collection[str], hashes: Collection[bytes],
) -> None:  # fmt: skip
    if objects:
        query.do(connection, _IDENTITIES, company_id=company_id, identities=list(objects))
    if hashes:
        hold_emails(connection, company_id, hashes)
    values = {"company_id": company_id, "external_id": external_id, "hashes": list(hashes), **own}
    query.do(connection, _NEWCOMER, **values)


def _objects(stripe_customer_id: str | None, whop_user_id: str | None) -> set[str]:
    own = (("stripe", stripe_customer_id), ("whop", whop_user_id))
    return {f"{provider}:{object_id}" for provider, object_id in own if object_id}


def hold_promotion(
    connection: Connection, company_id: UUID, provider: str, promotion: str, code: str, most: int
) -> None:
    """Hold a promotion code alone, after the people who wait for its text `code`: at most `most` of them."""
    values = {"provider": provider, "promotion": promotion, "code": code, "most": most}
    query.do(connection, _PROMOTION, company_id=company_id, **values)


def share_promotions(connection: Connection, company_id: UUID, promotions: Collection[str]) -> None:
    """Hold promotion codes together with every other transaction that shares them; no event tells their text meanwhile.

    A promotion code is named as `touches_of` names it: by its provider and its id.
    """
    query.do(connection, _SHARED, company_id=company_id, identities=list(promotions))


def hold_bindings(connection: Connection, company_id: UUID) -> None:
    """Hold the company's bindings: of two at once, each could close a circle that the other does not see."""
    query.do(connection, _BINDINGS, company_id=company_id)


def hold_program(connection: Connection, company_id: UUID) -> None:
    """Hold the program: its versions are numbered one after the other."""
    query.do(connection, _PROGRAM, company_id=company_id)


def hold_payments_of(connection: Connection, company_id: UUID, user_id: UUID) -> None:
    """Hold the rows of a user's payments, as an event of a refund holds the payment that it is about.

    A binding and such an event wait for each other here, so the later one settles what the earlier one wrote.
    """
    query.do(connection, _PAYMENTS, company_id=company_id, user_id=user_id)
