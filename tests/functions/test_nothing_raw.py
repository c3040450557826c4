"""Nothing raw: of many people who sign up, click and log in no address, device or user agent is in any column."""

import hashlib
import hmac
import random
import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from goodword.core import addresses
from local import setup
from tests.support.companies import Company

# What people are told apart by begins alike, so that one search finds any of it.
IPV4, IPV6, DEVICE, AGENT = "185.199.", "2a0b:4e07:1357:", "device-of-nobody-", "Nobody/"

_TABLES = """
    SELECT relname, EXISTS (SELECT 1 FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attname = 'company_id' AND NOT attisdropped) AS is_of_a_company
    FROM pg_class
    WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


class Person:
    """Somebody with an address, a device and a browser of their own."""

    def __init__(self, chance: random.Random) -> None:
        ipv4 = f"{IPV4}{chance.randrange(256)}.{chance.randrange(256)}"
        ipv6 = ":".join((IPV6[:-1], *(f"{chance.randrange(65536):x}" for _ in range(5))))
        self.ip = addresses.canonical(chance.choice([ipv4, ipv6, f"::ffff:{ipv4}", ipv6.upper()]))
        self.device = f"{DEVICE}{chance.randbytes(8).hex()}"
        self.agent = f"{AGENT}{chance.randbytes(8).hex()} (Macintosh)"

    @property
    def seen(self) -> dict[str, str]:
        return {"ip": self.ip, "device_fingerprint": self.device, "user_agent": self.agent}


def live(company: Company, chance: random.Random, number: int, code: str) -> Iterator[Person]:
    """Somebody clicks, signs up and comes again, each time from somewhere else."""
    clicking, signing_up, coming = Person(chance), Person(chance), Person(chance)
    headers = {"user-agent": clicking.agent, "x-forwarded-for": clicking.ip}
    body = {"code": code, "device_fingerprint": clicking.device}
    click = company.browser.send("POST", f"/v1/clicks?key={company.pub}", body, headers=headers)
    company.browser.send("GET", f"/r/{code}", headers=headers)
    user = {"external_id": f"user_{number}", "email": f"user_{number}@app.example"}
    by = chance.choice([{"referral_code": code}, {"click_id": click.json["id"]}, {}])
    headers = {"idempotency-key": f"signup_{number}"} if chance.random() < 0.5 else {}
    signed_up = company.api.send("POST", "/v1/signups", {"user": user, **by, **signing_up.seen}, headers=headers)
    assert signed_up.status == 201, signed_up.raw
    report = {"action": "login", **coming.seen}
    path = f"/v1/users/user_{number}/activity"
    assert company.api.send("POST", path, report, headers={"idempotency-key": f"login_{number}"}).status == 201
    yield from (clicking, signing_up, coming)


def everything(superuser: psycopg.Connection, company: Company) -> str:
    """Every row of the company, and of the tables that are no company's: all columns as text, bytea as digits."""
    texts: list[str] = []
    for table, is_of_a_company in superuser.execute(_TABLES).fetchall():
        select = sql.SQL("SELECT to_jsonb(t)::text FROM {} AS t").format(sql.Identifier(table))
        if is_of_a_company:
            select += sql.SQL(" WHERE company_id = {}").format(sql.Literal(company.id))
        texts += [text for (text,) in superuser.execute(select)]
    return "\n".join(texts)


def guesses(value: str, rows: list[bytes]) -> set[str]:
    """How whoever has the whole database, but not the secret, would try to find a value among its hashes."""
    texts = [value, *(f"{kind}:{value}" for kind in ("ip", "device", "agent"))]
    plain = {hashing(text.encode()).hexdigest() for hashing in (hashlib.sha256, hashlib.md5) for text in texts}
    return plain | {hmac.digest(row, text.encode(), "sha256").hex() for row in rows for text in texts}


@pytest.mark.parametrize("people", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_of_many_people_nothing_is_stored_that_tells_where_they_were(
    judging: Company, superuser: psycopg.Connection, people: int
) -> None:
    chance = random.Random(people)  # noqa: S311 - the same people each time
    code = judging.sign_up("ada")["user"]["referral_code"]
    seen = [person for number in range(people) for person in live(judging, chance, number, code)]
    text = everything(superuser, judging)
    assert text.count('"context": "registration"') == people
    for marker in (IPV4, IPV6, DEVICE, AGENT):
        assert marker not in text
        assert marker.encode().hex() not in text
    assert IPV6.replace(":", "").lower() not in text
    hashes = set(re.findall(r"\\\\x([0-9a-f]{32,64})\b", text))
    keys = [key for (key,) in superuser.execute("SELECT key FROM privacy_keys WHERE key IS NOT NULL")]
    values = {
        value for person in seen for value in (person.ip, addresses.holder(person.ip), person.device, person.agent)
    }
    assert not [value for value in values if guesses(value, keys) & hashes]
    secret = hmac.digest(setup.PRIVACY_SECRET.encode(), keys[0], "sha256")
    recognised = [each for each in values if hmac.digest(secret, f"device:{each}".encode(), "sha256").hex() in hashes]
    assert len(recognised) == 3 * people, "with both halves every device is found"
