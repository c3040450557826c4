"""No connection can be made: nobody is asked more often than helps, and one line a request says why."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from goodword.core import connection, faults
from local import setup
from local.postgres import Cluster
from local.setup import Prepared
from tests.conftest import serve
from tests.support import log_lines
from tests.support.companies import Company
from tests.support.traffic import assert_unavailable
from tests.support.waiting import wait_until
from tests.support.wire_proxy import WireProxy

REQUESTS = 6


@pytest.fixture
def behind(proxy: WireProxy, tmp_path: Path) -> Iterator[serve]:
    """A bundle that reaches the database through the proxy, one process a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOODWORD_WORKERS", "1")
        url = f"postgresql://postgres@/{setup.DATABASE}?host={proxy.folder}"
        with (running := serve(url, tmp_path)):
            yield running


def outages(log: Path) -> list[dict[str, object]]:
    """The lines about the database, without what differs from request to request."""
    lines = [line for line in log_lines.read(log) if line["message"] == "database unavailable"]
    assert len({line["request_id"] for line in lines}) == len(lines)
    return [{name: line[name] for name in ("level", "route", "fault", "connection")} for line in lines]


def test_a_request_connects_three_times_and_the_next_ones_wait_for_a_second(
    behind: serve, proxy: WireProxy, superuser: psycopg.Connection
) -> None:
    company = Company.open(behind.url).trust()
    company.sign_up("ada")
    company.ok("GET", "/v1/users/ada")  # the key is known from here on
    with proxy.refusing():
        superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'goodword\\_%'")
        wait_until(lambda: proxy.wires == 0, "every connection is gone")
        answers = [company.api.send("GET", "/v1/users/ada")]
        assert proxy.refused == connection.MOST_CONNECTS
        began = time.monotonic()
        answers += [company.api.send("GET", "/v1/users/ada") for _ in range(REQUESTS)]
        # once a second at most, however long this machine took
        assert proxy.refused - connection.MOST_CONNECTS <= 1 + (time.monotonic() - began) / connection.REST_SECONDS
    for answer in answers:
        assert_unavailable(answer)
    said = {"level": "ERROR", "route": "GET /v1/users/{user_id}", "fault": "OperationalError", "connection": "hung_up"}
    assert outages(behind.log) == [said] * len(answers)
    written = behind.log.read_text()
    assert not [value for value in (str(proxy.folder), "goodword_app", "Is the server running") if value in written]
    wait_until(lambda: company.api.send("GET", "/v1/users/ada").status == 200, "it asks again")
    company.close()


def failure(**parameters: object) -> str:
    """What is told of the failure to connect like that."""
    with pytest.raises(psycopg.OperationalError) as failed:
        psycopg.connect(**{"dbname": "goodword", "user": "goodword_app", **parameters})
    assert failed.value.sqlstate is None
    return faults.connection_failure(failed.value)


def test_a_wrong_host_port_user_or_database_is_told_by_its_kind(cluster: Cluster, prepared: Prepared) -> None:
    del prepared  # the database must be there
    there = str(cluster.socket_directory)
    assert failure(host="nowhere.invalid") == "host_unknown"
    assert failure(host=str(cluster.data)) == "refused"
    assert failure(host=there, user="nobody") == "role_or_database_unknown"
    assert failure(host=there, user="postgres", dbname="nothing") == "role_or_database_unknown"


def test_a_server_that_is_none_is_told_by_its_kind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert failure(host="127.0.0.1", port=port, connect_timeout=2) == "timed_out"
    assert failure(host="127.0.0.1", port=port) == "refused"
    with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as other:
        other.submit(_refuse_tls, plain)
        assert failure(host="127.0.0.1", port=plain.getsockname()[1], sslmode="require") == "tls_refused"


def _refuse_tls(listener: socket.socket) -> None:
    with listener.accept()[0] as client:
        client.recv(8)
        client.sendall(b"N")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('FATAL:  PAM authentication failed for user "goodword_app"', "password"),
        ('FATAL:  password authentication failed for user "goodword_app"', "password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.7", user "goodword_app", database "goodword"', "not_permitted"),
        ("SSL error: certificate verify failed", "certificate"),
        ('root certificate file "/opt/certs/rds-ca.pem" does not exist\nEither provide the file', "certificate"),
        ('server certificate for "a.example" does not match host name "b.example"', "certificate"),
        ("FATAL:  sorry, too many clients already", "too_many_connections"),
        ("FATAL:  remaining connection slots are reserved for roles", "too_many_connections"),
        ("FATAL:  the database system is starting up", "starting_or_stopping"),
        ("session is read-only", "read_only"),
        ("connection timeout expired", "timed_out"),
        ("No route to host\n\tIs the server running on that host", "unreachable"),
        ("something new of goodword_app", "other"),
    ],
)
def test_what_a_server_says_is_told_by_its_kind(message: str, kind: str) -> None:
    said = f'connection failed: connection to server at "10.0.0.9", port 5432 failed: {message}'
    assert faults.described(psycopg.OperationalError(said)) == {
        "fault": "OperationalError",
        "sqlstate": None,
        "constraint": None,
        "connection": kind,
    }
