"""Stripe's list of events, for what no delivery brought: the same events under the same ids, kept for thirty days."""

import json
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from goodword.core.settings import settings
from goodword.payments.provider import Ask, Delivery, Listing, ListUnreadable, Missed
from goodword.payments.reading import elements, identifier
from goodword.payments.stripe.events import HANDLED

PAGE: Final = 100
TYPES_AT_ONCE: Final = 20


def pages(ask: Ask, missed: Missed) -> Iterator[Sequence[Delivery]]:
    """The events that may say something here. Raises ListUnreadable."""
    types = tuple(HANDLED)
    for first in range(0, len(types), TYPES_AT_ONCE):
        parameters = [("created[gte]", str(int(missed.since.timestamp()))), ("limit", str(PAGE))]
        parameters += [("types[]", name) for name in types[first : first + TYPES_AT_ONCE]]
        after: list[tuple[str, str]] = []
        while True:
            page = ask(f"/v1/events?{urlencode(parameters + after)}")
            events = list(elements(page, "data"))
            yield [Delivery(json.dumps(event).encode()) for event in events]
            if page.get("has_more") is False:
                break
            last = identifier(events[-1].get("id")) if events else None
            if last is None:
                raise ListUnreadable("no_cursor")
            after = [("starting_after", last)]


def _url(_livemode: bool) -> str:  # noqa: FBT001 - the key alone decides the mode
    return settings().stripe_api_url


LISTING: Final = Listing(url=_url, headers={}, pages=pages)
