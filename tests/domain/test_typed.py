"""What is made of a text that somebody has typed or pasted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.referral import typed

CLICK = "clk_0198c4a07b7e7334b0b47d45558a6c5a"


@pytest.mark.parametrize("text", [None, "", " ", "\r\n", "\u200b\ufeff"])
def test_nothing_given_is_nothing(text: str | None) -> None:
    assert typed.code(text) is None
    assert typed.click_id(text) is None


@pytest.mark.parametrize(("text", "code"), [
    ("ada23456", "ADA23456"), ("a b", "A B"), ("x" * 64, "X" * 64), ("x" * 65, typed.UNKNOWN),
    ("\0", typed.UNKNOWN), ("A\x00B", typed.UNKNOWN), ("A\tB", typed.UNKNOWN), ("A\ud800", typed.UNKNOWN),
    ("https://go.example/r/ADA?x=" + "y" * 500, "ADA"), ("go.example/r/a/b", "A"), ("/r/", "/R"), ("...", ""),
])  # fmt: skip
def test_a_text_is_a_code_if_it_can_be_one(text: str, code: str) -> None:
    assert typed.code(text) == code


@pytest.mark.parametrize("text", [CLICK.upper(), CLICK[:-1], f"{CLICK}0", CLICK.replace("clk", "ref"), "clk_", "\0"])
def test_a_text_that_is_no_click_is_an_unknown_one(text: str) -> None:
    assert typed.click_id(text) == typed.UNKNOWN
    assert typed.click_id(f"\u200b {CLICK}\n") == CLICK


@given(st.text(st.characters(), max_size=300))
def test_whatever_is_typed_can_be_looked_up(text: str) -> None:
    """Postgres takes it: no NUL, and nothing that UTF-8 cannot say."""
    found = typed.code(text)
    assert found is None or "\0" not in found.encode().decode()
