"""Signups: a person becomes known, is attributed, and both sides get what the program gives for it.

One signup per person, for ever: a second one is answered with the stored outcome and changes nothing. Payments that
came before the person was known are claimed in the same transaction, and so are the touches that they carried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.accounts import activity, users
from goodword.accounts.users import NewUser
from goodword.awards import binding, settlement
from goodword.awards import listing as awards
from goodword.awards.listing import Award
from goodword.core import clock, ids, outbox, query
from goodword.core.fields import AnswerModel, AppId, IpAddress, RequestModel
from goodword.core.ids import ClickId
from goodword.core.privacy import PrivacyKey
from goodword.core.query import Later
from goodword.facts import by_email, locks, ownership
from goodword.facts.by_email import Hashed
from goodword.facts.touches import Touch
from goodword.program import versions
from goodword.program.versions import Terms
from goodword.referral import attribution, candidates, codes, profiles, referrals, typed, undecided
from goodword.referral.attribution import AttributionDecision, Candidate, Reason, Source, Verdict
from goodword.referral.profiles import User
from goodword.referral.referrals import Referral
from goodword.referral.typed import KeptText, Typed


class Signup(RequestModel):
    """The body of POST /v1/signups.

    `referral_code` is a code that the person has typed. It beats the click, so a code that an app remembers is sent
    only where there is no click. What is typed never blocks a signup.
    """

    user: NewUser
    referral_code: Typed | None = None
    click_id: Typed | None = None
    coupon_code: Typed | None = None
    invite_code: Typed | None = None
    app_id: AppId | None = None
    ip: IpAddress = None
    user_agent: KeptText = None
    device_fingerprint: KeptText = None


class Attribution(AnswerModel):
    """How a signup was attributed; `reason` says why it was rejected."""

    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: ClickId | None


class SignupAnswer(AnswerModel):
    """Everything a signup led to. `awards` are all awards of the referral, for every person."""

    user: User
    attribution: Attribution
    referral: Referral | None
    awards: list[Award]
    invite: None = None
    trial: None = None


@dataclass(frozen=True, slots=True)
class SignupIds:
    """The ids of what a signup makes, so that an attempt repeated after a lost connection makes the same."""

    user: UUID = field(default_factory=ids.new_id)
    referral: UUID = field(default_factory=ids.new_id)


@dataclass(frozen=True, slots=True)
class _Known:
    """A user who has signed up before, with the stored decision."""

    user_id: UUID
    outcome: Literal["attributed", "none", "rejected"]
    reason: Reason | None
    source: Source | None
    click_id: UUID | None

    @property
    def decision(self) -> AttributionDecision:
        return AttributionDecision(self.outcome, self.reason, self.source, self.click_id)


class _Look(NamedTuple):
    """What a signup asks under its locks; but for the terms, it is read later."""

    known: Later[_Known | None]
    touches: Later[list[Touch]]
    is_named: Later[bool]
    terms: Terms


class _Newcomer(NamedTuple):
    """A person who signs up for the first time, under the terms in force."""

    signup: Signup
    user: NewUser
    made: SignupIds
    terms: Terms
    key: PrivacyKey


_KNOWN = """
    SELECT users.id AS user_id, coalesce(signups.outcome, 'none') AS outcome, signups.reason, signups.source,
        signups.click_id
    FROM users LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    WHERE users.company_id = %(company_id)s AND users.external_id = %(external_id)s
"""

_STORE = """
    INSERT INTO signups (company_id, user_id, outcome, reason, source, click_id, app_id, trace, ip_hash, agent_hash,
        device_hash, hash_key_id, occurred_at)
    VALUES (%(company_id)s, %(user_id)s, %(outcome)s, %(reason)s, %(source)s, %(click_id)s, %(app_id)s, %(trace)s,
        %(ip_hash)s, %(agent_hash)s, %(device_hash)s, %(hash_key_id)s, %(at)s)
"""

_AUTOMATIC_CODE = """
    INSERT INTO codes (company_id, id, code, type, user_id, created_at, updated_at)
    VALUES (%(company_id)s, %(id)s, %(code)s, 'auto', %(user_id)s, %(at)s, %(at)s)
    ON CONFLICT ON CONSTRAINT codes_code_uq DO NOTHING
    RETURNING code
"""


def sign_up(
    connection: Connection, company_id: UUID, signup: Signup, made: SignupIds, key: PrivacyKey, base_url: str
) -> tuple[SignupAnswer, bool]:
    """Sign a person up. Returns the answer, and whether the person is new.

    A taken whop_user_id or stripe_customer_id is a violated constraint, by name.
    """
    email = by_email.hashed(connection, signup.user.verified_email)
    look = _look(connection, company_id, signup.user, email)
    known = look.known()
    if known is not None:
        is_new = known.user_id == made.user  # our own first attempt, whose answer was lost
        return answer(connection, company_id, known.user_id, known.decision, base_url), is_new
    newcomer = _Newcomer(signup, _dated(signup.user, look.terms.at), made, look.terms, key)
    verdicts = _decide(newcomer, _came_by(connection, company_id, signup, look))
    decision = _write(connection, company_id, newcomer, verdicts)
    claimed = _claim(connection, company_id, newcomer.user, email, look.is_named)
    settlement.settle(connection, company_id, sorted({made.user, *claimed}))
    return answer(connection, company_id, made.user, decision, base_url), True


def _look(connection: Connection, company_id: UUID, user: NewUser, email: Hashed | None) -> _Look:
    """Take the locks, and ask what is known under them. Raises NotFound when the company has no program."""
    hashes = email.hashes if email else ()
    locks.hold_newcomer(connection, company_id, user, hashes)
    known = query.one_later(connection, _Known, _KNOWN, company_id=company_id, external_id=user.external_id)
    touches = undecided.of_newcomer(connection, company_id, user, hashes)
    is_named = ownership.is_named(connection, company_id, user.external_id)
    return _Look(known, touches, is_named, versions.current(connection, company_id))


def _dated(user: NewUser, at: datetime) -> NewUser:
    """The user with a `created_at` that is not after now. Raises Refused for one well in the future."""
    if user.created_at is None:
        return user
    return user.model_copy(update={"created_at": clock.past("created_at", user.created_at, at)})


def _came_by(connection: Connection, company_id: UUID, signup: Signup, look: _Look) -> list[Candidate]:
    """What may have brought a person, best first. A text that can be no code or click is an unknown one."""
    code, click_id, coupon = (
        typed.code(signup.referral_code), typed.click_id(signup.click_id), typed.code(signup.coupon_code)
    )  # fmt: skip
    came_by = candidates.find(connection, company_id, signup.user, code, click_id or None, look.terms)
    if click_id == typed.UNKNOWN:
        came_by.append(Candidate("click", "", None, None, look.terms.at, refusal="unknown_code"))
    carried = candidates.carried(connection, company_id, signup.user, look.touches(), look.terms)
    came_by += [candidate for _, candidate in carried]
    if coupon is not None:  # there are none yet
        came_by.append(Candidate("coupon", coupon, None, None, look.terms.at, refusal="unknown_code"))
    return came_by


def _decide(newcomer: _Newcomer, came_by: Sequence[Candidate]) -> list[Verdict]:
    user, program, at = newcomer.user, newcomer.terms.program, newcomer.terms.at
    too_old = attribution.is_too_old(user.created_at, program, at)
    return attribution.judge(came_by, user, program, at, too_old=too_old)


def _write(
    connection: Connection, company_id: UUID, newcomer: _Newcomer, verdicts: Sequence[Verdict]
) -> AttributionDecision:
    """Write the user with a code of their own, the decision, and the referral that it makes."""
    user_id, terms, app_id = newcomer.made.user, newcomer.terms, newcomer.signup.app_id
    users.insert(connection, company_id, user_id, newcomer.user, terms.at)
    _give_code(connection, company_id, user_id, terms.at)
    winner, verdicts = candidates.choose(connection, company_id, verdicts, terms.at)
    decision = attribution.decide(verdicts, winner)
    trace = attribution.trace(verdicts, winner, terms, {"by": "signup"})
    _store(connection, company_id, newcomer, decision, trace)
    events = [outbox.Event("user.created", {"id": ids.public("usr", user_id)})]
    activity.record(connection, company_id, user_id, "signed_up", {"app_id": app_id}, terms.at)
    if pair := attribution.pair(winner, newcomer.made.referral, user_id, app_id, terms.at, trace):
        binding.bind(connection, company_id, pair, terms)
        events.append(outbox.Event("referral.registered", {"id": ids.public("ref", pair.id)}))
    outbox.announce(connection, company_id, events, terms.at)
    return decision


def _store(
    connection: Connection, company_id: UUID, newcomer: _Newcomer, decision: AttributionDecision,
    trace: Mapping[str, object],
) -> None:  # fmt: skip
    signup, key = newcomer.signup, newcomer.key
    values = {
        "company_id": company_id,
        "user_id": newcomer.made.user,
        "app_id": signup.app_id,
        "trace": Jsonb(to_jsonable_python(trace)),
        "ip_hash": key.hash("ip", signup.ip),
        "agent_hash": key.hash("agent", signup.user_agent),
        "device_hash": key.hash("device", signup.device_fingerprint),
        "hash_key_id": key.id,
        "at": newcomer.terms.at,
    }
    connection.execute(_STORE, values | decision._asdict())


def _give_code(connection: Connection, company_id: UUID, user_id: UUID, at: datetime) -> None:
    """An automatic code; a taken one is drawn again."""
    inserted = None
    while inserted is None:
        inserted = connection.execute(
            _AUTOMATIC_CODE,
            {"company_id": company_id, "id": ids.new_id(), "code": codes.random_code(), "user_id": user_id, "at": at},
        ).fetchone()


def _claim(
    connection: Connection, company_id: UUID, user: NewUser, email: Hashed | None, is_named: Later[bool]
) -> list[UUID]:
    """Give a new user what came before them; the users who are to be settled for it."""
    if email:
        by_email.verify(connection, company_id, email)
    if not (email or user.stripe_customer_id or user.whop_user_id or is_named()):
        return []
    return ownership.claim_of(connection, company_id, user.external_id, email.hashes if email else ())


def answer(
    connection: Connection, company_id: UUID, user_id: UUID, decision: AttributionDecision, base_url: str
) -> SignupAnswer:
    """A person as they stand, beside the decision on what they came by."""
    profile = profiles.ask(connection, company_id, user_id, base_url)
    referral = referrals.ask(connection, company_id, user_id)
    given = awards.ask(connection, company_id, user_id)
    return SignupAnswer(
        user=profile(),
        attribution=Attribution.model_validate(decision._asdict()),
        referral=referral(),
        awards=given(),
    )
