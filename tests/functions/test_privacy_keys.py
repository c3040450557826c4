"""Privacy keys: what two halves hash together neither tells alone, and what a destroyed half leaves links nobody."""

import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from goodword.accounts.companies import NewCompany
from goodword.core.privacy import PrivacyKey
from goodword.program.document import Program
from local import events, setup
from local.postgres import Cluster
from local.setup import Prepared
from tests.support import rows
from tests.support.invocations import Invocations
from tests.support.places import SHARED

DATABASE = "keys"
OTHER_SECRET = "of another deployment, and no secret either"

SignUp = Callable[..., Any]


@pytest.fixture(scope="module")
def apart(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A database whose keys no other test needs."""
    setup.create_database(cluster.superuser_url(), DATABASE)
    return setup.prepare(cluster.superuser_url(DATABASE), home=tmp_path_factory.mktemp("keys"), role_prefix=DATABASE)


@pytest.fixture(scope="module")
def functions(apart: Prepared) -> Iterator[dict[str, Invocations]]:
    """The signup function by the secret of its deployment; every invocation reads the keys anew."""
    other = {**apart.parameters, "PrivacySecret": OTHER_SECRET}
    with (
        Invocations("AttributeSignupFunction", apart.parameters, apart.environment) as own,
        Invocations("AttributeSignupFunction", other, apart.environment) as others,
    ):
        yield {setup.PRIVACY_SECRET: own, OTHER_SECRET: others}


@pytest.fixture
def migrator(apart: Prepared) -> Iterator[psycopg.Connection]:
    """Whoever owns the schema, as operators connect."""
    with psycopg.connect(apart.migrator_url, autocommit=True) as connection:
        connection.execute("SET search_path = goodword")
        yield connection


@pytest.fixture
def line(migrator: psycopg.Connection) -> dict[str, str]:
    """A company that judges who comes."""
    company = NewCompany(name="Test", livemode=False, destination_url="https://shop.example")
    return setup.write_company(migrator, company, "http://localhost", Program())


@pytest.fixture
def sign_up(line: dict[str, str], functions: dict[str, Invocations]) -> SignUp:
    """Sign somebody up at the place that two share; what became of it."""

    def sign_up(
        external_id: str, code: str | None = None, *, secret: str = setup.PRIVACY_SECRET, place: dict[str, str] = SHARED
    ) -> Any:  # noqa: ANN401 - any JSON value
        event = events.load("attribute_signup__with_code", {**line, "code": "none"})
        del event["headers"]["idempotency-key"]
        body = {"user": {"external_id": external_id}, "referral_code": code, **place}
        functions[secret].begin({**event, "body": json.dumps(body)})
        result = functions[secret].result()
        assert result["statusCode"] == 201, result
        return json.loads(result["body"])

    return sign_up


def rotate(migrator: psycopg.Connection) -> None:
    """As docs/operations.md says."""
    migrator.execute("SELECT make_privacy_key()")


def is_recognised(answer: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether somebody is blocked for being where the referrer was."""
    return answer["attribution"]["reason"] == "fraud_blocked"


def test_a_rotated_key_still_compares_and_one_that_was_rotated_twice_does_not(
    sign_up: SignUp, migrator: psycopg.Connection
) -> None:
    code = sign_up("ada")["user"]["referral_code"]
    assert is_recognised(sign_up("ben", code))
    rotate(migrator)
    assert is_recognised(sign_up("cyd", code))
    rotate(migrator)
    assert not is_recognised(sign_up("dan", code))


def test_what_a_destroyed_key_has_hashed_links_nobody_and_people_go_on_signing_up(
    sign_up: SignUp, migrator: psycopg.Connection
) -> None:
    code = sign_up("ada")["user"]["referral_code"]
    before = rows.find_one(migrator, "SELECT count(*) AS keys FROM privacy_keys")["keys"]
    migrator.execute("UPDATE privacy_keys SET key = NULL")
    assert not is_recognised(sign_up("ben", code))
    made = rows.find(migrator, "SELECT id FROM privacy_keys WHERE key IS NOT NULL")
    assert len(made) == 1
    assert rows.find_one(migrator, "SELECT count(*) AS keys FROM privacy_keys")["keys"] == before + 1
    eve = sign_up("eve")["user"]["referral_code"]
    assert is_recognised(sign_up("fay", eve))


def test_under_another_secret_nobody_is_recognised(sign_up: SignUp) -> None:
    code = sign_up("ada")["user"]["referral_code"]
    assert not is_recognised(sign_up("ben", code, secret=OTHER_SECRET))
    assert is_recognised(sign_up("cyd", code))


def test_a_hash_is_made_of_the_row_and_the_secret(sign_up: SignUp, migrator: psycopg.Connection) -> None:
    sign_up("ada")
    (row,) = rows.find(
        migrator,
        """
        SELECT ip_hash, device_hash, key FROM user_fingerprints JOIN privacy_keys ON privacy_keys.id = hash_key_id
        ORDER BY first_seen_at DESC LIMIT 1
        """,
    )

    def hashes(key: bytes) -> tuple[bytes | None, bytes | None]:
        known = PrivacyKey(1, key)
        return known.hash("ip", SHARED["ip"]), known.hash("device", SHARED["device_fingerprint"])

    def of(secret: str) -> tuple[bytes | None, bytes | None]:
        return hashes(hmac.digest(secret.encode(), row["key"], "sha256"))

    stored = (row["ip_hash"], row["device_hash"])
    assert stored == of(setup.PRIVACY_SECRET)
    halves = [hashes(row["key"]), hashes(setup.PRIVACY_SECRET.encode())]
    assert not [each for pair in (of(OTHER_SECRET), *halves) for each in pair if each in stored]


def test_no_function_rotates_keys(migrator: psycopg.Connection) -> None:
    """To call it twice would be to have everything forgotten."""
    statement = sql.SQL("SELECT has_function_privilege({}, 'make_privacy_key()', 'EXECUTE')")
    roles = [
        role for (role,) in migrator.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'keys%' AND rolcanlogin")
    ]
    may = [role for role in roles if migrator.execute(statement.format(sql.Literal(role))).fetchone() == (True,)]
    assert may == [migrator.info.user]


def test_no_function_destroys_a_key(migrator: psycopg.Connection) -> None:
    """Every role that hashes reads keys, and none changes them: that is for whoever owns the schema."""
    statement = sql.SQL("SELECT has_table_privilege({}, 'privacy_keys', 'UPDATE')")
    roles = [role for (role,) in migrator.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'keys%'")]
    may = [role for role in roles if migrator.execute(statement.format(sql.Literal(role))).fetchone() == (True,)]
    assert may == [migrator.info.user]
