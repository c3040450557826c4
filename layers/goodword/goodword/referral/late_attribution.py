"""Late attribution: an unreferred user is bound to a referrer after the signup, by a payment or by who runs the app.

The same blocks stand against it as against a signup, with two more: the user is referred already, and the referrer is,
at any distance, referred by the user. What was paid already counts as for a signup of this instant. A key that may
write binds inside the signup's grace, an administrator's at any time. The signup's own decision stays as it is stored;
the referral's trace says who decided late, and for what reason (`named_referrers`).

A click or code that a provider's event carries (`touches`) binds inside the grace too, as of the time it was carried:
whether the event or the signup comes first, the same windows count. It is decided on once, as long as it does not turn
out to have been carried earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from goodword.accounts import activity
from goodword.accounts.users import Identity
from goodword.awards import binding
from goodword.awards.binding import NewReferral
from goodword.core import ids, outbox, query
from goodword.core.auth import Scope
from goodword.core.errors import NotFound
from goodword.facts import locks, touches
from goodword.facts.touches import Touch
from goodword.fraud import fingerprints, screening
from goodword.fraud.evidence import ScreenedPerson
from goodword.fraud.screening import Screened
from goodword.program import versions
from goodword.program.versions import Terms
from goodword.referral import attribution, candidates, choosing, undecided
from goodword.referral.attribution import Candidate, Reason, Verdict


@dataclass(frozen=True, slots=True)
class LatePerson(Identity):
    """Who is to be bound: since when the company and the app know them, and their referral, if they have one."""

    created_at: datetime
    app_created_at: datetime | None
    app_id: str | None
    referral_id: UUID | None


_PERSON = """
    SELECT users.id, users.external_id, users.email, users.whop_user_id, users.stripe_customer_id, users.created_at,
        users.app_created_at, signups.app_id, referrals.id AS referral_id
    FROM users
    LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    LEFT JOIN referrals ON referrals.company_id = users.company_id AND referrals.referee_id = users.id
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
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


def bind_undecided(connection: Connection, company_id: UUID, user_ids: Sequence[UUID]) -> None:
    """Bind those of these users whom nobody has referred to the referrers whom touches name; or keep why not.

    They are to be settled after. Needs: the locks of what the event is about, with these users. Locks: the bindings.
    """
    external_ids = undecided.among(connection, company_id, user_ids) if user_ids else []
    if external_ids:
        locks.hold_people(connection, company_id, external_ids)
        locks.hold_bindings(connection, company_id)
    for external_id in external_ids:
        _decide_on(connection, company_id, external_id)


def _decide_on(connection: Connection, company_id: UUID, external_id: str) -> None:
    """Decide on the touches of one user."""
    touches_later = undecided.of_user(connection, company_id, external_id)
    person = person_of(connection, company_id, external_id)
    carried = touches_later()
    if person.referral_id is not None or not carried:
        return  # another transaction was faster
    terms = versions.current(connection, company_id)
    pairs = candidates.carried(connection, company_id, person, carried, terms, person.created_at)
    judged = [
        judge(connection, company_id, person, candidate, terms, Scope.WRITE, max(touch.carried_at, person.created_at))
        for touch, candidate in pairs
    ]
    winner, verdicts, screened = choosing.choose(
        connection, company_id, judged, screened_as(connection, company_id, person), terms
    )
    trace = attribution.trace(verdicts, winner, terms, {"by": "payment"})
    decisions = _decisions(carried, [touch for touch, _ in pairs], verdicts, winner)
    touches.decide(connection, company_id, person.id, decisions, trace, terms.at)
    pair = attribution.pair(winner, screened, ids.new_id(), person.id, person.app_id, terms.at, trace)
    if pair:
        bind(connection, company_id, pair, screened, terms, {"by": "payment"})
        return
    keep_judgement(connection, company_id, screened)
    if verdicts:
        reason = attribution.decide(verdicts, winner).reason
        details = {"code": verdicts[0].candidate.code, "reason": reason, "by": "payment"}
        activity.record(connection, company_id, person.id, "late_attribution_rejected", details, terms.at)


def _decisions(
    carried: Sequence[Touch], judged: Sequence[Touch], verdicts: Sequence[Verdict], winner: Candidate | None
) -> list[dict[str, object]]:
    """What is decided on each touch: `judged` are those of the verdicts, one by one.

    A click stands for several candidates where others came before it in its chain: it is refused if all of them are.
    """
    reasons: dict[tuple[str, str], Reason | None] = {}
    winning = None
    for touch, verdict in zip(judged, verdicts, strict=True):
        name = (touch.kind, touch.ref)
        reasons[name] = verdict.reason and reasons.get(name, verdict.reason)
        if verdict.candidate is winner:
            winning = name
    return [
        {
            "kind": touch.kind,
            "ref": touch.ref,
            "carried_at": touch.carried_at,
            "reason": reasons.get((touch.kind, touch.ref)),
            "wins": (touch.kind, touch.ref) == winning,
        }
        for touch in carried
    ]


def bind(
    connection: Connection, company_id: UUID, pair: NewReferral, screened: Screened | None, terms: Terms,
    details: Mapping[str, object],
) -> None:  # fmt: skip
    """Write the referral, whose facts are to be settled next, and how it was judged."""
    locks.hold_payments_of(connection, company_id, pair.referee_id)
    binding.bind(connection, company_id, pair, terms)
    public = ids.public("ref", pair.id)
    about = {"referral_id": public, **details}
    activity.record(connection, company_id, pair.referee_id, "late_attributed", about, terms.at)
    outbox.announce(connection, company_id, [outbox.Event("referral.registered", {"id": public})], terms.at)
    keep_judgement(connection, company_id, screened, pair)


def screened_as(connection: Connection, company_id: UUID, person: LatePerson) -> ScreenedPerson:
    """Who is screened: of their signup, what was kept of it."""
    hashes, ip_type = fingerprints.at_signup(connection, company_id, person.id)
    return ScreenedPerson(person.id, person.email, hashes, ip_type)


def keep_judgement(
    connection: Connection, company_id: UUID, screened: Screened | None, pair: NewReferral | None = None
) -> None:
    """Keep the judgement on a binding that is written, or on one that it has stopped.

    With a binding, where the person was seen counts for the next who come by the same referrer.
    """
    if screened is None:
        return
    at = screened.terms.at
    kept = screening.kept(company_id, screened, pair.id if pair else None, "late")
    screening.keep(connection, company_id, [kept], at)
    if pair:
        fingerprints.attribute(connection, company_id, pair.referee_id, pair.referrer_id, at)


def person_of(connection: Connection, company_id: UUID, external_id: str) -> LatePerson:
    """The user behind an external id. Raises NotFound."""
    person = query.one(connection, LatePerson, _PERSON, company_id=company_id, external_id=external_id)
    if person is None:
        raise NotFound("user_not_found", "There is no such user.")
    return person


def judge(
    connection: Connection, company_id: UUID, person: LatePerson, candidate: Candidate, terms: Terms, scope: Scope,
    at: datetime,
) -> Verdict:  # fmt: skip
    """The candidate, and what is against binding the user to it.

    `at` is when the binding is wanted: by a request now, by an event when it happened.
    """
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
