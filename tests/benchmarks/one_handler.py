"""One handler and its statement, call by call in turns; run as a process of its own by `tests.benchmarks.warm`.

The statement gets over psycopg what the handler would send, by the same use case: new ids, a new key. What is timed
begins with the event, or with the use case's values, and ends with the answer. What the handler logs is written, as in
production, and read by nobody.
"""

import copy
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from app import lambda_handler  # type: ignore[import-not-found] - the function's folder is on the path
from psycopg import Connection

from goodword.access import usage
from goodword.access.usage import Usage
from goodword.core import ids, privacy
from goodword.core.one_trip import OneTrip
from goodword.core.settings import settings
from goodword.points import ledger, redemptions
from goodword.points.ledger import PointsAdjustment
from goodword.points.redemptions import NewRedemption
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
            event["headers"]["idempotency-key"] = str(ids.new_id())
        return event

    def statement(self) -> Callable[[Connection], object]:
        """The next request as the database gets it."""
        number = next(self._numbers)
        if self.name == "track_click__follow":
            click = self._click(number)
            return lambda connection: connection.execute(clicks._RECORD, click).fetchone()  # noqa: SLF001 - the very one
        body, user_id, id_ = self._event["body"], self._user(number), ids.new_id()
        trip = OneTrip(self._company_id, str(ids.new_id()), bytes(32), "bare")
        if self.name == "redeem_points__quota":
            new = NewRedemption.model_validate_json(body)
            return lambda connection: redemptions.redeem(connection, trip, user_id, id_, new)
        if self.name == "check_access__consume":
            wanted = Usage.model_validate_json(body)
            return lambda connection: usage.consume(connection, trip, user_id, id_, wanted)
        adjustment = PointsAdjustment.model_validate_json(body)
        return lambda connection: ledger.adjust(connection, trip, user_id, id_, adjustment)

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

    def send(statement: Callable[[Connection], object]) -> None:
        if statement(bare) is None:
            raise LookupError("no answer")

    def handling() -> float:
        return milliseconds(handle, subject.event())

    def sending() -> float:
        return milliseconds(send, subject.statement())

    compare(handling, sending, rounds=WARM)
    sys.stdout.write(json.dumps(dataclasses.asdict(compare(handling, sending, rounds=CALLS))))


if __name__ == "__main__":
    main()
