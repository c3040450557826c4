"""Asking somebody else for JSON over HTTPS, with a key that nobody but them may see.

The key goes to the host that was asked and nowhere else: a redirect is not followed, no proxy is used, nothing of a
request or an answer is logged or said in a fault. Only 127.0.0.1 may be asked without TLS. An answer is bounded in size
and in time, so a batch of scheduled work is.

`http.client` is slow to import, so only a process that asks imports this module.
"""

import json
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

CONNECT_SECONDS: Final = 3
READ_SECONDS: Final = 15
ALL_SECONDS: Final = 45
"""How long one question may take with all its repetitions."""
PAUSES_SECONDS: Final = (0.5, 1.0, 2.0)
LARGEST_ANSWER: Final = 32 * 1024 * 1024
TOO_MANY: Final = 429
HEADERS: Final = {"accept": "application/json", "user-agent": "goodword"}


class NotAnswered(Exception):
    """There is no answer, or none that can be used; the message is a code that says why."""

    def __init__(self, code: str, *, again_after: float | None = None) -> None:
        """`again_after`: in how many seconds at the earliest it may be worth asking again; None where it is not."""
        super().__init__(code)
        self.again_after = again_after


def fetch_json(url: str, key: str, headers: Mapping[str, str]) -> object:
    """What is at `url`; asked again a little where that may help. Raises NotAnswered.

    Who cannot even be connected to is not asked again: without a way out of a VPC, that would be waiting for nothing.
    """
    end = time.monotonic() + ALL_SECONDS
    pauses = iter(PAUSES_SECONDS)
    while True:
        try:
            return _ask(url, {**HEADERS, **headers, "authorization": f"Bearer {key}"}, end)
        except NotAnswered as fault:
            pause = next(pauses, None)
            if pause is None or fault.again_after is None:
                raise
            pause = max(pause, fault.again_after)
            if time.monotonic() + pause + CONNECT_SECONDS > end:
                raise
        time.sleep(pause)


def _ask(url: str, headers: Mapping[str, str], end: float) -> object:
    to = urlsplit(url)
    if to.scheme == "https":
        connection = HTTPSConnection(to.netloc, timeout=CONNECT_SECONDS)
    elif to.scheme == "http" and to.hostname == "127.0.0.1":
        connection = HTTPConnection(to.netloc, timeout=CONNECT_SECONDS)
    else:
        raise NotAnswered("not_https")
    try:
        connection.connect()
    except OSError as fault:
        raise NotAnswered("unreachable") from fault
    try:
        connection.sock.settimeout(READ_SECONDS)
        connection.request("GET", f"{to.path}?{to.query}", headers=dict(headers))
        response = connection.getresponse()
        body = _read(response, end)
    except (OSError, HTTPException) as fault:
        raise NotAnswered("cut_off", again_after=0) from fault
    finally:
        connection.close()
    if response.status != 200:  # noqa: PLR2004 - a redirect is no answer either
        raise NotAnswered(f"http_{response.status}", again_after=_again_after(response))
    try:
        return json.loads(body, parse_float=str)  # money must not pass through a float
    except (ValueError, RecursionError):
        raise NotAnswered("not_json") from None  # the fault holds the answer


def _read(response: HTTPResponse, end: float) -> bytes:
    body = bytearray()
    while part := response.read1(65536):
        body += part
        if len(body) > LARGEST_ANSWER:
            raise NotAnswered("too_large")
        if time.monotonic() > end:
            raise NotAnswered("too_slow")
    return bytes(body)


def _again_after(response: HTTPResponse) -> float | None:
    if response.status != TOO_MANY and response.status < 500:  # noqa: PLR2004 - where a server's own faults begin
        return None
    wanted = response.headers.get("retry-after", "")
    return float(wanted) if wanted.isascii() and wanted.isdecimal() else 0
