"""Every entry is sealed exactly once, in chains that anybody can compute again, whatever happens at the same time."""

import random
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from goodword.insight import checks, windows
from tests.support import chain
from tests.support.chain import seal, seal_all, seals
from tests.support.everything import fill
from tests.support.tenants import Tenant
from tests.support.waiting import LONGEST_SECONDS, again_and_again

FAR_AHEAD = 10**15
"""A transaction's number that this cluster will never come to."""

_POST = "SELECT post_entry(%(company_id)s, %(user_id)s, 'IMPORT', 1, %(reference)s)"


def faults(tenant: Tenant) -> dict[str, list[str]]:
    return checks.faults(tenant.connection("admin"), tenant.id, windows.WHOLE)


def post(connection: psycopg.Connection, tenant: Tenant, user_id: UUID, reference: str) -> int:
    row = connection.execute(_POST, {"company_id": tenant.id, "user_id": user_id, "reference": reference}).fetchone()
    assert row is not None
    return row[0]


def test_anybody_can_compute_the_chain_again(tenant: Tenant) -> None:
    fill(tenant)
    ada = tenant.add_user("words")
    tenant.post(
        {"user_id": ada, "points": 5, "note": 'a "quoted" note', "program_version": 1, "expiry_months": 1},
        {"user_id": ada, "points": 7, "reference": 'ünïcode "quoted" \\ \t\n\x7f\x01 €', "occasion": "1"},
    )
    tenant.post({"user_id": ada, "points": 5, "type": "REVERSAL", "reference": tenant.entries(ada)[0]["reference"]})
    seal_all(tenant)
    sealed = seals(tenant)
    assert len(sealed) == 13
    assert [row["position"] for row in sealed] == list(range(1, len(sealed) + 1))
    assert [row["seal_hash"] for row in sealed] == chain.hashes(sealed)
    (head,) = tenant.rows("SELECT * FROM chain_heads WHERE company_id = %(company_id)s")
    assert (head["position"], head["hash"]) == (len(sealed), sealed[-1]["seal_hash"])
    assert faults(tenant) == {}


@pytest.mark.newest
def test_the_script_of_the_operations_page_does(tenant: Tenant, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "chain.py").write_text(script)

    def compute() -> subprocess.CompletedProcess[str]:
        server = tenant.superuser.info
        url = f"host={server.host} port={server.port} dbname={server.dbname} user={server.user}"
        command = [sys.executable, tmp_path / "chain.py", url, str(tenant.id)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    fill(tenant)
    tenant.post({"user_id": tenant.add_user("cleo"), "points": 5, "note": "x", "reference": 'ü "quoted" \\ \n'})
    seal_all(tenant)
    assert compute().stdout.strip() == seals(tenant)[-1]["seal_hash"].hex()
    third = seals(tenant)[2]["id"]
    with tenant.superuser.transaction():
        tenant.superuser.execute("SET LOCAL session_replication_role = replica")
        tenant.superuser.execute("UPDATE entries SET delta = delta + 1 WHERE id = %s", (third,))
    assert compute().stderr.strip() == f"txn_{third} is not what was sealed"


def test_a_note_can_be_erased_and_the_chain_holds(tenant: Tenant) -> None:
    tenant.post({"user_id": tenant.add_user("ada"), "points": 5, "note": "for her talk"})
    seal_all(tenant)
    tenant.rows("DELETE FROM entry_notes WHERE company_id = %(company_id)s RETURNING 1")
    assert faults(tenant) == {}


def test_each_company_has_a_chain_of_its_own(tenant: Tenant, other_tenant: Tenant) -> None:
    ada, ben = tenant.add_user("ada"), other_tenant.add_user("ben")
    for _ in range(3):
        tenant.post({"user_id": ada, "points": 1})
        other_tenant.post({"user_id": ben, "points": 1})
    seal_all(tenant)
    seal_all(other_tenant)
    for each in (tenant, other_tenant):
        assert [row["seal_hash"] for row in seals(each)] == chain.hashes(each.entries(ada if each is tenant else ben))


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_chain_sealed_in_parts_is_the_same(tenant: Tenant, limit: int) -> None:
    seal_all(tenant)
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(4)))
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(3)))
    counts = []
    while len(seals(tenant)) < 7:
        counts.append(seal(tenant, limit))
        assert len(counts) < 50
    assert all(sealed <= limit and more == (sealed == limit) for sealed, more in counts)
    assert [row["seal_hash"] for row in seals(tenant)] == chain.hashes(tenant.entries(ada))


def test_an_entry_that_is_committed_late_is_sealed_too(tenant: Tenant) -> None:
    """Its id is the lower one, and the other one was there before it."""
    ada, ben = tenant.add_user("ada"), tenant.add_user("ben")
    slow, quick = tenant.connection("app"), tenant.twin().connection("app")
    with slow.transaction():
        late = post(slow, tenant, ada, "late")
        early = post(quick, tenant, ben, "early")
        assert late < early
        seal(tenant)
        assert seals(tenant) == [], "something may still come before it"
    seal_all(tenant)
    assert [row["id"] for row in seals(tenant)] == [late, early]


def test_an_entry_of_an_older_transaction_is_sealed_too(tenant: Tenant) -> None:
    """Its transaction is the older one, its id the higher one."""
    ada, ben = tenant.add_user("ada"), tenant.add_user("ben")
    slow, quick = tenant.connection("app"), tenant.twin().connection("app")
    with slow.transaction():
        slow.execute("SELECT pg_current_xact_id()")
        early = post(quick, tenant, ben, "early")
        seal(tenant)
        late = post(slow, tenant, ada, "late")
        seal(tenant)
        assert seals(tenant) == []
    seal_all(tenant)
    assert [row["id"] for row in seals(tenant)] == [late, early]


def test_what_was_rolled_back_holds_nothing_up(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    connection = tenant.connection("app")
    with connection.transaction(force_rollback=True):
        post(connection, tenant, ada, "never")
    kept = post(connection, tenant, ada, "kept")
    seal_all(tenant)
    assert [row["id"] for row in seals(tenant)] == [kept]


@pytest.mark.newest
def test_nothing_is_skipped_or_sealed_twice_while_many_post(tenant: Tenant) -> None:
    """Transactions of different lengths, some of them rolled back, while two sealers run without a pause."""
    users = [tenant.add_user(f"user-{number}") for number in range(8)]
    other = tenant.twin()

    def client(number: int) -> None:
        throw = random.Random(number)  # noqa: S311 - the same throws in every run; no secret
        connection = tenant.patient_twin("app").connection("app")
        for turn in range(60):
            with connection.transaction(force_rollback=throw.random() < 0.2):
                for step in range(throw.randint(1, 4)):
                    post(connection, tenant, users[number], f"{number} {turn} {step}")
                    connection.execute("SELECT pg_sleep(%s)", (throw.random() / 500,))

    with (
        again_and_again(lambda: seal(tenant, 5), pause_seconds=0) as first,
        again_and_again(lambda: seal(other, 50), pause_seconds=0) as second,
        ThreadPoolExecutor(len(users)) as pool,
    ):
        list(pool.map(client, range(len(users))))
    assert min(first["done"], second["done"]) > 1
    seal_all(tenant)
    sealed = seals(tenant)
    everything = tenant.rows("SELECT id FROM entries WHERE company_id = %(company_id)s ORDER BY xact, id")
    assert [row["id"] for row in sealed] == [row["id"] for row in everything]
    assert [row["seal_hash"] for row in sealed] == chain.hashes(sealed)
    assert faults(tenant) == {}


def test_a_second_sealer_does_nothing_and_does_not_wait(tenant: Tenant) -> None:
    tenant.post({"user_id": tenant.add_user("ada"), "points": 1})
    first, second = tenant.twin(), tenant.twin()
    with first.connection("jobs").transaction():
        seal(first)
        assert seal(second) == (0, False)
    seal_all(tenant)
    assert len(seals(tenant)) == 1


def test_sealers_at_once_seal_once(tenant: Tenant) -> None:
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(200)))
    start = threading.Barrier(6, timeout=LONGEST_SECONDS)

    def sealer(twin: Tenant) -> None:
        start.wait()
        for _ in range(20):
            seal(twin, 10)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(sealer, [tenant.twin() for _ in range(6)]))
    seal_all(tenant)
    assert [row["seal_hash"] for row in seals(tenant)] == chain.hashes(tenant.entries(ada))


def test_a_sealer_that_was_killed_leaves_nothing_behind(tenant: Tenant) -> None:
    seal_all(tenant)
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(3)))
    doomed = tenant.connection("jobs")
    doomed.execute("BEGIN")
    assert seal(tenant)[0] >= 3
    tenant.superuser.execute("SELECT pg_terminate_backend(%s, 10000)", (doomed.info.backend_pid,))
    assert seals(tenant) == []
    twin = tenant.twin()
    seal_all(twin)
    assert [row["seal_hash"] for row in seals(twin)] == chain.hashes(tenant.entries(ada))


def test_no_role_seals_by_itself(tenant: Tenant) -> None:
    """Nor does the job's: it may have it done, and change nothing of it."""
    for statement in (
        "INSERT INTO seals VALUES (%(company_id)s, 1, 1, sha256(''))",
        "UPDATE chain_heads SET position = 0 WHERE company_id = %(company_id)s",
        "UPDATE sealing SET entry = 0",
    ):
        for role in ("click", "webhook", "app", "admin", "jobs"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                tenant.connection(role).execute(statement.encode(), {"company_id": tenant.id})


def test_a_copy_in_another_cluster_goes_on(tenant: Tenant) -> None:
    """Copied row by row: the cursor, and some entries, have numbers of transactions that do not exist here."""
    ada = tenant.add_user("ada")
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(3)))
    seal_all(tenant)
    tenant.post(*({"user_id": ada, "points": 1} for _ in range(4)))
    foreign, _, _, _ = [entry["id"] for entry in tenant.entries(ada)[3:]]
    with tenant.superuser.transaction():
        tenant.superuser.execute("SET LOCAL session_replication_role = replica")
        tenant.superuser.execute("UPDATE sealing SET xact = %s", (FAR_AHEAD - 1,))
        tenant.superuser.execute("UPDATE entries SET xact = %s WHERE id = %s", (FAR_AHEAD, foreign))
    assert faults(tenant) == {}, "that of another cluster's transactions cannot be told"
    seal_all(tenant)
    assert foreign in [row["id"] for row in seals(tenant)]
    assert tenant.rows("SELECT xact < %(far)s AS here FROM sealing", far=FAR_AHEAD - 1) == [{"here": True}]
    tenant.post({"user_id": ada, "points": 1})
    seal_all(tenant)
    sealed = seals(tenant)
    assert [row["position"] for row in sealed] == list(range(1, 9))
    assert [row["seal_hash"] for row in sealed] == chain.hashes(sealed)
    assert {row["id"] for row in sealed} == {entry["id"] for entry in tenant.entries(ada)}
    assert faults(tenant) == {}
