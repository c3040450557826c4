"""A click: one visit through a code. Recording it and finding where it leads is one statement, one trip.

The click's id carries its real receive time and so its partition; its `occurred_at` is the company's time, by which
every window is judged. A click made while its code was good outlives the code's expiry for the window. Clicks of one
browser form a chain, in which each knows the one before it (docs/decisions/0019).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import ids, privacy, query
from goodword.core.errors import Refused
from goodword.core.fields import AnswerModel, AppId, Instant, KeptText, RequestModel
from goodword.core.ids import ClickId
from goodword.referral import redirects, typed
from goodword.referral.bots import is_bot
from goodword.referral.refusals import REFUSALS, CodeRefusal
from goodword.referral.typed import KeptUrl, Typed

# What browsers and mail programs say beside a request whose answer nobody may ever see.
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)

_RECORD = """
    SELECT destination, company_destination, refusal, window_days, expires_at
    FROM record_click(%(code)s, %(company_id)s, %(id)s, %(received_at)s, %(counted)s, %(previous_id)s, %(previous_at)s,
        %(app_id)s, %(landing_url)s, %(referrer_url)s, %(ip_hash)s, %(agent_hash)s, %(device_hash)s, %(hash_key_id)s)
    WHERE destination IS NOT NULL
"""


class Visit(NamedTuple):
    """A visit through a code, with what its request says. `counted` is false for a visit that is no person's."""

    code: str
    counted: bool = True
    previous_id: UUID | None = None
    app_id: str | None = None
    landing_url: str | None = None
    referrer_url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None


class Landing(NamedTuple):
    """Where a known code leads, whether it still may be used (`refusal` None), and until when a click of now counts."""

    destination: str
    company_destination: str
    refusal: CodeRefusal | None
    window_days: int
    expires_at: datetime


class NewClick(RequestModel):
    """The body of POST /v1/clicks."""

    code: Typed
    landing_url: KeptUrl = None
    referrer_url: KeptUrl = None
    device_fingerprint: KeptText = None
    app_id: AppId | None = None
    previous_click_id: Typed | None = None


class Click(AnswerModel):
    """A recorded click, and until when it counts. A bot's is not recorded and has no id."""

    id: ClickId | None
    code: str
    expires_at: Instant


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser asks before the person does; it would use the answer later without asking again."""
    return any(_PREFETCH.search(headers[name]) for name in _PREFETCH_HEADERS if name in headers)


def visit_of(code: str, method: str, headers: Mapping[str, str], cookies: Sequence[str], source_ip: str) -> Visit:
    """The visit that a followed link is. It counts unless it is known not to be a person's."""
    return Visit(
        code,
        counted=method != "HEAD" and not is_bot(headers.get("user-agent", "")),
        previous_id=_previous(redirects.click_in(cookies)),
        referrer_url=_without_query(headers.get("referer")),
        ip=source_ip,
        user_agent=headers.get("user-agent"),
    )


def reported(click: NewClick, browser_ip: str | None, user_agent: str | None) -> Visit:
    """The visit that a page reports. `browser_ip` is None when a server reports it: its address is nobody's."""
    return Visit(
        click.code,
        counted=browser_ip is None or not is_bot(user_agent or ""),
        previous_id=_previous(click.previous_click_id),
        app_id=click.app_id,
        landing_url=click.landing_url,
        referrer_url=click.referrer_url,
        ip=browser_ip,
        user_agent=user_agent if browser_ip else None,
        device=click.device_fingerprint,
    )


def _previous(text: str | None) -> UUID | None:
    previous = ids.parse("clk", typed.click_id(text) or typed.UNKNOWN)
    return previous if previous and ids.is_in_time(previous) else None


def _without_query(url: str | None) -> str | None:
    """A Referer as it is stored: what follows `?` is not ours to keep."""
    return re.split(r"[?#]", url.replace("\x00", ""), maxsplit=1)[0][: typed.LONGEST_KEPT] if url else None


def visit(connection: Connection, click_id: UUID, visited: Visit, company_id: UUID | None = None) -> Landing | None:
    """Record the click, when it counts and the code may be used, and say where it leads. None: no such code."""
    key = privacy.current_key(connection)
    return query.one(
        connection,
        Landing,
        _RECORD,
        id=click_id,
        received_at=ids.time_of(click_id),
        company_id=company_id,
        code=typed.code(visited.code) or typed.UNKNOWN,
        counted=visited.counted,
        previous_id=visited.previous_id,
        previous_at=ids.time_of(visited.previous_id) if visited.previous_id else None,
        app_id=visited.app_id,
        landing_url=visited.landing_url,
        referrer_url=visited.referrer_url,
        ip_hash=key.hash("ip", visited.ip),
        agent_hash=key.hash("agent", visited.user_agent),
        device_hash=key.hash("device", visited.device),
        hash_key_id=key.id,
    )


def record(connection: Connection, click_id: UUID, visited: Visit, company_id: UUID) -> Click:
    """Record a click that is reported, where it counts. Raises Refused with the reason a signup would be given."""
    landing = visit(connection, click_id, visited, company_id)
    if landing is None:
        raise Refused("unknown_code", "There is no such referral code.")
    if landing.refusal is not None:
        raise Refused(REFUSALS[landing.refusal], "This referral code cannot be used any more.")
    recorded = click_id if visited.counted else None
    return Click(id=recorded, code=typed.code(visited.code) or typed.UNKNOWN, expires_at=landing.expires_at)
