"""Users: the people of a company, known by the app's own external id. E-mails and names live here and nowhere else."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from psycopg import Connection
from pydantic import ValidationInfo, field_validator

from goodword.core import query
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import UNCHANGED, Email, ExternalId, GivenInstant, RequestModel, Text, Url, given_fields

NEEDS_AN_EMAIL = "needs an e-mail"


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

    @field_validator("email_verified")
    @classmethod
    def _of_an_email(cls, verified: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's own call
        if verified and "email" in info.data and info.data["email"] is None:
            raise ValueError(NEEDS_AN_EMAIL)
        return verified

    @property
    def verified_email(self) -> str | None:
        """The normal form of the e-mail, where the app has seen that it is the user's."""
        return normal_email(self.email) if self.email_verified else None


class UserChange(RequestModel):
    """The body of PATCH /v1/users/{user_id}: what is left out stays, and null clears what may be cleared.

    Another e-mail is one that nobody has verified, unless it is said that it is. Ids at providers may be replaced.
    """

    email: Email | None = None
    email_verified: bool = UNCHANGED
    username: Text | None = None
    avatar_url: Url | None = None
    whop_user_id: Text = UNCHANGED
    stripe_customer_id: Text = UNCHANGED


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


@dataclass(frozen=True, slots=True)
class StoredUser(Identity):
    """A user as they are stored, as far as a request can change them."""

    email_verified: bool
    verified_email: str | None
    username: str | None
    avatar_url: str | None

    def changed(self, wanted: UserChange) -> Self:
        """The user as they will be. Raises Refused for a verified e-mail where there is none."""
        given = given_fields(wanted)
        email = normal_email(given.get("email", self.email))
        is_same = email == normal_email(self.email)
        verified = given.pop("email_verified", self.email_verified and is_same)
        if verified and email is None:
            raise invalid_fields(("email_verified", NEEDS_AN_EMAIL))
        return replace(self, **given, email_verified=verified, verified_email=email if verified else None)

    @property
    def keys(self) -> tuple[str | None, ...]:
        """What finds payments and subscriptions of theirs: a verified e-mail and the ids at the providers."""
        return self.verified_email, self.stripe_customer_id, self.whop_user_id


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


_STORED = """
    SELECT id, external_id, email, whop_user_id, stripe_customer_id, email_verified, verified_email, username,
        avatar_url
    FROM users WHERE company_id = %(company_id)s AND external_id = %(external_id)s
"""

_SAVE = """
    UPDATE users SET email = %(email)s, email_verified = %(email_verified)s, verified_email = %(verified_email)s,
        username = %(username)s, avatar_url = %(avatar_url)s, whop_user_id = %(whop_user_id)s,
        stripe_customer_id = %(stripe_customer_id)s, updated_at = company_now(company_id)
    WHERE company_id = %(company_id)s AND id = %(id)s
"""


def row(company_id: UUID, user_id: UUID, user: NewUser, at: datetime) -> dict[str, object]:
    """The row of a new user, as the SQL function `insert_user` writes it."""
    return {
        **user.model_dump(exclude={"created_at"}),
        "company_id": company_id,
        "id": user_id,
        "app_created_at": user.created_at,
        "created_at": at,
        "updated_at": at,
        "email_verified": user.verified_email is not None,  # one that a provider shows later is not
        "verified_email": user.verified_email,
    }


def find(connection: Connection, company_id: UUID, external_id: str) -> Identity:
    """The user behind an external id. Raises NotFound."""
    user = query.one(connection, Identity, _BY_EXTERNAL_ID, company_id=company_id, external_id=external_id)
    if user is None:
        raise _not_found()
    return user


def stored(connection: Connection, company_id: UUID, external_id: str) -> StoredUser:
    """All that a request can change of a user. Raises NotFound."""
    user = query.one(connection, StoredUser, _STORED, company_id=company_id, external_id=external_id)
    if user is None:
        raise _not_found()
    return user


def save(connection: Connection, company_id: UUID, user: StoredUser) -> None:
    """Write a user as they have become. A taken id at a provider is a violated constraint, by name."""
    connection.execute(_SAVE, {"company_id": company_id, **asdict(user)})


def _not_found() -> NotFound:
    return NotFound("user_not_found", "There is no such user.")
