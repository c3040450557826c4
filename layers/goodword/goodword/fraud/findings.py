"""Findings: what signals have said of a person or a referral, with all that it adds up to, so that it can be explained.

A referral has what all the judgements on it have found; a judgement by itself has what it has found.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import query
from goodword.core.fields import AnswerModel
from goodword.fraud import checks
from goodword.fraud.checks import JUDGEMENT, JUDGEMENTS, PAID_AT, PROGRAM, FraudCheck
from goodword.fraud.judgement import FraudOutcome, Occasion
from goodword.program import versions
from goodword.program.document import Thresholds


class Findings(AnswerModel):
    """What the signals add up to, and every one of them: the ten, then those of a limit and of patterns, if raised.

    `score` is `behavioural`, which is capped, with the scores of the other checks. It is compared with the thresholds
    of the program's version by which the person was judged.
    """

    score: int
    behavioural: int
    thresholds: Thresholds
    checks: list[FraudCheck]


class Judged(NamedTuple):
    """A judgement on a person who came, or was to come, by a referrer; `referral_id` is what it has made, if anything.

    `referrer` is an external id, None where they have been erased.
    """

    id: UUID
    occasion: Occasion
    outcome: FraudOutcome
    referrer: str | None
    referral_id: UUID | None
    judged_at: datetime
    findings: Findings


class _OfReferral(NamedTuple):
    referral_id: UUID
    program: str
    score: int
    behavioural: int
    paid_at: datetime | None
    judgements: list[Mapping[str, Any]]


class _OfUser(NamedTuple):
    id: UUID
    occasion: Occasion
    outcome: FraudOutcome
    referrer: str | None
    referral_id: UUID | None
    judged_at: datetime
    program: str
    score: int
    behavioural: int
    judgement: Mapping[str, Any]


_OF_REFERRALS: LiteralString = f"""
    SELECT id AS referral_id, {PROGRAM} AS program, fraud_score AS score, fraud_behavioural AS behavioural,
        {PAID_AT} AS paid_at, {JUDGEMENTS} AS judgements
    FROM referrals WHERE company_id = %(company_id)s AND id = ANY (%(referral_ids)s)
"""  # noqa: S608 - from constants of this room

_OF_USER: LiteralString = f"""
    SELECT judgements.id, occasion, outcome, users.external_id AS referrer, referral_id, judged_at,
        program_versions.program::text AS program, score, behavioural, {JUDGEMENT} AS judgement
    FROM judgements
    JOIN users ON users.company_id = judgements.company_id AND users.id = referrer_id
    JOIN program_versions ON program_versions.company_id = judgements.company_id AND version = program_version
    WHERE judgements.company_id = %(company_id)s AND user_id = %(user_id)s
    ORDER BY judged_at, judgements.id
"""  # noqa: S608 - from constants of this room


def of_referrals(connection: Connection, company_id: UUID, referral_ids: Sequence[UUID]) -> dict[UUID, Findings]:
    """What was found of some referrals; of one that was never judged there is nothing."""
    found = query.every(connection, _OfReferral, _OF_REFERRALS, company_id=company_id, referral_ids=list(referral_ids))
    return {each.referral_id: _of_referral(each) for each in found if each.judgements}


def of_user(connection: Connection, company_id: UUID, user_id: UUID) -> list[Judged]:
    """Every judgement on a person, oldest first, each with what it has found by itself."""
    found = query.every(connection, _OfUser, _OF_USER, company_id=company_id, user_id=user_id)
    return [Judged(*each[:6], _findings(each, checks.merged([each.judgement]))) for each in found]


def _of_referral(found: _OfReferral) -> Findings:
    by_payment = checks.by_payment(found.program, found.paid_at)
    return _findings(found, checks.merged([*found.judgements, *by_payment]))


def _findings(found: _OfReferral | _OfUser, merged: list[FraudCheck]) -> Findings:
    fraud = versions.parse(found.program).fraud
    return Findings(
        score=found.score,
        behavioural=min(fraud.behavioural_cap, found.behavioural),
        thresholds=fraud.thresholds,
        checks=merged,
    )
