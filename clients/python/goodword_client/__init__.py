"""Goodword, as an app's server asks it. It needs nothing but Python's standard library: copy the folder into an app.

    goodword = Goodword("https://api.example.com", "gw_live_…")
    signup = goodword.sign_up({"external_id": "42", "email": "ben@example.com"}, click_id=click_id)

A refusal raises Problem, a server that cannot be reached OSError. Before that a request is sent again, at most twice:
every POST has an Idempotency-Key, so whatever became of the first one, it happens once. Times are texts of RFC 3339,
points are integers. One object may serve many threads, and keeps as many connections as were needed at once.
"""

import http.client
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from goodword_client.schemas import (
    ActivationAnswer,
    Award,
    Balance,
    Entitlement,
    LedgerEntry,
    NewUser,
    Redemption,
    RedemptionOption,
    Referral,
    SignupAnswer,
    UsageAnswer,
    UsageReturnAnswer,
    User,
)

__all__ = ["Goodword", "Problem"]

ATTEMPTS = 3
SENT_AGAIN = frozenset({429, 502, 503, 504})


class Problem(Exception):
    """A refusal: `code` is stable, `detail` is for people, `fields` is all that was said, as a `balance`."""

    def __init__(self, status: int, fields: Mapping[str, Any]) -> None:
        self.status, self.fields = status, fields
        self.code: str = fields.get("code", "")
        self.detail: str = fields.get("detail") or fields.get("message", "")
        super().__init__(f"{status} {self.code}: {self.detail}")


class Goodword:
    """One company, by a secret key of its own."""

    def __init__(self, url: str, key: str, *, timeout: float = 10.0) -> None:
        """`timeout` is in seconds, of one attempt, and the longest that is waited before another."""
        self._url = urlsplit(url)
        self._key = key
        self._timeout = timeout
        self._idle: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    def sign_up(
        self, user: NewUser, *, click_id: str | None = None, referral_code: str | None = None, **fields: str | None
    ) -> SignupAnswer:
        """Tell of a new user. `referral_code` is what the person typed; `fields` what else there is to say, as `ip`."""
        return self.call("POST", "/v1/signups", user=user, click_id=click_id, referral_code=referral_code, **fields)

    def activate(self, user_id: str, *, app_id: str | None = None) -> ActivationAnswer:
        """Tell that a user has used the app; only the first use of each app counts."""
        return self.call("POST", "/v1/activations", user_id=user_id, app_id=app_id)

    def user(self, user_id: str) -> User:
        """A user, with the link to share."""
        return self.call("GET", _user(user_id))

    def change_user(self, user_id: str, **changed: Any) -> User:  # noqa: ANN401 - texts, booleans and null
        """Tell what has changed of a user, by the names of the API: `email`, `email_verified`, `stripe_customer_id`."""
        return self.call("PATCH", _user(user_id), **changed)

    def referrals(self, user_id: str, *, level: int = 1) -> Iterator[Referral]:
        """Whom a user brought (1), or whom these brought (2); newest first."""
        return self._each(f"{_user(user_id)}/referrals", level=level)

    def awards(self, user_id: str) -> Iterator[Award]:
        """What a user receives, newest first."""
        return self._each(f"{_user(user_id)}/awards")

    def balance(self, user_id: str) -> Balance:
        """What a user may spend."""
        return self.call("GET", f"{_user(user_id)}/balance")

    def transactions(self, user_id: str) -> Iterator[LedgerEntry]:
        """What came into a user's wallet and went out of it, newest first."""
        return self._each(f"{_user(user_id)}/transactions")

    def redemption_options(self) -> Iterator[RedemptionOption]:
        """What points buy."""
        return self._each("/v1/redemption-options")

    def redeem(self, user_id: str, option_id: str, *, key: str, quantity: int = 1) -> Redemption:
        """Buy an option with points. `key` names the purchase: under one key there is one, however often it is sent."""
        body = {"option_id": option_id, "quantity": quantity}
        return self.call("POST", f"{_user(user_id)}/redemptions", key=key, **body)

    def entitlement(self, user_id: str, feature: str) -> Entitlement:
        """What a user may still use of a feature, using nothing."""
        return self.call("GET", f"{_user(user_id)}/entitlements/{quote(feature, safe='')}")

    def use(self, user_id: str, feature: str, *, quantity: int = 1, key: str | None = None) -> UsageAnswer:
        """Use a feature if the user may: else Problem, and nothing is used."""
        return self.call("POST", f"{_user(user_id)}/usage", key=key, feature=feature, quantity=quantity)

    def give_back(
        self, user_id: str, usage_id: str, *, quantity: int | None = None, key: str | None = None
    ) -> UsageReturnAnswer:
        """Return a use that came to nothing, or a part of it."""
        fields = {} if quantity is None else {"quantity": quantity}
        return self.call("POST", f"{_user(user_id)}/usage/{usage_id}/return", key=key, **fields)

    def call(self, method: str, path: str, *, key: str | None = None, **fields: object) -> Any:  # noqa: ANN401 - any route
        """Any route. `fields` are a GET's query, without what is None, else the body; `key` is the Idempotency-Key."""
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        if method == "POST":
            headers["idempotency-key"] = key or uuid.uuid4().hex
        if method != "GET":
            return self._ask(method, path, json.dumps(fields), headers)
        query = urlencode({name: value for name, value in fields.items() if value is not None})
        return self._ask(method, f"{path}?{query}" if query else path, None, headers)

    def _ask(self, method: str, target: str, body: str | None, headers: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON
        for attempt in range(1, ATTEMPTS + 1):
            wait = 0.2 * attempt
            try:
                status, retry_after, answer = self._send(method, self._url.path.rstrip("/") + target, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS:
                    raise ConnectionError(f"{self._url.netloc} does not answer: {error!r}") from error
            else:
                if status < 400:  # noqa: PLR2004 - where HTTP's errors begin
                    return answer
                wait = max(wait, retry_after)
                if status not in SENT_AGAIN or attempt == ATTEMPTS or wait > self._timeout:
                    raise Problem(status, answer or {})
            time.sleep(wait)
        raise AssertionError("the last attempt answers or raises")

    def _each(self, path: str, **query: int) -> Iterator[Any]:
        after: str | None = None
        while True:
            page = self.call("GET", path, key=None, limit=100, after=after, **query)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["id"]

    def _send(self, method: str, target: str, body: str | None, headers: dict[str, str]) -> tuple[int, float, Any]:
        """One attempt: the status, the seconds of Retry-After, the JSON of the answer."""
        try:
            connection = self._idle.pop()
        except IndexError:
            secure = self._url.scheme == "https"
            scheme = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = scheme(self._url.netloc, timeout=self._timeout)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            raw = response.read()
        except BaseException:
            connection.close()
            self.close()  # a server that has ended one has ended the others too
            raise
        self._idle.append(connection)
        wait = response.headers.get("retry-after", "")
        is_json = response.headers.get_content_type().endswith("json")
        answer = json.loads(raw) if is_json else {"message": raw.decode(errors="replace")} if raw else None
        return response.status, float(wait) if wait.isdecimal() else 0.0, answer


def _user(user_id: str) -> str:
    return f"/v1/users/{quote(user_id, safe='')}"
