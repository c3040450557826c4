"""A provider: what reception, replays and reconciliation ask of Stripe and of Whop, as a record of plain functions.

Bytes go one way: `read` makes an event of a delivery, and `facts` makes facts of an event. Nothing here has state. A
function that receives one provider's webhooks names that provider's record; replays and reconciliation, which serve all
of them, look it up in the `registry`.

The values are named tuples, for a receiving function makes their classes at each cold start: as dataclasses they would
cost it some milliseconds more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from goodword.facts.kinds import Fact
from goodword.payments.bodies import EventMalformed
from goodword.payments.inbox import ProviderName, Recipient
from goodword.payments.reading import Object

Content = TypeVar("Content")


class Delivery(NamedTuple):
    """What a provider sends: the bytes of a body, and its headers under lower-case names.

    `event_id` is our own id of an event that was not sent but listed, where the provider has none.
    """

    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    event_id: str | None = None


class ProviderEvent(NamedTuple, Generic[Content]):
    """An event, as far as the events of all providers are alike. Until its signature holds, only its id may be used.

    `livemode` is None where the provider does not say. `company` is the provider's own id of the company that the event
    is about, by which an app's endpoint finds ours. `error` says why it can be kept and never applied. `content` is the
    event in its provider's own shape.
    """

    id: str
    type: str
    livemode: bool | None
    content: Content
    company: str | None = None
    error: str | None = None


class NotAnEvent(NamedTuple):
    """A body that is no event; `fault` says why."""

    fault: EventMalformed


class ListUnreadable(ValueError):
    """A provider's list that cannot be gone through to its end; the message is a code that says why."""


class Missed(NamedTuple):
    """What a provider is asked for: the changes of one company since an instant.

    `company` is the provider's own id of it, where we know it. `ended` picks the subscriptions that are known to have
    ended.
    """

    since: datetime
    company: str | None
    ended: Callable[[Sequence[str]], set[str]]


Ask: TypeAlias = Callable[[str], Object]
"""Answers what is at a path of the provider's API; it has a list at `data`."""


class Listing(NamedTuple):
    """How a provider's API is asked for what no delivery brought.

    `url` tells the API's address, for a company in live mode or in test mode. `pages` yields the deliveries that were
    missed, a page at a time, and raises ListUnreadable.
    """

    url: Callable[[bool], str]
    headers: Mapping[str, str]
    pages: Callable[[Ask, Missed], Iterator[Sequence[Delivery]]]


class Provider(NamedTuple, Generic[Content]):
    """What is asked of a provider.

    `read` tells an event from what is none, and raises nothing. `verify` takes the secrets of the endpoint and the real
    time (Unix, seconds), and raises SignatureRejected. `why_ignored` says why an event means nothing to its recipient;
    None where it does. `facts` may raise EventUnreadable.
    """

    name: ProviderName
    kept_headers: Sequence[str]
    read: Callable[[Delivery], ProviderEvent[Content] | NotAnEvent]
    verify: Callable[[Delivery, Sequence[str], float], None]
    why_ignored: Callable[[Content, Recipient], str | None]
    facts: Callable[[Content], Sequence[Fact]]
    listing: Listing
