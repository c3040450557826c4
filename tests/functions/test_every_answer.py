"""What every answer of every route carries, whatever it says."""

import pytest

from local.client import Answer
from tests.support.requests import REQUESTS, Asked


def guarded(answer: Answer) -> bool:
    """Nobody stores the answer, and nobody takes it for what its content type does not say."""
    headers = answer.headers
    return (headers.get("cache-control"), headers.get("x-content-type-options")) == ("no-store", "nosniff")


@pytest.mark.parametrize("key", REQUESTS)
def test_no_answer_may_be_stored_or_taken_for_something_else(asked: Asked, key: str) -> None:
    method, path, body = key.partition(" ")[0], asked.path(key), REQUESTS[key].body
    done = asked.company.api.send(method, path, body and asked.body(key), headers={"idempotency-key": key})
    assert guarded(done), done
    assert guarded(asked.company.browser.send(method, path, raw=b"{")), "a refusal"


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/r/", "/r/NO-SUCH-CODE", "/r/NO-SUCH-CODE?key=gw_pub_x"])
def test_neither_may_what_is_not_found(asked: Asked, path: str) -> None:
    answer = asked.company.browser.send("GET", path)
    assert (answer.status, guarded(answer)) == (404, True)


def test_neither_may_an_answer_given_once_more(asked: Asked) -> None:
    answers = [
        asked.company.api.send(
            "POST", "/v1/users/ada/points", {"points": 1, "note": ""}, headers={"idempotency-key": "x"}
        )
        for _ in range(2)
    ]
    assert [(each.headers.get("idempotent-replay"), guarded(each)) for each in answers] == [
        (None, True),
        ("true", True),
    ]
