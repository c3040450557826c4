"""Facts through the database: in whatever order they come the same stands, and the books are right."""

import json
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goodword.facts.kinds import PaymentSucceeded, SubscriptionChanged, TakenBack
from goodword.program.document import Program
from tests.support import books, stories
from tests.support.plays import Job, Joined, Named, Part, Play, SignUp, Spend, Step
from tests.support.stories import DAY, END, PROGRAMS, REGISTERED, Back, Report, Sale, Use
from tests.support.tenants import AsRole, Tenant, amend


@pytest.fixture
def tenants(opener: psycopg.Connection, as_role: AsRole, superuser: psycopg.Connection) -> dict[str, Tenant]:
    """A company for each program."""
    opened = {name: Tenant.open(opener, as_role, superuser) for name in PROGRAMS}
    for name, tenant in opened.items():
        amend(tenant, PROGRAMS[name])
    return opened


@st.composite
def plays(draw: st.DrawFn) -> tuple[list[Report], list[tuple[Step, int | None]]]:
    """A story, and one way to tell it: steps, each with the hours until the next; None: both are of one event."""
    story = draw(stories.stories())
    sales = [each for each in story if isinstance(each, Sale)]
    links: list[Step] = [Named(), *(Joined(each.number) for each in sales)]
    if sales:
        links += [Part(each) for each in draw(st.lists(st.sampled_from(sales), max_size=2))]
    beside = draw(st.lists(st.one_of(st.just(Job()), st.builds(Spend, st.integers(1, 60))), max_size=4))
    again = draw(st.lists(st.sampled_from([*story, *links]), max_size=4))
    steps = draw(st.permutations([SignUp(), *story, *links, *beside, *again]))
    signed_up = steps.index(SignUp())
    early = [step for step in steps[:signed_up] if isinstance(step, Use)]  # apps report the uses of users they have
    steps = [
        *(step for step in steps[:signed_up] if not isinstance(step, Use)),
        SignUp(),
        *early,
        *steps[signed_up + 1 :],
    ]
    waits = draw(
        st.lists(st.sampled_from([None, None, 0, 0, 0, 1, 100, 720, 2200]), min_size=len(steps), max_size=len(steps))
    )
    return story, list(zip(steps, waits, strict=True))


@pytest.mark.soak
@settings(
    max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each has people of its own
@given(program=st.sampled_from(sorted(PROGRAMS)), app_id=st.sampled_from([None, "chat"]), played=plays())
def test_in_whatever_order_and_however_often_facts_come_the_same_stands_and_the_books_are_right(
    tenants: dict[str, Tenant],
    program: str,
    app_id: str | None,
    played: tuple[list[Report], list[tuple[Step, int | None]]],
) -> None:
    story, steps = played
    play = Play(tenants[program], app_id)
    play.run(steps)
    play.at(END)
    play.pass_time()
    known = stories.known(story, app_id, play.name)
    standing, expected = stories.at_once(PROGRAMS[program], known)
    assert play.outcome(standing) == expected
    row = play.referral()
    assert (row["stage"], row["activated_at"], row["qualified_at"], row["retained_at"], row["expired_at"]) == (
        standing.stage, standing.activated_at, standing.qualified_at, standing.retained_at, standing.expired_at,
    )  # fmt: skip
    assert row["advances_at"] is None
    keys: dict[UUID | None, str | None] = {None: None, **{each.id: each.key for each in known.payments}}
    due = {each.key: each for each in standing.due}
    given_, ada = 0, play.user("ada")
    for award in play.awards():
        key = (award["event"], award["app_id"], award["occasion"])
        if key in due:
            assert award["payment_key"] == keys[due[key].payment_id]
        if award["user_id"] == ada and award["status"] in {"paid", "reversed"}:
            given_ += award["points"] - award["reversed_points"]
    assert play.gained("ada") == given_
    assert books.faults(play.tenant.superuser, play.tenant.id) == []


@pytest.fixture
def play(tenants: dict[str, Tenant]) -> Play:
    """Ben, whom ada brought, under the default awards; his customer is known to be him."""
    play = Play(tenants["fixed"])
    play.take(SignUp())
    play.tell(Named())
    return play


PAID = Sale(1, 1900, 1900, "usd", REGISTERED)
NEXT = Sale(2, 1900, 1900, "usd", REGISTERED + 28 * DAY)


def refund(number: int, amount: int, *, status: stories.Status = "succeeded", days: int = 1) -> Back:
    return Back("refund", number, 1, amount, REGISTERED + DAY, status, REGISTERED + days * DAY)


def entries(play: Play, event: str) -> list[tuple[str, int, str]]:
    """What is booked for an award: type, points and occasion."""
    rows = play.tenant.rows(
        """
        SELECT e.type, e.delta - e.debt_delta AS points, e.occasion FROM entries e
        JOIN awards a ON a.company_id = e.company_id AND e.reference = public_id('awd', a.id)
        WHERE e.company_id = %(company_id)s AND a.referral_id = %(referral_id)s AND a.event = %(event)s
        ORDER BY e.version
        """,
        referral_id=play.referral()["id"],
        event=event,
    )
    return [(row["type"], row["points"], row["occasion"]) for row in rows]


def events(play: Play) -> list[str]:
    """What was announced, oldest first."""
    rows = play.tenant.rows("SELECT type FROM outbox_events WHERE company_id = %(company_id)s ORDER BY created_at, id")
    return [row["type"] for row in rows]


def test_parts_refunded_one_by_one_are_taken_back_half_up_and_the_last_takes_the_rest(play: Play) -> None:
    play.tell(PAID, Joined(1))
    for number, amount in enumerate([500, 700, 699, 1], 1):
        play.tell(refund(number, amount))
    assert entries(play, "qualified") == [
        ("REFERRAL_FIRST_PAYMENT", 25, ""), ("REVERSAL", -7, "1"), ("REVERSAL", -9, "2"), ("REVERSAL", -9, "3"),
    ]  # fmt: skip
    assert entries(play, "l2") == [
        ("REFERRAL_L2", 5, ""), ("REVERSAL", -1, "1"), ("REVERSAL", -2, "2"), ("REVERSAL", -2, "3"),
    ]  # fmt: skip
    assert play.referral()["stage"] == "cancelled"
    play.tell(refund(1, 500, status="failed", days=2))
    assert entries(play, "qualified")[4:] == [("REINSTATEMENT", 7, "4")]  # 25 x 500/1900 = 6.6
    assert (play.referral()["stage"], play.gained("ada"), play.gained("zoe")) == ("qualified", 5 + 7, 1)
    assert books.faults(play.tenant.superuser, play.tenant.id) == []


def test_what_is_taken_back_of_points_that_are_spent_is_owed_and_repaid_by_what_comes_next(play: Play) -> None:
    play.tell(PAID, Joined(1))
    play.take(Spend(55))  # all that ada has: 25 for coming herself, 5 and 25 for ben
    play.tell(refund(1, 1900))
    wallet = play.tenant.wallet(play.user("ada"))
    assert (wallet["balance"], wallet["debt"]) == (0, 25)
    play.tell(NEXT)  # which qualifies in its place
    wallet = play.tenant.wallet(play.user("ada"))
    assert (wallet["balance"], wallet["debt"]) == (0, 0)
    play.tell(refund(1, 1900, status="failed", days=2))
    wallet = play.tenant.wallet(play.user("ada"))
    assert (wallet["balance"], wallet["debt"]) == (10, 0)
    assert books.faults(play.tenant.superuser, play.tenant.id) == []


def test_an_edit_of_the_program_changes_new_referrals_only(play: Play) -> None:
    play.tell(PAID)
    document = PROGRAMS["fixed"].model_dump(mode="json", by_alias=True)
    document["awards"]["recurring"], document["awards"]["l2"] = {"points": 40}, {"bps": 1000}
    document["awards"]["welcome"], document["timing"]["pending_expiry_days"] = {"points": 1}, 3
    edited = amend(play.tenant, Program.model_validate_json(json.dumps(document)))
    other = Play(play.tenant)
    other.take(SignUp())
    other.tell(Named(), PAID)
    for each in (play, other):
        each.tell(NEXT)
    assert {
        name: {
            (award["event"], award["occasion"].replace(each.name, "")): (award["points"], award["program_version"])
            for award in each.awards()
        }
        for name, each in {"before": play, "after": other}.items()
    } == {
        "before": {
            ("registered", ""): (5, 2), ("welcome", ""): (25, 2), ("qualified", "1"): (25, 2), ("l2", "1"): (5, 2),
            ("recurring", "2"): (10, 2), ("l2", "2"): (5, 2),
        },
        "after": {
            ("registered", ""): (5, edited), ("welcome", ""): (1, edited), ("qualified", "1"): (25, edited),
            ("l2", "in_1"): (190, edited), ("recurring", "2"): (40, edited), ("l2", "in_2"): (190, edited),
        },
    }  # fmt: skip
    assert play.referral()["lapses_at"] - other.referral()["lapses_at"] == 87 * DAY


def test_settling_again_changes_and_announces_nothing(play: Play) -> None:
    play.tell(PAID, Joined(1), refund(1, 900))
    before = (play.awards(), play.referral(), events(play))
    for _ in range(2):
        play.tell(PAID, Joined(1), refund(1, 900))
        play.pass_time()
        play.run_jobs()
    assert (play.awards(), play.referral(), events(play)) == before


def test_an_earlier_payment_that_comes_late_moves_what_stands_and_announces_only_what_is_new(play: Play) -> None:
    later = Sale(2, 1900, 1900, "usd", REGISTERED + 5 * DAY)
    play.tell(later)
    heard = len(events(play))
    play.tell(PAID)
    (qualified,) = [award for award in play.awards() if award["event"] == "qualified"]
    assert (qualified["payment_key"], qualified["due_at"]) == (PAID.key(play.name), REGISTERED)
    assert qualified["trace"]["paid_at"] == REGISTERED.isoformat().replace("+00:00", "Z")
    assert entries(play, "qualified") == [("REFERRAL_FIRST_PAYMENT", 25, "")]
    assert events(play)[heard:] == ["payment.succeeded"]
    assert play.referral()["qualified_at"] == REGISTERED


def test_what_waits_for_a_payment_that_moved_is_paid_where_the_earlier_one_has_waited(
    tenants: dict[str, Tenant],
) -> None:
    play = Play(tenants["waiting"])  # fourteen days for `qualified`
    play.take(SignUp())
    play.at(REGISTERED + 21 * DAY)
    play.tell(Named(), Sale(2, 1900, 1900, "usd", REGISTERED + 13 * DAY))
    play.run_jobs()
    assert entries(play, "qualified") == []
    play.tell(PAID)
    assert entries(play, "qualified") == [("REFERRAL_FIRST_PAYMENT", 1, "")]
    play.run_jobs()
    assert entries(play, "qualified") == [("REFERRAL_FIRST_PAYMENT", 1, "")]


def test_an_upline_who_does_not_stand_when_the_payment_comes_is_given_nothing_for_it_ever(
    tenants: dict[str, Tenant],
) -> None:
    play = Play(tenants["fixed"], ada_uses=False)  # who came ten days before ben, and expires after ninety
    play.take(SignUp())
    play.at(REGISTERED + 79 * DAY)
    play.tell(Named(), PAID)
    play.at(REGISTERED + 80 * DAY)
    play.tell(NEXT)
    levels = {award["period"]: (award["status"], award["reason"]) for award in play.awards() if award["event"] == "l2"}
    assert levels == {1: ("paid", None), 2: ("rejected", "upline_not_standing")}
    play.tell(Joined(1), refund(1, 1900))
    play.tell(refund(1, 1900, status="failed", days=2))
    levels = {award["period"]: award["status"] for award in play.awards() if award["event"] == "l2"}
    assert levels == {1: "paid", 2: "rejected"}
    assert play.gained("zoe") == 5


def test_a_refund_is_found_by_whatever_any_telling_of_it_or_of_its_payment_named(play: Play) -> None:
    """The events of one refund, and of one sale, need not name the same objects, nor come in their order."""
    customer, key = f"cus_{play.name}", PAID.key(play.name)
    sale = PaymentSucceeded(key, (customer, key), None, None, None, "usd", 1900, 1900, REGISTERED, None)
    play.tell(sale)
    back = TakenBack("refund", f"re_{play.name}", ("re_only",), 1900, "usd", "succeeded", REGISTERED, REGISTERED + DAY)
    play.tell(back)
    assert play.referral()["stage"] == "qualified"
    play.tell(back._replace(objects=(f"ch_{play.name}",), status="pending", at=REGISTERED))
    assert play.referral()["stage"] == "qualified"
    play.tell(sale._replace(objects=(key, f"ch_{play.name}")))
    assert play.referral()["stage"] == "cancelled"
    assert [type_ for type_ in events(play) if type_ == "payment.succeeded"] == ["payment.succeeded"]
    (kept,) = play.tenant.rows(
        "SELECT * FROM takebacks WHERE company_id = %(company_id)s AND takeback_key = %(key)s", key=back.key
    )
    assert (kept["status"], kept["status_at"]) == ("succeeded", REGISTERED + DAY)


def test_a_payment_is_the_persons_whom_any_telling_of_it_named(tenants: dict[str, Tenant]) -> None:
    play = Play(tenants["fixed"])
    play.take(SignUp())
    key = PAID.key(play.name)
    sale = PaymentSucceeded(key, (key,), None, None, None, "usd", 1900, 1900, REGISTERED, None)
    play.tell(sale)
    assert play.referral()["stage"] == "registered"
    play.tell(sale._replace(external_id=play.person))
    assert play.referral()["stage"] == "qualified"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_subscription_is_what_its_latest_telling_says_and_began_with_its_first(
    play: Play, order: tuple[int, ...]
) -> None:
    key, at = f"sub_{play.name}", REGISTERED + 20 * DAY
    begun = SubscriptionChanged(
        key, (key,), None, None, None, "active", ("price_1",), None, cancel_at_period_end=False, ended_at=None,
        at=REGISTERED,
    )  # fmt: skip
    failed = begun._replace(external_id=play.person, status="past_due", at=at)
    ended = begun._replace(objects=(f"si_{play.name}",), status="ended", ended_at=at, at=at)
    for position in order:
        play.tell((begun, failed, ended)[position])
    (kept,) = play.tenant.rows(
        "SELECT * FROM subscriptions WHERE company_id = %(company_id)s AND subscription_key = %(key)s", key=key
    )
    assert (kept["status"], kept["began_at"], kept["ended_at"]) == ("ended", REGISTERED, at)
    assert (kept["user_id"], set(kept["objects"])) == (play.user("ben"), {key, f"si_{play.name}"})
