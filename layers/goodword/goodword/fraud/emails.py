"""E-mails that look alike: one person makes many of them by a tag, by dots, by a letter more or less. Pure."""

from typing import NamedTuple

SHORTEST = 6
"""Shorter names differ by a letter or two anyway."""

MOST_EDITS = 2


class Mailbox(NamedTuple):
    """An e-mail, taken apart: its name without tag and dots, and its domain."""

    name: str
    domain: str


def mailbox(email: str) -> Mailbox:
    """The two parts of an e-mail by which it is compared."""
    name, _, domain = email.strip().lower().rpartition("@")
    return Mailbox(name.partition("+")[0].replace(".", ""), domain)


def are_alike(one: Mailbox, other: Mailbox) -> bool:
    """Whether two e-mails may be one person's (docs/rules.md, Signals)."""
    if one.domain != other.domain:
        return False
    if one.name == other.name:
        return True
    return min(len(one.name), len(other.name)) >= SHORTEST and _are_near(one.name, other.name)


def _are_near(one: str, other: str) -> bool:
    """Whether one becomes the other by at most two insertions, deletions or replacements of a letter.

    What both begin and end with costs nothing; what is left between is short, or too different.
    """
    if abs(len(one) - len(other)) > MOST_EDITS:
        return False
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return _within(one, other, MOST_EDITS)


def _within(one: str, other: str, edits: int) -> bool:
    """Whether so many edits are enough: the first letters are replaced, or one of them is too many."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    if not one or not other:
        return len(one) + len(other) <= edits
    if edits == 0:
        return False
    return (
        _within(one[1:], other[1:], edits - 1)
        or _within(one[1:], other, edits - 1)
        or _within(one, other[1:], edits - 1)
    )
