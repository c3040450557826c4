"""What every answer of the API owes its reader, checked in one place."""

import re
from datetime import datetime
from typing import Any

from goodword.core import refusals
from local.client import Answer

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
INSIDES = ("Traceback", "psycopg", "goodword.core", "SELECT ", "INSERT ", "violates", "gw_test_", "gw_live_", "whsec_")


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The body of an error, which is RFC 9457's with our fields and shows nothing of our insides."""
    assert (answer.status, answer.json.get("code")) == (status, code), (answer.status, answer.raw)
    body = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= body.keys()
    assert body["type"] == f"urn:goodword:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    for wrong in body.get("errors", []):
        assert wrong.keys() == {"field", "message"}
        # pydantic's words begin with a capital, ours follow the field's name
        assert wrong["message"][0].islower(), wrong
        assert wrong["message"] != refusals.OTHERWISE, wrong
    shown = answer.raw.decode()
    assert not [inside for inside in INSIDES if inside in shown]
    return body


def fields(answer: Answer) -> set[str]:
    """The fields that a 422 names."""
    return {wrong["field"] for wrong in problem(answer, 422, "invalid_request")["errors"]}


def time_of(text: str) -> datetime:
    """A time as the API writes them: RFC 3339 in UTC with Z."""
    assert RFC_3339.fullmatch(text), text
    return datetime.fromisoformat(text)
