"""Findings: what every signal has said of a person or a referral, for whoever is to understand it, or to decide on it.

A judgement keeps the state of every signal and, of those that were raised, their scores and details. A referral is
judged as it is made. A first payment is a judgement of its own where it raises something; where it raises nothing only
the referral says that it was looked at.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import JsonValue

from goodword.core import query
from goodword.core.fields import AnswerModel, Instant
from goodword.fraud.judgement import FraudOutcome, Occasion
from goodword.fraud.signals import CHECK_TYPES, RULES, State
from goodword.program import versions
from goodword.program.document import Program, Thresholds


class FoundCheck(AnswerModel):
    """One signal, as it was looked at. `details` say what raised it, without any value of a person's."""

    signal: str
    check_type: str
    state: State
    score: int
    details: dict[str, JsonValue]
    checked_at: Instant


class Findings(AnswerModel):
    """What the signals add up to, and every one of them: the ten, then those of a limit and of patterns, if raised.

    `score` is `behavioural`, which is capped, with the scores of the other checks. It is compared with the thresholds
    of the program's version by which the person was judged.
    """

    score: int
    behavioural: int
    thresholds: Thresholds
    checks: list[FoundCheck]


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


class _States(NamedTuple):
    """The states of one judgement, and the checks that were raised by it."""

    states: Mapping[str, State]
    raised: Sequence[Mapping[str, Any]]
    judged_at: datetime


class _OfReferral(NamedTuple):
    """A judgement on a referral, with what the referral has come to."""

    referral_id: UUID
    program_version: int
    score: int
    behavioural: int
    registered_at: datetime
    judged_paid_at: datetime | None
    states: Mapping[str, State]
    raised: Sequence[Mapping[str, Any]]
    judged_at: datetime


class _OfUser(NamedTuple):
    id: UUID
    occasion: Occasion
    outcome: FraudOutcome
    referrer: str | None
    referral_id: UUID | None
    program_version: int
    score: int
    behavioural: int
    states: Mapping[str, State]
    raised: Sequence[Mapping[str, Any]]
    judged_at: datetime


class _Version(NamedTuple):
    version: int
    program: str


_STATES: LiteralString = """
    states, judged_at, coalesce((
        SELECT jsonb_agg(jsonb_build_object('signal', signal, 'check_type', check_type, 'score', raised_checks.score,
            'details', details) ORDER BY place)
        FROM raised_checks
        WHERE raised_checks.company_id = judgements.company_id AND judgement_id = judgements.id
    ), '[]') AS raised
"""

_OF_REFERRALS: LiteralString = f"""
    SELECT referrals.id AS referral_id, referrals.program_version, fraud_score AS score,
        fraud_behavioural AS behavioural, registered_at, judged_paid_at, {_STATES}
    FROM referrals JOIN judgements ON judgements.company_id = referrals.company_id
        AND judgements.user_id = referrals.referee_id AND judgements.referral_id = referrals.id
    WHERE referrals.company_id = %(company_id)s AND referrals.id = ANY (%(referral_ids)s)
    ORDER BY referrals.id, judged_at, judgements.id
"""  # noqa: S608 - from constants of this module

_VERSIONS_OF_REFERRALS = """
    SELECT version, program::text AS program FROM program_versions
    WHERE company_id = %(company_id)s AND version IN (
        SELECT program_version FROM referrals WHERE company_id = %(company_id)s AND id = ANY (%(referral_ids)s))
"""

_OF_USER: LiteralString = f"""
    SELECT judgements.id, occasion, outcome, users.external_id AS referrer, referral_id, program_version, score,
        behavioural, {_STATES}
    FROM judgements JOIN users ON users.company_id = judgements.company_id AND users.id = referrer_id
    WHERE judgements.company_id = %(company_id)s AND user_id = %(user_id)s
    ORDER BY judged_at, judgements.id
"""  # noqa: S608 - from constants of this module

_VERSIONS_OF_USER = """
    SELECT version, program::text AS program FROM program_versions
    WHERE company_id = %(company_id)s AND version IN (
        SELECT program_version FROM judgements WHERE company_id = %(company_id)s AND user_id = %(user_id)s)
"""


def of_referrals(connection: Connection, company_id: UUID, referral_ids: Sequence[UUID]) -> dict[UUID, Findings]:
    """What was found of some referrals; of one that was never judged there is nothing. One trip."""
    scope = {"company_id": company_id, "referral_ids": list(referral_ids)}
    judged_later = query.every_later(connection, _OfReferral, _OF_REFERRALS, **scope)
    programs = _programs(query.every(connection, _Version, _VERSIONS_OF_REFERRALS, **scope))
    by_referral = groupby(judged_later(), lambda judged: judged.referral_id)
    return {referral_id: _of_referral(list(judged), programs) for referral_id, judged in by_referral}


def of_user(connection: Connection, company_id: UUID, user_id: UUID) -> list[Judged]:
    """Every judgement on a person, oldest first, each with what it found by itself. One trip."""
    scope = {"company_id": company_id, "user_id": user_id}
    judged_later = query.every_later(connection, _OfUser, _OF_USER, **scope)
    programs = _programs(query.every(connection, _Version, _VERSIONS_OF_USER, **scope))
    return [
        Judged(
            judged.id,
            judged.occasion,
            judged.outcome,
            judged.referrer,
            judged.referral_id,
            judged.judged_at,
            _findings(judged, programs[judged.program_version], _checks([_states(judged)])),
        )
        for judged in judged_later()
    ]


def _programs(rows: Sequence[_Version]) -> dict[int, Program]:
    return {row.version: versions.parse(row.program) for row in rows}


def _of_referral(judged: Sequence[_OfReferral], programs: Mapping[int, Program]) -> Findings:
    """What the judgements on one referral have found, the first payment laid over what was found before."""
    referral = judged[0]
    program = programs[referral.program_version]
    by_payment = _States({}, (), referral.registered_at)
    if referral.judged_paid_at:
        at = max(referral.judged_paid_at, referral.registered_at)
        by_payment = _States(dict.fromkeys(_looked_at_by_payment(program), "clear"), (), at)
    checks = _checks([*(_states(each) for each in judged), by_payment])
    return _findings(referral, program, checks)


def _looked_at_by_payment(program: Program) -> list[str]:
    """The signals that a program has its first payments looked at for."""
    scores = program.fraud.signals
    minimal_activity = scores.minimal_activity if program.expects_activations else 0
    looked_at = {"instant_qualification": scores.instant_qualification, "minimal_activity": minimal_activity}
    return [signal for signal, score in looked_at.items() if score]


def _findings(judged: _OfReferral | _OfUser, program: Program, checks: list[FoundCheck]) -> Findings:
    behavioural = min(program.fraud.behavioural_cap, judged.behavioural)
    return Findings(score=judged.score, behavioural=behavioural, thresholds=program.fraud.thresholds, checks=checks)


def _states(judged: _OfReferral | _OfUser) -> _States:
    return _States(judged.states, judged.raised, judged.judged_at)


def _checks(judged: Sequence[_States]) -> list[FoundCheck]:
    """Every check in the order in which they are shown: each as it was looked at last, but what was raised stays so."""
    found: dict[str, list[FoundCheck]] = {}
    for states in judged:
        for signal in _in_order(states.states):
            before = found.get(signal)
            if before is None or before[0].state != "raised":
                found[signal] = _of_signal(signal, states)
    return [check for signal in _in_order(found) for check in found[signal]]


def _of_signal(signal: str, judged: _States) -> list[FoundCheck]:
    """The checks of one signal: one, but for as many patterns of a type as have matched."""
    at = judged.judged_at
    raised = [FoundCheck(state="raised", checked_at=at, **row) for row in judged.raised if row["signal"] == signal]
    check_type = CHECK_TYPES.get(signal, signal)
    return raised or [
        FoundCheck(
            signal=signal, check_type=check_type, state=judged.states[signal], score=0, details={}, checked_at=at
        )
    ]


def _in_order(signals: Mapping[str, object]) -> list[str]:
    """The signals that always are, as RULES has them, and the others by name."""
    return [*(signal for signal in RULES if signal in signals), *sorted(set(signals) - set(RULES))]
