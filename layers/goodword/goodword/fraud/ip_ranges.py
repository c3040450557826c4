"""Ranges of addresses whose kind a company knows, a list of them for each kind: what an address is by them.

What an app says of an address itself goes before them (docs/rules.md, Lists).
"""

from collections.abc import Sequence
from typing import Annotated, LiteralString
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import companies
from goodword.accounts.activity import IpType
from goodword.core import clock, outbox, query
from goodword.core.errors import Refused, invalid_fields
from goodword.core.fields import AnswerModel, Cidr, Instant, RequestModel

MOST_AT_ONCE = 5000
MOST_IN_ALL = 100_000
"""Of a company, in all its lists."""

LISTED: tuple[IpType, ...] = ("residential", "datacenter", "vpn", "proxy", "tor")
"""The kinds that an address can be by a list."""


class IpRanges(RequestModel):
    """The body of PUT and POST /v1/ip-ranges/{ip_type}. An address by itself is a range of one; twice is once."""

    cidrs: Annotated[list[Cidr], Field(max_length=MOST_AT_ONCE)]


class IpRangeList(AnswerModel):
    """The list of a kind: how many ranges it has."""

    ip_type: IpType
    count: int
    created_at: Instant
    updated_at: Instant


class IpRangeLists(AnswerModel):
    """The lists that there are, by the names of their kinds."""

    data: list[IpRangeList]
    has_more: bool = False


_WANTED: LiteralString = "wanted AS MATERIALIZED (SELECT DISTINCT unnest(%(cidrs)s::cidr[]) AS cidr)"

_COME: LiteralString = """come AS (
        INSERT INTO ip_ranges (company_id, ip_type, cidr)
        SELECT %(company_id)s, %(ip_type)s::ip_type, cidr FROM wanted
        ON CONFLICT ON CONSTRAINT ip_ranges_pk DO NOTHING RETURNING 1)
"""

_COUNTED: LiteralString = """
    INSERT INTO ip_range_lists AS list (company_id, ip_type, count, created_at, updated_at)
    SELECT %(company_id)s, %(ip_type)s::ip_type, (SELECT count(*) FROM come) - (SELECT count(*) FROM gone), %(at)s,
        %(at)s
    ON CONFLICT ON CONSTRAINT ip_range_lists_pk DO UPDATE
        SET count = list.count + excluded.count, updated_at = excluded.updated_at
"""

# Of a list that is loaded anew most ranges stay, and those are not touched.
_REPLACE: LiteralString = f"""
    WITH {_WANTED},
    gone AS (
        DELETE FROM ip_ranges WHERE company_id = %(company_id)s AND ip_type = %(ip_type)s::ip_type
            AND cidr NOT IN (SELECT cidr FROM wanted)
        RETURNING 1),
    {_COME}
    {_COUNTED}
"""  # noqa: S608 - of constants

_ADD: LiteralString = f"WITH {_WANTED}, gone AS (SELECT WHERE false), {_COME} {_COUNTED}"

_LISTS: LiteralString = """
    SELECT ip_type, count, created_at, updated_at FROM ip_range_lists WHERE company_id = %(company_id)s
"""

_BY_TYPE: LiteralString = f"{_LISTS} ORDER BY ip_type"


def listed(connection: Connection, company_id: UUID) -> IpRangeLists:
    """The company's lists."""
    return IpRangeLists(data=query.every(connection, IpRangeList, _BY_TYPE, company_id=company_id))


def replace(connection: Connection, company_id: UUID, ip_type: str, event_id: UUID, wanted: IpRanges) -> IpRangeList:
    """Put a list in place of the one of its kind.

    Raises Refused for a kind that there is not, and for more ranges than a company may have. Locks: the company.
    """
    return _written(connection, company_id, ip_type, event_id, wanted, _REPLACE)


def add(connection: Connection, company_id: UUID, ip_type: str, event_id: UUID, wanted: IpRanges) -> IpRangeList:
    """Add to the list of a kind. Raises Refused, and locks, as `replace`."""
    return _written(connection, company_id, ip_type, event_id, wanted, _ADD)


def _written(
    connection: Connection, company_id: UUID, ip_type: str, event_id: UUID, wanted: IpRanges, write: LiteralString
) -> IpRangeList:
    if ip_type not in LISTED:
        raise invalid_fields(("ip_type", f"must be {', '.join(LISTED[:-1])} or {LISTED[-1]}"))
    companies.hold(connection, company_id)
    at = clock.company_now(connection, company_id)
    query.do(connection, write, company_id=company_id, ip_type=ip_type, cidrs=wanted.cidrs, at=at)
    lists = query.every(connection, IpRangeList, _BY_TYPE, company_id=company_id)
    _refuse_too_many(lists)
    (written,) = (each for each in lists if each.ip_type == ip_type)
    updated = outbox.Event("ip_ranges.updated", {"ip_type": ip_type, "count": written.count}, event_id)
    outbox.announce(connection, company_id, [updated], at)
    return written


def _refuse_too_many(lists: Sequence[IpRangeList]) -> None:
    """Needs: the company held since before its ranges were written."""
    if sum(each.count for each in lists) > MOST_IN_ALL:
        raise Refused("too_many_ranges", f"A company has at most {MOST_IN_ALL:,} ranges in all.", most=MOST_IN_ALL)
