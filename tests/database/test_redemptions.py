"""Points turned into quota: price, stock and limit come from the option; a refusal is stored like a yes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from goodword.core import ids
from goodword.points import options, redemptions
from goodword.points.options import OptionChange
from goodword.points.redemptions import RewardDecision
from tests.support import books
from tests.support.tenants import Tenant
from tests.support.waiting import wait_until_blocked


@pytest.fixture
def ada(tenant: Tenant) -> UUID:
    """A user with 100 points."""
    ada = tenant.add_user("ada")
    tenant.post({"user_id": ada, "points": 100})
    return ada


def test_a_redemption_is_an_entry_a_purchase_and_an_answer(tenant: Tenant, ada: UUID) -> None:
    option = tenant.add_option(cost=30, quantity=5)
    answer = tenant.redeem("ada", option, 2)
    assert answer.status == 201
    (entry,) = tenant.entries(ada)[1:]
    made = answer.json
    times = {made.pop(name) for name in ("created_at", "updated_at", "fulfilled_at")}
    assert [at[-1] for at in times] == ["Z"]
    assert made == {
        "id": entry["reference"], "user_id": "ada", "option_id": f"opt_{option.hex}", "kind": "quota", "quantity": 2,
        "cost_points": 60, "status": "fulfilled", "balance_after": 40, "grant": None, "note": None, "failed_at": None,
        "refunded_at": None,
    }  # fmt: skip
    assert (entry["type"], entry["delta"], entry["balance_after"]) == ("REDEMPTION_QUOTA", -60, 40)
    (quota,) = tenant.rows("SELECT quantity, used, feature FROM quota_grants WHERE company_id = %(company_id)s")
    assert quota == {"quantity": 10, "used": 0, "feature": "ai_calls"}
    events = tenant.rows("SELECT type, data FROM outbox_events WHERE company_id = %(company_id)s")
    assert [(each["type"], each["data"]["id"]) for each in events] == [("redemption.fulfilled", entry["reference"])]
    activity = tenant.rows("SELECT action, user_id FROM activity WHERE company_id = %(company_id)s")
    assert activity == [{"action": "redeemed", "user_id": ada}]
    assert books.faults(tenant.superuser, tenant.id) == []


def test_refusals_change_nothing_and_those_by_a_rule_are_replayed(tenant: Tenant, ada: UUID) -> None:
    inactive = tenant.add_option(cost=1)
    tenant.superuser.execute("UPDATE redemption_options SET active = false WHERE id = %s", (inactive,))
    once = tenant.add_option(cost=1, per_user_limit=1)
    assert tenant.redeem("ada", once).status == 201
    before = tenant.wallet(ada)
    tenant.grant_for_ever(ada, "premium")
    for user, option, quantity, status, code in [
        ("ada", tenant.add_option(cost=34), 3, 422, "insufficient_points"),
        ("ada", tenant.add_unlock(cost=1, stock=1), 1, 422, "plan_already_held"),
        ("ada", tenant.add_unlock(cost=100), 1, 422, "insufficient_points"),
        ("ada", tenant.add_unlock(cost=1, plan="basic", days=3650), 11, 422, "invalid_request"),
        ("ada", tenant.add_option(cost=1, stock=0), 1, 422, "out_of_stock"),
        ("ada", tenant.add_option(cost=1, stock=2), 3, 422, "out_of_stock"),
        ("ada", inactive, 1, 422, "option_inactive"),
        ("ada", once, 1, 422, "limit_reached"),
        ("ada", tenant.add_option(cost=1, per_user_limit=2), 3, 422, "limit_reached"),
        ("ada", uuid4(), 1, 404, "option_not_found"),
        ("nobody", once, 1, 404, "user_not_found"),
    ]:
        key = uuid4().hex
        refused = tenant.redeem(user, option, quantity, key=key)
        assert (refused.status, refused.json["code"], refused.replayed) == (status, code, False)
        again = tenant.redeem(user, option, quantity, key=key)
        assert (again.status, again.raw, again.replayed) == (status, refused.raw, status == 422)
    assert tenant.wallet(ada) == before
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_refusal_stands_for_its_key_even_when_it_would_be_a_yes_now(tenant: Tenant, ada: UUID) -> None:
    option = tenant.add_option(cost=101)
    assert tenant.redeem("ada", option, key="k").status == 422
    tenant.post({"user_id": ada, "points": 1})
    assert tenant.redeem("ada", option, key="k").status == 422
    assert tenant.redeem("ada", option, key="another").status == 201


def test_another_companys_option_is_not_there(tenant: Tenant, other_tenant: Tenant, ada: UUID) -> None:
    foreign = other_tenant.add_option(cost=1)
    assert tenant.redeem("ada", foreign).json["code"] == "option_not_found"
    assert tenant.wallet(ada)["balance"] == 100


def test_bought_quota_lasts_for_ever_or_for_its_days(tenant: Tenant, ada: UUID) -> None:
    """A day is 24 hours, whatever the clocks of the company do meanwhile; a quantity makes no longer term."""
    tenant.set_time_zone("Europe/Berlin")
    at = datetime.fromisoformat("2030-03-30T12:00:00Z")
    tenant.set_clock(at)
    assert tenant.redeem("ada", tenant.add_option(cost=1)).status == 201
    assert tenant.redeem("ada", tenant.add_option(cost=1, days=2), 3).status == 201
    terms = tenant.rows(
        "SELECT quantity, nullif(ends_at, 'infinity') AS ends_at FROM quota_grants WHERE user_id = %(ada)s ORDER BY 1",
        ada=ada,
    )
    assert terms == [{"quantity": 1, "ends_at": None}, {"quantity": 3, "ends_at": at + timedelta(days=2)}]


def test_a_decision_that_is_repeated_after_a_lost_answer_is_the_same(tenant: Tenant, ada: UUID) -> None:
    """Without a key too: the id of its event was made before the first attempt."""
    option, admin = tenant.add_reward(cost=10), tenant.connection("admin")
    for decide in (redemptions.fulfil, redemptions.fail):
        redemption = ids.parse("red", tenant.redeem("ada", option).json["id"])
        decision, trip = RewardDecision(note="x"), tenant.trip(None)
        first, again = (decide(admin, trip, redemption, decision) for _ in range(2))
        assert (first.status, again.status, again.body) == (200, 200, first.body)
        assert decide(admin, tenant.trip(None), redemption, decision).status == 409
    assert tenant.wallet(ada)["balance"] == 90
    assert books.faults(tenant.superuser, tenant.id) == []


def test_stock_is_sold_to_the_last_piece(tenant: Tenant, ada: UUID) -> None:
    option = tenant.add_option(cost=1, stock=3)
    assert [tenant.redeem("ada", option, quantity).status for quantity in (2, 2, 1, 1)] == [201, 422, 201, 422]
    assert tenant.rows("SELECT stock FROM redemption_options WHERE id = %(id)s", id=option) == [{"stock": 0}]
    assert tenant.wallet(ada)["balance"] == 97


def test_many_buyers_at_once_get_exactly_the_stock(tenant: Tenant) -> None:
    """Those who come too late are told so; none sees a fault."""
    buyers = [f"buyer_{number}" for number in range(8)]
    tenant.post(*({"user_id": tenant.add_user(buyer), "points": 10} for buyer in buyers))
    option = tenant.add_option(cost=1, stock=5)
    twins = [(tenant.twin(), buyer) for buyer in buyers]
    with ThreadPoolExecutor(len(twins)) as threads:
        answers = list(threads.map(lambda each: [each[0].redeem(each[1], option).status for _ in range(2)], twins))
    assert sorted(status for each in answers for status in each) == [201] * 5 + [422] * 11
    assert books.faults(tenant.superuser, tenant.id) == []


def test_a_change_of_stock_waits_for_the_redemptions_that_take_from_it(tenant: Tenant, ada: UUID) -> None:
    """What is left is then what the change says, and not one piece more."""
    option = tenant.add_option(cost=1, stock=5)
    shop = tenant.patient_twin("admin")

    def set_stock() -> int | None:
        with shop.transaction("admin") as connection:
            return options.change(connection, tenant.id, option, ids.new_id(), OptionChange(stock=2)).stock

    with ThreadPoolExecutor(1) as thread:
        with tenant.connection("app").transaction():
            assert tenant.redeem("ada", option, 3).status == 201
            changing = thread.submit(set_stock)
            wait_until_blocked(tenant.superuser)
        assert changing.result() == 2
    assert [tenant.redeem("ada", option, quantity).status for quantity in (3, 2)] == [422, 201]
    assert tenant.wallet(ada)["balance"] == 95


def test_the_last_points_can_be_spent(tenant: Tenant, ada: UUID) -> None:
    assert tenant.redeem("ada", tenant.add_option(cost=100)).json["balance_after"] == 0
    assert tenant.redeem("ada", tenant.add_option(cost=1)).json["code"] == "insufficient_points"
    assert tenant.wallet(ada)["balance"] == 0


def test_a_price_beyond_every_wallet_is_too_dear_and_no_overflow(tenant: Tenant, ada: UUID) -> None:
    option = tenant.add_option(cost=2**62)
    refused = tenant.redeem("ada", option, 1_000_000)
    assert (refused.status, refused.json["required"]) == (422, 2**62 * 1_000_000)
    assert tenant.wallet(ada)["balance"] == 100
