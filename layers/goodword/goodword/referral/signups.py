"""Signups: a person becomes known, is attributed, and both sides get what the program gives for it.

One signup per person, for ever: a second one is answered with the stored outcome and changes nothing. Payments that
came before the person was known are claimed in the same transaction, and so is who sent the person by their word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from goodword.accounts import activity, users
from goodword.accounts.users import NewUser
from goodword.awards import listing as awards
from goodword.awards import settlement
from goodword.awards.listing import Award
from goodword.core import clock, ids, outbox
from goodword.core.fields import AnswerModel, AppId, IpAddress, LongText, RequestModel
from goodword.core.ids import ClickId
from goodword.core.privacy import PrivacyKey
from goodword.facts import by_email, recording, touches
from goodword.facts.touches import Touch
from goodword.program import versions
from goodword.program.versions import Terms
from goodword.referral import attribution, candidates, codes, profiles, referrals, typed
from goodword.referral.attribution import Candidate, Reason, Source
from goodword.referral.profiles import User
from goodword.referral.referrals import NewReferral, Referral
from goodword.referral.typed import Typed


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
    user_agent: LongText | None = None
    device_fingerprint: LongText | None = None


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


_STORED = """
    SELECT users.id, signups.outcome, signups.reason, signups.source, signups.click_id
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
    user = signup.user
    email = by_email.hashed(connection, user.verified_email)
    recording.lock_newcomer(connection, company_id, user, email)
    stored = connection.cursor(row_factory=dict_row).execute(
        _STORED, {"company_id": company_id, "external_id": user.external_id}
    )
    touched = touches.ask(connection, company_id, user, email.hashes if email else ())
    named = recording.ask_named(connection, company_id, user.external_id)
    terms = versions.current(connection, company_id)
    at = terms.at
    existing = stored.fetchone()
    if existing is not None:
        is_new = existing["id"] == made.user  # our own first attempt, whose answer was lost
        return answer(connection, company_id, existing["id"], existing, base_url), is_new
    if user.created_at is not None:
        user = user.model_copy(update={"created_at": clock.past("created_at", user.created_at, at)})

    found = _came_by(connection, company_id, signup, touched, terms)
    users.insert(connection, company_id, made.user, user, at)
    _give_code(connection, company_id, made.user, at)
    too_old = attribution.is_too_old(user.created_at, terms.program, at)
    verdicts = attribution.judge(found, user, terms.program, at, too_old=too_old)
    winner, verdicts = candidates.choose(connection, company_id, verdicts, at)
    decision = attribution.outcome(verdicts, winner)
    trace = attribution.trace(verdicts, winner, terms.version, terms.program, {"by": "signup"})
    connection.execute(
        _STORE,
        {
            "company_id": company_id,
            "user_id": made.user,
            **decision,
            "app_id": signup.app_id,
            "trace": Jsonb(to_jsonable_python(trace)),
            "ip_hash": key.hash("ip", signup.ip),
            "agent_hash": key.hash("agent", signup.user_agent),
            "device_hash": key.hash("device", signup.device_fingerprint),
            "hash_key_id": key.id,
            "at": at,
        },
    )
    events = [outbox.Event("user.created", {"id": ids.public("usr", made.user)})]
    activity.record(connection, company_id, made.user, "signed_up", {"app_id": signup.app_id}, at)
    if winner is not None and winner.referrer is not None and winner.code_id is not None:
        pair = NewReferral(
            made.referral, winner.referrer.id, made.user, winner.code_id, winner.click_id, winner.source,
            signup.app_id, winner.touched_at, at, trace,
        )  # fmt: skip
        referrals.bind(connection, company_id, pair, terms.version, terms.program)
        events.append(outbox.Event("referral.registered", {"id": ids.public("ref", made.referral)}))
    outbox.announce(connection, company_id, events, at)
    concerned = {made.user}
    if email:
        by_email.verify(connection, company_id, email)
    if email or user.stripe_customer_id or user.whop_user_id or named():
        hashes = email.hashes if email else ()
        concerned.update(recording.claim_of(connection, company_id, user.external_id, hashes))
    settlement.settle(connection, company_id, sorted(concerned))
    return answer(connection, company_id, made.user, decision, base_url), True


def _came_by(
    connection: Connection, company_id: UUID, signup: Signup, touched: Callable[[], list[Touch]], terms: Terms
) -> list[Candidate]:
    """What may have brought a person, best first. What is typed and can be no code or click is an unknown one."""
    code, click_id, coupon = (
        typed.code(signup.referral_code), typed.click_id(signup.click_id), typed.code(signup.coupon_code)
    )  # fmt: skip
    found = candidates.find(connection, company_id, signup.user, code, click_id or None, terms)
    if click_id == typed.UNKNOWN:
        found.append(Candidate("click", "", None, None, terms.at, refusal="unknown_code"))
    carried = candidates.carried(connection, company_id, signup.user, touched(), terms)
    found += [candidate for _, candidate in carried]
    if coupon is not None:  # there are none yet
        found.append(Candidate("coupon", coupon, None, None, terms.at, refusal="unknown_code"))
    return found


def _give_code(connection: Connection, company_id: UUID, user_id: UUID, at: datetime) -> None:
    """An automatic code; a taken one is drawn again."""
    inserted = None
    while inserted is None:
        inserted = connection.execute(
            _AUTOMATIC_CODE,
            {"company_id": company_id, "id": ids.new_id(), "code": codes.random_code(), "user_id": user_id, "at": at},
        ).fetchone()


def answer(
    connection: Connection, company_id: UUID, user_id: UUID, decision: Mapping[str, object], base_url: str
) -> SignupAnswer:
    """A person as they stand, beside the decision on what they came by."""
    profile = profiles.ask(connection, company_id, user_id, base_url)
    referral = referrals.ask(connection, company_id, user_id)
    given = awards.ask(connection, company_id, user_id)
    return SignupAnswer(
        user=profile(),
        attribution=Attribution.model_validate(
            {
                "outcome": decision["outcome"] or "none",
                "reason": decision["reason"],
                "source": decision["source"],
                "click_id": decision["click_id"],
            }
        ),
        referral=referral(),
        awards=given(),
    )
