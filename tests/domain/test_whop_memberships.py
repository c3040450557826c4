"""What Whop's events say of memberships, in every shape that is still being sent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.facts.kinds import EmailSeen, IdentityLinked, ProfileSeen, SubscriptionChanged
from goodword.payments.bodies import EventUnreadable
from goodword.payments.whop.events import WhopEvent, facts, read_event
from tests.support import whop_objects
from tests.support.odd import spoiled
from tests.support.whop_objects import iso

CREATED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
RENEWED = CREATED + timedelta(days=31)
ENDS = CREATED + timedelta(days=59)
SENT = CREATED + timedelta(days=40)
NAMED = {"goodword_user": "cleo"}
EVENTS = (
    "membership.activated",
    "membership.updated",
    "membership.trial_ending_soon",
    "membership.cancel_at_period_end_changed",
    "membership.went_valid",
    "membership.metadata_updated",
)
ENDING = ("membership.deactivated", "membership.went_invalid")


def event(value: dict[str, Any], event_type: str = "membership.updated", sent_at: datetime | None = SENT) -> WhopEvent:
    return whop_objects.as_read(event_type, value, sent_at)


def nested(**fields: object) -> dict[str, Any]:
    """A membership in the shape of v1 without a date."""
    return whop_objects.membership(
        id="mem_1", renewal_period_start=RENEWED, renewal_period_end=ENDS, member={"id": "mber_1"},
        user={"id": "user_1", "name": "Cleo C.", "username": "cleo", "email": "cleo@example.net"},
        company={"id": "biz_1"}, promo_code={"id": "promo_1"}, metadata=NAMED, created_at=CREATED,
    ) | fields  # fmt: skip


def dated(**fields: object) -> dict[str, Any]:
    """The native shape since 2026-07-23: no e-mail, and a `member` without an id."""
    return whop_objects.dated_membership(current_period_end=ENDS, metadata=NAMED, created_at=CREATED) | fields


def flat(**fields: object) -> dict[str, Any]:
    """The shape of v5."""
    periods = {"renewal_period_start": RENEWED, "renewal_period_end": ENDS, "expires_at": ENDS}
    return whop_objects.v5_membership(**periods, metadata=NAMED, created_at=CREATED) | fields


SHAPES = {"v1": nested, "dated v1": dated, "v5": flat}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def changed(
    value: dict[str, Any], event_type: str = "membership.updated", sent_at: datetime | None = SENT
) -> SubscriptionChanged | None:
    found = facts(event(value, event_type, sent_at))
    return next((fact for fact in found if isinstance(fact, SubscriptionChanged)), None)


# The whole of it


@pytest.mark.parametrize("event_type", [*EVENTS, *ENDING])
@pytest.mark.parametrize(
    ("value", "objects", "username", "email"),
    [
        (nested(), ("user_1", "mber_1", "mem_1"), "cleo", "cleo@example.net"),
        (dated(), ("user_1", "mem_1"), None, None),
        (flat(), ("user_1", "mem_1"), None, None),
    ],
    ids=SHAPES,
)
def test_a_membership_says_the_same_in_every_shape(
    event_type: str, value: dict[str, Any], objects: tuple[str, ...], username: str | None, email: str | None
) -> None:
    ends = event_type in ENDING
    assert facts(event(value, event_type)) == (
        IdentityLinked(objects, external_id="cleo", click_id=None, code=None, at=CREATED),
        *([EmailSeen(objects, email)] if email else []),
        ProfileSeen(objects, "user_1", username, email, avatar_url=None),
        SubscriptionChanged(
            key="mem_1",
            objects=objects,
            external_id="cleo",
            click_id=None,
            code=None,
            status="ended" if ends else "active",
            price_refs=("plan_1",),
            period_ends_at=ENDS,
            cancel_at_period_end=False,
            ended_at=SENT if ends else None,
            at=SENT,
        ),
    )


@pytest.mark.parametrize("name", [*EVENTS, *ENDING])
def test_the_dashboards_spelling_of_a_name_is_the_same_name(name: str) -> None:
    raw = b'{"type": "%s", "data": {"id": "mem_1"}}' % name.replace(".", "_").encode()
    assert read_event(raw).type == name


@each_shape
@pytest.mark.parametrize(
    ("status", "read", "cancels"),
    [
        ("trialing", "trialing", False),
        ("active", "active", False),
        ("past_due", "past_due", False),
        ("canceling", "active", True),
        ("completed", "active", False),
        ("canceled", "ended", False),
        ("expired", "ended", False),
    ],
)
def test_the_statuses_of_a_membership(shape: Any, status: str, read: str, *, cancels: bool) -> None:  # noqa: ANN401 - a function with keywords
    fact = changed(shape(status=status))
    assert fact is not None
    assert (fact.status, fact.cancel_at_period_end) == (read, cancels)
    assert (fact.ended_at is not None) == (read == "ended")


@each_shape
@pytest.mark.parametrize("status", ["drafted", "unresolved", "something_new", None, 7, {}])
def test_a_membership_that_has_not_begun_is_only_somebodys(shape: Any, status: object) -> None:  # noqa: ANN401 - as above
    found = facts(event(shape(status=status), "membership.activated"))
    assert [type(fact) for fact in found if not isinstance(fact, EmailSeen)] == [IdentityLinked, ProfileSeen]


@each_shape
@pytest.mark.parametrize("event_type", ENDING)
@pytest.mark.parametrize("status", ["active", "past_due", "completed", "canceled", "unresolved", None])
def test_what_is_deactivated_has_ended_whatever_its_status(shape: Any, event_type: str, status: object) -> None:  # noqa: ANN401 - as above
    fact = changed(shape(status=status), event_type)
    assert fact is not None
    assert (fact.status, fact.ended_at) == ("ended", SENT)


@each_shape
@pytest.mark.parametrize(("cancels", "read"), [(True, True), (False, False), (None, False), ("true", False)])
def test_a_membership_may_end_with_its_period(shape: Any, cancels: object, *, read: bool) -> None:  # noqa: ANN401 - as above
    fact = changed(shape(cancel_at_period_end=cancels), "membership.cancel_at_period_end_changed")
    assert fact is not None
    assert (fact.status, fact.cancel_at_period_end, fact.ended_at) == ("active", read, None)
    assert fact.cancels_at == (fact.period_ends_at if read else None)


@pytest.mark.parametrize(
    "value", [nested(plan=None), nested(plan={"id": 7}), dated(plan_id=None), flat(plan_id="two words")]
)
def test_a_plan_may_be_unknown(value: dict[str, Any]) -> None:
    fact = changed(value)
    assert fact is not None
    assert fact.price_refs == ()


def test_a_one_time_purchase_has_no_period() -> None:
    fact = changed(dated(status="completed", current_period_end=None))
    assert fact is not None
    assert fact.period_ends_at is None


@pytest.mark.parametrize("event_type", [*EVENTS, *ENDING])
def test_an_event_about_nothing_says_nothing(event_type: str) -> None:
    assert facts(event({}, event_type, None)) == ()


@each_shape
@pytest.mark.parametrize("key", [None, 7, "two words"])
def test_a_membership_without_an_id_is_unreadable(shape: Any, key: object) -> None:  # noqa: ANN401 - as above
    with pytest.raises(EventUnreadable):
        facts(event(shape(id=key)))


def test_what_many_people_share_links_nobody() -> None:
    shared = {"biz_1", "plan_1", "prod_1", "promo_1"}
    for shape in SHAPES.values():
        for fact in facts(event(shape())):
            assert not shared & set(fact.objects)


# When


@pytest.mark.parametrize(
    ("value", "event_type", "at"),
    [
        pytest.param(flat(), "membership.went_valid", RENEWED, id="v5, renewed"),
        pytest.param(flat(renewal_period_start=None), "membership.went_valid", CREATED, id="v5, new"),
        pytest.param(flat(), "membership.went_invalid", ENDS, id="v5, ended"),
        pytest.param(flat(expires_at=None), "membership.went_invalid", ENDS, id="v5, ended with its period"),
        pytest.param(
            flat(expires_at=None, renewal_period_end=None), "membership.went_invalid", CREATED, id="v5, ended at all"
        ),
        pytest.param(dated(updated_at=iso(RENEWED)), "membership.updated", RENEWED, id="dated"),
    ],
)
def test_without_an_envelopes_time_a_change_is_dated_by_what_changed(
    value: dict[str, Any], event_type: str, at: datetime
) -> None:
    fact = changed(value, event_type, None)
    assert fact is not None
    assert (fact.at, fact.ended_at) == (at, at if event_type in ENDING else None)


def test_an_end_has_the_time_it_says() -> None:
    fact = changed(dated(ended_at=iso(RENEWED)), "membership.deactivated")
    assert fact is not None
    assert (fact.at, fact.ended_at) == (SENT, RENEWED)


@pytest.mark.parametrize("time", ["1700000000", "2026-01-01", "now", "", True, -1, 10**30, Decimal("1.5"), [], {}])
def test_a_time_is_never_guessed(time: object) -> None:
    for value in (nested(created_at=time), nested(renewal_period_end=time), dated(current_period_end=time)):
        with pytest.raises(EventUnreadable):
            facts(event(value))


# Whatever comes


ODD = st.sampled_from(
    [None, True, -1, 0, 7, 10**30, Decimal("0.5"), "", "x", "canceled", "user_2", [], ["x"], [{}], {}, {"id": 7}]
)
HANDLED = st.sampled_from(
    [(event_type, shape()) for shape in SHAPES.values() for event_type in ("membership.activated", *ENDING)]
)


@given(HANDLED, st.data())
def test_nothing_odd_in_any_place_breaks_the_reader(handled: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    event_type, value = handled
    try:
        found = facts(event(data.draw(spoiled(value, ODD)), event_type))
    except EventUnreadable:
        return
    for fact in found:
        assert all(isinstance(name, str) and name for name in fact.objects)
        if isinstance(fact, SubscriptionChanged):
            assert fact.key in fact.objects
            assert (fact.status == "ended") == (fact.ended_at is not None)
            assert all(isinstance(name, str) and name for name in fact.price_refs)
