"""Free text stays where it was written: the company's systems hear of what happened by ids and numbers alone."""

import json

import psycopg

from tests.support.companies import Company

WORDS = "written by hand"


def test_the_outbox_holds_no_free_text_and_no_url(company: Company, superuser: psycopg.Connection) -> None:
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
    elsewhere = "https://written-by-hand.example/"
    new = {"code": f"N-{company.id.hex[:12]}", "user_id": "ada", "destination_url": elsewhere}
    code = company.ok("POST", "/v1/codes", new)
    company.ok("PATCH", f"/v1/codes/{code['code']}", {"active": False})
    events = superuser.execute("SELECT type, data FROM outbox_events WHERE company_id = %s", (company.id,)).fetchall()
    texts = [(type_, json.dumps(data)) for type_, data in events]
    assert {type_ for type_, text in texts if WORDS in text or elsewhere in text} == set()
    assert len(events) > 15, "all of them were announced"
