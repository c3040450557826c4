"""Program versions and codes at once: none is lost, none is doubled, and a limit holds."""

import psycopg

from tests.support import rows
from tests.support.clients import Clients, call
from tests.support.companies import Company


def test_16_programs_put_at_once_are_16_versions(
    company: Company, clients: Clients, superuser: psycopg.Connection
) -> None:
    zones = ["UTC", "Europe/Berlin"]
    documents = [{"timing": {"review_days": days}, "timezone": zones[days % 2]} for days in range(16)]
    answers = clients.fire_each(company.url, [call(company, "PUT", "/v1/program", each) for each in documents])
    assert [answer.status for answer in answers] == [200] * 16
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, 18))
    for document, answer in zip(documents, answers, strict=True):
        assert answer.json["program"]["timing"]["review_days"] == document["timing"]["review_days"]
    listed = company.ok("GET", "/v1/program/versions?limit=16")["data"]
    assert listed == sorted((answer.json for answer in answers), key=lambda each: -each["version"])
    assert [each["created_at"] for each in listed] == sorted((each["created_at"] for each in listed), reverse=True)
    # the company is where its newest version is
    (row,) = rows.find(superuser, "SELECT time_zone FROM companies WHERE id = %(id)s", id=company.id)
    assert row == {"time_zone": listed[0]["program"]["timezone"]}


def test_signups_while_programs_change_are_whole(company: Company, clients: Clients) -> None:
    """Each is under one version, and was paid what that one gives."""
    code = company.sign_up("ada")["user"]["referral_code"]
    plans = [
        [
            call(company, "PUT", "/v1/program", {"awards": {"welcome": {"points": client + 1}}})
            if each % 2
            else call(
                company, "POST", "/v1/signups",
                {"user": {"external_id": f"user_{client}_{each}"}, "referral_code": code},
            )
            for each in range(6)
        ]
        for client in range(8)
    ]  # fmt: skip
    answers = [answer for plan in clients.fire(company.url, plans) for answer in plan]
    assert {answer.status for answer in answers} == {200, 201}
    welcome = {
        each["version"]: each["program"]["awards"]["welcome"]["points"]
        for each in company.ok("GET", "/v1/program/versions?limit=100")["data"]
    }
    assert len(welcome) == 1 + 8 * 3
    signed_up = [answer.json for answer in answers if answer.status == 201]
    assert len(signed_up) == 8 * 3
    for each in signed_up:
        assert each["user"]["balance"] == welcome[each["referral"]["program_version"]]


def test_one_text_wanted_by_16_at_once_is_ones(company: Company, clients: Clients) -> None:
    people = [f"user_{each}" for each in range(16)]
    for person in people:
        company.sign_up(person)
    text = company.sign_up("ada")["user"]["referral_code"] + "-X"
    wanted = [call(company, "POST", "/v1/codes", {"code": text, "user_id": person}) for person in people]
    answers = clients.fire_each(company.url, wanted)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"code_taken"}
    assert len(company.ok("GET", "/v1/codes?type=custom")["data"]) == 1


def test_of_32_codes_for_one_user_at_once_ten_are_made(company: Company, clients: Clients) -> None:
    ada = company.sign_up("ada")["user"]["referral_code"]
    wanted = [call(company, "POST", "/v1/codes", {"code": f"{ada}-{each}", "user_id": "ada"}) for each in range(32)]
    answers = clients.fire_each(company.url, wanted)
    assert sorted(answer.status for answer in answers) == [201] * 10 + [429] * 22
    assert all(3500 <= int(answer.headers["retry-after"]) <= 3600 for answer in answers if answer.status == 429)
    assert len(company.ok("GET", "/v1/codes?type=custom")["data"]) == 10
