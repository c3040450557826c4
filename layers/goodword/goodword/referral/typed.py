"""What a person has typed or pasted where a code belongs, and what a browser has carried along.

Such a text never blocks a signup (docs/rules.md, Attribution): it is read as kindly as it can be, and what is no code
is unknown.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import Field

from goodword.core import ids

LONGEST = 4096
LONGEST_CODE = 64
UNKNOWN = ""
"""The code that nobody has, for a text that can be none."""

Typed = Annotated[str, Field(max_length=LONGEST)]

_DASHES = re.compile(r"[\u2010-\u2015\u2212]")
_LINK = re.compile(r"\S*?/r/(?P<code>[^/\s?#]+)\S*", re.IGNORECASE)
_AFTER_A_LINK = ".,;:!)"


def code(text: str | None) -> str | None:
    """The code that is meant; None where nothing is given, `UNKNOWN` where it can be none.

    It may be pasted as a link, in full-width letters, with the dashes of a word processor or with invisible characters.
    """
    trimmed = _trimmed(text)
    if trimmed is None:
        return None
    plain = _DASHES.sub("-", trimmed)
    if link := _LINK.fullmatch(plain):
        plain = link["code"]
    plain = plain.rstrip(_AFTER_A_LINK)
    return plain if len(plain) <= LONGEST_CODE and plain.isprintable() else UNKNOWN


def click_id(text: str | None) -> str | None:
    """The click that is meant; None where nothing is given, `UNKNOWN` where it can be none."""
    trimmed = _trimmed(text)
    if trimmed is None:
        return None
    return trimmed if ids.parse("clk", trimmed) else UNKNOWN


def _trimmed(text: str | None) -> str | None:
    """Without blanks around it and without characters that nobody sees; None where nothing is left."""
    if text is None:
        return None
    seen = "".join(each for each in text if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFKC", seen).strip() or None
