"""Arrivals: looking at a person who signs up, under the locks that the signup needs.

Nothing is known of most people before they sign up. To look at one of them costs one statement, and no lock but of what
is their own; of anybody else the people beside are held too, and what events have carried is asked for.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.access import trials
from goodword.access.trials import Welcome
from goodword.accounts.users import NewUser
from goodword.core import query
from goodword.facts import locks, ownership
from goodword.facts.by_email import Hashed
from goodword.fraud.evidence import ScreenedPerson
from goodword.program import versions
from goodword.program.versions import Terms
from goodword.referral import candidates, expected, typed, undecided
from goodword.referral.attribution import AttributionDecision, Candidate, Reason, Source
from goodword.referral.expected import Expected


class Brought(NamedTuple):
    """What a person brings, as `typed` reads it: a code, a click and a coupon code."""

    code: str | None
    click_id: str | None
    coupon: str | None

    @property
    def named(self) -> tuple[str | None, str | None]:
        """The code and the click that may be there."""
        return self.code, self.click_id or None

    @property
    def names_a_code(self) -> bool:
        """Whether it can lead to a referral code, whose uses may be capped."""
        return any((*self.named, self.coupon))


class Known(NamedTuple):
    """A user who has signed up before, with the stored decision."""

    user_id: UUID
    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: UUID | None

    @property
    def decision(self) -> AttributionDecision:
        """The decision of the signup."""
        return AttributionDecision(self.outcome, self.reason, self.source, self.click_id)


class Newcomer(NamedTuple):
    """A person who signs up for the first time: under which terms, and what may have brought them, best first.

    Of somebody alone nothing was known, and what was `expected` is known by now. Of others it is said whether anything
    `waits` that may be theirs.
    """

    terms: Terms
    welcome: Welcome
    came_by: list[Candidate]
    expected: Expected | None = None
    is_alone: bool = False
    waits: bool = False


class _Look(NamedTuple):
    """What the SQL function `look_for_signup` answers."""

    is_alone: bool
    user_id: UUID | None
    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: UUID | None
    version: int | None
    program: str
    program_created_at: datetime
    at: datetime
    post_trial_plan: str
    trial_duration_days: int
    require_email_verification: bool
    self_registration_enabled: bool
    require_invite: bool

    @property
    def welcome(self) -> Welcome:
        """What the settings say of newcomers."""
        return Welcome(
            self.post_trial_plan, self.trial_duration_days, self.require_email_verification,
            self.self_registration_enabled, self.require_invite,
        )  # fmt: skip


_LOOK = """
    SELECT * FROM look_for_signup(
        %(company_id)s, %(external_id)s, %(stripe_customer_id)s, %(whop_user_id)s, %(holds_caps)s)
"""

_KNOWN = """
    SELECT users.id AS user_id, coalesce(signups.outcome, 'none') AS outcome, signups.reason, signups.source,
        signups.click_id
    FROM users LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""


def look(
    connection: Connection, company_id: UUID, user: NewUser, email: Hashed | None, brought: Brought,
    person: ScreenedPerson,
) -> Known | Newcomer:  # fmt: skip
    """What is known of a person, held until the transaction ends; `email` is one that they have verified.

    Locks: the identities of the person, the caps of codes, and the registrations of who is to have brought them.
    Raises NotFound when the company has no program.
    """
    arrival = None if email else _alone(connection, company_id, user, brought, person)
    return arrival or _beside(connection, company_id, user, email.hashes if email else (), brought)


def _alone(
    connection: Connection, company_id: UUID, user: NewUser, brought: Brought, person: ScreenedPerson
) -> Known | Newcomer | None:
    """None where something is known of the person; then nothing is held."""
    own = user.model_dump(include={"external_id", "stripe_customer_id", "whop_user_id"})
    holds_caps = brought.names_a_code
    look_later = query.the_one_later(connection, _Look, _LOOK, company_id=company_id, holds_caps=holds_caps, **own)
    read_candidates = candidates.ask(connection, company_id, user, *brought.named)
    read_coupon = candidates.ask_coupon(connection, company_id, user, brought.coupon)
    expected_later = expected.ask(connection, company_id, person, *brought.named)
    look = look_later()
    if not look.is_alone:
        return None
    if look.user_id is not None:
        return Known(look.user_id, look.outcome, look.reason, look.source, look.click_id)
    if look.version is None:
        raise versions.not_found()
    terms = Terms(look.version, versions.parse(look.program), look.program_created_at, look.at)
    came_by = _came_by(brought, read_candidates(terms), [], read_coupon(terms), terms)
    return Newcomer(terms, look.welcome, came_by, expected_later(), is_alone=True)


def _beside(
    connection: Connection, company_id: UUID, user: NewUser, hashes: Sequence[bytes], brought: Brought
) -> Known | Newcomer:
    """Anybody, with the people beside what will be theirs."""
    locks.hold_newcomer(connection, company_id, user, hashes)
    known_later = query.one_later(connection, Known, _KNOWN, company_id=company_id, external_id=user.external_id)
    touches_later = undecided.of_newcomer(connection, company_id, user, hashes)
    is_named = ownership.is_named(connection, company_id, user.external_id)
    welcome_later = trials.ask_welcome(connection, company_id)
    terms = versions.current(connection, company_id)
    known = known_later()
    if known is not None:
        return known
    named = candidates.find(connection, company_id, user, *brought.named, terms)
    carried = [each for _, each in candidates.carried(connection, company_id, user, touches_later(), terms)]
    waits = bool(hashes or user.stripe_customer_id or user.whop_user_id or is_named())
    by_coupon = candidates.find_coupon(connection, company_id, user, brought.coupon, terms)
    return Newcomer(terms, welcome_later(), _came_by(brought, named, carried, by_coupon, terms), waits=waits)


def _came_by(
    brought: Brought, named: Sequence[Candidate], carried: Sequence[Candidate], by_coupon: Sequence[Candidate],
    terms: Terms,
) -> list[Candidate]:  # fmt: skip
    """What may have brought a person, best first. A text that can be no click is an unknown one."""
    unknown_click = Candidate("click", "", None, None, terms.at, refusal="unknown_code")
    return [*named, *([unknown_click] if brought.click_id == typed.UNKNOWN else []), *carried, *by_coupon]
