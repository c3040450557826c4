"""Where tests are dealt to several processes, a file's tests stay together: they share what the file sets up."""

from pathlib import Path

from tests.support.dealing import ALONE, SECONDS, SERVED, group_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_of_a_file_are_dealt_together() -> None:
    file = "tests/functions/test_signups.py"
    assert {group_of(f"{file}::test_one[a::b]"), group_of(f"{file}::test_another")} == {file}


def test_what_is_built_is_built_once() -> None:
    files = ("tests/bundle/test_artefacts.py", "tests/bundle/test_functions.py")
    assert {group_of(f"{file}::test_one") for file in files} == {"tests/bundle"}


def test_the_parts_of_a_model_are_dealt_one_by_one() -> None:
    assert {group_of(f"{file}::test_one[1]") for file in ALONE} == {f"{file}::test_one[1]" for file in ALONE}


def test_what_takes_long_is_there() -> None:
    assert [path for path in (*SECONDS, *ALONE, *SERVED) if not (ROOT / path).exists()] == []
