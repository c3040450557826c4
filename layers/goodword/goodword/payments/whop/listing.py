"""Whop's lists, for what no delivery told. Whop lists no events, so the state of an object is made into one.

Its id is a hash of the state: the same state is the same event however often it is seen, a changed one is another. Its
time is when the object changed, never when we asked. Lists can be asked for by the time of creation alone, so they are
asked from far enough back to show what has changed since.

One dated version of the API is asked; its shapes are among those that are read anyway.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, cast
from urllib.parse import urlencode
from uuid import UUID

from goodword.core.fetching import NotAnswered
from goodword.payments.bodies import EventUnreadable
from goodword.payments.reading import Object, elements, identifier, inside
from goodword.payments.reception import Incoming
from goodword.payments.whop import webhooks as whop_webhooks
from goodword.payments.whop.reading import read_time

HEADERS: Final = {"api-version-date": "2026-10-15-1"}
PAGE: Final = 50
# What is listed, the kind of its objects, and for how many days after its creation one is still looked at.
_LISTS: Final = (("payments", "payment", 30), ("refunds", "refund", 30), ("disputes", "dispute", 180))
_MEMBERSHIPS: Final = ("memberships", "membership", 366)
_OVER: Final = frozenset({"canceled", "expired"})


def pages(
    ask: Callable[[str], Object],
    endpoint_id: UUID,
    since: datetime,
    company: str,
    ended: Callable[[Sequence[str]], set[str]],
) -> Iterator[Sequence[Incoming]]:
    """What has changed since then of a company (`biz_…`); `ask` answers what is at a path. Raises NotAnswered.

    `ended` picks the memberships that are known to have ended. Nothing more is told of these: whatever is edited of
    one later would seem to be its end.
    """
    for path, kind, days in (*_LISTS, _MEMBERSHIPS):
        asked = {
            "account_id": company,
            "created_after": (since - timedelta(days=days)).isoformat(),
            "order": "created_at",
            "direction": "asc",
            "first": str(PAGE),
        }
        while True:
            page = ask(f"/{path}?{urlencode(asked)}")
            changed = [each for each in elements(page, "data") if _changed_since(each, since)]
            if kind == "membership":
                over = [key for each in changed if _is_over(each) and (key := identifier(each.get("id")))]
                known = ended(over) if over else set[str]()
                changed = [each for each in changed if not (_is_over(each) and identifier(each.get("id")) in known)]
            told = [_incoming(kind, each, endpoint_id) for each in changed if _means_something(kind, each)]
            yield [each for each in told if each.provider_company in {None, company}]
            info = inside(page, "page_info")
            if info.get("has_next_page") is False:
                break
            cursor = info.get("end_cursor")
            if not isinstance(cursor, str) or cursor == asked.get("after"):
                raise NotAnswered("no_cursor")
            asked["after"] = cursor


def _is_over(membership: Object) -> bool:
    return membership.get("status") in _OVER


def _means_something(kind: str, source: Object) -> bool:
    """A payment counts once it is paid, whatever has become of it since; before that there is nothing to tell."""
    return kind != "payment" or source.get("status") == "paid"


def _changed_since(source: Object, since: datetime) -> bool:
    """Whatever does not say so may have."""
    try:
        at = read_time(source, "updated_at") or read_time(source, "created_at")
    except EventUnreadable:
        return True
    return at is None or at >= since


def _incoming(kind: str, source: Object, endpoint_id: UUID) -> Incoming:
    event = {"payment": "succeeded", "membership": "deactivated" if _is_over(source) else "updated"}
    state = json.dumps(_without_links(source), sort_keys=True)
    event_id = f"api:{kind}:{identifier(source.get('id'))}:{sha256(state.encode()).hexdigest()}"
    body = {
        "id": event_id,
        "api_version": "v1",
        "type": f"{kind}.{event.get(kind, 'updated')}",
        "timestamp": source.get("updated_at") or source.get("created_at"),
        "data": source,
    }
    return whop_webhooks.incoming(json.dumps(body).encode(), {}, endpoint_id, 0, event_id)


def _without_links(value: object) -> object:
    """What a state is known by: links to pictures and pages may be signed anew at each asking."""
    if isinstance(value, dict):
        return {name: _without_links(each) for name, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_without_links(each) for each in cast("list[object]", value)]
    return None if isinstance(value, str) and value.startswith("https://") else value
