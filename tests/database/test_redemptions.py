"""Points turned into quota: price, stock and limit come from the option; a refusal is stored like a yes."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from tests.support import books
from tests.support.tenants import Tenant


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
    for user, option, quantity, status, code in [
        ("ada", tenant.add_option(cost=34), 3, 422, "insufficient_points"),
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


def test_the_last_points_can_be_spent(tenant: Tenant, ada: UUID) -> None:
    assert tenant.redeem("ada", tenant.add_option(cost=100)).json["balance_after"] == 0
    assert tenant.redeem("ada", tenant.add_option(cost=1)).json["code"] == "insufficient_points"
    assert tenant.wallet(ada)["balance"] == 0


def test_a_price_beyond_every_wallet_is_too_dear_and_no_overflow(tenant: Tenant, ada: UUID) -> None:
    option = tenant.add_option(cost=2**62)
    refused = tenant.redeem("ada", option, 1_000_000)
    assert (refused.status, refused.json["required"]) == (422, 2**62 * 1_000_000)
    assert tenant.wallet(ada)["balance"] == 100
