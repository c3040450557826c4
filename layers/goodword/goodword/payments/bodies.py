"""A provider's request body, read strictly: one JSON object that every later step can hold.

Strict means stricter than `json.loads`: no duplicate keys (two readers would see two events), no NaN or Infinity, no
NUL and no half of a surrogate pair (Postgres text and UTF-8 cannot hold them), no nesting deeper than any provider's.
Reading is linear in the body's length, because it happens before anybody knows who sent the body.
"""

import json
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Final, Never, cast

DEEPEST: Final = 64


class EventUnreadable(ValueError):
    """An authentic event of a kind we handle, whose money or time cannot be read: kept as failed, never guessed at."""


class EventMalformed(ValueError):
    """The body is not an event: not UTF-8, not JSON, not an object, or without what every event has."""

    code: Final = "malformed_body"


def read_object(raw: bytes, *, exact: bool = False) -> dict[str, object]:
    """The JSON object in `raw`. Raises EventMalformed, and nothing else, for every other body.

    Where fractions may be money they are read `exact`, as Decimal: a float is another number than the one written.
    """
    try:
        body: object = (_EXACT_DECODER if exact else _DECODER).decode(raw.decode())
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise EventMalformed("the body is not strict JSON") from error
    if not isinstance(body, dict):
        raise EventMalformed("the body is not a JSON object")
    # nothing but an escape brings what cannot be stored into text that is UTF-8, and nothing but brackets nests
    if rb"\u" in raw or raw.count(b"{") + raw.count(b"[") >= DEEPEST:
        _refuse_what_cannot_be_stored(cast("dict[str, object]", body))
    return cast("dict[str, object]", body)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)  # reads 1e999 as infinity, which JSON cannot write back
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _exact(text: str) -> Decimal:
    _finite(text)
    try:
        return Decimal(text)
    except InvalidOperation as error:  # an exponent of more than eighteen digits
        raise ValueError("a number is too small") from error


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _decoder(fraction: Callable[[str], object]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_float=fraction, parse_constant=_no_constant)


_DECODER: Final = _decoder(_finite)
_EXACT_DECODER: Final = _decoder(_exact)


def _refuse_what_cannot_be_stored(body: dict[str, object]) -> None:
    level: list[object] = [body]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, str):
                _refuse_unstorable_text(value)
            elif isinstance(value, dict):
                members = cast("dict[str, object]", value)
                inner.extend(chain(members.keys(), members.values()))
            elif isinstance(value, list):
                inner.extend(cast("list[object]", value))
        if not inner:
            return
        level = inner
    raise EventMalformed("the body is nested too deeply")


def _refuse_unstorable_text(text: str) -> None:
    if "\0" in text:
        raise EventMalformed("a text holds NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EventMalformed("a text holds half a surrogate pair") from error
