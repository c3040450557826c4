"""Users: the people of a company, known by the app's own external id. E-mails and names live here and nowhere else."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.errors import NotFound
from goodword.core.fields import Email, ExternalId, GivenInstant, RequestModel, Text, Url


class NewUser(RequestModel):
    """What an app tells of a person at signup."""

    external_id: ExternalId
    email: Email | None = None
    email_verified: bool = False
    username: Text | None = None
    avatar_url: Url | None = None
    whop_user_id: Text | None = None
    stripe_customer_id: Text | None = None
    created_at: GivenInstant | None = None

    @property
    def verified_email(self) -> str | None:
        """The normal form of the e-mail, where the app has seen that it is the user's."""
        return normal_email(self.email) if self.email_verified else None


_GMAIL = ("gmail.com", "googlemail.com")


@dataclass(frozen=True, slots=True)
class Identity:
    """By what two accounts are seen to be one person."""

    id: UUID
    external_id: str
    email: str | None
    whop_user_id: str | None
    stripe_customer_id: str | None

    def is_same_person(self, user: "NewUser | Identity") -> bool:
        """Self-referral (docs/rules.md, Blocks): the same user, mailbox, Whop user or Stripe customer."""
        return (
            self.external_id == user.external_id
            or _both_equal(mailbox(self.email), mailbox(user.email))
            or _both_equal(self.whop_user_id, user.whop_user_id)
            or _both_equal(self.stripe_customer_id, user.stripe_customer_id)
        )


def normal_email(email: str | None) -> str | None:
    """The form in which e-mails are compared wherever a person is known by one."""
    return email.strip().casefold() if email else None


def untagged(email: str | None) -> str | None:
    """The normal form of an e-mail without its `+tag`."""
    normal = normal_email(email)
    if normal is None:
        return None
    name, _, domain = normal.rpartition("@")
    return f"{name.partition('+')[0] or name}@{domain}"


def mailbox(email: str | None) -> str | None:
    """The mailbox behind an e-mail, of which one person may write any number.

    Without a `+tag` and, at Gmail under both its names, without dots. Only a suspicion may rest on it (self-referral):
    elsewhere two such addresses may be two people's.
    """
    plain = untagged(email)
    if plain is None:
        return None
    name, _, domain = plain.rpartition("@")
    if domain in _GMAIL:
        name, domain = name.replace(".", "") or name, _GMAIL[0]
    return f"{name}@{domain}"


def _both_equal(one: str | None, other: str | None) -> bool:
    return one is not None and one == other


_BY_EXTERNAL_ID = """
    SELECT id, external_id, email, whop_user_id, stripe_customer_id FROM users
    WHERE company_id = %(company_id)s AND external_id = %(external_id)s
"""


def row(company_id: UUID, user_id: UUID, user: NewUser, at: datetime) -> dict[str, object]:
    """The row of a new user, as the SQL function `insert_user` writes it."""
    return {
        **user.model_dump(exclude={"created_at"}),
        "company_id": company_id,
        "id": user_id,
        "app_created_at": user.created_at,
        "created_at": at,
        "email_verified": user.verified_email is not None,  # one that a provider shows later is not
        "verified_email": user.verified_email,
    }


def find(connection: Connection, company_id: UUID, external_id: str) -> Identity:
    """The user behind an external id. Raises NotFound."""
    user = query.one(connection, Identity, _BY_EXTERNAL_ID, company_id=company_id, external_id=external_id)
    if user is None:
        raise NotFound("user_not_found", "There is no such user.")
    return user
