"""Trials: the plan that a newcomer has for a while, once per person.

A trial is an ordinary grant. It begins by the company's settings of that moment: at the signup, or when the e-mail is
verified where that is asked for. None begins, and none is used up, while its plan is had without end or by a running
subscription.
"""

from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.access import identities
from goodword.access.identities import Identifiable
from goodword.core import ids

OCCASION = "trial"


class TrialTerms(NamedTuple):
    """What a company's settings say of trials."""

    plan: str
    days: int
    needs_verified_email: bool

    def may_begin(self, person: Identifiable) -> bool:
        """Whether a trial may begin for somebody, as far as it can be seen by themselves."""
        return self.days > 0 and (not self.needs_verified_email or person.verified_email is not None)


_BEGIN = """
    SELECT begin_trial(%(company_id)s, %(user_id)s, %(grant_id)s, %(occasion)s, %(known)s, %(new)s, %(key_id)s,
        %(activity_id)s)
"""


def begin(connection: Connection, company_id: UUID, user_id: UUID, person: Identifiable, grant_id: UUID) -> None:
    """Begin the trial of a user to whom the terms give one (`begin_trial`); costs no trip of its own.

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
