"""Checks as they are shown: what every signal says of a referral, by all the judgements on it together.

What was raised once stays raised; of any other signal the latest judgement that looked at it counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from pydantic import JsonValue

from goodword.core.fields import AnswerModel, Instant
from goodword.fraud.signals import RULES, State, check_type


class FraudCheck(AnswerModel):
    """One signal, looked at; `details` say what raised it, without any address or device."""

    signal: str
    check_type: str
    state: State
    score: int
    details: dict[str, JsonValue]
    checked_at: Instant


JUDGEMENTS: LiteralString = """
    (SELECT coalesce(jsonb_agg(jsonb_build_object('states', states, 'judged_at', judged_at, 'raised', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'signal', signal, 'check_type', check_type, 'score', score, 'details', details) ORDER BY place), '[]')
        FROM raised_checks
        WHERE raised_checks.company_id = judgements.company_id AND judgement_id = judgements.id
    )) ORDER BY judged_at, id), '[]')
    FROM judgements
    WHERE judgements.company_id = referrals.company_id AND judgements.user_id = referrals.referee_id
        AND judgements.referral_id = referrals.id)
"""
"""The judgements on a row of `referrals`, oldest first, as `merged` takes them."""


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
            if signal in raised:
                found[signal] = raised[signal]
            elif not was_raised:
                found[signal] = [_not_raised(signal, state, at)]
    places = {signal: place for place, signal in enumerate(RULES)}
    in_order = sorted(found, key=lambda signal: (places.get(signal, len(places)), signal))
    return [check for signal in in_order for check in found[signal]]


def _not_raised(signal: str, state: State, at: Any) -> FraudCheck:  # noqa: ANN401 - an instant in JSON
    kept_as = check_type(signal)
    return FraudCheck(signal=signal, check_type=kept_as, state=state, score=0, details={}, checked_at=at)
