"""Checks as they are shown: what every signal says of a person or a referral, by all the judgements on it together.

What was raised once stays raised; of any other signal the latest judgement that looked at it counts. A first payment is
a judgement of its own where it raises something; where it raises nothing only the referral says that it was looked at.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from pydantic import JsonValue

from goodword.core.fields import AnswerModel, Instant
from goodword.fraud.signals import RULES, State, check_type
from goodword.program import versions


class FraudCheck(AnswerModel):
    """One signal, looked at; `details` say what raised it, without any address or device."""

    signal: str
    check_type: str
    state: State
    score: int
    details: dict[str, JsonValue]
    checked_at: Instant


JUDGEMENT: LiteralString = """
    jsonb_build_object('states', states, 'judged_at', judged_at, 'raised', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'signal', signal, 'check_type', check_type, 'score', raised_checks.score, 'details', details)
            ORDER BY place), '[]')
        FROM raised_checks
        WHERE raised_checks.company_id = judgements.company_id AND judgement_id = judgements.id
    ))
"""
"""A row of `judgements`, as `merged` takes it."""

JUDGEMENTS: LiteralString = f"""
    (SELECT coalesce(jsonb_agg({JUDGEMENT} ORDER BY judged_at, id), '[]')
    FROM judgements
    WHERE judgements.company_id = referrals.company_id AND judgements.user_id = referrals.referee_id
        AND judgements.referral_id = referrals.id)
"""  # noqa: S608 - from constants of this module
"""The judgements on a row of `referrals`, oldest first, as `merged` takes them."""

PROGRAM: LiteralString = """
    (SELECT program::text FROM program_versions
    WHERE program_versions.company_id = referrals.company_id AND version = referrals.program_version)
"""
PAID_AT: LiteralString = """
    CASE WHEN judged_paid_at IS NOT NULL THEN greatest(judged_paid_at, registered_at) END
"""
"""Of a row of `referrals`, as `by_payment` takes them: by which program it is judged, and when by a first payment."""


def by_payment(program: str, paid_at: datetime | None) -> list[Mapping[str, Any]]:
    """A judgement that raises nothing, of the signals for which a program has a first payment looked at, if it was."""
    if paid_at is None:
        return []
    terms = versions.parse(program)
    scores = terms.fraud.signals
    minimal_activity = scores.minimal_activity if terms.expects_activations else 0
    looked_at = {"instant_qualification": scores.instant_qualification, "minimal_activity": minimal_activity}
    states = {signal: "clear" for signal, score in looked_at.items() if score}
    return [{"states": states, "judged_at": paid_at, "raised": []}]


def merged(judgements: Sequence[Mapping[str, Any]]) -> list[FraudCheck]:
    """The checks of all judgements on a referral: the signals in their order, then limits and patterns."""
    found: dict[str, list[FraudCheck]] = {}
    for judgement in judgements:
        at = judgement["judged_at"]
        raised: dict[str, list[FraudCheck]] = {}
        for row in judgement["raised"]:
            raised.setdefault(row["signal"], []).append(FraudCheck(**row, state="raised", checked_at=at))
        for signal, state in judgement["states"].items():
            was_raised = any(check.state == "raised" for check in found.get(signal, ()))
            if not was_raised:
                found[signal] = raised.get(signal) or [_not_raised(signal, state, at)]
    places = {signal: place for place, signal in enumerate(RULES)}
    in_order = sorted(found, key=lambda signal: (places.get(signal, len(places)), signal))
    return [check for signal in in_order for check in found[signal]]


def _not_raised(signal: str, state: State, at: Any) -> FraudCheck:  # noqa: ANN401 - an instant, or one in JSON
    kept_as = check_type(signal)
    return FraudCheck(signal=signal, check_type=kept_as, state=state, score=0, details={}, checked_at=at)
