"""Screening: judging a person against the referrer by whom they come, before they are bound.

What cannot be judged, because nothing is known that could be, never stands in anybody's way.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.awards.screenings import UNDER_REVIEW, Screening
from goodword.core import ids, outbox, query
from goodword.core.outbox import Event
from goodword.fraud import evidence, judgement, matching, review_events, signals
from goodword.fraud.evidence import Evidence, Reach, ScreenedPerson
from goodword.fraud.judgement import Judgement, NewReview, Occasion
from goodword.fraud.signals import Case
from goodword.program.versions import Terms

FraudRefusal = Literal["fraud_blocked", "rate_limited"]


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
        screening = self.screening._replace(risk="approved", cleared=len(self.screening.signals))
        return self._replace(refusal=None, screening=screening)


class KeptJudgement(NamedTuple):
    """What is kept of a judgement: its row, as the SQL function `keep_judgement` takes it, and what is announced."""

    row: dict[str, object]
    events: list[Event]


_KEEP = "SELECT keep_judgement(%(company_id)s, %(judgement)s)"


def screen(
    connection: Connection, company_id: UUID, person: ScreenedPerson, bringer: Bringer, terms: Terms,
    known: Evidence | None = None,
) -> Screened:  # fmt: skip
    """Judge somebody who is to be bound to a referrer; what is `known` beside them is asked for unless it is given.

    Locks: the registrations of the referrer.
    """
    program = terms.program
    referrer_id, code_id, is_exempt = bringer
    if known is None:
        reach = Reach.of(program)
        known = evidence.ask(connection, company_id, person, referrer_id, code_id, reach, terms.at)()
    case = Case(person.mailbox, person.ip_type, known, program.fraud, terms.at, is_exempt)
    beyond = signals.beyond_limits(
        case, program.limits.registrations_per_code_per_day, program.limits.registrations_per_referrer_per_day
    )
    patterns = matching.ask(connection, company_id, known.patterns_version)
    seen = person.seen
    checks = [
        *signals.look(case),
        *([beyond] if beyond else []),
        *patterns.checks(person.email, seen.ip, seen.user_agent, seen.device_fingerprint),
    ]
    judged = judgement.judge(program.fraud, checks)
    refusal: FraudRefusal | None = None
    if judgement.outcome(program.fraud.thresholds, judged.score) == "reject":
        refusal = "fraud_blocked"
    elif beyond and program.fraud.on_registration_limit == "reject":
        refusal = "rate_limited"
    return Screened(person, bringer, judged, judgement.screening(program.fraud, judged), terms, refusal)


def kept(company_id: UUID, screened: Screened, referral_id: UUID | None, occasion: Occasion) -> KeptJudgement:
    """What is kept of a judgement: with the referral that it made, if it made one."""
    judged, terms, who = screened.judgement, screened.terms, screened.person
    review: NewReview | None = None
    events: list[Event] = []
    if referral_id is None:
        events.append(Event("signup.blocked", {"id": ids.public("usr", who.id), "reason": screened.refusal}))
    elif screened.screening.risk in UNDER_REVIEW:
        review = judgement.review(company_id, referral_id, terms.program, judged.score, judged.names, terms.at)
        events.append(review_events.opened(review.id, review.referral_id))
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


def keep(connection: Connection, company_id: UUID, what: Sequence[KeptJudgement], at: datetime) -> None:
    """Write judgements and announce what they have led to; costs no trip of its own."""
    for each in what:
        query.do(connection, _KEEP, company_id=company_id, judgement=query.as_json(each.row))
    outbox.announce(connection, company_id, [event for each in what for event in each.events], at)
