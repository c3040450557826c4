"""Taking values out of a provider's JSON, whose documented types are hopes: what does not fit is as good as absent.

Providers move fields from version to version and show an object now as its id, now whole; readers name every place.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias, cast

from goodword.referral.facts import EmailSeen

Object: TypeAlias = Mapping[str, object]

_IDENTIFIER: Final = re.compile(r"[!-~]{1,255}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9._:@|~-]{1,128}")
_EMAIL: Final = re.compile(r"(?=.{3,320}\Z)[^@\s\x00\ud800-\udfff]+@[^@\s\x00\ud800-\udfff]+")


class Person(NamedTuple):
    """Who an event is about and who sent them, as far as it says."""

    external_id: str | None
    click_id: str | None
    code: str | None


def named(*metadata: Object, reference: object = None) -> Person:
    """Who is named, by the first source that names it.

    Our own key comes before `reference`, which an app may use for something else.
    """

    def first(key: str, fits: re.Pattern[str]) -> str | None:
        return next((found for source in metadata if (found := text(source.get(key), fits))), None)

    return Person(
        external_id=first("goodword_user", _EXTERNAL_ID) or text(reference, _EXTERNAL_ID),
        click_id=first("goodword_click", _IDENTIFIER),
        code=first("goodword_code", _IDENTIFIER),
    )


def inside(source: Object, *path: str) -> Object:
    """The object at the end of `path`; an empty one where anything on the way is not an object."""
    for name in path:
        value = source.get(name)
        source = cast("Object", value) if isinstance(value, dict) else {}
    return source


def elements(source: Object, name: str) -> Iterator[Object]:
    """The objects in the list at `name`."""
    value = source.get(name)
    if isinstance(value, list):
        for element in cast("list[object]", value):
            if isinstance(element, dict):
                yield cast("Object", element)


def text(value: object, fits: re.Pattern[str] = _IDENTIFIER) -> str | None:
    """A text that fits; by default any word of visible ASCII."""
    return value if isinstance(value, str) and fits.fullmatch(value) else None


def seen_email(objects: tuple[str, ...], *values: object) -> tuple[EmailSeen, ...]:
    """The first of these that is an e-mail, as shown beside `objects`."""
    stripped = (value.strip() if isinstance(value, str) else None for value in values)
    email = next((found for value in stripped if (found := text(value, _EMAIL))), None)
    return (EmailSeen(objects, email),) if email and objects else ()


def identifier(value: object) -> str | None:
    """An object's id, given plain or expanded."""
    return text(cast("Object", value).get("id") if isinstance(value, dict) else value)


def distinct(*identifiers: str | None) -> tuple[str, ...]:
    """The ids that are there, each once, in order."""
    return tuple(dict.fromkeys(each for each in identifiers if each is not None))
