"""Where a followed link leads: the destination with the visitor's own parameters and the click, and the cookie."""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from goodword.core import ids

SECONDS_PER_DAY = 86_400
CLICK = "gw_click"
"""The cookie and the parameter that hold the id of a click."""

_NEVER_PASSED_ON = frozenset({CLICK.encode(), b"key"})

# What no query holds as it is: a stray percent sign, controls, blanks, " # < > and all beyond ASCII.
_INVALID = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!$-;=?-~]")


def location(destination: str, raw_query: str, click_id: UUID | None) -> str:
    """The destination, then what the visitor's query adds to it, then the click.

    Both queries stay byte for byte, but for what no URL may hold. No parameter of the visitor's overwrites one of the
    destination's.
    """
    base, own, taken, fragment = _taken_apart(destination)
    passed_on = [each for each in _valid(raw_query).split("&") if each and _name(each) not in taken]
    click = [f"{CLICK}={ids.public('clk', click_id)}"] if click_id else []
    query = "&".join([*own, *passed_on, *click])
    return f"{base}?{query}{fragment}" if query else base + fragment


def cookie(click_id: UUID, window_days: int) -> str:
    """The cookie by which the browser's next click joins this one's chain."""
    return (
        f"{CLICK}={ids.public('clk', click_id)}; Max-Age={window_days * SECONDS_PER_DAY}; Path=/; Secure; SameSite=Lax"
    )


def click_in(cookies: Sequence[str]) -> str:
    """The click that a browser's cookies hold, as they say it; empty where there is none."""
    return next((each.partition("=")[2] for each in cookies if each.startswith(f"{CLICK}=")), "")


@lru_cache(maxsize=500)
def _taken_apart(destination: str) -> tuple[str, Sequence[str], frozenset[bytes], str]:
    """What comes before the query, its parameters, the names that a visit may not use, and the fragment with its #."""
    whole, hash_sign, fragment = destination.partition("#")
    base, _, query = whole.partition("?")
    own = [each for each in query.split("&") if _name(each) != CLICK.encode()] if query else []
    return base, own, _NEVER_PASSED_ON | {_name(each) for each in own if each}, hash_sign + fragment


def _name(parameter: str) -> bytes:
    """The name of a parameter as servers read it."""
    return unquote_to_bytes(parameter.partition("=")[0].replace("+", " "))


def _valid(raw_query: str) -> str:
    return _INVALID.sub(lambda invalid: quote(invalid[0], safe="", errors="replace"), raw_query)
