"""Activations: the first use of an app by a user. The first of all activates a referral."""

from uuid import UUID

from psycopg import Connection

from goodword.accounts import users
from goodword.awards import listing as awards
from goodword.awards import settlement
from goodword.awards.listing import Award
from goodword.core import clock, ids
from goodword.core.fields import AnswerModel, AppId, ExternalId, GivenInstant, RequestModel
from goodword.facts import recording
from goodword.referral import referrals
from goodword.referral.referrals import Referral


class Activation(RequestModel):
    """The body of POST /v1/activations."""

    user_id: ExternalId
    app_id: AppId | None = None
    occurred_at: GivenInstant | None = None


class ActivationAnswer(AnswerModel):
    """The referral as it stands now; null and nothing for a user nobody referred."""

    referral: Referral | None
    awards: list[Award]


# The earliest use counts, in whatever order uses are reported; one that tells nothing new leaves no trace.
_RECORD = """
    WITH used AS (
        INSERT INTO activations AS known (company_id, user_id, app_id, occurred_at)
        VALUES (%(company_id)s, %(user_id)s, %(app_id)s, %(occurred_at)s)
        ON CONFLICT ON CONSTRAINT activations_pk DO UPDATE SET occurred_at = excluded.occurred_at
            WHERE excluded.occurred_at < known.occurred_at
        RETURNING company_id, user_id, app_id
    )
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    SELECT company_id, %(activity_id)s, user_id, 'activated', jsonb_build_object('app_id', nullif(app_id, '')), %(at)s
    FROM used
"""


def activate(connection: Connection, company_id: UUID, activation: Activation) -> ActivationAnswer:
    """Record a use. Raises NotFound for an unknown user, Refused for a use well in the future."""
    recording.lock_users(connection, company_id, [activation.user_id])
    at = clock.company_now(connection, company_id)
    user = users.find(connection, company_id, activation.user_id)
    occurred_at = clock.past("occurred_at", activation.occurred_at or at, at)
    connection.execute(
        _RECORD,
        {
            "company_id": company_id,
            "user_id": user.id,
            "app_id": activation.app_id or "",
            "occurred_at": occurred_at,
            "activity_id": ids.new_id(),
            "at": at,
        },
    )
    settlement.settle(connection, company_id, [user.id])
    referral = referrals.ask(connection, company_id, user.id)
    given = awards.ask(connection, company_id, user.id)
    return ActivationAnswer(referral=referral(), awards=given())
