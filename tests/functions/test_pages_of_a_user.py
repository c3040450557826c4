"""Lists of what is one user's go on behind what is that user's alone."""

import pytest

from tests.support.answers import fields
from tests.support.companies import Company


@pytest.fixture
def shop(company: Company) -> Company:
    """Ada and Ben have the same things, Ben's made between hers."""
    option = {"kind": "reward", "name": "A mug", "cost_points": 1}
    mug = {"option_id": company.ok("POST", "/v1/redemption-options", option)["id"]}
    for user in ("ada", "ben"):
        company.sign_up(user)
        company.ok("POST", f"/v1/users/{user}/points", {"points": 10, "note": ""}, key=f"{user}-points")
    for number, user in enumerate(("ada", "ben", "ada")):
        path = f"/v1/users/{user}"
        company.ok("POST", f"{path}/grants", {"plan": "basic", "days": 1, "reason": "x"})
        company.ok("POST", f"{path}/redemptions", mug, key=f"mug-{number}")
        company.ok("POST", f"{path}/usage", {"feature": "photos"})
        company.ok("POST", f"{path}/activity", {"action": "login"})
    return company


@pytest.mark.parametrize(
    ("things", "id_"), [("grants", "id"), ("redemptions", "id"), ("usage", "usage_id"), ("activity", "id")]
)
def test_what_is_another_users_is_no_place_to_go_on_from(shop: Company, things: str, id_: str) -> None:
    newest, *older = shop.ok("GET", f"/v1/users/ada/{things}")["data"]
    assert shop.ok("GET", f"/v1/users/ada/{things}?after={newest[id_]}")["data"] == older
    another = shop.ok("GET", f"/v1/users/ben/{things}")["data"][0][id_]
    assert fields(shop.api.send("GET", f"/v1/users/ada/{things}?after={another}")) == {"after"}
