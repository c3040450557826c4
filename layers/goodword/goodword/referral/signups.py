"""Signups: a person becomes known, is attributed, and both sides get what the program gives for it.

One signup per person, for ever: a second one is answered with the stored outcome and changes nothing. Payments that
came before the person was known are claimed in the same transaction, and so are the touches that they carried.

Of most people nothing is known before they sign up: what they come to follows from the signup alone. That is asked for
in one statement, decided here, and written in one. Of whom something is known, or who brings a verified e-mail, the
locks are taken with all people beside, and the set of their facts is settled (`arrivals`). Both end in the same
rows and the same answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.access import grants, trials
from goodword.access.grants import Grant
from goodword.accounts import users
from goodword.accounts.activity import IpAsn, IpCountry, IpType
from goodword.accounts.users import NewUser
from goodword.awards import binding, settlement
from goodword.awards import listing as awards
from goodword.awards.binding import NewReferral
from goodword.awards.changes import BOOKED, Changes
from goodword.awards.differences import Difference
from goodword.awards.engine import Standing
from goodword.awards.listing import Award
from goodword.campaigns import terms as campaigns
from goodword.core import clock, ids, outbox, privacy, query
from goodword.core.fields import AnswerModel, AppId, IpAddress, KeptText, RequestModel
from goodword.core.ids import ClickId
from goodword.core.privacy import PrivacyKey
from goodword.core.query import Later
from goodword.facts import by_email, ownership
from goodword.facts.by_email import Hashed
from goodword.fraud import screening
from goodword.fraud.evidence import ScreenedPerson
from goodword.fraud.fingerprints import Seen
from goodword.fraud.first_payments import FirstPayments
from goodword.fraud.screening import KeptJudgement, Screened
from goodword.program.versions import Terms
from goodword.referral import (
    arrivals,
    attribution,
    choosing,
    expected,
    newcomers,
    own_codes,
    profiles,
    referrals,
    typed,
)
from goodword.referral.arrivals import Brought, Known, Newcomer
from goodword.referral.attribution import AttributionDecision, Candidate, Reason, Source
from goodword.referral.newcomers import Begun, CodeOwner
from goodword.referral.profiles import User
from goodword.referral.referrals import Referral
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
    ip_type: IpType | None = None
    ip_country: IpCountry | None = None
    ip_asn: IpAsn | None = None
    user_agent: KeptText = None
    device_fingerprint: KeptText = None

    @property
    def seen(self) -> Seen:
        """Where the person is seen."""
        return Seen(self.ip, self.ip_type, self.ip_country, self.ip_asn, self.user_agent, self.device_fingerprint)


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
    trial: Grant | None = None


class SignedUp(NamedTuple):
    """What a signup came to, and whether the person is new."""

    answer: SignupAnswer
    is_new: bool


@dataclass(frozen=True, slots=True)
class SignupIds:
    """The ids of what a signup makes, so that an attempt repeated after a lost connection makes the same."""

    user: UUID = field(default_factory=ids.new_id)
    referral: UUID = field(default_factory=ids.new_id)
    trial: UUID = field(default_factory=ids.new_id)


class _Decided(NamedTuple):
    """A first signup with its decision, and the referral that it makes."""

    signup: Signup
    made: SignupIds
    terms: Terms
    person: ScreenedPerson
    decision: AttributionDecision
    trace: Mapping[str, object]
    winner: Candidate | None
    screened: Screened | None
    pair: NewReferral | None

    @property
    def is_capped(self) -> bool:
        """Whether caps are asked of its awards, for which people are held."""
        campaign = self.winner.deciding.campaign if self.winner else None
        are_asked = self.terms.program.caps.are_any or (campaign is not None and campaign.is_capped)
        return self.pair is not None and are_asked

    def kept_judgement(self, company_id: UUID) -> KeptJudgement | None:
        """What is kept of the judgement on the person, if somebody is to have brought them."""
        if self.screened is None:
            return None
        return screening.kept(company_id, self.screened, self.pair.id if self.pair else None, "signup")


class _Written(NamedTuple):
    """What writing a signup has given: the code, and the entries of what was booked with it, as they were posted."""

    code: str
    entries: list[int | None] | None


_WRITTEN: LiteralString = """
    FROM write_signup(%(company_id)s, %(user)s, %(code_id)s, %(codes)s, %(signup)s, %(activity_id)s, %(details)s,
        %(referral)s, %(judgement)s, %(seen)s, %(ip)s, %(announced)s, %(signed_up_at)s)
"""

_WRITE: LiteralString = f"SELECT code, NULL AS entries {_WRITTEN}"

_WRITE_AND_BOOK: LiteralString = f"SELECT code, {BOOKED} AS entries {_WRITTEN}"

CODES_DRAWN = 2
"""Of so many random codes one is free."""


def sign_up(
    connection: Connection, company_id: UUID, signup: Signup, made: SignupIds, base_url: str
) -> Later[SignedUp]:
    """Sign a person up; what it came to is to be read when everything has been sent.

    A taken whop_user_id or stripe_customer_id is a violated constraint, by name. Raises Refused where the company lets
    nobody in.
    """
    keys = privacy.compared_keys(connection)
    email = by_email.hashed(connection, signup.user.verified_email)
    person = ScreenedPerson.now(made.user, signup.user.email, signup.seen, keys)
    arrival = arrivals.look(connection, company_id, signup.user, email, _brought(signup), person)
    if isinstance(arrival, Known):
        is_new = arrival.user_id == made.user  # our own first attempt, whose answer was lost
        known_later = ask(connection, company_id, arrival.user_id, arrival.decision, base_url)
        return lambda: SignedUp(known_later(), is_new)
    arrival.welcome.let_in()
    decided = _decide(connection, company_id, signup, made, arrival, person)
    offers_trial = arrival.welcome.offers_trial(decided.signup.user)
    if arrival.is_alone and not decided.is_capped:
        begun_later = _begin(connection, company_id, decided, keys[0], arrival.welcome.post_trial_plan, base_url)
        if not offers_trial:
            return lambda: SignedUp(begun_later(), is_new=True)
    else:
        _write(connection, company_id, decided, keys[0], None)
        claimed = _claim(connection, company_id, decided.signup.user, email) if arrival.waits else []
        settlement.settle(connection, company_id, sorted({made.user, *claimed}), FirstPayments())
    if offers_trial:
        trials.begin(connection, company_id, made.user, decided.signup.user, made.trial)
    answer_later = ask(connection, company_id, made.user, decided.decision, base_url)
    return lambda: SignedUp(answer_later(), is_new=True)


def _brought(signup: Signup) -> Brought:
    return Brought(typed.code(signup.referral_code), typed.click_id(signup.click_id), typed.code(signup.coupon_code))


def _decide(
    connection: Connection, company_id: UUID, signup: Signup, made: SignupIds, newcomer: Newcomer,
    person: ScreenedPerson,
) -> _Decided:  # fmt: skip
    """Decide on a first signup; the use of a code is counted where it is capped."""
    terms, user = newcomer.terms, _dated(signup.user, newcomer.terms.at)
    too_old = attribution.is_too_old(user.created_at, terms.program, terms.at)
    judged = attribution.judge(newcomer.came_by, user, terms.program, terms.at, too_old=too_old)
    winner, verdicts, screened = choosing.choose(
        connection, company_id, judged, person, terms, expected=newcomer.expected
    )
    expected.learn(company_id, terms.program)
    trace = attribution.trace(verdicts, winner, terms, {"by": "signup"})
    return _Decided(
        signup.model_copy(update={"user": user}),
        made,
        terms,
        person,
        attribution.decide(verdicts, winner),
        trace,
        winner,
        screened,
        attribution.pair(winner, screened, made.referral, made.user, signup.app_id, terms.at, trace),
    )


def _dated(user: NewUser, at: datetime) -> NewUser:
    """The user with a `created_at` that is not after now. Raises Refused for one well in the future."""
    if user.created_at is None:
        return user
    return user.model_copy(update={"created_at": clock.past("created_at", user.created_at, at)})


def _begin(
    connection: Connection, company_id: UUID, decided: _Decided, key: PrivacyKey, plan: str, base_url: str
) -> Later[SignupAnswer]:
    """Write the signup of somebody alone, with all that stands for their referral."""
    changes = Changes()
    begun = _begun(decided, changes)
    written_later = _write(connection, company_id, decided, key, changes if begun else None)

    def read() -> SignupAnswer:
        written = written_later()
        owner = CodeOwner(decided.made.user, decided.signup.user, written.code)
        referral = None
        if decided.pair and decided.winner and begun:
            standing, difference = begun
            referral = Begun(decided.pair, decided.winner, standing, difference.new, written.entries or ())
        return SignupAnswer(
            user=newcomers.user(owner, referral, plan, decided.terms, base_url),
            attribution=Attribution(**decided.decision._asdict()),
            referral=newcomers.referral(owner, referral, decided.terms) if referral else None,
            awards=newcomers.awards(owner, referral, decided.terms) if referral else [],
        )

    return read


def _begun(decided: _Decided, changes: Changes) -> tuple[Standing, Difference] | None:
    """What the referral begins with, added to `changes`."""
    terms = decided.terms
    if decided.pair is None or decided.winner is None:
        return None
    counted, campaign = decided.winner.deciding
    program = campaigns.over(terms.program, campaign.terms) if campaign else terms.program
    return settlement.begin(decided.pair, terms, program, counted, changes)


def _write(
    connection: Connection, company_id: UUID, decided: _Decided, key: PrivacyKey, changes: Changes | None
) -> Later[_Written]:
    """Write the user with a code of their own, the decision, and the referral that it makes; and book `changes`."""
    signup, made, terms, pair = decided.signup, decided.made, decided.terms, decided.pair
    kept = decided.kept_judgement(company_id)
    events = _events(made, pair, kept)
    if changes:  # they are written with those of the awards, and stand before them
        changes.events, events = [*events, *changes.events], []
    seen = decided.person.seen_row(key, pair.referrer_id if pair else None)
    values = {
        **(changes.parameters() if changes else {}),
        "company_id": company_id,
        "user": query.as_json(users.row(company_id, made.user, signup.user, terms.at)),
        "code_id": ids.new_id(),
        "codes": [own_codes.draw() for _ in range(CODES_DRAWN)],
        "signup": query.as_json(_row(company_id, decided)),
        "activity_id": ids.new_id(),
        "details": query.as_json({"app_id": signup.app_id}),
        "referral": query.as_json(binding.row(company_id, pair, terms)) if pair else None,
        "judgement": query.as_json(kept.row) if kept else None,
        "seen": query.as_json(seen) if seen else None,
        "ip": decided.person.seen.public_ip,
        "announced": query.as_json(events),
        "signed_up_at": terms.at,
    }
    return query.the_one_later(connection, _Written, _WRITE_AND_BOOK if changes else _WRITE, **values)


def _events(made: SignupIds, pair: NewReferral | None, kept: KeptJudgement | None) -> list[dict[str, object]]:
    """What a signup announces, in its order."""
    events = [outbox.Event("user.created", {"id": ids.public("usr", made.user)})]
    if pair:
        events.append(outbox.Event("referral.registered", {"id": ids.public("ref", pair.id)}))
    return [outbox.row(event) for event in (*events, *(kept.events if kept else ()))]


def _row(company_id: UUID, decided: _Decided) -> dict[str, object]:
    """The row of a signup, as `write_signup` writes it."""
    return {
        **decided.decision._asdict(),
        "company_id": company_id,
        "user_id": decided.made.user,
        "app_id": decided.signup.app_id,
        "trace": decided.trace,
        "occurred_at": decided.terms.at,
    }


def _claim(connection: Connection, company_id: UUID, user: NewUser, email: Hashed | None) -> list[UUID]:
    """Give a new user what came before them; the users who are to be settled for it."""
    if email:
        by_email.verify(connection, company_id, email)
    return ownership.claim_of(connection, company_id, user.external_id, email.hashes if email else ())


def ask(
    connection: Connection, company_id: UUID, user_id: UUID, decision: AttributionDecision, base_url: str
) -> Later[SignupAnswer]:
    """Ask for a person as they stand, beside the decision on what they came by."""
    profile = profiles.ask(connection, company_id, user_id, base_url)
    referral = referrals.ask(connection, company_id, user_id)
    given = awards.ask(connection, company_id, user_id)
    trial = grants.ask_trial(connection, company_id, user_id)
    return lambda: SignupAnswer(
        user=profile(),
        attribution=Attribution.model_validate(decision._asdict()),
        referral=referral(),
        awards=given(),
        trial=trial(),
    )
