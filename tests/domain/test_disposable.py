"""Disposable e-mails, by the list itself: its domains, what lies below them, and what a company lets pass."""

import pytest
from disposable_email_domains import blocklist

from goodword.core import domains
from goodword.fraud import disposable


@pytest.mark.parametrize(
    ("domain", "listed"),
    [
        ("mailinator.com", "mailinator.com"),
        ("MAILINATOR.com", "mailinator.com"),
        ("mailinator.com.", "mailinator.com"),
        ("a.b.mailinator.com", "mailinator.com"),
        ("unlike-mailinator.com", None),
        ("mailinator.com.example", None),
        ("gmail.com", None),
        ("com", None),
        ("", None),
        ("..", None),
    ],
)
def test_a_domain_is_listed_itself_or_by_one_that_it_lies_below(domain: str, listed: str | None) -> None:
    assert disposable.listed(domain) == listed


def test_a_domain_beyond_ascii_is_listed_in_either_spelling() -> None:
    punycode = next(domain for domain in sorted(blocklist) if domain.startswith("xn--"))
    assert disposable.listed(punycode.encode().decode("idna")) == disposable.listed(punycode) == punycode


def test_the_list_is_spelled_as_domains_are_compared() -> None:
    assert len(blocklist) > 5000
    assert [domain for domain in blocklist if domains.canonical(domain) != domain] == []


@pytest.mark.parametrize(
    ("domain", "allowed", "listed"),
    [
        ("mailinator.com", ["mailinator.com"], None),
        ("our.mailinator.com", ["mailinator.com"], None),
        ("our.mailinator.com", ["our.mailinator.com"], None),
        ("mailinator.com", ["our.mailinator.com"], "mailinator.com"),
        ("mailinator.com", ["gmail.com"], "mailinator.com"),
    ],
)
def test_what_the_company_allows_passes_with_what_lies_below(
    domain: str, allowed: list[str], listed: str | None
) -> None:
    assert disposable.listed(domain, allowed) == listed
