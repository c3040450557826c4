"""Stripe's list of events, for what no delivery told: the same events under the same ids, kept for thirty days."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from goodword.core.fetching import NotAnswered
from goodword.payments.reading import Object, elements, identifier
from goodword.payments.reception import Incoming
from goodword.payments.stripe import events as stripe
from goodword.payments.stripe import webhooks as stripe_webhooks

PAGE: Final = 100
TYPES_AT_ONCE: Final = 20


def pages(ask: Callable[[str], Object], endpoint_id: UUID, since: datetime) -> Iterator[Sequence[Incoming]]:
    """The events since then that may say something here; `ask` answers what is at a path. Raises NotAnswered."""
    for first in range(0, len(stripe.HANDLED), TYPES_AT_ONCE):
        asked = [("created[gte]", str(int(since.timestamp()))), ("limit", str(PAGE))]
        asked += [("types[]", name) for name in stripe.HANDLED[first : first + TYPES_AT_ONCE]]
        after: list[tuple[str, str]] = []
        while True:
            page = ask(f"/v1/events?{urlencode(asked + after)}")
            events = list(elements(page, "data"))
            yield [stripe_webhooks.incoming(json.dumps(event).encode(), {}, endpoint_id, 0) for event in events]
            if page.get("has_more") is False:
                break
            last = identifier(events[-1].get("id")) if events else None
            if last is None:
                raise NotAnswered("no_cursor")
            after = [("starting_after", last)]
