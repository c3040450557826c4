"""The environment variables of the local runner: what makes no sense is one line that says why."""

import os
from pathlib import Path

import pytest

from local import environment
from local.environment import DEFAULT_DESTINATION, UsageError
from local.template import load

PARAMETERS = load(Path(__file__).parents[2] / "template.yaml").parameters
VARIABLES = (
    "PORT",
    "GOODWORD_HOME",
    "DESTINATION",
    "DATABASE_URL",
    "GOODWORD_WORKERS",
    "ONCE",
    *environment.PARAMETERS,
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_nothing_needs_to_be_said() -> None:
    settings = environment.read(PARAMETERS)
    assert (settings.port, settings.home.name, settings.destination) == (3000, ".goodword", DEFAULT_DESTINATION)
    assert (settings.database_url, settings.once, settings.parameters) == (None, False, {})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "http", "PORT is not a whole number: http"),
        ("PORT", "-1", "PORT is not a whole number: -1"),
        ("PORT", "٣", "PORT is not a whole number: ٣"),
        ("GOODWORD_WORKERS", "0", "GOODWORD_WORKERS is 0, and must be at least 1"),
        ("GOODWORD_WORKERS", "many", "GOODWORD_WORKERS is not a whole number: many"),
        ("LOG_LEVEL", "nonsense", "LOG_LEVEL is nonsense, and must be one of DEBUG, INFO, WARN, ERROR"),
        ("ALLOW_APP_ENDPOINTS", "yes", "ALLOW_APP_ENDPOINTS is yes, and must be one of true, false"),
    ],
)
def test_a_value_that_makes_no_sense_is_said(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as refusal:
        environment.read(PARAMETERS)
    assert str(refusal.value) == said


@pytest.mark.parametrize(
    "url",
    [
        "my secret",
        "postgresql://me:my%secret@db.example.com/app",
        "postgresql://me:my/secret@db.example.com/app",
        "postgresql://me:12/secret@db.example.com/app",
        "postgresql://me:my@secret@db.example.com/app",
        "postgresql://me:mysecret@db.example.com/app?colour=red",
        "host=db.example.com password='secret",
        "secret://db.example.com/app",
    ],
)
def test_a_database_url_that_cannot_be_read_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(UsageError, match=r"^DATABASE_URL is not as postgresql://") as refusal:
        environment.read(PARAMETERS)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:my%2Fsecret@db.example.com:5432/app",
        "postgresql://postgres@/goodword?host=%2Ftmp%2Fsocket&port=5432",
        "postgresql://me%40host:secret@a.example.com,b.example.com/app?sslmode=require",
        "host=db.example.com port=5432 user=me password=secret dbname=app",
    ],
)
def test_a_database_url_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert environment.read(PARAMETERS).database_url == url


def test_what_the_shell_says_of_another_postgres_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PGOPTIONS", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.setenv(name, "another")
    environment.forget_libpq()
    assert not [name for name in os.environ if name.startswith("PG")]
