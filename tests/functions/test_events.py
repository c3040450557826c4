"""Every example event does what it is an example of, and is written as API Gateway writes events."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local import events
from local.client import Client
from tests.support import examples
from tests.support.examples import Scenes
from tools import openapi

VALUES: tuple[str, ...] = (
    "secret_key", "publishable_key", "code", "click_id", "referral_id", "award_id", "option_id", "unlock_id",
    "redemption_id", "reward_id", "usage_id", "coupon_id", "campaign_id", "grant_id", "milestone_id", "pattern_id",
    "endpoint_id", "key_id", "review_id",
    "stripe_secret", "whop_endpoint_id", "whop_secret",
)  # fmt: skip


def test_every_event_has_its_row() -> None:
    assert events.names() == sorted(examples.TABLE)


@pytest.fixture(scope="module")
def scenes(server: str, opener: psycopg.Connection) -> Scenes:
    return Scenes(opener, server)


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Client]:
    anybody = Client(server)
    yield anybody
    anybody.close()


@pytest.mark.parametrize("name", examples.TABLE)
def test_an_event(scenes: Scenes, client: Client, superuser: psycopg.Connection, name: str) -> None:
    def invoke(logical_id: str, event: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the function answers
        answer = client.send("POST", f"/_local/functions/{logical_id}/invocations", event)
        assert answer.status == 200, answer.raw
        return answer.json

    examples.play(name, scenes.of(name), superuser, invoke)


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="code"):
        events.load("track_click__follow", {})


def test_the_events_are_whole() -> None:
    """As API Gateway writes them: docs/gateway.md says which fields there are."""
    behind_the_api = {function.folder.name for function in openapi.served_functions()}
    for name in events.names():
        if name.partition("__")[0] not in behind_the_api:
            continue
        event = events.load(name, dict.fromkeys(VALUES, "x"))
        context = event["requestContext"]
        assert event["version"] == "2.0"
        assert event["routeKey"] == context["routeKey"]
        assert event["rawPath"] == context["http"]["path"]
        assert all(header == header.lower() for header in event["headers"])
        assert event["headers"]["user-agent"] == context["http"]["userAgent"]
        assert context["http"]["sourceIp"] in event["headers"]["x-forwarded-for"]
        assert bool(event["rawQueryString"]) == ("queryStringParameters" in event)
        assert ("{" in event["routeKey"]) == ("pathParameters" in event)
