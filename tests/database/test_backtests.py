"""Back-tests: the program that was in force, tried on its own history, awards exactly what was awarded."""

import json
from datetime import datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goodword.awards import tiers
from goodword.insight import backtests
from goodword.insight.backtests import Backtest, BacktestRequest
from goodword.program.document import AwardTerms, Program, Tier
from tests.database.test_settlement import plays
from tests.support.plays import Named, Play, SignUp
from tests.support.stories import DAY, END, PROGRAMS, REGISTERED, Sale
from tests.support.tenants import AsRole, Tenant, amend
from tests.support.trust import TRUSTING

STEEP = tuple(
    Tier.model_construct(name=f"tier {number}", from_=number, multiplier_bps=10_000 + 2_500 * number)
    for number in range(6)
)


@pytest.fixture
def tenant(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> Tenant:
    return Tenant.open(opener, as_role, superuser)


def backtest(tenant: Tenant, program: Program, since: datetime, until: datetime) -> Backtest:
    document = program.model_dump(mode="json", by_alias=True)
    body = {"program": document, "from": since.isoformat(), "to": until.isoformat()}
    wanted = BacktestRequest.model_validate_json(json.dumps(body))
    with tenant.transaction("admin") as connection:
        return backtests.run(connection, tenant.id, wanted)


def is_what_was(answer: Backtest) -> bool:
    """Whether both sides are the same, event by event and person by person."""
    return (
        answer.draft == answer.awarded
        and all(each.points == each.awarded_points for each in answer.by_event)
        and all(each.points == each.awarded_points for each in answer.top_earners)
    )


@pytest.mark.soak
@settings(
    max_examples=max(settings().max_examples // 4, 5), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    program=st.sampled_from(sorted(PROGRAMS)),
    capped=st.sampled_from([None, 40, 60]),
    played=st.lists(plays(), min_size=2, max_size=4),
    days=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_the_program_that_was_in_force_awards_exactly_what_was_awarded(
    opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection, program: str, capped: int | None,
    played: list[Any], days: tuple[int, int],
) -> None:  # fmt: skip
    """Several people come by one code, so that tiers rise and fall; whatever has happened to them, in any span."""
    tenant = Tenant.open(opener, as_role, superuser)
    caps = PROGRAMS[program].caps.model_copy(update={"per_user_points": capped})
    ours = PROGRAMS[program].model_copy(update={"tiers": STEEP, "caps": caps})
    amend(tenant, ours)
    first = Play(tenant)
    for number, (_, steps) in enumerate(played):
        play = first if number == 0 else Play(tenant)
        play.code = first.code
        play.run(steps)
    first.at(END)
    whole = backtest(tenant, ours, REGISTERED - 400 * DAY, END + DAY)
    assert is_what_was(whole)
    assert whole.complete
    assert whole.awarded.awards > 0
    assert whole.not_simulated == []
    since, until = sorted(days)
    assert is_what_was(backtest(tenant, ours, REGISTERED + since * DAY, REGISTERED + (until + 1) * DAY))


def paid(tenant: Tenant, people: int) -> None:
    """So many people by one code, each with a first payment."""
    code = None
    for _ in range(people):
        play = Play(tenant, ada_uses=False)
        play.code = code = code or play.code
        play.take(SignUp())
        play.tell(Sale(1, 1900, 1900, "usd", REGISTERED + DAY), Named())


def points(answer: Backtest, event: str) -> tuple[int, int]:
    """What the draft gives for an event, and what was given."""
    return next(((each.points, each.awarded_points) for each in answer.by_event if each.event == event), (0, 0))


def test_a_draft_with_other_terms_and_tiers_is_reckoned_with_the_counts_of_then(tenant: Tenant) -> None:
    paid(tenant, 3)
    tenant.set_clock(END)
    program = Program()
    dearer = program.awards.model_copy(update={"qualified": AwardTerms(points=100), "welcome": AwardTerms(points=0)})
    draft = program.model_copy(update={"awards": dearer, "tiers": STEEP})
    answer = backtest(tenant, draft, REGISTERED - 20 * DAY, END)
    assert points(answer, "qualified") == (100 + 125 + 150, 75)
    assert points(answer, "welcome")[0] == 0
    assert points(answer, "welcome")[1] > 0


def test_an_award_that_was_never_made_goes_by_who_counted_at_its_occasion(tenant: Tenant) -> None:
    """Nothing was given for a first payment, so nothing was counted with it either."""
    none = Program().awards.model_copy(update={"qualified": AwardTerms(points=0)})
    amend(tenant, Program().model_copy(update={"awards": none, "tiers": STEEP}))
    paid(tenant, 3)
    tenant.set_clock(END)
    answer = backtest(tenant, Program().model_copy(update={"tiers": STEEP}), REGISTERED - 20 * DAY, END)
    # they all qualified at one instant, so nobody had before it
    assert points(answer, "qualified") == (75, 0)


def test_percentages_in_place_of_points_are_of_the_payments_that_were_made(tenant: Tenant) -> None:
    paid(tenant, 2)
    tenant.set_clock(END)
    share = Program().awards.model_copy(update={"qualified": AwardTerms(bps=1000)})
    answer = backtest(tenant, Program().model_copy(update={"awards": share}), REGISTERED, END)
    assert points(answer, "qualified") == (380, 50)


def test_caps_of_the_draft_are_asked_in_the_order_in_which_awards_were_made(tenant: Tenant) -> None:
    paid(tenant, 4)
    tenant.set_clock(END)
    caps = Program().caps.model_copy(update={"per_user_points": 60})
    answer = backtest(tenant, Program().model_copy(update={"caps": caps}), REGISTERED - 20 * DAY, END)
    ada = max(answer.top_earners, key=lambda each: each.awarded_points)
    assert ada.points <= 60 < ada.awarded_points
    assert ada.points + 25 > 60


def test_a_rule_of_the_live_engine_is_the_back_tests_rule(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule is swapped: what is awarded from then on, and what a back-test says of it, change alike."""
    tier = Tier.model_construct(name="swapped", from_=0, multiplier_bps=70_000)
    monkeypatch.setattr(tiers, "of_award", lambda *_: tier)
    paid(tenant, 1)
    tenant.set_clock(END)
    answer = backtest(tenant, Program(), REGISTERED - 20 * DAY, END)
    assert points(answer, "qualified") == (175, 175)
    monkeypatch.undo()
    answer = backtest(tenant, Program(), REGISTERED - 20 * DAY, END)
    assert points(answer, "qualified") == (25, 175)


def test_what_a_draft_says_beside_awards_is_named_as_not_simulated(tenant: Tenant) -> None:
    changes = {"attribution": {"window_days": 1}, "limits": {"award_claims_per_day": 1}}
    draft = Program.model_validate({**changes, "fraud": TRUSTING.fraud})
    tenant.set_clock(END)
    assert backtest(tenant, draft, REGISTERED, END).not_simulated == ["attribution", "limits"]


def test_a_back_test_stops_in_time_and_says_how_far_it_came(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    paid(tenant, 2)
    tenant.set_clock(END)
    monkeypatch.setattr(backtests, "REFERRALS_AT_ONCE", 1)
    monkeypatch.setattr(backtests, "LONGEST_SECONDS", -1.0)
    answer = backtest(tenant, Program(), REGISTERED - 20 * DAY, END)
    assert (answer.complete, answer.through, answer.draft.awards) == (False, None, 0)


def test_a_back_test_that_was_stopped_tells_what_it_had_reckoned(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock goes a second on with every look at it, and there is a batch for each referral."""
    paid(tenant, 4)
    tenant.set_clock(END)
    monkeypatch.setattr(backtests, "REFERRALS_AT_ONCE", 1)
    monkeypatch.setattr(backtests, "LONGEST_SECONDS", 3.5)
    ticks = count()
    monkeypatch.setattr(backtests, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    answer = backtest(tenant, Program(), REGISTERED - 20 * DAY, END)
    monkeypatch.undo()
    whole = backtest(tenant, Program(), REGISTERED - 20 * DAY, END)
    assert (answer.complete, whole.complete) == (False, True)
    assert answer.through is not None
    assert whole.through is not None
    assert 0 < answer.draft.awards < whole.draft.awards
    assert is_what_was(answer)


def test_nothing_is_written_and_nothing_can_be(tenant: Tenant) -> None:
    paid(tenant, 1)
    tenant.set_clock(END)
    with tenant.transaction("admin") as connection:
        program = Program().model_dump(mode="json", by_alias=True)
        body = json.dumps({"program": program, "from": "2030-01-01", "to": "2032-01-01"})
        backtests.run(connection, tenant.id, BacktestRequest.model_validate_json(body))
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
