"""Disposable e-mails: the domains that give mailboxes to anybody for minutes, by a list that others keep."""

from collections.abc import Collection, Iterator
from functools import cache

from goodword.core import domains


def listed(domain: str, allowed: Collection[str] = ()) -> str | None:
    """The domain on the list that a domain is, or lies below; None for one that the company has allowed.

    Whoever is allowed may lie below a domain that is listed, and whoever lies below an allowed one is allowed too.
    """
    names = list(_and_above(domains.spelled(domain)))
    found = next((name for name in names if name in _list()), None)
    return None if found is None or any(name in allowed for name in names) else found


def _and_above(domain: str) -> Iterator[str]:
    """A domain, and those that it lies below, but for the topmost."""
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        yield ".".join(labels[start:])


@cache
def _list() -> frozenset[str]:
    """The list, which is loaded when the first e-mail is judged."""
    from disposable_email_domains import blocklist  # noqa: PLC0415 - it is long, and no other path needs it

    return frozenset(blocklist)
