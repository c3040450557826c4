"""One handler and its statement, call by call in turns; run as a process of its own by `tests.benchmarks.warm`.

The statement gets over psycopg what the handler would send: new ids, a new key. What is timed begins with the event, or
with the parameters, and ends with the answer. What the handler logs is written, as in production, and read by nobody.
"""

import copy
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from app import lambda_handler  # type: ignore[import-not-found] - the function's folder is on the path

from goodword.access import entitlements
from goodword.core import ids, privacy
from goodword.core.settings import settings
from goodword.points import ledger, redemptions
from goodword.referral import clicks
from local import events
from tests.benchmarks.table import compare

WARM = 200
CALLS = 1_500


class Subject:
    """What is asked for, again and again, each time of another user under another key."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.name = str(job["event"])
        self._event = events.load(self.name, job["values"])
        self._company_id = UUID(job["company_id"])
        self._option = ids.parse("opt", job["values"]["option_id"])
        self._users = int(job["users"])
        self._numbers = count()

    def event(self) -> dict[str, Any]:
        """The next request as the gateway hands it over."""
        number = next(self._numbers)
        event = copy.deepcopy(self._event)
        if self.name == "track_click__follow":
            event["pathParameters"]["code"] = self._user(number).upper()
        else:
            event["pathParameters"]["user_id"] = self._user(number)
            event["headers"]["idempotency-key"] = f"{self.name}-{number}"
        return event

    def statement(self) -> tuple[LiteralString, dict[str, object]]:
        """The next request as the database hears it."""
        number = next(self._numbers)
        if self.name == "track_click__follow":
            return clicks._RECORD, self._click(number)  # noqa: SLF001 - the very statement
        body = json.loads(self._event["body"])
        common = {
            "company_id": self._company_id, "user_id": self._user(number), "key": f"{self.name}-{number}",
            "hash": bytes(32), "request_id": "bare", "outbox_id": ids.new_id(), "activity_id": ids.new_id(),
        }  # fmt: skip
        if self.name == "redeem_points__quota":
            own = {"option": self._option, "quantity": 1, "redemption": ids.new_id()}
            return redemptions.REDEEM, {**common, **own}
        if self.name == "check_access__consume":
            return entitlements.CONSUME, {**common, **body, "usage": ids.new_id()}
        own = {"expires_at": None, "priority": 100, "adjustment": ids.public("adj", ids.new_id())}
        return ledger.ADJUST, {**common, **body, **own}

    def _user(self, number: int) -> str:
        return f"user_{number % self._users}"

    def _click(self, number: int) -> dict[str, object]:
        key, click_id = privacy.PrivacyKey(1, bytes(32)), ids.new_id()
        headers = self._event["headers"]
        return {
            "id": click_id, "received_at": ids.time_of(click_id), "company_id": None,
            "code": self._user(number).upper(), "counted": True, "previous_id": None, "previous_at": None,
            "app_id": None, "landing_url": None, "referrer_url": headers["referer"].partition("?")[0],
            "ip_hash": key.hash("ip", "203.0.113.7"), "agent_hash": key.hash("agent", headers["user-agent"]),
            "device_hash": None, "hash_key_id": key.id,
        }  # fmt: skip


def milliseconds(work: Callable[[Any], None], subject: object) -> float:
    began = time.perf_counter()
    work(subject)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    subject = Subject(json.load(sys.stdin))
    configured = settings()
    bare = psycopg.connect(
        host=configured.database_host, port=configured.database_port, dbname=configured.database_name,
        user=configured.database_user, autocommit=True, prepare_threshold=None,
    )  # fmt: skip

    def handle(event: dict[str, Any]) -> None:
        answer = lambda_handler(event, None)
        if answer["statusCode"] >= 400:
            raise LookupError(answer["body"])

    def send(statement: tuple[LiteralString, dict[str, object]]) -> None:
        if bare.execute(*statement).fetchone() is None:
            raise LookupError("no answer")

    def handling() -> float:
        return milliseconds(handle, subject.event())

    def sending() -> float:
        return milliseconds(send, subject.statement())

    compare(handling, sending, rounds=WARM)
    sys.stdout.write(json.dumps(dataclasses.asdict(compare(handling, sending, rounds=CALLS))))


if __name__ == "__main__":
    main()
