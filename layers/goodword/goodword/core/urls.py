"""URLs that people are led to, in the one form in which they are stored: ASCII, as a browser would ask for them."""

import re
import string
from urllib.parse import quote

from pydantic_core import Url

LONGEST = 2000

_PARTS = re.compile(r"(?P<scheme>https?://)(?P<authority>[^/?#]+)(?P<rest>.*)", re.DOTALL)
_PORT = re.compile(r":[0-9]+$")
_ASCII = string.ascii_letters + string.digits + string.punctuation


def destination(url: str) -> str:
    """A destination in its stored form: the host as browsers look it up, the bytes beyond ASCII percent-encoded.

    All else stays byte for byte. Raises ValueError for what a person may read otherwise than a browser does: a user
    before the host, a backslash, a host that is none.
    """
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError("must begin with http:// or https:// and a host")
    if "\\" in url:
        raise ValueError("must hold no backslash: browsers take it for a slash")
    if "@" in parts["authority"]:
        raise ValueError("must hold neither a user nor a password")
    port = _PORT.search(parts["authority"])
    host = _host(parts["scheme"] + parts["authority"])
    stored = f"{parts['scheme']}{host}{port[0] if port else ''}{quote(parts['rest'], safe=_ASCII)}"
    if len(stored) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters where those beyond ASCII are encoded")
    return stored


def _host(origin: str) -> str:
    """The host in punycode, by the algorithm of browsers (docs/decisions/0020)."""
    try:
        host = Url(origin).host
    except ValueError:
        host = None
    if not host:
        raise ValueError("must name a host that browsers can look up")
    return host
