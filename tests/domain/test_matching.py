"""Patterns held against what a signup says: what matches, what does not, and what could not be looked at."""

import itertools
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.fraud import expressions
from goodword.fraud.matching import LONGEST_VALUE, MOST_SECONDS, Matcher, Pattern
from goodword.fraud.patterns import PatternMatch, PatternRule, PatternType
from goodword.fraud.signals import Check

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IP = "203.0.113.7"
FLIPS = st.builds(lambda bits, number: number % 2**bits, st.integers(0, 32), st.integers(0, 2**32 - 1))
RUINOUS = (r"(a+)+$", r"(a|a)*$", r"(a|aa)+$", r"(x+x+)+y", r"(.*a){20}", r"(a?){60}a{60}", r"([a-z]+)*!")
"""What takes Python's own engine longer than the universe is old."""


def pattern(type_: PatternType, value: str, match: PatternMatch | None = None, impact: int = 10) -> Pattern:
    """A pattern as it is stored."""
    rule = PatternRule(type=type_, match=match, value=value)
    assert rule.match is not None
    return Pattern(next(_ids), rule.type, rule.match, rule.value, "medium", impact)


_ids = (UUID(int=number) for number in itertools.count(1))


def matched(
    *patterns: Pattern, email: str | None = None, ip: str | None = None, user_agent: str | None = None,
    device: str | None = None,
) -> list[str]:  # fmt: skip
    """The values of the patterns that match."""
    values = {f"pat_{each.id.hex}": each.value for each in patterns}
    checks = Matcher(patterns).checks(email, ip, user_agent, device)
    return [values[str(check.details["pattern_id"])] for check in checks if check.state == "raised"]


@pytest.mark.parametrize(
    ("value", "email", "matches"),
    [
        ("spam.example", "a@spam.example", True),
        ("spam.example", "a@SPAM.example.", True),
        ("SPAM.example.", "a@spam.example", True),
        ("spam.example", "a@mail.spam.example", False),
        ("spam.example", "a@notspam.example", False),
        ("spam.example", "spam.example@good.example", False),
        ("bücher.example", "a@xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "a@BÜCHER.example", True),
    ],
)
def test_an_exact_domain_is_the_whole_domain_of_the_email(value: str, email: str, matches: bool) -> None:  # noqa: FBT001 - what is expected
    assert bool(matched(pattern("email_domain", value), email=email)) is matches


@pytest.mark.parametrize(
    ("value", "email", "matches"),
    [
        (r"spam", "a@the-SPAMMERS.example", True),
        (r"^spam", "a@the-spammers.example", False),
        (r"SPAM[0-9]+\.example$", "a@spam17.example", True),
        (r"spam", "spam@good.example", False),
        (r"\.(top|xyz)$", "a@cheap.xyz", True),
    ],
)
def test_an_expression_is_found_anywhere_in_the_domain_in_any_case(value: str, email: str, matches: bool) -> None:  # noqa: FBT001
    assert bool(matched(pattern("email_domain", value, "regex"), email=email)) is matches


@pytest.mark.parametrize(
    ("value", "match", "ip", "matches"),
    [
        ("203.0.113.0/24", "cidr", "203.0.113.255", True),
        ("203.0.113.0/24", "cidr", "203.0.114.0", False),
        ("0.0.0.0/0", "cidr", IP, True),
        ("0.0.0.0/0", "cidr", "2001:db8::1", False),
        ("::/0", "cidr", IP, False),
        ("203.0.113.7", "cidr", IP, True),
        ("2001:db8:1::/48", "cidr", "2001:db8:1:ffff::1", True),
        ("2001:db8:1::/48", "cidr", "2001:db8:2::1", False),
        ("::ffff:203.0.113.0/120", "cidr", IP, True),
        ("203.0.113.7", "exact", IP, True),
        ("::ffff:203.0.113.7", "exact", IP, True),
        ("203.0.113.7", "exact", "203.0.113.8", False),
        ("2001:db8::1", "exact", "2001:db8::2", True),
        ("2001:db8::1", "exact", "2001:db8:0:1::1", False),
    ],
)
def test_a_range_holds_the_addresses_of_its_prefix_and_an_address_itself(
    value: str,
    match: PatternMatch,
    ip: str,
    matches: bool,  # noqa: FBT001
) -> None:
    """Of IPv6, a /64 counts as one address."""
    assert bool(matched(pattern("ip_range", value, match), ip=ip)) is matches


@given(st.lists(st.tuples(FLIPS, st.integers(0, 32)), max_size=30), st.integers(0, 255))
def test_any_ranges_match_as_python_reads_them(flips: list[tuple[int, int]], last: int) -> None:
    """Each range is of the address but for some bits, so that many hold it and many do not."""
    address = IPv4Address("203.0.113.0") + last
    networks = {IPv4Network((int(address) ^ flip, bits), strict=False) for flip, bits in flips}
    patterns = [pattern("ip_range", str(network)) for network in networks]
    assert sorted(matched(*patterns, ip=str(address))) == sorted(str(each) for each in networks if address in each)


def test_ranges_within_ranges_all_match() -> None:
    ranges = [
        pattern("ip_range", value) for value in ("203.0.113.0/24", "203.0.0.0/16", "203.0.113.7/32", "10.0.0.0/8")
    ]
    once_more = pattern("ip_range", IP, "exact")
    assert matched(*ranges, once_more, ip=IP) == ["203.0.113.0/24", "203.0.0.0/16", "203.0.113.7/32", IP]


@pytest.mark.parametrize(
    ("value", "match", "matches"),
    [
        ("firefox/1[34]0", "regex", True),
        ("FP-17", "regex", True),
        ("headless", "regex", False),
        ("fp-17", "exact", True),
        (FIREFOX, "exact", True),
        ("Firefox", "exact", False),
    ],
)
def test_a_device_pattern_reads_the_user_agent_and_the_fingerprint(
    value: str,
    match: PatternMatch,
    matches: bool,  # noqa: FBT001
) -> None:
    assert bool(matched(pattern("device_pattern", value, match), user_agent=FIREFOX, device="fp-17")) is matches


def test_each_pattern_that_matches_is_one_check_with_its_score() -> None:
    agent = pattern("device_pattern", "firefox|fp", impact=7)
    checks = Matcher([agent, pattern("email_domain", "spam.example", impact=90)]).checks(
        "a@spam.example", None, FIREFOX, "fp-17"
    )
    assert [(check.signal, check.state, check.score) for check in checks] == [
        ("pattern:email_domain", "raised", 90), ("pattern:device_pattern", "raised", 7),
    ]  # fmt: skip
    assert checks[1] == Check(
        "pattern:device_pattern", "raised", 7, {"pattern_id": f"pat_{agent.id.hex}", "severity": "medium"}
    )


def test_what_nobody_said_is_not_evaluated() -> None:
    patterns = [
        pattern("email_domain", "spam.example"), pattern("email_domain", "spam", "regex"),
        pattern("ip_range", "203.0.113.0/24"), pattern("device_pattern", "headless"),
    ]  # fmt: skip
    assert states(Matcher(patterns).checks(None, None, None, "")) == {
        f"pattern:{type_}": "not_evaluated" for type_ in get_args(PatternType)
    }
    assert states(Matcher(patterns).checks("a@good.example", "198.51.100.1", FIREFOX, None)) == {}
    assert states(Matcher(patterns[:1]).checks(None, None, None, None)) == {"pattern:email_domain": "not_evaluated"}
    assert Matcher([]).checks("a@spam.example", IP, FIREFOX, "fp") == []


@pytest.mark.parametrize("ip", ["10.1.2.3", "192.168.0.1", "127.0.0.1", "fe80::1", "169.254.0.1"])
def test_an_address_of_nobody_is_no_data(ip: str) -> None:
    checks = Matcher([pattern("ip_range", "0.0.0.0/0"), pattern("ip_range", "::/0")]).checks(None, ip, None, None)
    assert states(checks) == {"pattern:ip_range": "not_evaluated"}


def states(checks: Sequence[Check]) -> dict[str, str]:
    return {check.signal: check.state for check in checks}


def test_a_value_is_looked_at_as_far_as_its_limit() -> None:
    last = pattern("device_pattern", "z")
    assert matched(last, user_agent="a" * (LONGEST_VALUE - 1) + "z")
    assert not matched(last, user_agent="a" * LONGEST_VALUE + "z")


def test_what_is_no_text_of_unicode_matches_nothing_and_breaks_nothing() -> None:
    assert matched(pattern("device_pattern", "fox"), user_agent="fire\udc80fox") == ["fox"]


def test_once_the_time_is_over_the_rest_is_not_evaluated() -> None:
    def ticking(step: float) -> Iterator[float]:
        yield from itertools.count(0, step)

    many = [pattern("device_pattern", f"fire|{number}") for number in range(10)]
    ticks = ticking(MOST_SECONDS / 4)
    checks = Matcher([*many, pattern("ip_range", "203.0.113.0/24")]).checks(
        None, IP, FIREFOX, None, lambda: next(ticks)
    )
    assert [check.state for check in checks if check.signal == "pattern:device_pattern"] == [
        "not_evaluated", "raised", "raised", "raised",
    ]  # fmt: skip
    assert [check.state for check in checks if check.signal == "pattern:ip_range"] == ["raised"]


@pytest.mark.parametrize("text", RUINOUS)
def test_a_ruinous_expression_costs_next_to_nothing(text: str) -> None:
    """It is looked at to the end, which a slow engine would not live to see."""
    values = ["a" * LONGEST_VALUE, "x" * LONGEST_VALUE, "ax" * (LONGEST_VALUE // 2), "é" * LONGEST_VALUE]
    for user_agent in values:
        checks = Matcher([pattern("device_pattern", text)]).checks(None, None, user_agent, "a" * 50 + "!")
        assert all(check.state == "raised" for check in checks)


@pytest.mark.parametrize("text", [r"(a)\1", r"(?=a)", r"(?!a)", r"(?<=a)b", r"(?<!a)b", r"a++", r"(?>a)", r"\k<x>"])
def test_what_no_engine_can_search_in_linear_time_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="must be a regular expression of RE2: "):
        expressions.compiled(text)


@pytest.mark.parametrize(
    "text", ["(", "a{1001}", "[z-a]", "(?P<x", "*", r"\pL{1000}", "(.{90}){90}", "((a{99}){99}){99}"]
)
def test_what_is_malformed_or_too_large_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="must be a regular expression of RE2: "):
        expressions.compiled(text)


def test_an_expression_that_is_not_taken_any_more_is_not_evaluated() -> None:
    (id_,) = itertools.islice(_ids, 1)
    stored = Pattern(id_, "device_pattern", "regex", r"(a)\1", "high", 50)
    checks = Matcher([stored, pattern("device_pattern", "firefox")]).checks(None, None, FIREFOX, None)
    assert [check.state for check in checks] == ["not_evaluated", "raised"]
