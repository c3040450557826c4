"""A referrer whom the app names after the signup (PUT /v1/users/{user_id}/referrer): late attribution by request."""

from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import activity
from goodword.awards import settlement
from goodword.core import ids
from goodword.core.auth import Scope
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import ExternalId, LongText, RequestModel
from goodword.facts import locks
from goodword.fraud.first_payments import FirstPayments
from goodword.program import versions
from goodword.referral import attribution, candidates, choosing, late_attribution, signups, typed
from goodword.referral.attribution import AttributionDecision
from goodword.referral.signups import SignupAnswer
from goodword.referral.typed import Typed


class LateAttribution(RequestModel):
    """The body of PUT /v1/users/{user_id}/referrer: a code, or the referrer, whose own code is then taken."""

    referral_code: Typed | None = None
    referrer_id: ExternalId | None = None
    reason: Annotated[LongText, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class LateIds:
    """The id of what is made, so that an attempt repeated after a lost connection makes the same."""

    referral: UUID = field(default_factory=ids.new_id)


_OWN_CODE = """
    SELECT codes.code FROM codes JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    WHERE codes.company_id = %(company_id)s AND users.external_id = %(external_id)s AND codes.type = 'auto'
"""


def attribute(
    connection: Connection, company_id: UUID, external_id: str, wanted: LateAttribution, scope: Scope, made: LateIds,
    base_url: str,
) -> SignupAnswer:  # fmt: skip
    """Bind a user to a referrer, or say why not. Raises NotFound for people nobody knows, Refused for a bad body."""
    typed_code = typed.code(wanted.referral_code)
    if (typed_code is None) == (wanted.referrer_id is None):
        detail = "exactly one of referral_code and referrer_id is needed"
        raise invalid_fields(("referral_code", detail), ("referrer_id", detail))
    locks.hold_people(connection, company_id, [external_id])
    locks.hold_bindings(connection, company_id)
    person = late_attribution.person_of(connection, company_id, external_id)
    if person.referral_id == made.referral:  # our own first attempt, whose answer was lost
        decision = AttributionDecision("attributed", None, "code", None)
        return signups.ask(connection, company_id, person.id, decision, base_url)()
    terms = versions.current(connection, company_id)
    code = _own_code(connection, company_id, wanted.referrer_id) if typed_code is None else typed_code
    (candidate,) = candidates.find(connection, company_id, person, code, None, terms, person.created_at)
    verdict = late_attribution.judge(connection, company_id, person, candidate, terms, scope, terms.at)
    winner, verdicts, screened = choosing.choose(
        connection, company_id, [verdict], late_attribution.screened_as(connection, company_id, person), terms,
        overrides=scope >= Scope.ADMIN,
    )  # fmt: skip
    decision = attribution.decide(verdicts, winner)
    by = {"by": "late", "scope": scope.name.lower(), "reason": wanted.reason}
    trace = attribution.trace(verdicts, winner, terms, by)
    pair = attribution.pair(winner, screened, made.referral, person.id, person.app_id, terms.at, trace)
    if pair:
        late_attribution.bind(connection, company_id, pair, screened, terms, {"scope": by["scope"]})
        settlement.settle(connection, company_id, [person.id], FirstPayments())
    else:
        late_attribution.keep_judgement(connection, company_id, screened)
        details = {"code": candidate.code, "reason": decision.reason, "scope": by["scope"]}
        activity.record(connection, company_id, person.id, "late_attribution_rejected", details, terms.at)
    return signups.ask(connection, company_id, person.id, decision, base_url)()


def _own_code(connection: Connection, company_id: UUID, external_id: str | None) -> str:
    row = connection.execute(_OWN_CODE, {"company_id": company_id, "external_id": external_id}).fetchone()
    if row is None:
        raise NotFound("referrer_not_found", "There is no user with this referrer_id.")
    return row[0]
