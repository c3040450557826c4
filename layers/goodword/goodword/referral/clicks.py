"""A click: one visit through a code. Recording it and finding where it leads is one statement, one trip.

The click's id carries its real receive time and so its partition; its `occurred_at` is the company's time, by which
every window is judged. A click made while its code was good outlives the code's expiry for the window. Clicks of one
browser form a chain: any id of it stands for all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from goodword.core import ids
from goodword.core.errors import Refused
from goodword.core.fields import AnswerModel, AppId, CodeText, Instant, LongText, RequestModel, Url
from goodword.core.ids import ClickId
from goodword.core.privacy import PrivacyKey

SECONDS_PER_DAY = 86_400
COOKIE = "gw_click"

# What fetches links without a person behind it: crawlers, and the previews of messengers and mail.
_BOTS = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|facebookexternalhit|facebookcatalog|whatsapp/|telegram|discord|slack|skypeuripreview"
    r"|embedly|pinterest|vkshare|mediapartners|adsbot|bingpreview|headlesschrome|lighthouse|pingdom|uptimerobot"
    r"|googleimageproxy|yahoomailproxy|feedfetcher|linkpreview|link preview|preview/",
    re.IGNORECASE,
)

REFUSALS = {"inactive": "inactive_code", "expired": "expired_code", "used_up": "code_used_up"}

_RECORD = """
    SELECT destination, company_destination, refusal, window_days, expires_at
    FROM record_click(%(code)s, %(company_id)s, %(id)s, %(received_at)s, %(counted)s, %(previous_id)s, %(previous_at)s,
        %(app_id)s, %(landing_url)s, %(referrer_url)s, %(ip_hash)s, %(agent_hash)s, %(device_hash)s, %(hash_key_id)s)
    WHERE destination IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request tells of the one who clicked. `counted` is false for what no person did."""

    code: str
    counted: bool = True
    previous_id: UUID | None = None
    app_id: str | None = None
    landing_url: str | None = None
    referrer_url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A known code: where it leads, whether it still may be used (`refusal` None), how long a click counts."""

    destination: str
    company_destination: str
    refusal: str | None
    window_days: int
    expires_at: datetime


class NewClick(RequestModel):
    """The body of POST /v1/clicks."""

    code: CodeText
    landing_url: Url | None = None
    referrer_url: Url | None = None
    device_fingerprint: LongText | None = None
    app_id: AppId | None = None
    previous_click_id: LongText | None = None


class Click(AnswerModel):
    """A recorded click, and until when it counts."""

    id: ClickId
    code: str
    expires_at: Instant


def normal_code(text: str) -> str:
    """A code as it is stored: codes are compared without regard to case."""
    return text.strip().upper()[:64].replace("\x00", "")


def is_counted(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request is a person's visit: not HEAD, not a prefetch, not a known bot."""
    purpose = f"{headers.get('sec-purpose', '')} {headers.get('purpose', '')}".lower()
    return method != "HEAD" and "prefetch" not in purpose and not _is_bot(headers.get("user-agent", ""))


@lru_cache(maxsize=500)
def _is_bot(user_agent: str) -> bool:
    """Looked up for most visits: there are many visitors and few browsers."""
    return _BOTS.search(user_agent) is not None


def visit_of(code: str, method: str, headers: Mapping[str, str], cookies: Sequence[str], source_ip: str) -> Visit:
    """The visit that a followed link is."""
    chained = next((each.partition("=")[2] for each in cookies if each.startswith(f"{COOKIE}=")), "")
    return Visit(
        code,
        counted=is_counted(method, headers),
        previous_id=_previous(chained),
        referrer_url=_without_query(headers.get("referer")),
        ip=source_ip,
        user_agent=headers.get("user-agent"),
    )


def reported(click: NewClick, browser_ip: str | None, user_agent: str | None) -> Visit:
    """The visit that a page reports. `browser_ip` is None when a server reports it: its address is nobody's."""
    return Visit(
        click.code,
        previous_id=_previous(click.previous_click_id or ""),
        app_id=click.app_id,
        landing_url=click.landing_url,
        referrer_url=click.referrer_url,
        ip=browser_ip,
        user_agent=user_agent if browser_ip else None,
        device=click.device_fingerprint,
    )


def _previous(text: str) -> UUID | None:
    previous = ids.parse("clk", text)
    return previous if previous and ids.is_in_time(previous) else None


def _without_query(url: str | None) -> str | None:
    """A Referer as it is stored: what follows `?` is not ours to keep."""
    return re.split(r"[?#]", url.replace("\x00", ""), maxsplit=1)[0][:2000] if url else None


def visit(
    connection: Connection, click_id: UUID, visited: Visit, key: PrivacyKey, company_id: UUID | None = None
) -> Found | None:
    """Record the click, when it counts and the code may be used, and tell where it leads. None: no such code."""
    return (
        connection.cursor(row_factory=class_row(Found))
        .execute(
            _RECORD,
            {
                "id": click_id,
                "received_at": ids.time_of(click_id),
                "company_id": company_id,
                "code": normal_code(visited.code),
                "counted": visited.counted,
                "previous_id": visited.previous_id,
                "previous_at": ids.time_of(visited.previous_id) if visited.previous_id else None,
                "app_id": visited.app_id,
                "landing_url": visited.landing_url,
                "referrer_url": visited.referrer_url,
                "ip_hash": key.hash("ip", visited.ip),
                "agent_hash": key.hash("agent", visited.user_agent),
                "device_hash": key.hash("device", visited.device),
                "hash_key_id": key.id,
            },
        )
        .fetchone()
    )


def record(connection: Connection, click_id: UUID, visited: Visit, key: PrivacyKey, company_id: UUID) -> Click:
    """Record a click that a browser reports. Raises Refused with the reason a signup would be given."""
    found = visit(connection, click_id, visited, key, company_id)
    if found is None:
        raise Refused("unknown_code", "There is no such referral code.")
    if found.refusal is not None:
        raise Refused(REFUSALS[found.refusal], "This referral code cannot be used any more.")
    return Click(id=click_id, code=normal_code(visited.code), expires_at=found.expires_at)


def destination_with(destination: str, raw_query: str, click_id: UUID | None) -> str:
    """The destination with the visit's own parameters, none of which may overwrite one of the destination's."""
    base, own, taken, fragment = _taken_apart(destination)
    passed_on = [each for each in parse_qsl(raw_query, keep_blank_values=True) if each[0] not in taken]
    click = f"{COOKIE}={ids.public('clk', click_id)}" if click_id else ""
    query = "&".join(part for part in (own, urlencode(passed_on), click) if part)
    return f"{base}?{query}{fragment}" if query else base + fragment


@lru_cache(maxsize=500)
def _taken_apart(destination: str) -> tuple[str, str, frozenset[str], str]:
    """What comes before the query, the query, the names that a visit may not use, and the fragment with its #."""
    parts = urlsplit(destination)
    own = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != COOKIE]
    base = urlunsplit(parts._replace(query="", fragment=""))
    taken = frozenset({name for name, _ in own} | {COOKIE, "key"})
    return base, urlencode(own), taken, f"#{parts.fragment}" if parts.fragment else ""


def cookie(click_id: UUID, window_days: int) -> str:
    """The cookie by which the browser's next click joins this one's chain."""
    return (
        f"{COOKIE}={ids.public('clk', click_id)}; Max-Age={window_days * SECONDS_PER_DAY}; Path=/; Secure; SameSite=Lax"
    )
