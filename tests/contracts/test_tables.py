"""The arrows of the house in SQL: a room's SQL reads tables of rooms below it, and writes only its own.

Which room a table belongs to, docs/architecture.md says. SQL stands in the constants of the layer's modules and in the
functions of the migrations; a function belongs to a room as a module does, and is called by it and by rooms above it.
Comments are no SQL. A name counts where a statement reads or writes a table, so a column or an alias is none.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from tests.contracts.support import section
from tests.contracts.test_arrows import FLOORS, LAYER, MODULES

TABLES = {
    table: room
    for room, tables in re.findall(r"^\| (\w+) \| (`.*) \|$", section("Whose a table is"), re.MULTILINE)
    for table in re.findall(r"`(\w+)`", tables)
}

# Rows that every room writes in its own transaction.
EVERYBODYS = {"outbox_events", "activity", "idempotent_answers"}

# Whose the functions of a migration are.
MIGRATIONS = {
    "0001_foundation": "core", "0002_users": "accounts", "0003_programs": "program", "0004_codes": "referral",
    "0005_clicks": "referral", "0006_referrals": "awards", "0007_payments": "facts", "0008_ownership": "facts",
    "0009_touches": "facts", "0010_identity_locks": "facts", "0011_ledger": "points", "0012_awards": "awards",
    "0013_plans": "access", "0014_grants": "access", "0015_usage": "access", "0016_redemptions": "points",
    "0017_inbox": "payments", "0018_jobs": "core", "0019_ledger_chain": "insight", "0020_signups": "referral",
    "0021_events": "facts", "0022_coupons": "access", "0023_campaigns": "campaigns",
    "0024_milestones": "awards", "0025_fraud": "fraud",
}  # fmt: skip

# Functions of another room than their migration's.
FUNCTIONS = {
    "touches_of": "referral",  # which promotion codes are referral codes
    "undecided_among": "referral",  # and who is referred by nobody
    "waiting_for_promotion": "referral",  # and who is referred by nobody
    "expire_due_lots": "points",  # which lots are due
    "rebuild_wallets": "points",  # what a wallet is by its entries
}

# What a room, or one function, reads or writes of a higher room, and why it may.
EXCEPTIONS = {
    ("core", "reads companies"): "every request begins by them",
    ("core", "writes api_keys"): "and keeps, where it asks for one, that it was used",
    ("access", "reads codes"): "a coupon names the referral code that those who bring it have come by",
    ("lock_promotion", "calls waiting_for_promotion"): "those who wait are held before the code, in one trip",
    ("deliver", "writes quota_grants"): "a redemption opens its quota in its one trip",
    ("undo_redemption", "writes quota_grants"): "a refund ends it in the same way",
}


class Sql(NamedTuple):
    """SQL of a room: where it stands, and its text."""

    room: str
    name: str
    text: str


def constants() -> Iterator[Sql]:
    """Every text of a module that holds SQL, with the parts of an f-string."""
    for path in MODULES:
        room = path.relative_to(LAYER).parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body and isinstance(node.body[0], ast.Expr)
        }  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield Sql(room, f"{path.relative_to(LAYER)}:{node.lineno}", node.value)


def functions() -> Iterator[Sql]:
    """Every function of the migrations, with its body."""
    for name, room in MIGRATIONS.items():
        migration = re.sub(r"--.*", "", (LAYER / f"migrations/{name}.sql").read_text(encoding="utf-8"))
        for created in re.split(r"^(?=CREATE )", migration, flags=re.MULTILINE):
            if found := re.match(r"CREATE FUNCTION (\w+)", created):
                yield Sql(FUNCTIONS.get(found[1], room), found[1], created)


BODIES = {each.name: each for each in functions()}


@cache
def all_sql() -> list[Sql]:
    """Of the modules and of the migrations."""
    return [*constants(), *BODIES.values()]


_WRITTEN = re.compile(r"\bINSERT INTO (\w+)|(?<!FOR )(?<!KEY )(?<!DO )\bUPDATE (\w+)|\bDELETE FROM (\w+)")
_ITEM = r"(?:ONLY )?[a-z]\w*(?: (?:AS )?[a-z]\w*)?"
_FROM = re.compile(rf"\b(?:FROM|JOIN|USING) ({_ITEM}(?: ?, ?{_ITEM})*)")
_CALLED = re.compile(r"\b(\w+)\s*\(")


def deeds(sql: Sql) -> Iterator[tuple[str, str]]:
    """What SQL does and whose that is: tables that it reads or writes, functions that it calls."""
    text = re.sub(r"\s+", " ", sql.text)
    named = set(re.findall(r"(\w+) AS (?:MATERIALIZED )?\(", text))  # a subquery of this name
    written = {name for names in _WRITTEN.findall(text) for name in names if name in TABLES}
    listed = {
        part.removeprefix("ONLY ").split()[0] for names in _FROM.findall(text) for part in re.split(" ?, ?", names)
    }
    for table in written:
        yield f"writes {table}", TABLES[table]
    for table in (listed & TABLES.keys()) - written - named:
        yield f"reads {table}", TABLES[table]
    for name in (set(_CALLED.findall(text)) & BODIES.keys()) - {sql.name}:
        yield f"calls {name}", BODIES[name].room


def is_allowed(sql: Sql, deed: str, owner: str) -> bool:
    verb, name = deed.split()
    if name in EVERYBODYS or owner == sql.room:
        return True
    return verb != "writes" and (sql.room == "insight" or FLOORS.index(owner) < FLOORS.index(sql.room))


def faults() -> Iterator[tuple[Sql, str]]:
    return ((sql, deed) for sql in all_sql() for deed, owner in deeds(sql) if not is_allowed(sql, deed, owner))


def test_there_is_something_to_read() -> None:
    assert len(TABLES) > 40
    assert len(BODIES) > 60
    assert {sql.room for sql in all_sql() if any(deeds(sql))} == set(FLOORS)


def test_every_migration_is_some_rooms() -> None:
    assert MIGRATIONS.keys() == {path.stem for path in (LAYER / "migrations").glob("*.sql")}
    assert FUNCTIONS.keys() <= BODIES.keys()


def test_a_room_reads_tables_below_it_and_writes_its_own() -> None:
    upward = [
        f"{sql.name} of {sql.room} {deed}"
        for sql, deed in faults()
        if not EXCEPTIONS.keys() & {(sql.room, deed), (sql.name, deed)}
    ]
    assert upward == []


@pytest.mark.parametrize(("who", "deed"), EXCEPTIONS)
def test_an_exception_is_still_needed(who: str, deed: str) -> None:
    assert any(who in {sql.room, sql.name} and deed == done for sql, done in faults())


@pytest.mark.parametrize(
    ("room", "text", "expected"),
    [
        ("facts", "SELECT plan_id FROM plan_prices AS price", {"reads plan_prices"}),
        ("access", "SELECT 1 FROM users, referrals AS r WHERE true", {"reads referrals"}),
        ("referral", "WITH new AS (INSERT INTO referrals (id) VALUES (1)) SELECT 1", {"writes referrals"}),
        ("program", "UPDATE companies SET time_zone = 'UTC'", {"writes companies"}),
        ("points", "SELECT id FROM wallets FOR NO KEY UPDATE", set()),
        ("awards", "DELETE FROM codes USING clicks", {"writes codes", "reads clicks"}),
        ("facts", "SELECT touches_of(a, b)", {"calls touches_of"}),
        ("facts", "INSERT INTO outbox_events SELECT payments.id FROM payments", set()),
        ("awards", "WITH codes AS (SELECT 1) SELECT * FROM codes", set()),
    ],
)
def test_a_statement_that_reaches_upward_is_found(room: str, text: str, expected: set[str]) -> None:
    sql = Sql(room, "", text)
    assert {deed for deed, owner in deeds(sql) if not is_allowed(sql, deed, owner)} == expected


_LOCKING = re.compile(
    r"\b(?:lock|share)_(?:identities|objects|emails|people|event|newcomer|promotion)\b|\bpg_advisory\w+"
)


def test_only_one_module_takes_identity_locks() -> None:
    taking = {sql.name.partition(":")[0] for sql in constants() if _LOCKING.search(sql.text)}
    assert taking == {"facts/locks.py"}
    assert {sql.room for sql in BODIES.values() if "identities" in sql.text and _LOCKING.search(sql.text)} == {"facts"}
