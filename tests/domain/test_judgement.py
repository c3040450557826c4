"""What signals add up to: more of them never make anybody less suspect, and the behavioural ones alone block nobody."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.awards.screenings import Risk
from goodword.fraud import judgement
from goodword.fraud.first_payments import RISING
from goodword.fraud.judgement import FraudOutcome
from goodword.fraud.signals import BEHAVIOURAL, RULES, VELOCITY, Check
from goodword.program.document import Fraud, Program, Signals, Thresholds

OUTCOMES: tuple[FraudOutcome, ...] = get_args(FraudOutcome)

scores = st.integers(0, 150)
frauds = st.builds(
    lambda edges, cap, on_limit: Fraud(
        thresholds=Thresholds(hold=edges[0], review=edges[1], reject=edges[2]),
        behavioural_cap=cap,
        on_registration_limit=on_limit,
    ),
    st.lists(scores, min_size=3, max_size=3, unique=True).map(sorted),
    scores,
    st.sampled_from(["review", "hold", "reject"]),
)
checks = st.builds(
    lambda signal, score: Check(signal, "raised", score),
    st.sampled_from([*RULES, "pattern:email_domain", "pattern:ip_range"]),
    scores,
) | st.just(Check(VELOCITY, "raised"))


@given(frauds, st.lists(checks), st.lists(checks))
def test_more_signals_never_lower_the_outcome(fraud: Fraud, some: list[Check], more: list[Check]) -> None:
    few, many = judgement.judge(fraud, some), judgement.judge(fraud, [*some, *more])
    assert few.score <= many.score
    assert rank(fraud, few.score) <= rank(fraud, many.score)
    assert severity(fraud, some) <= severity(fraud, [*some, *more])


def rank(fraud: Fraud, score: int) -> int:
    return OUTCOMES.index(judgement.outcome(fraud.thresholds, score))


def severity(fraud: Fraud, raised: list[Check]) -> int:
    risk: Risk = judgement.screening(fraud, judgement.judge(fraud, raised)).risk
    return RISING.index(risk)


@given(frauds, st.lists(checks))
def test_a_signal_that_is_not_raised_adds_nothing(fraud: Fraud, raised: list[Check]) -> None:
    others = [Check(signal, state) for signal in RULES for state in ("clear", "not_evaluated")]
    judged, beside = judgement.judge(fraud, raised), judgement.judge(fraud, [*raised, *others])
    assert judged[1:] == beside[1:]
    assert judged.names == beside.names


@given(
    st.lists(st.builds(lambda signal, score: Check(signal, "raised", score), st.sampled_from([*BEHAVIOURAL]), scores))
)
def test_behavioural_signals_alone_hold_at_most(raised: list[Check]) -> None:
    fraud = Program().fraud
    judged = judgement.judge(fraud, raised)
    assert judged.score == min(59, sum(check.score for check in raised))
    assert judgement.outcome(fraud.thresholds, judged.score) in {"pay", "hold"}


@pytest.mark.parametrize(
    ("score", "outcome", "priority"),
    [
        (0, "pay", "low"), (29, "pay", "low"), (30, "hold", "low"), (59, "hold", "low"), (60, "review", "medium"),
        (74, "review", "medium"), (75, "review", "high"), (89, "review", "high"), (90, "reject", "critical"),
        (1000, "reject", "critical"),
    ],
)  # fmt: skip
def test_the_edges_of_the_usual_thresholds(score: int, outcome: FraudOutcome, priority: str) -> None:
    thresholds = Program().fraud.thresholds
    assert judgement.outcome(thresholds, score) == outcome
    assert judgement.priority(thresholds, score) == priority


def test_the_usual_scores_are_those_that_are_documented() -> None:
    assert Signals().model_dump() == {
        "same_ip": 30, "same_device": 50, "disposable_email": 20, "similar_email": 25, "rapid_registration": 15,
        "bulk_registrations": 40, "vpn_proxy": 20, "new_account_referrer": 15, "instant_qualification": 35,
        "minimal_activity": 25,
    }  # fmt: skip
    assert list(Signals.model_fields) == list(RULES)
