"""What a person types or pastes where a code belongs, and what a browser carries along: the one place that reads it.

Such a text never blocks a signup (docs/rules.md, Attribution): it is read as kindly as it can be, and what is no code
is unknown.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from goodword.core import ids
from goodword.core.fields import LONGEST_KEPT

LONGEST = 4096
LONGEST_CODE = 64
UNKNOWN = ""
"""The code that nobody has, for a text that can be none."""

Typed = Annotated[str, Field(max_length=LONGEST)]

_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x1f\x7f/?#]+[^\s\x00-\x1f\x7f]*")


def _kept_url(text: str | None) -> str | None:
    return text if text is not None and len(text) <= LONGEST_KEPT and _WEB_ADDRESS.fullmatch(text) else None


# What a browser says is never in the way of a click or a signup: what fits is kept, and the rest is dropped
# (docs/rules.md, Clicks).
KeptUrl = Annotated[str | None, AfterValidator(_kept_url)]

_PLAIN = re.compile(rf"[0-9A-Za-z-]{{1,{LONGEST_CODE}}}")
_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_IN_A_LINK = re.compile(r"/r/([^/\s?#]+)", re.IGNORECASE)
_BLANK = re.compile(r"\s")

# What is pasted along with a code: the end of a path, of a sentence, of a quotation.
_PASTED_ALONG = " \t\r\n\u00a0/.,;:!?)]}>\"'*\u2026\u201c\u201d\u2019\u00bb"
# Characters without a width that are no format characters (Cf).
_INVISIBLE = dict.fromkeys(map(ord, "\ufe0f"))


def code(text: str | None) -> str | None:
    """The code that is meant, as codes are stored: in upper case. None: nothing is given; `UNKNOWN`: it can be no code.

    It may be pasted as a link, in full-width letters, with the dashes of a word processor or with invisible characters.
    """
    if text is not None and _PLAIN.fullmatch(text):
        return text.upper()  # nearly every text: the redirect asks often
    trimmed = _trimmed(text)
    if trimmed is None:
        return None
    plain = _DASHES.sub("-", trimmed)
    link = _IN_A_LINK.search(plain)
    if link and not _BLANK.search(plain):
        plain = link[1]
    plain = plain.rstrip(_PASTED_ALONG)
    if len(plain) > LONGEST_CODE or not plain.isprintable():
        return UNKNOWN
    return plain.upper()[:LONGEST_CODE]


def excerpt(text: str) -> str:
    """What is answered of a text that can be no code: so much of it as a code could have, without NUL."""
    return text.upper()[:LONGEST_CODE].replace("\x00", "\ufffd")


def click_id(text: str | None) -> str | None:
    """The click that is meant; None where nothing is given, `UNKNOWN` where it can be none."""
    trimmed = _trimmed(text)
    if trimmed is None:
        return None
    return trimmed if ids.parse("clk", trimmed) else UNKNOWN


def _trimmed(text: str | None) -> str | None:
    """Without blanks around it and without characters that nobody sees; None where nothing is left."""
    if text is None or text.isascii():
        return (text or "").strip() or None
    seen = "".join(each for each in text.translate(_INVISIBLE) if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFKC", seen).strip() or None
