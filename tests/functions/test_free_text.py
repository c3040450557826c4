"""Free text stays where it was written: the company's systems are told of what happened by ids and numbers alone."""

import json

import psycopg

from tests.support.companies import Company

WORDS = "written by hand"


def test_the_outbox_holds_no_free_text(company: Company, superuser: psycopg.Connection) -> None:
    company.sign_up("ada")
    ada = "/v1/users/ada"
    company.ok("POST", f"{ada}/points", {"points": 10, "note": WORDS}, key="points")
    grant = company.ok("POST", f"{ada}/grants", {"plan": "basic", "days": 1, "reason": WORDS})
    company.ok("POST", f"{ada}/grants/{grant['id']}/end", {"reason": WORDS})
    company.ok("PUT", f"{ada}/restrictions/photos", {"limit": 1, "reason": WORDS})
    company.ok("PATCH", "/v1/features/photos", {"name": WORDS, "description": WORDS})
    company.ok("PATCH", "/v1/plans/basic", {"name": WORDS, "description": WORDS})
    coupon = {"type": "period", "plan": "basic", "duration_days": 1, "code": "WINTER", "description": WORDS}
    company.ok("POST", "/v1/coupons", coupon)
    company.ok("POST", f"{ada}/coupons", {"code": "WINTER"}, key="coupon")
    option = company.ok("POST", "/v1/redemption-options", {"kind": "reward", "name": WORDS, "cost_points": 1})
    company.ok("PATCH", f"/v1/redemption-options/{option['id']}", {"name": f"{WORDS} again"})
    for decision in ("fulfil", "fail"):
        bought = company.ok("POST", f"{ada}/redemptions", {"option_id": option["id"]}, key=decision)
        company.ok("POST", f"/v1/redemptions/{bought['id']}/{decision}", {"note": WORDS})
    told = superuser.execute("SELECT type, data FROM outbox_events WHERE company_id = %s", (company.id,)).fetchall()
    assert {type_ for type_, data in told if WORDS in json.dumps(data)} == set()
    assert len(told) > 15, "all of them were told"
