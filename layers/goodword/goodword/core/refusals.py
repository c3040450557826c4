"""What is wrong with a field of a request, in words for who sent it: the field's name comes before them.

Pydantic's own words speak of its types and show patterns, and change with its versions.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

OTHERWISE = "is not of the form it must have"

WORDS: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "string_type": "must be a text",
    "string_unicode": "must be a text of Unicode characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
"""By the type of pydantic's error, with what its context says."""

_ID = re.compile(r"\^([a-z]{3}_)\[")
_OF_A_CLASS = re.compile(r"\^\[(?P<characters>[^]]+)\](?:\*|\{(?P<least>\d+),?(?P<most>\d*)\})\$")
_CHARACTERS = {
    r"\x21-\x7e": "visible ASCII characters", "!-~": "visible ASCII characters", r"^\x00": "characters other than NUL",
    "A-Za-z": "letters", "A-Z": "capital letters", "a-z": "small letters", "0-9": "digits", "_": "underscores",
    ".": "dots", "+": "plus signs", "/": "slashes", "-": "hyphens",
}  # fmt: skip
_WHOLE = {
    "^[^@": "must be an e-mail address",
    "^https?://": "must be a URL that begins with http:// or https:// and a host",
    "^[a-z]{3}$": "must be a currency of three small letters, as usd",
    "^[0-9]{4}-(0[1-9]|1[0-2])$": "must be a month, as 2026-01",
    "^[A-Za-z]{2}$": "must be a country of two letters, as DE",
    "^[a-z][a-z0-9_.]{0,63}$": "must be 1 to 64 small letters, digits, underscores or dots, a letter first",
}
"""By the beginning of a pattern."""


def words_for(problem: "ErrorDetails") -> str:
    """The words for one of pydantic's errors, which needs its context."""
    context = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch":
        return _of_pattern(context["pattern"])
    # a rule of our own has an error of its own, whose message is ours
    return WORDS.get(problem["type"], "{msg}").format_map({**context, "msg": problem["msg"]})


def _of_pattern(pattern: str) -> str:
    if id_ := _ID.match(pattern):
        return f"must be an id that begins with {id_[1]}"
    for beginning, words in _WHOLE.items():
        if pattern.startswith(beginning):
            return words
    parts = _OF_A_CLASS.fullmatch(pattern)
    if parts is None:
        return OTHERWISE
    left, named = parts["characters"], list[str]()
    for characters, words in _CHARACTERS.items():
        if characters in left:
            left = left.replace(characters, "", 1)
            named.append(words)
    alternatives = " or ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    if parts["least"] is None:
        return f"must be {alternatives}"
    most = parts["most"] or parts["least"]
    return f"must be {parts['least']} to {most} {alternatives}"
