"""Previews of patterns: whom one would have matched lately, had it been there.

E-mails are stored, so their domains are matched as at a signup. Of addresses and devices there are keyed hashes alone:
what a pattern covers is hashed and looked for, where that can be enumerated, and an expression over devices cannot be
tried at all.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from typing import Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.core import addresses, clock, domains, privacy, query
from goodword.core.addresses import Network
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import ReferralId
from goodword.core.privacy import PrivacyKey
from goodword.fraud import expressions
from goodword.fraud.patterns import PatternRule

WINDOW = timedelta(days=90)
MOST_SHOWN = 100

MOST_HASHES = 65_536
"""That are made for one preview: a /8, or a /48 of IPv6, under one key."""

MOST_SECONDS = 5.0
"""Of the processor, for the domains of one preview: a connection of the database waits meanwhile."""

IPV4_BLOCK_BITS = 24

Unevaluated = Literal["raw_values_not_kept", "range_too_wide", "expression_too_slow"]


class PatternPreview(AnswerModel):
    """What a pattern would have matched among the referrals from after `from` to `to`: how many, and the newest ids.

    Where it is not `evaluated`, `reason` says why. That nothing would have matched is not known then.
    """

    evaluated: bool
    reason: Unevaluated | None
    matched: int
    referral_ids: list[ReferralId]
    from_: Instant = Field(serialization_alias="from", validation_alias="from")
    to: Instant


class _Domain(NamedTuple):
    """A domain of referees' e-mails, as it is stored."""

    domain: str


class _Hashes(NamedTuple):
    """What is looked for among the fingerprints of referees; what matches one of them is meant."""

    ips: Sequence[bytes] = ()
    blocks: Sequence[bytes] = ()
    devices: Sequence[bytes] = ()
    agents: Sequence[bytes] = ()


class _Matched(NamedTuple):
    matched: int
    ids: list[UUID]


_IN_WINDOW: LiteralString = """
    referrals.company_id = %(company_id)s AND registered_at > %(since)s AND registered_at <= %(to)s
"""

_DOMAIN: LiteralString = "lower(split_part(users.email, '@', 2))"

_REFEREES: LiteralString = """
    referrals JOIN users ON users.company_id = referrals.company_id AND users.id = referrals.referee_id
"""

_DOMAINS: LiteralString = f"""
    SELECT DISTINCT {_DOMAIN} AS domain FROM {_REFEREES} WHERE {_IN_WINDOW} AND users.email IS NOT NULL
"""  # noqa: S608 - of constants

_COUNTED: LiteralString = """
    SELECT (SELECT count(*) FROM matched) AS matched,
        ARRAY(SELECT id FROM matched ORDER BY registered_at DESC, id DESC LIMIT %(most)s) AS ids
"""

_OF_DOMAINS: LiteralString = f"""
    WITH matched AS (
        SELECT referrals.id, registered_at FROM {_REFEREES} WHERE {_IN_WINDOW} AND {_DOMAIN} = ANY (%(domains)s))
    {_COUNTED}
"""  # noqa: S608 - of constants

# As sub-selects the hashes are looked up in a table of them, however many there are.
_SEEN: LiteralString = f"""
    WITH matched AS (
        SELECT referrals.id, registered_at FROM referrals
        WHERE {_IN_WINDOW} AND EXISTS (
            SELECT FROM user_fingerprints AS seen
            WHERE seen.company_id = referrals.company_id AND seen.user_id = referrals.referee_id
                AND context = 'registration' AND (
                    ip_hash IN (SELECT unnest(%(ips)s::bytea[])) OR block_hash IN (SELECT unnest(%(blocks)s::bytea[]))
                    OR device_hash IN (SELECT unnest(%(devices)s::bytea[]))
                    OR agent_hash IN (SELECT unnest(%(agents)s::bytea[])))))
    {_COUNTED}
"""  # noqa: S608 - of constants


def preview(connection: Connection, company_id: UUID, rule: PatternRule) -> PatternPreview:
    """What a pattern would have matched in the last 90 days on the company's clock. Nothing is stored."""
    now = clock.company_now(connection, company_id)
    window = {"company_id": company_id, "since": now - WINDOW, "to": now, "most": MOST_SHOWN}
    if rule.type == "email_domain":
        named = query.every(connection, _Domain, _DOMAINS, **window)
        meant = _matching(rule, [each.domain for each in named])
        if meant is None:
            return _answer(now, None, "expression_too_slow")
        return _answer(now, query.one(connection, _Matched, _OF_DOMAINS, **window, domains=meant))
    hashes = _hashes(rule, privacy.live_keys(connection))
    if not isinstance(hashes, _Hashes):
        return _answer(now, None, hashes)
    sought = {name: list(of_a_kind) for name, of_a_kind in hashes._asdict().items()}
    return _answer(now, query.one(connection, _Matched, _SEEN, **window, **sought))


def _answer(now: datetime, matched: _Matched | None, reason: Unevaluated | None = None) -> PatternPreview:
    count, ids = matched or _Matched(0, [])
    return PatternPreview.model_validate({
        "evaluated": reason is None, "reason": reason, "matched": count, "referral_ids": ids, "from": now - WINDOW,
        "to": now,
    })  # fmt: skip


def _matching(rule: PatternRule, named: Sequence[str]) -> list[str] | None:
    """The domains that a pattern matches, as they are stored; None where the time for it is over."""
    matches, meant = _domain_matcher(rule), list[str]()
    end = time.thread_time() + MOST_SECONDS
    for domain in named:
        if time.thread_time() > end:
            return None
        if matches(domains.spelled(domain)):
            meant.append(domain)
    return meant


def _domain_matcher(rule: PatternRule) -> Callable[[str], bool]:
    if rule.match == "exact":
        return lambda domain: domain == rule.value
    expression = expressions.compiled(rule.value)
    return lambda domain: expression.search(domain.encode()) is not None


def _hashes(rule: PatternRule, keys: Sequence[PrivacyKey]) -> _Hashes | Unevaluated:
    """Under every key whose hashes can still be compared, what a pattern of addresses or of devices covers."""
    if rule.type == "ip_range":
        holder = addresses.holder(rule.value) if rule.match == "exact" else rule.value
        return _hashes_of(addresses.network(holder), keys)
    if rule.match == "regex":
        return "raw_values_not_kept"
    return _Hashes(devices=_each(keys, "device", [rule.value]), agents=_each(keys, "agent", [rule.value]))


def _hashes_of(network: Network, keys: Sequence[PrivacyKey]) -> _Hashes | Unevaluated:
    """Of a range within a block its addresses, and of a wider one its blocks."""
    of_block = IPV4_BLOCK_BITS if isinstance(network, IPv4Network) else addresses.HOLDER_BITS
    if network.prefixlen > of_block:
        if not isinstance(network, IPv4Network):
            return "raw_values_not_kept"  # of IPv6 addresses there is the hash of their /64
        return _Hashes(ips=_each(keys, "ip", map(str, network)))
    if len(keys) << (of_block - network.prefixlen) > MOST_HASHES:
        return "range_too_wide"
    return _Hashes(blocks=_each(keys, "block", _blocks(network, of_block)))


def _blocks(network: Network, of_block: int) -> Iterator[str]:
    """As `Network.subnets` has them, in half the time."""
    step = 1 << (network.max_prefixlen - of_block)
    for number in range(1 << (of_block - network.prefixlen)):
        yield f"{network.network_address + number * step}/{of_block}"


def _each(keys: Sequence[PrivacyKey], kind: str, values: Iterator[str] | Sequence[str]) -> list[bytes]:
    return [digest for value in values for key in keys if (digest := key.hash(kind, value))]
