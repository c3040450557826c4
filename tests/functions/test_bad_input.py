"""What no client should send: every route answers it as docs/api.md, Errors, says, stores nothing and never fails.

Each test takes the one good request of a route (tests/support/requests.py) and spoils one thing in it.
"""

import copy
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import settings

from goodword.accounts import api_keys
from goodword.core.auth import Scope
from goodword.core.http import LARGEST_BODY
from local import setup
from local.client import Answer, Client
from local.postgres import Cluster
from tests.support import rows
from tests.support.answers import fields, problem
from tests.support.companies import Company
from tests.support.requests import REQUESTS, ROUTES, Asked

GUARDED = [key for key, route in ROUTES.items() if route.scope is not None]
WITH_BODY = [key for key, route in ROUTES.items() if route.body is not None]
NEEDING_SOMETHING = [
    key
    for key in WITH_BODY
    if any(field.is_required() for field in getattr(ROUTES[key].body, "model_fields", {}).values())
]
WITH_QUERY = [key for key, route in ROUTES.items() if route.query is not None]
OF_A_USER = [key for key in ROUTES if "{user_id}" in key]
IDEMPOTENT = [key for key, good in REQUESTS.items() if good.idempotent]

Value = TypeVar("Value")
SHARES = 4
LARGEST_QUICK = 50
"""Examples of a property, in a run that is not `make soak`."""

_numbers = itertools.count()


def dealt(values: Sequence[Value], number: int) -> Sequence[Value]:
    """What a route is asked of that which all routes read by the same code: a share, or all of it by `make soak`."""
    return values if settings().max_examples > LARGEST_QUICK else values[number % SHARES :: SHARES]


@pytest.fixture(scope="module")
def lesser_keys(asked: Asked, cluster: Cluster) -> dict[Scope, str]:
    """Keys that may read, and that may write, but not administer."""
    with psycopg.connect(cluster.superuser_url(setup.DATABASE), options="-c search_path=goodword") as superuser:
        return {
            scope: api_keys.create(superuser, asked.company.id, livemode=False, scope=scope)
            for scope in (Scope.READ, Scope.WRITE)
        }


@pytest.fixture(scope="module")
def stored(asked: Asked, lesser_keys: dict[Scope, str], opener: psycopg.Connection) -> Counter[str]:
    """How many rows each table has of the company before anything bad is sent."""
    assert lesser_keys  # they are rows too
    return rows.count(opener, asked.company.id)


@pytest.fixture(autouse=True)
def nothing_is_stored(asked: Asked, stored: Counter[str], superuser: psycopg.Connection) -> Iterator[None]:
    """No table of the company has a row more or less than at the beginning."""
    yield
    assert rows.count(superuser, asked.company.id) == stored


def send(
    asked: Asked, key: str, *, raw: bytes | None = None, path: str | None = None, client: Client | None = None,
    **headers: str,
) -> Answer:  # fmt: skip
    """The good request to a route, except for what is given; headers with underscores for hyphens."""
    if raw is None and ROUTES[key].body is not None:
        raw = json.dumps(asked.body(key)).encode()
    sent = {"idempotency-key": f"key-{next(_numbers)}"} if REQUESTS[key].idempotent else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return (client or asked.company.api).send(key.partition(" ")[0], path or asked.path(key), raw=raw, headers=sent)


def test_every_route_has_its_good_request() -> None:
    assert REQUESTS.keys() == ROUTES.keys()
    for key in WITH_BODY:
        good = REQUESTS[key]
        assert {*(good.body or {}), *good.instead} == {
            field.alias or name for name, field in getattr(ROUTES[key].body, "model_fields", {}).items()
        }


def test_the_good_requests_are_good(company: Company) -> None:
    fresh = Asked(company)
    for key in ROUTES:
        if not key.startswith("POST /webhooks"):  # what only Stripe or Whop can sign
            assert send(fresh, key).status in {200, 201, 204, 302}, key


NO_KEYS = ("", "Bearer", "Bearer ", "Basic Z3c6Z3c=", "gw_test_x", "Bearer nonsense", "Bearer é")
UNKNOWN_KEYS = ("gw_test_", "gw_test_x", f"gw_pub_{'x' * 40}", "gw_test_" + "x" * 4000)


@pytest.mark.soak
@pytest.mark.parametrize("key", GUARDED)
def test_without_a_known_key_nothing_is_answered(asked: Asked, key: str) -> None:
    nobody = asked.company.browser
    problem(send(asked, key, client=nobody), 401, "key_missing")
    for authorization in dealt(NO_KEYS, GUARDED.index(key)):
        assert send(asked, key, client=nobody, authorization=authorization).status == 401
    for unknown in dealt(UNKNOWN_KEYS, GUARDED.index(key)):
        problem(send(asked, key, client=nobody, authorization=f"Bearer {unknown}"), 401, "key_unknown")
    problem(send(asked, key, client=nobody, path=asked.path(key, {"key": "gw_pub_%00%FF"})), 401, "key_unknown")


def test_a_revoked_key_is_unknown(company: Company, superuser: psycopg.Connection) -> None:
    superuser.execute(
        "UPDATE api_keys SET revoked_at = clock_timestamp() WHERE company_id = %(id)s", {"id": company.id}
    )
    problem(company.api.send("GET", "/v1/program"), 401, "key_unknown")
    problem(company.browser.send("GET", f"/v1/codes/X?key={company.pub}"), 401, "key_unknown")


@pytest.mark.soak
@pytest.mark.parametrize("key", GUARDED)
def test_a_secret_key_never_belongs_into_an_address(asked: Asked, key: str) -> None:
    secret, publishable = asked.company.line["secret_key"], asked.company.pub
    misplaced = (secret, f"%20{secret}", f"{publishable}&key={secret}", "gw_live_of_another_company")
    for sent in dealt(misplaced, GUARDED.index(key)):
        path = asked.path(key, {"key": sent})
        problem(send(asked, key, path=path, client=asked.company.browser), 401, "key_misplaced")
        problem(send(asked, key, path=path), 401, "key_misplaced")  # beside a good header, too


@pytest.mark.parametrize("key", [key for key in GUARDED if ROUTES[key].scope is not Scope.PUBLISHABLE])
def test_a_publishable_key_is_for_browsers_only(asked: Asked, key: str) -> None:
    publishable, nobody = asked.company.pub, asked.company.browser
    problem(send(asked, key, client=nobody, authorization=f"Bearer {publishable}"), 403, "scope_insufficient")
    problem(send(asked, key, client=nobody, path=asked.path(key, {"key": publishable})), 401, "key_missing")


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_a_key_of_a_lesser_scope_may_not(asked: Asked, lesser_keys: dict[Scope, str], scope: Scope) -> None:
    authorization = f"Bearer {lesser_keys[scope]}"
    for key in (key for key in GUARDED if (ROUTES[key].scope or Scope.PUBLISHABLE) > scope):
        problem(send(asked, key, client=asked.company.browser, authorization=authorization), 403, "scope_insufficient")


@pytest.fixture(scope="module")
def stranger(server: str, opener: psycopg.Connection) -> str:
    """A user of another company."""
    other = Company.write(opener, server)
    other.sign_up("mallory")
    other.close()
    return "mallory"


@pytest.mark.parametrize("key", OF_A_USER)
def test_another_companys_user_is_not_found(asked: Asked, stranger: str, key: str) -> None:
    problem(send(asked, key, path=asked.path(key, user_id=stranger)), 404, "user_not_found")


BAD_USER_IDS = (
    "a%20b", "%00", "ada%00", "ada%0A", "%FF", "%F0%9F%A6%86", "a%25b", "a%23b", "a%22b", "a%5Cb", "a%3Cb", "a%60b",
    "x" * 129, ".", "..", "%2E", "%2e.", "clk_" + "0" * 32, f"clk_{'a' * 32}%40x.com",
)  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("key", OF_A_USER)
def test_a_user_id_that_cannot_be_is_refused(asked: Asked, key: str) -> None:
    for user_id in dealt(BAD_USER_IDS, OF_A_USER.index(key)):
        problem(send(asked, key, path=asked.path(key, user_id=user_id)), 422, "user_id_invalid")


BAD_QUERIES: dict[str, tuple[str, ...]] = {
    "limit": ("", "0", "101", "-1", "1.5", "ten", "1e1", "9" * 400, "%00", "1&limit=2", "%2B5", "1_0", "%205"),
    "after": ("", "nonsense", "0", "%00", "%FF", "txn_", "txn_x", "ref_x", "opt_x", "clk_" + "0" * 32),
    "campaign_id": ("", "x", "cam_", "mil_" + "0" * 32, "cam_" + "0" * 31 + "%00", "%FF"),
    "period": ("", "2027", "2027-00", "2027-13", "2027-1", "2027-01-01", "2027-01%0A", "%00"),
    "level": ("", "0", "3", "one"),
    "event": ("", "paid", "REGISTERED", "registered%00", "%FF"),
    "status": ("", "given", "PAID", "paid%00", "%FF"),
    "stage": ("", "pending", "EXPIRED", "%00", "qualified%0A"),
    "flagged": ("", "maybe", "2", "null", "%00"),
    "priority": ("", "urgent", "HIGH", "high%00", "%FF"),
    "check_type": ("", "%00", "x" * 201),
    "referrer": ("", "a%20b", "%00", "ada%0A", "x" * 129),
    "assigned_to": ("", "%00", "x" * 201),
    "type": ("", "lower", "A" * 41, "%00", "A%0A"),
    "provider": ("", "paypal", "STRIPE", "whop%00", "%FF"),
    "user_id": ("", "a%20b", "%00", "ada%0A", "x" * 129, ".", "..", "clk_" + "0" * 32),
    "active": ("", "maybe", "2", "null", "%00"),
    "feature": ("", "PHOTOS", "ai-calls", "x" * 65, "%00", "photos%0A"),
    "from": (
        "", "today", "1800000000", "2027-01", "2027-1-15", "20270115", "2027-02-29", "1969-12-31",
        "2027-01-15T12:00:00", "0001-01-01T00:00:00%2B14:00", "%00", "2027-01-15%00",
    ),
    "to": ("", "today", "9999-12-31T23:59:59-14:00", "2027-13-01T00:00:00Z", "2027-13-01", "9000-01-01", "%FF"),
    "as_of": ("", "now", "1800000000", "infinity", "2027-01-15T12:00:00", "0001-01-01T00:00:00%2B14:00"),
    "surprise": ("1", ""),
}  # fmt: skip


@pytest.mark.parametrize("key", WITH_QUERY)
def test_a_query_that_cannot_be_is_refused_by_its_name(asked: Asked, key: str) -> None:
    model = ROUTES[key].query
    assert model is not None
    names = {field.alias or name for name, field in model.model_fields.items()}
    assert names <= BAD_QUERIES.keys()
    # all at once, and each has to be named; some routes look where to go on from once all else is right
    for together in ({*names, "surprise"} - {"after"}, names & {"after"}):
        for number in range(max((len(BAD_QUERIES[name]) for name in together), default=0)):
            query = {name: BAD_QUERIES[name][number % len(BAD_QUERIES[name])] for name in together}
            assert fields(send(asked, key, path=asked.path(key, query))) == together, query


@pytest.mark.parametrize("key", [key for key in GUARDED if key.startswith("GET") and key not in WITH_QUERY])
def test_a_read_that_takes_no_parameters_refuses_one(asked: Asked, key: str) -> None:
    assert fields(send(asked, key, path=asked.path(key, {"surprise": "1"}))) == {"surprise"}


MALFORMED = (
    b"", b" ", b"{", b"nope", b"[]", b"null", b"1", b"true", b'"text"', b"{'a': 1}", b"{}{}", b'{"a": 1,}',
    b'{"a": 01}', b"\x00", b'{"a": "\x00"}', b'{"a": "\n"}', b'{"a": "\\x00"}',
    b"\xff\xfe", b'{"a": "\xff"}', b'{"\xc3\x28": 1}', b'{"a": "\xed\xa0\x80"}', b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"), b'{"a": "\\ud8"}', b'{"a": "\\ud83d\\u"}',
    b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}", b"[" * 100_000, b'{"a":' * 20_000, b'{"a": ' + b"1" * 5000 + b"}",
)  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("key", WITH_BODY)
def test_a_body_that_is_no_json_object_is_malformed(asked: Asked, key: str) -> None:
    needs_no_body = key.startswith("POST") and key not in NEEDING_SOMETHING
    malformed, number = MALFORMED[1:] if needs_no_body else MALFORMED, WITH_BODY.index(key)
    for raw in dealt(malformed, number):
        problem(send(asked, key, raw=raw, content_type="application/json"), 400, "malformed_body")
    for raw in dealt(malformed, number + 1):  # what comes as bytes comes in base64
        problem(send(asked, key, raw=raw, content_type="application/octet-stream"), 400, "malformed_body")


@pytest.mark.parametrize("key", WITH_BODY)
def test_a_body_is_at_most_256_kib(asked: Asked, key: str) -> None:
    frame = len(b'{"surprise": ""}')
    for size, content_type in (
        (LARGEST_BODY + 1, "application/json"),
        (LARGEST_BODY + 1, "application/octet-stream"),
        (300 * 1024, "application/json"),
    ):
        raw = b'{"surprise": "%s"}' % (b"x" * (size - frame))
        problem(send(asked, key, raw=raw, content_type=content_type), 413, "body_too_large")
    largest = b'{"surprise": "%s"}' % (b"x" * (LARGEST_BODY - frame))
    assert "surprise" in fields(send(asked, key, raw=largest))


@pytest.mark.parametrize("key", WITH_BODY)
def test_a_field_that_is_not_known_is_refused(asked: Asked, key: str) -> None:
    body = asked.body(key)
    for path in [(), *(path for path, value in leaves(body, inner=True) if isinstance(value, dict))]:
        if is_open(key, path):
            continue
        spoiled = changed(body, (*path, "surprise"), 1)
        assert fields(send(asked, key, raw=json.dumps(spoiled).encode())) == {".".join((*path, "surprise"))}


@pytest.mark.parametrize("key", NEEDING_SOMETHING)
def test_a_field_that_is_missing_is_named(asked: Asked, key: str) -> None:
    model = ROUTES[key].body
    assert model is not None
    needed = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    assert fields(send(asked, key, raw=b"{}")) == needed
    for name in needed:
        spoiled = {other: value for other, value in asked.body(key).items() if other != name}
        assert fields(send(asked, key, raw=json.dumps(spoiled).encode())) == {name}


INFINITE = "1e999"
"""A number that is sent as it stands here: no number in Python is written like that."""
# what no field takes, and what none of its type does
NEVER: tuple[object, ...] = ([[]], {"a": {}}, "a\0b", "\0", 10**400, -(10**400), math.nan, math.inf, INFINITE)
WRONG: dict[type, tuple[object, ...]] = {
    type(None): (1, 1.5, True, [], {}, "x" * 3000),  # a text that may be left out
    str: (1, 1.5, True, [], {}, "x" * 3000),
    int: ("1", 1.5, 1e300, True, [], {}, 2**63, -(2**63) - 1, 10**13),
    bool: ("true", 1, 0, [], {}),
    list: ("text", 1, True, {}, [None], [1], [[]]),
    dict: ("text", 1, True, []),
}


# what a person types, or a browser carries along: any text will do
TYPED = {
    "POST /v1/signups": {
        ("referral_code",), ("click_id",), ("coupon_code",), ("invite_code",), ("user_agent",), ("device_fingerprint",),
    },
    "PUT /v1/users/{user_id}/referrer": {("referral_code",)},
    "POST /v1/clicks": {
        ("code",), ("landing_url",), ("referrer_url",), ("device_fingerprint",), ("previous_click_id",),
    },
    "POST /v1/users/{user_id}/activity": {("user_agent",), ("device_fingerprint",)},
}  # fmt: skip


JUDGED_BY_ANOTHER = {("reward_data", "points")}
"""What may be there depends on another field, and is judged once that one is right."""


def is_open(key: str, path: tuple[str, ...]) -> bool:
    """Whether any JSON may stand there: what cannot be stored is tried in test_activity."""
    return key == "POST /v1/users/{user_id}/activity" and path[:1] == ("details",)


def leaves(value: dict[str, Any], *, inner: bool = False) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a body with the way to it; with `inner`, the objects on the way too."""
    for name, member in value.items():
        if not isinstance(member, dict) or inner:
            yield (name,), member
        if isinstance(member, dict):
            for path, leaf in leaves(member, inner=inner):
                yield (name, *path), leaf


def changed(body: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    """A copy of a body with one value replaced, or added."""
    spoiled = copy.deepcopy(body)
    inside = spoiled
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return spoiled


def bad_values(key: str, path: tuple[str, ...], good: object) -> list[object]:
    """What must be refused in the place of a good value."""
    values = (*NEVER, *WRONG[type(good)])
    if path in TYPED.get(key, set()):
        return [value for value in values if not isinstance(value, str) or value == INFINITE]
    return list(values)


def spoilt_at_once(key: str, body: dict[str, Any]) -> Iterable[dict[tuple[str, ...], list[object]]]:
    """The fields of a body with what each must refuse; together those that hide no error of each other."""
    groups = defaultdict[object, dict[tuple[str, ...], list[object]]](dict)
    for path, good in leaves(body, inner=True):
        if not is_open(key, path):
            depth = len(path) if isinstance(good, dict) else 0
            groups[path if path in JUDGED_BY_ANOTHER else depth][path] = bad_values(key, path, good)
    return groups.values()


@pytest.mark.parametrize("key", WITH_BODY)
def test_a_value_that_cannot_be_is_refused_by_its_field(asked: Asked, key: str) -> None:
    body = asked.body(key)
    for spoilt in spoilt_at_once(key, body):
        for number in range(max(map(len, spoilt.values()))):
            bad = body
            for path, values in spoilt.items():
                bad = changed(bad, path, values[number % len(values)])
            named = fields(send(asked, key, raw=json.dumps(bad).replace(f'"{INFINITE}"', INFINITE).encode()))
            accused = [{name for name in named if f"{name}.".startswith(f"{'.'.join(path)}.")} for path in spoilt]
            assert all(accused), (bad, named)
            assert named == set[str]().union(*accused), (bad, named)


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example", "//shop.example", "ftp://shop.example/", "javascript:alert(1)", "https://", "https:///path",
        "https://shop .example/", "https://shop.example/a b", "https://shop.example/\n", "https://shop.example/\x01",
        "https://[shop.example/", "https://shop\u2100.example/", "https://shop.example/" + "x" * 2000,
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused(asked: Asked, url: str) -> None:
    raw = json.dumps(changed(asked.body("POST /v1/signups"), ("user", "avatar_url"), url)).encode()
    assert fields(send(asked, "POST /v1/signups", raw=raw)) == {"user.avatar_url"}
    company = {"name": "x", "destination_url": url}
    assert asked.company.browser.send("POST", "/_local/companies", company).status == 400


@pytest.mark.parametrize("key", IDEMPOTENT)
def test_an_idempotency_key_that_cannot_be_is_refused(asked: Asked, key: str) -> None:
    for bad in ("", "a b", "x" * 256, "é", "\t"):
        problem(send(asked, key, idempotency_key=bad), 400, "idempotency_key_invalid")
