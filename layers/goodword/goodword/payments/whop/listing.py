"""Whop's lists, for what no delivery brought. Whop lists no events, so the state of an object is made into one.

The id of such an event is a hash of the state: the same state is the same event however often it is seen, a changed one
is another. Its time is when the object changed, never when we asked. Lists can be asked for by the time of creation
alone, so they are asked from far enough back to show what has changed since.

One dated version of the API is asked; its shapes are among those that are read anyway.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, cast
from urllib.parse import urlencode

from goodword.core.settings import settings
from goodword.payments.bodies import EventUnreadable
from goodword.payments.provider import Ask, Delivery, Listing, ListUnreadable, Missed
from goodword.payments.reading import Object, elements, identifier, inside
from goodword.payments.whop.reading import read_time

PAGE: Final = 50
# What is listed, the kind of its objects, and for how many days after its creation one is still looked at.
_LISTS: Final = (
    ("payments", "payment", 30), ("refunds", "refund", 30), ("disputes", "dispute", 180),
    ("memberships", "membership", 366),
)  # fmt: skip
_OVER: Final = frozenset({"canceled", "expired"})


def pages(ask: Ask, missed: Missed) -> Iterator[Sequence[Delivery]]:
    """What has changed of a company (`biz_…`). Raises ListUnreadable.

    Nothing more is made of memberships that are known to have ended: an edit of one later would seem to be its end.
    """
    if missed.company is None:
        raise ListUnreadable("whop_company_id_missing")
    for path, kind, days in _LISTS:
        parameters = {
            "account_id": missed.company,
            "created_after": (missed.since - timedelta(days=days)).isoformat(),
            "order": "created_at",
            "direction": "asc",
            "first": str(PAGE),
        }
        while True:
            page = ask(f"/{path}?{urlencode(parameters)}")
            yield [_delivery(kind, source) for source in _changed(kind, page, missed)]
            info = inside(page, "page_info")
            if info.get("has_next_page") is False:
                break
            cursor = info.get("end_cursor")
            if not isinstance(cursor, str) or cursor == parameters.get("after"):
                raise ListUnreadable("no_cursor")
            parameters["after"] = cursor


def _changed(kind: str, page: Object, missed: Missed) -> list[Object]:
    changed = [source for source in elements(page, "data") if _has_changed_since(source, missed.since)]
    if kind == "payment":
        # a payment counts once it is paid, whatever has become of it since; before that it says nothing
        return [payment for payment in changed if payment.get("status") == "paid"]
    if kind == "membership":
        over = [key for each in changed if _is_over(each) and (key := identifier(each.get("id")))]
        ended = missed.ended(over) if over else set[str]()
        return [each for each in changed if not (_is_over(each) and identifier(each.get("id")) in ended)]
    return changed


def _is_over(membership: Object) -> bool:
    return membership.get("status") in _OVER


def _has_changed_since(source: Object, since: datetime) -> bool:
    """An object without a time may have changed."""
    try:
        at = read_time(source, "updated_at") or read_time(source, "created_at")
    except EventUnreadable:
        return True
    return at is None or at >= since


def _delivery(kind: str, source: Object) -> Delivery:
    verbs = {"payment": "succeeded", "membership": "deactivated" if _is_over(source) else "updated"}
    state = json.dumps(_without_links(source), sort_keys=True)
    event_id = f"api:{kind}:{identifier(source.get('id'))}:{sha256(state.encode()).hexdigest()}"
    body = {
        "id": event_id,
        "api_version": "v1",
        "type": f"{kind}.{verbs.get(kind, 'updated')}",
        "timestamp": source.get("updated_at") or source.get("created_at"),
        "data": source,
    }
    return Delivery(json.dumps(body).encode(), event_id=event_id)


def _without_links(value: object) -> object:
    """What a state is known by: links to pictures and pages may be signed anew at each asking."""
    if isinstance(value, dict):
        return {name: _without_links(each) for name, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_without_links(each) for each in cast("list[object]", value)]
    return None if isinstance(value, str) and value.startswith("https://") else value


def _url(livemode: bool) -> str:  # noqa: FBT001 - a company's column
    return settings().whop_api_url if livemode else settings().whop_sandbox_api_url


LISTING: Final = Listing(url=_url, headers={"api-version-date": "2026-10-15-1"}, pages=pages)
