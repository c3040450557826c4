"""A company as a test sees it: its line of keys and endpoints, and clients that hold them."""

import json
import time
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from psycopg import Connection

from goodword.accounts.companies import NewCompany
from goodword.payments import signatures
from goodword.payments.whop import signatures as whop_signatures
from goodword.program.document import Program
from local import setup
from local.client import Answer, Client
from tests.support.trust import TRUSTING

DESTINATION = "https://shop.example/start"


class Company:
    """`api` holds the secret key, `browser` none; `pub` is the publishable key."""

    def __init__(self, line: dict[str, str]) -> None:
        self.line = line
        self.id = UUID(hex=line["company"].removeprefix("cmp_"))
        self.url = line["url"]
        self.pub = line["publishable_key"]
        self.api = Client(self.url, line["secret_key"])
        self.browser = Client(self.url)

    @classmethod
    def open(cls, base_url: str, *, livemode: bool = False) -> Self:
        """A fresh company on a running server."""
        client = Client(base_url)
        body = {"name": "Test", "livemode": livemode, "destination_url": DESTINATION}
        answer = client.send("POST", "/_local/companies", body)
        client.close()
        assert answer.status == 200, answer.raw
        return cls(answer.json)

    @classmethod
    def write(cls, opener: Connection, base_url: str, *, livemode: bool = False, program: Program = TRUSTING) -> Self:
        """The same, written straight into the database of that server."""
        company = NewCompany(name="Test", livemode=livemode, destination_url=DESTINATION)
        with opener.pipeline():  # a third less work
            return cls(setup.write_company(opener, company, base_url, program))

    def trust(self) -> Self:
        """Put a program in force that trusts everybody."""
        self.ok("PUT", "/v1/program", TRUSTING.model_dump(mode="json", by_alias=True))
        return self

    def close(self) -> None:
        """End the connections."""
        self.api.close()
        self.browser.close()

    def ok(self, method: str, path: str, body: object = None, *, key: str | None = None, status: int = 0) -> Any:  # noqa: ANN401
        """A request that must succeed; its JSON. `key` is an Idempotency-Key."""
        answer = self.api.send(method, path, body, headers={"idempotency-key": key} if key else None)
        assert answer.status == status if status else answer.status < 300, (answer.status, answer.raw)
        return answer.json

    def sign_up(self, external_id: str, **fields: object) -> Any:  # noqa: ANN401
        """A signup; `fields` are the body's besides the user."""
        return self.ok("POST", "/v1/signups", {"user": {"external_id": external_id}, **fields})

    def refer(self, referrer: str, referee: str) -> Any:  # noqa: ANN401
        """Two signups, the second through the first one's code; the second's answer."""
        code = self.sign_up(referrer)["user"]["referral_code"]
        return self.sign_up(referee, referral_code=code)

    def balance(self, external_id: str) -> int:
        """What a user may spend."""
        return self.ok("GET", f"/v1/users/{external_id}/balance")["balance"]

    def set_clock(self, now: datetime) -> None:
        """Set the company's clock."""
        self.ok("PUT", "/v1/test-clock", {"now": now.isoformat()})

    def deliver(
        self, event: object, *, raw: bytes | None = None, age: timedelta = timedelta(), secret: str | None = None
    ) -> Answer:
        """Send a signed Stripe event; `age` makes the signature older."""
        body = raw if raw is not None else json.dumps(event).encode()
        at = int(time.time() - age.total_seconds())
        signed = signatures.sign(body, secret or self.line["stripe_secret"], at)
        path = urlsplit(self.line["stripe_endpoint"]).path
        return self.browser.send("POST", path, raw=body, headers={"stripe-signature": signed})

    def deliver_whop(
        self, event: dict[str, Any], *, message_id: str | None = None, age: timedelta = timedelta(),
        secret: str | None = None, endpoint: str | None = None,
    ) -> Answer:  # fmt: skip
        """Send a signed Whop event, in v5's way if it has an `action`; `age` makes the signature older."""
        body = json.dumps(event).encode()
        at = int(time.time() - age.total_seconds())
        key = secret or self.line["whop_secret"]
        if "action" in event:
            headers = whop_signatures.sign_v5(body, key, at)
        else:
            headers = whop_signatures.sign(body, key, message_id or event["id"], at)
        return self.browser.send(
            "POST", urlsplit(endpoint or self.line["whop_endpoint"]).path, raw=body, headers=headers
        )
