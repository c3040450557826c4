"""Trials: the plan that a newcomer has for a while, once per person; and what else a company says of newcomers.

A trial is an ordinary grant. It begins by the company's settings of that moment: at the signup, or when the e-mail is
verified where that is asked for. None begins, and none is used up, while its plan is had without end or by a running
subscription.
"""

from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.access import identities
from goodword.access.identities import Identifiable
from goodword.core import ids, query
from goodword.core.errors import Refused
from goodword.core.query import Later

OCCASION = "trial"


class Welcome(NamedTuple):
    """What a company's settings say of who signs up: whether they may, and which plan they begin with."""

    post_trial_plan: str
    trial_duration_days: int
    require_email_verification: bool
    self_registration_enabled: bool
    require_invite: bool

    def let_in(self) -> None:
        """Raises Refused where nobody may sign up without an invite: there are none yet."""
        if not self.self_registration_enabled:
            raise Refused("registration_closed", "Nobody can sign up by themselves.")
        if self.require_invite:
            raise Refused("invite_invalid", "There is no such invite.")

    def offers_trial(self, person: Identifiable) -> bool:
        """Whether a trial may begin for a person, as far as they show by themselves."""
        is_shown = person.verified_email is not None or not self.require_email_verification
        return self.trial_duration_days > 0 and is_shown


_WELCOME = """
    SELECT post_trial_plan, trial_duration_days, require_email_verification, self_registration_enabled, require_invite
    FROM companies WHERE id = %(company_id)s
"""

_BEGIN = """
    SELECT begin_trial(%(company_id)s, %(user_id)s, %(grant_id)s, %(occasion)s, %(known)s, %(new)s, %(key_id)s,
        %(activity_id)s)
"""


def ask_welcome(connection: Connection, company_id: UUID) -> Later[Welcome]:
    """Ask what the company's settings say of newcomers."""
    return query.the_one_later(connection, Welcome, _WELCOME, company_id=company_id)


def begin(connection: Connection, company_id: UUID, user_id: UUID, person: Identifiable, grant_id: UUID) -> None:
    """Begin the trial of a user whom one is offered (`begin_trial`); costs no trip of its own.

    Nothing happens where they, or who they were before, had one. Locks: the user's grants. Needs: the identities of
    the person, held.
    """
    marks = identities.marks(connection, person)
    connection.execute(
        _BEGIN,
        {
            "company_id": company_id, "user_id": user_id, "grant_id": grant_id, "occasion": OCCASION,
            "known": list(marks.known), "new": list(marks.new), "key_id": marks.key_id, "activity_id": ids.new_id(),
        },
    )  # fmt: skip
