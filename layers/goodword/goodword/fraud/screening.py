"""Screening: judging a person against the referrer by whom they come, before they are bound.

What cannot be judged, because nothing is known that could be, never stands in anybody's way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.awards.screenings import Screening
from goodword.core import ids, outbox, query
from goodword.core.outbox import Event
from goodword.core.privacy import PrivacyKey
from goodword.fraud import judgement, matching, signals
from goodword.fraud.emails import mailbox
from goodword.fraud.fingerprints import Seen, SeenHashes
from goodword.fraud.judgement import Judgement, NewReview, Occasion
from goodword.fraud.signals import Case, Evidence
from goodword.program.versions import Terms

FraudRefusal = Literal["fraud_blocked", "rate_limited"]

COMPARED = 200
"""With the e-mails of how many of a referrer's latest referees one is compared."""

DAY = timedelta(hours=24)


class ScreenedPerson(NamedTuple):
    """Who comes: under which e-mail, and from where. Of somebody who came before, only hashes are known."""

    id: UUID
    email: str | None
    hashes: SeenHashes
    ip_type: str | None = None
    seen: Seen = Seen()


class Bringer(NamedTuple):
    """Who brings somebody, by which code. `is_exempt`: by a campaign in force or an invite: any number may come."""

    referrer_id: UUID
    code_id: UUID
    is_exempt: bool


class Screened(NamedTuple):
    """What judging a person has come to; with a `refusal` they are not bound."""

    person: ScreenedPerson
    bringer: Bringer
    judgement: Judgement
    screening: Screening
    terms: Terms
    refusal: FraudRefusal | None = None

    def approved(self) -> "Screened":
        """The same, where somebody who may has decided to bind the person for all that."""
        screening = self.screening._replace(risk="approved", cleared=self.judgement.behavioural)
        return self._replace(refusal=None, screening=screening)


class KeptJudgement(NamedTuple):
    """What is kept of a judgement: its row, as the SQL function `keep_judgement` takes it, and what is announced."""

    row: dict[str, object]
    events: list[Event]


_EVIDENCE: LiteralString = """
    SELECT * FROM fraud_evidence(%(company_id)s, %(referrer_id)s, %(code_id)s, %(ips)s::bytea[], %(devices)s::bytea[],
        %(ip)s, %(domain)s, %(shared)s, %(rapid)s, %(bulk)s, %(most)s, %(compared)s, %(at)s)
"""

_KEEP = "SELECT keep_judgement(%(company_id)s, %(judgement)s)"


def person(id_: UUID, email: str | None, seen: Seen, keys: Sequence[PrivacyKey]) -> ScreenedPerson:
    """Somebody who is seen now."""
    return ScreenedPerson(id_, email, seen.hashes(keys), seen.ip_type, seen)


def screen(connection: Connection, company_id: UUID, who: ScreenedPerson, bringer: Bringer, terms: Terms) -> Screened:
    """Judge somebody who is to be bound to a referrer. Locks: the registrations of the referrer."""
    evidence = _evidence(connection, company_id, who, bringer, terms)
    program = terms.program
    case = Case(who.email, who.ip_type, evidence, program.fraud, terms.at, bringer.is_exempt)
    beyond = signals.beyond_limits(
        case, program.limits.registrations_per_code_per_day, program.limits.registrations_per_referrer_per_day
    )
    patterns = matching.ask(connection, company_id, evidence.patterns_version)
    seen = who.seen
    checks = [
        *signals.look(case),
        *([beyond] if beyond else []),
        *patterns.checks(who.email, seen.ip, seen.user_agent, seen.device_fingerprint),
    ]
    judged = judgement.judge(program.fraud, checks)
    refusal: FraudRefusal | None = None
    if judgement.outcome(program.fraud.thresholds, judged.score) == "reject":
        refusal = "fraud_blocked"
    elif beyond and program.fraud.on_registration_limit == "reject":
        refusal = "rate_limited"
    return Screened(who, bringer, judged, judgement.screening(program.fraud, judged), terms, refusal)


def _evidence(
    connection: Connection, company_id: UUID, who: ScreenedPerson, bringer: Bringer, terms: Terms
) -> Evidence:
    fraud, limits = terms.program.fraud, terms.program.limits
    windows = fraud.windows
    most = max(
        fraud.shared_ip_referees, fraud.shared_device_referees, windows.rapid_registrations,
        windows.bulk_registrations, limits.registrations_per_code_per_day, limits.registrations_per_referrer_per_day,
    )  # fmt: skip
    return query.the_one_later(
        connection,
        Evidence,
        _EVIDENCE,
        company_id=company_id,
        referrer_id=bringer.referrer_id,
        code_id=bringer.code_id,
        ips=who.hashes.ips,
        devices=who.hashes.devices,
        ip=who.seen.public_ip,
        domain=mailbox(who.email).domain if who.email else None,
        shared=timedelta(days=windows.shared_days),
        rapid=timedelta(minutes=windows.rapid_minutes),
        bulk=timedelta(hours=windows.bulk_hours),
        most=most + 1,
        compared=COMPARED,
        at=terms.at,
    )()


def kept(company_id: UUID, screened: Screened, referral_id: UUID | None, occasion: Occasion) -> KeptJudgement:
    """What is kept of a judgement: with the referral that it made, if it made one."""
    judged, terms, who = screened.judgement, screened.terms, screened.person
    review: NewReview | None = None
    events: list[Event] = []
    if referral_id is None:
        events.append(Event("signup.blocked", {"id": ids.public("usr", who.id), "reason": screened.refusal}))
    elif judgement.needs_review(screened.screening.risk):
        review = judgement.review(company_id, referral_id, terms.program, judged.score, judged.names, terms.at)
        events.append(opened(review))
    row = judgement_row(
        company_id, who.id, screened.bringer.referrer_id, referral_id, occasion, terms.version,
        judged, judgement.outcome(terms.program.fraud.thresholds, judged.score), review, terms.at,
    )  # fmt: skip
    return KeptJudgement(row, events)


def judgement_row(
    company_id: UUID, user_id: UUID, referrer_id: UUID, referral_id: UUID | None, occasion: Occasion, version: int,
    judged: Judgement, outcome: judgement.FraudOutcome, review: NewReview | None, at: datetime,
) -> dict[str, object]:  # fmt: skip
    """A judgement as the SQL function `keep_judgement` takes it."""
    return {
        "company_id": company_id,
        "id": ids.new_id(),
        "user_id": user_id,
        "referrer_id": referrer_id,
        "referral_id": referral_id,
        "occasion": occasion,
        "program_version": version,
        "score": judged.score,
        "behavioural": judged.behavioural,
        "outcome": outcome,
        "states": {check.signal: check.state for check in judged.checks},
        "judged_at": at,
        "raised": [
            {**check._asdict(), "place": place, "check_type": check.check_type}
            for place, check in enumerate(judged.raised)
        ],
        "review": review._asdict() if review else None,
    }


def opened(review: NewReview) -> Event:
    """The announcement of a review."""
    data = {"id": ids.public("rvw", review.id), "referral_id": ids.public("ref", review.referral_id)}
    return Event("review.opened", data)


def keep(connection: Connection, company_id: UUID, what: Sequence[KeptJudgement], at: datetime) -> None:
    """Write judgements and announce what they have led to; costs no trip of its own."""
    for each in what:
        query.do(connection, _KEEP, company_id=company_id, judgement=query.as_json(each.row))
    outbox.announce(connection, company_id, [event for each in what for event in each.events], at)
