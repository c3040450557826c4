"""Activations: the first use of an app by a user. The first of all activates a referral."""

from uuid import UUID

from psycopg import Connection

from goodword.accounts import users
from goodword.awards import listing as awards
from goodword.awards import settlement
from goodword.awards.listing import Award
from goodword.core import clock
from goodword.core.fields import AnswerModel, AppId, ExternalId, GivenInstant, RequestModel
from goodword.facts import locks, recording
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


def activate(connection: Connection, company_id: UUID, activation: Activation) -> ActivationAnswer:
    """Record a use. Raises NotFound for an unknown user, Refused for a use well in the future."""
    locks.hold_people(connection, company_id, [activation.user_id])
    at = clock.company_now(connection, company_id)
    user = users.find(connection, company_id, activation.user_id)
    occurred_at = clock.past("occurred_at", activation.occurred_at or at, at)
    recording.record_use(connection, company_id, user.id, activation.app_id, occurred_at, at)
    settlement.settle(connection, company_id, [user.id], settlement.AS_JUDGED)
    referral = referrals.ask(connection, company_id, user.id)
    given = awards.ask(connection, company_id, user.id)
    return ActivationAnswer(referral=referral(), awards=given())
