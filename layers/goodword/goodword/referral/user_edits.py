"""Edits of users: what an app tells of them after their signup, and what follows from it.

What waits for a person under a key that is new to them is theirs from then on, as at a signup: an e-mail that they have
verified, a customer of Stripe, a user of Whop. What a replaced customer or Whop user has paid stays theirs until
somebody else has it.
"""

from dataclasses import dataclass, field
from uuid import UUID

from psycopg import Connection
from psycopg.errors import SerializationFailure

from goodword.access import subscriptions, trials
from goodword.accounts import users
from goodword.accounts.users import StoredUser, UserChange
from goodword.awards import settlement
from goodword.core import clock, ids, outbox
from goodword.facts import by_email, locks, ownership
from goodword.facts.by_email import Hashed
from goodword.fraud.first_payments import FirstPayments
from goodword.referral import late_attribution, profiles
from goodword.referral.profiles import User


@dataclass(frozen=True, slots=True)
class EditIds:
    """The ids of what an edit makes, so that an attempt repeated after a lost connection makes the same."""

    event: UUID = field(default_factory=ids.new_id)
    trial: UUID = field(default_factory=ids.new_id)


def change(
    connection: Connection, company_id: UUID, external_id: str, made: EditIds, wanted: UserChange, base_url: str
) -> User:
    """Change a user. A taken whop_user_id or stripe_customer_id is a violated constraint, by name.

    An e-mail that is said to be verified begins the trial that is still to come. Raises NotFound, and Refused for a
    verified e-mail where there is none.
    """
    before = users.stored(connection, company_id, external_id)
    after = before.changed(wanted)
    email = by_email.hashed(connection, after.verified_email)
    locks.hold_changed(connection, company_id, before, after, email.hashes if email else ())
    subscribed_later = subscriptions.ask_plans_of(connection, company_id, before.id)
    welcome_later = trials.ask_welcome(connection, company_id)
    if users.stored(connection, company_id, external_id) != before:
        raise SerializationFailure("the user was changed meanwhile")  # the attempt is repeated, with other locks
    concerned, welcome = list[UUID](), welcome_later()
    if after != before:
        users.save(connection, company_id, after)
        if after.keys != before.keys:
            concerned = _claim(connection, company_id, before, after, email)
            subscriptions.record_plan(connection, company_id, after.id, subscribed_later())
        updated = outbox.Event("user.updated", {"id": ids.public("usr", after.id)}, made.event)
        outbox.announce(connection, company_id, [updated], clock.company_now(connection, company_id))
    standing = settlement.hold(connection, company_id, concerned)
    if welcome.offers_trial(after) and (wanted.email_verified or not welcome.require_email_verification):
        trials.begin(connection, company_id, after.id, after, made.trial)
    settlement.bring(connection, company_id, standing, FirstPayments())
    return profiles.ask(connection, company_id, after.id, base_url)()


def _claim(
    connection: Connection, company_id: UUID, before: StoredUser, after: StoredUser, email: Hashed | None
) -> list[UUID]:
    """Give a user what is theirs by who they have become; the users who are to be settled for it."""
    ownership.remember(connection, company_id, before, after)
    if email:
        by_email.verify(connection, company_id, email)
    claimed = ownership.claim_of(connection, company_id, after.external_id, email.hashes if email else ())
    concerned = sorted({after.id, *claimed})
    late_attribution.bind_undecided(connection, company_id, concerned)
    return concerned
