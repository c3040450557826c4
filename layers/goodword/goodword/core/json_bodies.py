"""What becomes of the bytes of a JSON body before they are parsed: where text is none, it is seen or marked.

A body must be UTF-8, and the parser sees to that. But the gateway hands a text over with U+FFFD in the place of what
was no UTF-8, and U+FFFD is also a character that people send: it stands wherever a program could not read theirs.
"""

import re

_REPLACEMENT = "\ufffd".encode()
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"(?P<whole>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def is_altered(body: bytes, sent_length: str | None) -> bool:
    """Whether something in a body as the gateway hands it over was no UTF-8: one byte became the three of U+FFFD.

    `sent_length` is the Content-Length; without one nothing is known.
    """
    return _REPLACEMENT in body and sent_length is not None and sent_length != str(len(body))


def with_marks(body: bytes) -> bytes:
    r"""The same JSON with a NUL for every escaped half of a surrogate pair, such as `\ud83d`.

    A program that cuts a text inside an emoji sends these, and most parsers refuse the whole document. A NUL is as
    impossible in a text, and what reads the field says what then happens.
    """
    if _SURROGATE.search(body) is None:
        return body
    return _ESCAPE.sub(lambda escape: escape["whole"] or rb"\u0000", body)
