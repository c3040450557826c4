"""Late attribution: an unreferred user is bound to a referrer after the signup, by who runs the app or by a payment.

The same blocks stand against it as against a signup, with two more: the user is referred already, and the referrer is,
at any distance, referred by the user. What was paid already counts as for a signup of this instant. A key that may
write binds inside the signup's grace, an administrator's at any time. The signup's own decision stays as it is stored;
the referral's trace tells who decided late, and in which words.

A click or code that a provider's event carries (`touches`) binds inside the grace too, as of the time it was carried:
whether the event or the signup comes first, the same windows are asked. It is decided on once, as long as it is not
found to have been carried earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import Field

from goodword.accounts import activity
from goodword.accounts.users import Identity
from goodword.awards import settlement
from goodword.core import ids, outbox
from goodword.core.auth import Scope
from goodword.core.errors import NotFound, invalid_fields
from goodword.core.fields import CodeText, ExternalId, LongText, RequestModel
from goodword.facts import recording, touches
from goodword.program import versions
from goodword.program.versions import Terms
from goodword.referral import attribution, candidates, referrals, signups
from goodword.referral.attribution import Candidate, Reason, Verdict
from goodword.referral.referrals import NewReferral
from goodword.referral.signups import SignupAnswer


class LateAttribution(RequestModel):
    """The body of PUT /v1/users/{user_id}/referrer: a code, or the referrer, whose own code is then taken."""

    referral_code: CodeText | None = None
    referrer_id: ExternalId | None = None
    reason: Annotated[LongText, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class LateIds:
    """The id of what is made, so that an attempt repeated after a lost connection makes the same."""

    referral: UUID = field(default_factory=ids.new_id)


@dataclass(frozen=True, slots=True)
class _Person(Identity):
    created_at: datetime
    app_created_at: datetime | None
    app_id: str | None
    referral_id: UUID | None


# Two bindings at once could close a circle that neither of them sees, so a company's bindings come one after the other.
# The last of the identities: whoever holds it waits for nobody who waits for a person.
_LOCK_BINDINGS = "SELECT lock_identities(%(company_id)s, ARRAY['late-attribution'])"

_PERSON = """
    SELECT users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id, users.created_at,
        users.app_created_at, signups.app_id, referrals.id AS referral_id
    FROM users
    LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    LEFT JOIN referrals ON referrals.company_id = users.company_id AND referrals.referee_id = users.id
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""

_OWN_CODE = """
    SELECT codes.code FROM codes JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    WHERE codes.company_id = %(company_id)s AND users.external_id = %(external_id)s AND codes.type = 'auto'
"""

_IS_BROUGHT_BY = """
    WITH RECURSIVE above AS (
        SELECT referrer_id FROM referrals WHERE company_id = %(company_id)s AND referee_id = %(referrer_id)s
        UNION
        SELECT referrals.referrer_id FROM referrals JOIN above ON referrals.referee_id = above.referrer_id
        WHERE referrals.company_id = %(company_id)s
    )
    SELECT EXISTS (SELECT 1 FROM above WHERE referrer_id = %(user_id)s)
"""

# Whoever tells of a refund or a dispute holds the payment it is about, and settles what is bound by then. Each waits
# for the other here, so that the second one sees what the first one did.
_HOLD_PAYMENTS = """
    SELECT id FROM payments WHERE company_id = %(company_id)s AND user_id = %(user_id)s ORDER BY id FOR NO KEY UPDATE
"""


def attribute(
    connection: Connection, company_id: UUID, external_id: str, wanted: LateAttribution, scope: Scope, made: LateIds,
    base_url: str,
) -> SignupAnswer:  # fmt: skip
    """Bind a user to a referrer, or say why not. Raises NotFound for people nobody knows, Refused for a bad body."""
    if (wanted.referral_code is None) == (wanted.referrer_id is None):
        told = "exactly one of referral_code and referrer_id is needed"
        raise invalid_fields(("referral_code", told), ("referrer_id", told))
    _lock(connection, company_id, [external_id])
    person = _person(connection, company_id, external_id)
    if person.referral_id == made.referral:  # our own first attempt, whose answer was lost
        decision = {"outcome": "attributed", "reason": None, "source": "code", "click_id": None}
        return signups.answer(connection, company_id, person.id, decision, base_url)
    terms = versions.current(connection, company_id)
    code = wanted.referral_code or _own_code(connection, company_id, wanted.referrer_id)
    (candidate,) = candidates.find(connection, company_id, person, code, None, terms)
    verdict = _judge(connection, company_id, person, candidate, terms, scope, terms.at)
    winner, verdicts = candidates.choose(connection, company_id, [verdict], terms.at)
    decision = attribution.outcome(verdicts, winner)
    by = {"by": "late", "scope": scope.name.lower(), "reason": wanted.reason}
    trace = attribution.trace(verdicts, winner, terms.version, terms.program, by)
    if winner is None or winner.referrer is None or winner.code_id is None:
        details = {"code": candidate.code, "reason": decision["reason"], "scope": by["scope"]}
        activity.record(connection, company_id, person.id, "late_attribution_rejected", details, terms.at)
        return signups.answer(connection, company_id, person.id, decision, base_url)
    pair = NewReferral(
        made.referral, winner.referrer.id, person.id, winner.code_id, None, winner.source, person.app_id, terms.at,
        terms.at, trace,
    )  # fmt: skip
    _bind(connection, company_id, pair, terms, {"scope": by["scope"]})
    settlement.settle(connection, company_id, [person.id])
    return signups.answer(connection, company_id, person.id, decision, base_url)


def follow(connection: Connection, company_id: UUID, external_ids: Sequence[str]) -> None:
    """Bind these users, where nobody has referred them, to whom a provider's events name; or keep why not.

    Whoever calls settles them.
    """
    if external_ids:
        _lock(connection, company_id, external_ids)
    for external_id in external_ids:
        _follow(connection, company_id, external_id)


def _follow(connection: Connection, company_id: UUID, external_id: str) -> None:
    told = touches.ask_undecided_of(connection, company_id, external_id)
    person = _person(connection, company_id, external_id)
    touched = told()
    if person.referral_id is not None or not touched:
        return  # somebody else was faster
    terms = versions.current(connection, company_id)
    found = candidates.carried(connection, company_id, person, touched, terms)
    judged = [
        _judge(connection, company_id, person, candidate, terms, Scope.WRITE, max(touch.carried_at, person.created_at))
        for touch, candidate in found
    ]
    winner, verdicts = candidates.choose(connection, company_id, judged, terms.at)
    decision = attribution.outcome(verdicts, winner)
    trace = attribution.trace(verdicts, winner, terms.version, terms.program, {"by": "payment"})
    # a click stands for several candidates where others came before it: it is refused if all of them are
    reasons: dict[tuple[str, str], Reason | None] = {}
    for (touch, _), verdict in zip(found, verdicts, strict=True):
        named = (touch.kind, touch.ref)
        reasons[named] = verdict.reason and reasons.get(named, verdict.reason)
    won = next(((touch.kind, touch.ref) for touch, candidate in found if candidate is winner), None)
    decisions = [
        {"kind": kind, "ref": ref, "carried_at": at, "reason": reasons.get((kind, ref)), "wins": (kind, ref) == won}
        for kind, ref, at in ((touch.kind, touch.ref, touch.carried_at) for touch in touched)
    ]
    touches.decide(connection, company_id, person.id, decisions, trace, terms.at)
    if winner is not None and winner.referrer is not None and winner.code_id is not None:
        pair = NewReferral(
            ids.new_id(), winner.referrer.id, person.id, winner.code_id, winner.click_id, winner.source, person.app_id,
            winner.touched_at, terms.at, trace,
        )  # fmt: skip
        _bind(connection, company_id, pair, terms, {"by": "payment"})
    elif found:
        details = {"code": found[0][1].code, "reason": decision["reason"], "by": "payment"}
        activity.record(connection, company_id, person.id, "late_attribution_rejected", details, terms.at)


def _lock(connection: Connection, company_id: UUID, external_ids: Sequence[str]) -> None:
    """Whoever follows an event holds the users already."""
    recording.lock_users(connection, company_id, external_ids)
    connection.execute(_LOCK_BINDINGS, {"company_id": company_id})


def _bind(
    connection: Connection, company_id: UUID, pair: NewReferral, terms: Terms, details: Mapping[str, object]
) -> None:
    """Write the referral, whose facts are settled next."""
    connection.execute(_HOLD_PAYMENTS, {"company_id": company_id, "user_id": pair.referee_id})
    referrals.bind(connection, company_id, pair, terms.version, terms.program)
    public = ids.public("ref", pair.id)
    about = {"referral_id": public, **details}
    activity.record(connection, company_id, pair.referee_id, "late_attributed", about, terms.at)
    outbox.announce(connection, company_id, [outbox.Event("referral.registered", {"id": public})], terms.at)


def _person(connection: Connection, company_id: UUID, external_id: str) -> _Person:
    found = (
        connection.cursor(row_factory=class_row(_Person))
        .execute(_PERSON, {"company_id": company_id, "external_id": external_id})
        .fetchone()
    )
    if found is None:
        raise NotFound("user_not_found", "There is no such user.")
    return found


def _own_code(connection: Connection, company_id: UUID, external_id: str | None) -> str:
    row = connection.execute(_OWN_CODE, {"company_id": company_id, "external_id": external_id}).fetchone()
    if row is None:
        raise NotFound("referrer_not_found", "There is no user with this referrer_id.")
    return row[0]


def _judge(
    connection: Connection, company_id: UUID, person: _Person, candidate: Candidate, terms: Terms, scope: Scope,
    at: datetime,
) -> Verdict:  # fmt: skip
    """`at` is when the binding is asked for: by a request now, by an event when it happened."""
    if person.referral_id is not None:
        return Verdict(candidate, "already_referred")
    too_old = scope < Scope.ADMIN and (
        attribution.is_too_old(person.created_at, terms.program, at)
        or attribution.is_too_old(person.app_created_at, terms.program, person.created_at)
    )
    (verdict,) = attribution.judge([candidate], person, terms.program, at, too_old=too_old)
    if verdict.reason is None and candidate.referrer is not None:
        pair = {"company_id": company_id, "user_id": person.id, "referrer_id": candidate.referrer.id}
        if connection.execute(_IS_BROUGHT_BY, pair).fetchone() == (True,):
            return Verdict(candidate, "cycle")
    return verdict
