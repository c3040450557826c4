"""API keys at once: of the last two administrators who take each other's key away, one keeps theirs."""

import psycopg

from local.client import Client
from tests.support.answers import problem
from tests.support.clients import Clients, call
from tests.support.companies import Company

ROUNDS = 5


def test_of_two_administrators_who_revoke_each_other_one_is_left(
    server: str, opener: psycopg.Connection, clients: Clients
) -> None:
    for _ in range(ROUNDS):
        company = Company.write(opener, server)
        (first,) = [each for each in company.ok("GET", "/v1/api-keys")["data"] if each["scope"] == "admin"]
        second = company.ok("POST", "/v1/api-keys", {"name": "second", "scope": "admin"})
        rival = Company({**company.line, "secret_key": second["secret"]})
        assert rival.api.send("GET", "/v1/api-keys").status == 200
        answers = clients.fire_each(
            company.url,
            [
                call(company, "DELETE", f"/v1/api-keys/{second['id']}"),
                call(rival, "DELETE", f"/v1/api-keys/{first['id']}"),
            ],
        )
        assert [answer.status for answer in answers].count(204) == 1
        (refused,) = [answer for answer in answers if answer.status != 204]
        if refused.status == 422:
            problem(refused, 422, "last_admin_key")
        else:
            problem(refused, 401, "key_unknown")  # by a process that had not met the key before it was revoked
        winner = (company, rival)[answers.index(refused) == 0]
        left = Client(company.url, winner.line["secret_key"])
        (admin,) = [each for each in left.send("GET", "/v1/api-keys").json["data"] if each["scope"] == "admin"]
        assert admin["id"] == (first, second)[answers.index(refused) == 0]["id"]
        for each in (company, rival, left):
            each.close()
