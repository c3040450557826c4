"""Matching: a company's active patterns, held against a signup while its raw values are at hand.

The patterns of a company are kept in the process under the version that every edit raises, so that an edit counts from
the next signup on, wherever it runs. A company that never had a pattern costs nothing here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from ipaddress import ip_address
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import addresses, domains, ids, query
from goodword.fraud import expressions
from goodword.fraud.expressions import Expression
from goodword.fraud.patterns import PatternMatch, PatternSeverity, PatternType
from goodword.fraud.signals import Check

LONGEST_VALUE = 2000
"""How much of a value is looked at, in characters."""

MOST_SECONDS = 0.1
"""Of the processor, for the patterns of one signup: what is left of them then is not evaluated."""

KEPT_PATTERNS = 2000
KEPT_COMPANIES = 1000
"""How many patterns a process keeps, of how many companies."""

NEVER_EDITED = 0
"""The version of the patterns of a company that never had one."""

Clock = Callable[[], float]
"""The seconds that this thread has had of the processor."""


class Pattern(NamedTuple):
    """A pattern, as far as it is matched."""

    id: UUID
    type: PatternType
    match: PatternMatch
    value: str
    severity: PatternSeverity
    score_impact: int


class FoundPatterns(NamedTuple):
    """The patterns of a type that match, and whether all of the type could be looked at."""

    patterns: Sequence[Pattern]
    is_whole: bool


_ACTIVE = """
    SELECT id, type, match, value, severity, score_impact FROM fraud_patterns
    WHERE company_id = %(company_id)s AND active ORDER BY id
"""


class _Searching:
    """A pattern that is an expression. It is compiled at its first use, within the time of that signup."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    @cached_property
    def expression(self) -> Expression | None:
        """None for what the engine of today does not take any more: it is not evaluated, and blocks nobody."""
        try:
            return expressions.compiled(self.pattern.value)
        except ValueError:
            return None


class _OfTexts:
    """Patterns of one type over texts: they are the whole of one, or are found anywhere in one."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._whole = {pattern.value: pattern for pattern in patterns if pattern.match == "exact"}
        self._searching = [_Searching(pattern) for pattern in patterns if pattern.match == "regex"]

    def find(self, texts: Sequence[str], is_over: Callable[[], bool]) -> FoundPatterns:
        """What matches any of some texts, until the time is over."""
        found = [self._whole[text] for text in dict.fromkeys(texts) if text in self._whole]
        if not texts:
            return FoundPatterns(found, is_whole=not (self._whole or self._searching))
        searched = [text.encode(errors="replace") for text in texts]
        is_whole = True
        for each in self._searching:
            if is_over() or each.expression is None:
                is_whole = False
            elif any(each.expression.search(text) for text in searched):
                found.append(each.pattern)
        return FoundPatterns(found, is_whole)


class _OfAddresses:
    """Patterns over addresses: by the bits behind their prefix, and by its number.

    An address is looked up once for each length of a prefix that there is, however many ranges there are.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._by_prefix: dict[tuple[int, int], dict[int, list[Pattern]]] = {}
        for pattern in patterns:
            network = addresses.network(pattern.value if pattern.match == "cidr" else addresses.holder(pattern.value))
            bits = network.max_prefixlen - network.prefixlen
            by_number = self._by_prefix.setdefault((network.version, bits), {})
            by_number.setdefault(int(network.network_address) >> bits, []).append(pattern)

    def find(self, ip: str | None) -> FoundPatterns:
        """The patterns whose range holds an address."""
        if ip is None:
            return FoundPatterns((), is_whole=not self._by_prefix)
        address = ip_address(ip)
        found = [
            pattern
            for (version, bits), by_number in self._by_prefix.items()
            if version == address.version
            for pattern in by_number.get(int(address) >> bits, ())
        ]
        return FoundPatterns(found, is_whole=True)


class Matcher:
    """The active patterns of a company, ready to be held against signups."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.size = len(patterns)
        self._domains = _OfTexts([each for each in patterns if each.type == "email_domain"])
        self._addresses = _OfAddresses([each for each in patterns if each.type == "ip_range"])
        self._devices = _OfTexts([each for each in patterns if each.type == "device_pattern"])

    def checks(
        self,
        email: str | None,
        ip: str | None,
        user_agent: str | None,
        device_fingerprint: str | None,
        clock: Clock = time.thread_time,
    ) -> list[Check]:
        """A check for each pattern that matches, and one for each type of which not all could be looked at."""
        if not self.size:
            return []
        end = clock() + MOST_SECONDS
        domain = domains.spelled(email.strip().rpartition("@")[2]) if email else None
        found: dict[PatternType, FoundPatterns] = {
            "email_domain": self._domains.find(_beginnings(domain), lambda: clock() >= end),
            "ip_range": self._addresses.find(ip if ip and addresses.is_public(ip) else None),
            "device_pattern": self._devices.find(_beginnings(user_agent, device_fingerprint), lambda: clock() >= end),
        }
        return [check for type_, of_type in found.items() for check in _checks(type_, of_type)]


_kept: dict[UUID, tuple[int, Matcher]] = {}


def ask(connection: Connection, company_id: UUID, patterns_version: int) -> Matcher:
    """The company's patterns as of a version, or newer; one trip where the process has not kept them."""
    if patterns_version == NEVER_EDITED:
        return _NOTHING
    kept = _kept.get(company_id)
    if kept is not None and kept[0] == patterns_version:
        return kept[1]
    matcher = Matcher(query.every(connection, Pattern, _ACTIVE, company_id=company_id))
    _keep(company_id, patterns_version, matcher)
    return matcher


def _keep(company_id: UUID, version: int, matcher: Matcher) -> None:
    """Keep the patterns of a company in place of those that were kept longest, where there are too many."""
    _kept.pop(company_id, None)
    size = matcher.size + sum(kept.size for _, kept in _kept.values())
    while _kept and (size > KEPT_PATTERNS or len(_kept) >= KEPT_COMPANIES):
        oldest = next(iter(_kept))
        size -= _kept.pop(oldest)[1].size
    _kept[company_id] = version, matcher


def _beginnings(*values: str | None) -> list[str]:
    """What is said at all, as far as it is looked at."""
    return [value[:LONGEST_VALUE] for value in values if value]


def _checks(type_: PatternType, found: FoundPatterns) -> Iterator[Check]:
    signal = f"pattern:{type_}"
    if not found.is_whole:
        yield Check(signal, "not_evaluated")  # before those that are raised: where one state is told, the last counts
    for pattern in sorted(found.patterns):
        details = {"pattern_id": ids.public("pat", pattern.id), "severity": pattern.severity}
        yield Check(signal, "raised", pattern.score_impact, details)


_NOTHING = Matcher(())
