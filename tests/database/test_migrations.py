"""The runner of migrations, and who owns what it makes."""

import threading
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise

import psycopg
import pytest

from goodword import migrations
from goodword.migrations import FILE_NAME, MigrationError, migrate
from goodword.migrations.roles import LOGIN
from local.postgres import Cluster
from tests.database.conftest import an_empty_database
from tests.support.waiting import LONGEST_SECONDS

NAMES = [migration.name for migration in migrations.migrations()]


def migrator(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def applied(connection: psycopg.Connection) -> list[str]:
    return [
        name for (name,) in connection.execute("SELECT name FROM goodword.schema_migrations ORDER BY applied_at, name")
    ]


@pytest.fixture(scope="module")
def once_migrated(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """The migrator of a database to which every file was applied."""
    with an_empty_database(cluster) as url, migrator(url) as connection:
        assert migrate(connection, "other") == NAMES
        yield connection


@pytest.fixture
def migrated(once_migrated: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The same, for a test of which nothing stays."""
    with once_migrated.transaction(force_rollback=True):
        yield once_migrated


def test_files_are_numbered_without_a_gap() -> None:
    files = sorted(each.name for each in resources.files(migrations).iterdir() if each.name.endswith(".sql"))
    assert [name for name in files if not FILE_NAME.match(name)] == []
    numbers = [int(name[:4]) for name in files]
    assert numbers[0] == 1
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
    assert files == NAMES


def test_a_second_run_applies_nothing(once_migrated: psycopg.Connection) -> None:
    assert applied(once_migrated) == NAMES
    assert migrate(once_migrated, "other") == []
    assert applied(once_migrated) == NAMES


def test_two_runs_at_once_apply_each_file_once(empty_database: str) -> None:
    runs = 2
    start, done = threading.Barrier(runs, timeout=LONGEST_SECONDS), {}

    def run(number: int) -> None:
        with migrator(empty_database) as connection:
            start.wait()
            done[number] = migrate(connection, "other")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == runs, "one run failed"
    assert sorted(done[0] + done[1]) == NAMES


def test_a_file_changed_after_it_was_applied_is_refused(migrated: psycopg.Connection) -> None:
    migrated.execute(
        "UPDATE goodword.schema_migrations SET sha256 = sha256('another text') WHERE name = %s", (NAMES[1],)
    )
    with pytest.raises(MigrationError, match=f"{NAMES[1]} was changed"):
        migrate(migrated, "other")


def test_a_database_newer_than_the_release_is_refused(migrated: psycopg.Connection) -> None:
    migrated.execute(
        "INSERT INTO goodword.schema_migrations (name, sha256) VALUES ('9999_of_tomorrow.sql', sha256(''))"
    )
    with pytest.raises(MigrationError, match=r"newer than this release: it has 9999_of_tomorrow\.sql"):
        migrate(migrated, "other")


def test_a_file_that_fails_leaves_nothing_and_is_applied_later(empty_database: str) -> None:
    with migrator(empty_database) as connection:
        connection.execute("CREATE SCHEMA goodword")
        connection.execute("CREATE TABLE goodword.allocations (in_the_way integer)")
        with pytest.raises(psycopg.errors.DuplicateTable):
            migrate(connection, "other")
        (ledger,) = [name for name in NAMES if name.endswith("_ledger.sql")]
        assert applied(connection) == NAMES[: NAMES.index(ledger)]
        assert connection.execute("SELECT to_regclass('goodword.wallets')").fetchone() == (None,)
        connection.execute("DROP TABLE goodword.allocations")
        assert migrate(connection, "other") == NAMES[NAMES.index(ledger) :]


def test_the_migrator_is_no_superuser_and_nobody_else_makes_anything(superuser: psycopg.Connection) -> None:
    roles = superuser.execute(
        """
        SELECT replace(rolname, 'goodword_', ''), rolcanlogin,
            rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,
            has_schema_privilege(oid, 'goodword', 'CREATE'), has_database_privilege(oid, current_database(), 'CREATE')
        FROM pg_roles WHERE rolname LIKE 'goodword\\_%'
        """
    ).fetchall()
    assert {name for name, *_ in roles} == {*LOGIN, "ledger"}
    assert {name for name, can_login, *_ in roles if can_login} == set(LOGIN)
    assert [name for name, _, powerful, *_ in roles if powerful] == []
    # to own functions in a schema, a role must be allowed to create in it; nobody can log in as the ledger
    assert {name for name, _, _, creates, _ in roles if creates} == {"migrator", "ledger"}
    assert [name for name, *_, creates in roles if creates] == ["migrator"]


def test_only_the_migrator_belongs_to_another_role(superuser: psycopg.Connection) -> None:
    memberships = superuser.execute(
        """
        SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members
        WHERE member::regrole::text LIKE 'goodword\\_%' OR roleid::regrole::text LIKE 'goodword\\_%'
        """
    ).fetchall()
    assert memberships == [("goodword_migrator", "goodword_ledger")]


def test_everything_belongs_to_the_migrator_except_what_posts_points(superuser: psycopg.Connection) -> None:
    """What runs with its owner's rights belongs to the ledger, and nothing else does."""
    owners = superuser.execute(
        """
        SELECT 'schema', nspname, nspowner::regrole::text, false FROM pg_namespace WHERE nspname = 'goodword'
        UNION ALL
        SELECT 'relation', relname, relowner::regrole::text, false FROM pg_class
        WHERE relnamespace = 'goodword'::regnamespace
        UNION ALL
        SELECT 'type', typname, typowner::regrole::text, false FROM pg_type
        WHERE typnamespace = 'goodword'::regnamespace
        UNION ALL
        SELECT 'function', proname, proowner::regrole::text, prosecdef FROM pg_proc
        WHERE pronamespace = 'goodword'::regnamespace
        """
    ).fetchall()
    strangers = [
        (kind, name, owner)
        for kind, name, owner, definer in owners
        if owner != ("goodword_ledger" if definer else "goodword_migrator")
    ]
    assert strangers == []
    assert {name for _, name, _, definer in owners if definer} == {
        "post_entries", "post_entry", "adjust_points", "redeem", "refund_redemption", "decide_reward",
        "expire_due_lots", "claim_idempotency_key", "keep_idempotent_answer", "forget_expired_keys", "seal_entries",
        "rebuild_wallets", "grant_of_milestone", "surviving_privacy_keys",
    }  # fmt: skip


def test_functions_with_their_owners_rights_choose_their_own_search_path(superuser: psycopg.Connection) -> None:
    loose = superuser.execute(
        """
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'goodword'::regnamespace AND prosecdef
            AND NOT coalesce(proconfig @> '{"search_path=goodword, pg_temp"}', false)
        """
    ).fetchall()
    assert loose == []


def test_the_prefix_of_the_roles_stands_in_no_other_role(once_migrated: psycopg.Connection) -> None:
    """Two deployments may share a cluster: nothing that one makes is granted to the roles of the other."""
    strangers = once_migrated.execute(
        """
        SELECT DISTINCT refobjid::regrole::text FROM pg_shdepend
        WHERE refclassid = 'pg_authid'::regclass
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND refobjid::regrole::text NOT LIKE 'other\\_%'
        """
    ).fetchall()
    assert strangers == []
