"""JSON bodies before they are parsed: what is no text is seen, or marked with a NUL."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.core import json_bodies


@pytest.mark.parametrize(("escaped", "text"), [
    (rb"\ud83d", "\0"), (rb"\uDE00\uD83D", "\0\0"), (rb"a\ud83d b", "a\0 b"), (rb"\ud83d\ude00", "😀"),
    (rb"\ud83d\ud83d\ude00", "\0😀"), (rb"\\ud83d", r"\ud83d"), (rb"\\\ud83d", "\\\0"),
    (rb"\ud83d\\ude00", "\0\\ude00"),
    (rb"\u00e9\"\n", 'é"\n'),
])  # fmt: skip
def test_half_a_pair_is_marked_and_a_whole_one_is_left(escaped: bytes, text: str) -> None:
    assert json.loads(json_bodies.with_marks(b'"' + escaped + b'"')) == text


@given(st.text(st.characters()))
def test_a_mark_stands_for_each_half_and_for_nothing_else(text: str) -> None:
    marked = json.loads(json_bodies.with_marks(json.dumps(text).encode()))
    assert marked == json.loads(json.dumps("".join("\0" if "\ud800" <= each <= "\udfff" else each for each in text)))


@given(st.binary())
def test_a_text_that_was_whole_is_taken_as_it_is(raw: bytes) -> None:
    handed_over = raw.decode(errors="replace").encode()
    if handed_over == raw:
        assert not json_bodies.is_altered(handed_over, str(len(raw)))
    assert not json_bodies.is_altered(handed_over, None)


@pytest.mark.parametrize("raw", [b"\xff", b"caf\xe9", b"\xc3(", b"\xed\xa0\x80", b"\xc0\x80"])
def test_a_text_in_another_encoding_is_seen_by_its_length(raw: bytes) -> None:
    assert json_bodies.is_altered(raw.decode(errors="replace").encode(), str(len(raw)))
