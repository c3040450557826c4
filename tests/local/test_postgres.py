"""local/postgres.py: one server, one data folder, and nothing left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.postgres import Cluster, ClusterError, installations
from tests.local.support import family, wait_until_gone

ROOT = Path(__file__).resolve().parent.parent.parent

STARTER = """
import sys
from pathlib import Path
from local.postgres import Cluster

cluster = Cluster(Path(sys.argv[1]), durable=False)
cluster.start()
with open(cluster.log.parent / "postmaster.pid") as file:
    print(file.readline().strip(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a server has made and left."""
    cluster = Cluster(tmp_path_factory.mktemp("initialised") / "postgres", durable=False)
    cluster.start()
    cluster.stop()
    return cluster.data


@pytest.fixture
def data(initialised: Path, tmp_path: Path) -> Path:
    """A copy of it: making one takes most of the time of a test."""
    copy = tmp_path / "postgres"
    subprocess.run(["cp", "-a", initialised, copy], check=True)
    return copy


@pytest.fixture
def running(data: Path) -> Iterator[Cluster]:
    cluster = Cluster(data, durable=False)
    cluster.start()
    yield cluster
    cluster.stop()


def value_of(cluster: Cluster, query: str) -> object:
    with psycopg.connect(cluster.superuser_url(), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def execute(cluster: Cluster, statement: str) -> None:
    with psycopg.connect(cluster.superuser_url(), autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize("major", installations())
def test_every_installed_version_starts(tmp_path: Path, major: int) -> None:
    cluster = Cluster(tmp_path / "postgres", major=major, durable=False)
    cluster.start()
    try:
        assert str(value_of(cluster, "SHOW server_version")).startswith(f"{major}.")
        assert value_of(cluster, "SHOW server_encoding") == "UTF8"
        assert value_of(cluster, "SHOW timezone") == "UTC"
    finally:
        cluster.stop()


def test_a_second_start_has_the_data_of_the_first(running: Cluster) -> None:
    execute(running, "CREATE TABLE kept AS SELECT 42 AS answer")
    running.stop()
    running.start()
    assert value_of(running, "SELECT answer FROM kept") == 42


def test_a_killed_server_recovers_what_was_committed(running: Cluster) -> None:
    execute(running, "CREATE TABLE kept AS SELECT 42 AS answer")
    with psycopg.connect(running.superuser_url()) as lost:
        lost.execute("INSERT INTO kept VALUES (43)")
        running.kill()
        with pytest.raises(psycopg.OperationalError):
            lost.execute("SELECT 1")
    running.start()
    assert value_of(running, "SELECT array_agg(answer) FROM kept") == [42]


def test_data_in_use_names_the_process(running: Cluster) -> None:
    pid = (running.data / "postmaster.pid").read_text().splitlines()[0]
    with pytest.raises(ClusterError, match=f"already in use by process {pid}, .*GOODWORD_HOME$"):
        Cluster(running.data, durable=False).start()
    assert value_of(running, "SELECT 1") == 1


def test_data_of_another_version_is_refused(running: Cluster) -> None:
    running.stop()
    with pytest.raises(ClusterError, match=r"holds data of PostgreSQL 18, not 16$"):
        Cluster(running.data, major=16).start()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "letter.txt").write_text("dear")
    with pytest.raises(ClusterError, match="neither empty nor a PostgreSQL data folder"):
        Cluster(data).start()
    assert [path.name for path in data.parent.rglob("*")] == ["postgres", "letter.txt"]


def test_damaged_data_is_one_line(running: Cluster) -> None:
    running.stop()
    (running.data / "global" / "pg_control").write_bytes(b"damaged")
    with pytest.raises(ClusterError) as refusal:
        running.start()
    assert "does not start" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_nothing_listens_on_tcp_unless_asked_to(running: Cluster) -> None:
    assert value_of(running, "SHOW listen_addresses") == ""


def test_tcp_is_an_option_and_asks_for_a_password(data: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = Cluster(data, port=port, durable=False)
    cluster.start()
    try:
        execute(cluster, "CREATE ROLE guest LOGIN PASSWORD 'welcome'")
        with psycopg.connect(f"postgresql://guest:welcome@127.0.0.1:{port}/postgres") as guest:
            assert guest.info.host == "127.0.0.1"
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://guest:wrong@127.0.0.1:{port}/postgres")
    finally:
        cluster.stop()


def test_only_the_owner_may_enter_the_sockets_folder(running: Cluster) -> None:
    assert running.socket_directory.stat().st_mode & 0o077 == 0


def test_a_long_path_gets_its_socket_elsewhere_for_the_time(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / ("long" * 30) / "postgres", durable=False)
    cluster.start()
    elsewhere = cluster.socket_directory
    try:
        assert value_of(cluster, "SELECT 1") == 1
        assert elsewhere.parent == Path(tempfile.gettempdir())
    finally:
        cluster.stop()
    assert not elsewhere.exists()


@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_does_not_outlive_the_one_who_started_it(data: Path, death: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(data)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        everybody = family(starter.pid)
        assert server in everybody
        starter.send_signal(death)
    assert wait_until_gone(everybody) == set()
    assert not (data / "postmaster.pid").exists()  # it was no crash


# Root may be refused user namespaces, in containers above all: then there is setpriv, and no unshare to be found.
WAYS = ["", *(["setpriv"] if os.geteuid() == 0 else [])]


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that is closed to others, in another one, as a home of root's is; with a PostgreSQL in it."""
    folder = tmp_path / "closed" / "home"
    package = installations()[18].parents[1]
    for part in (f"{package.name}.libs", f"{package.name}/.dylibs", f"{package.name}/pginstall18"):
        if (package.parent / part).exists():
            shutil.copytree(package.parent / part, folder / part, copy_function=_link, symlinks=True)
    (folder / package.name / "__init__.py").touch()
    for each in (folder, folder.parent):
        each.chmod(0o700)
    yield folder
    shutil.rmtree(folder)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)


@pytest.mark.parametrize("only_tool", WAYS)
def test_it_runs_as_root_or_as_anybody(closed: Path, tmp_path: Path, only_tool: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(closed)}
    if only_tool:
        found = shutil.which(only_tool)
        assert found is not None
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / only_tool).symlink_to(found)
        environment["PATH"] = str(tmp_path / "bin")
    data = closed / "postgres"
    starter = [sys.executable, "-c", STARTER, str(data)]
    for _ in range(2):  # the second time on the data of the first
        done = subprocess.run(starter, cwd=ROOT, env=environment, input=b"", capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert wait_until_gone({int(done.stdout)}) == set()
    assert not only_tool or data.stat().st_uid != os.geteuid()
