"""The first story, end to end: who came through whom, what each earned, and what it bought."""

from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid


def test_a_paid_invoice_earns_the_referrer_what_the_program_says(company: Company) -> None:
    company.refer("ada", "ben")
    answer = company.deliver(invoice_paid("evt_1", "in_1", user="ben"))
    assert answer.json == {"received": True, "duplicate": False, "outcome": "applied"}
    assert company.balance("ada") == 5 + 25
    assert company.balance("ben") == 25
