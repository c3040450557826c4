"""Domains of e-mails: one spelling for each, and what is none."""

import pytest

from goodword.core import domains


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("mail.example", "mail.example"),
        (" Mail.EXAMPLE. ", "mail.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a-b.4you.example", "a-b.4you.example"),
    ],
)
def test_a_domain_has_one_spelling(text: str, spelling: str) -> None:
    assert domains.canonical(text) == spelling


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "localhost", "a@mail.example", "https://mail.example", "mail.example/x", "mail.example:25",
        "-a.example", "a-.example", "a..example", "a b.example", "1.2.3.4", "[203.0.113.7]", f"{'a' * 64}.example",
        "_x.example", ".".join(["abcdefgh"] * 30), "mail.example\x00", "\udc80.example",
    ],
)  # fmt: skip
def test_what_is_no_domain_has_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be a domain"):
        domains.canonical(text)


@pytest.mark.parametrize("text", ["[203.0.113.7]", "a b", "ü b", "ü@x", "\udc80", "localhost"])
def test_what_stands_behind_an_at_sign_is_spelled_whatever_it_is(text: str) -> None:
    assert isinstance(domains.spelled(text), str)
