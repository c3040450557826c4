"""Taking values out of a provider's JSON, whose documented types are hopes: what does not fit is as good as absent.

Providers move fields from version to version and show an object now as its id, now whole; readers name every place.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from goodword.core import ids
from goodword.core.fields import ExternalId
from goodword.facts.kinds import EmailSeen

Object: TypeAlias = Mapping[str, object]

_IDENTIFIER: Final = re.compile(r"[!-~]{1,255}")
_EXTERNAL_ID: Final = TypeAdapter[str](ExternalId)
_EMAIL: Final = re.compile(r"(?=.{3,320}\Z)[^@\s\x00\ud800-\udfff]+@[^@\s\x00\ud800-\udfff]+")


class Person(NamedTuple):
    """Who an event is about and who sent them, as far as it says; one of `external_id` and `reference` at most."""

    external_id: str | None
    click_id: str | None
    code: str | None
    reference: str | None = None


def named(*metadata: Object, reference: object = None) -> Person:
    """Who is named, by the first source that names it.

    Our own keys come before `reference`, Checkout's `client_reference_id`, which an app may use for something else.
    A click's id there is a click and nobody's name: a Payment Link can carry nothing else.
    """
    sources = [source for source in metadata if source]

    def first(key: str, read: Callable[[object], str | None]) -> str | None:
        values = (read(source.get(key)) for source in sources)
        return next((value for value in values if value), None)

    external_id = first("goodword_user", external_id_in)
    click_id = first("goodword_click", word)
    referred = word(reference)
    is_click = referred is not None and ids.parse("clk", referred) is not None
    return Person(
        external_id=external_id,
        click_id=click_id or (referred if is_click else None),
        code=first("goodword_code", word),
        reference=None if external_id or is_click else external_id_in(reference),
    )


def external_id_in(value: object) -> str | None:
    """An id that a user could sign up with, as `word` reads it."""
    if value is None:
        return None
    try:
        return _EXTERNAL_ID.validate_python(_written(value))
    except ValidationError:
        return None


def word(value: object) -> str | None:
    """A word of visible ASCII as people write it into metadata: as a text or a whole number, with blanks around it."""
    return text(_written(value))


def _written(value: object) -> object:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


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
    emails = (text(value, _EMAIL) for value in stripped)
    email = next((email for email in emails if email), None)
    return (EmailSeen(objects, email),) if email and objects else ()


def identifier(value: object) -> str | None:
    """An object's id, given plain or expanded."""
    return text(cast("Object", value).get("id") if isinstance(value, dict) else value)


def distinct(*identifiers: str | None) -> tuple[str, ...]:
    """The ids that are there, each once, in order."""
    return tuple(dict.fromkeys(each for each in identifiers if each is not None))
