"""Shapes as no provider sends them: a value with anything in some of its places, for readers that must not break."""

import itertools
from typing import Any

from hypothesis import strategies as st


@st.composite
def spoiled(draw: st.DrawFn, value: Any, odd: st.SearchStrategy[object]) -> Any:  # noqa: ANN401 - JSON
    """`value` with something odd in one to three of its places."""
    for _ in range(draw(st.integers(1, 3))):
        if not (ways := _places(value)[1:]):
            break
        value = _replaced(value, draw(st.sampled_from(ways)), draw(odd))
    return value


def _places(value: object, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to everything inside `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *itertools.chain.from_iterable(_places(deeper, (*way, name)) for name, deeper in inner)]


def _replaced(value: Any, way: tuple[str | int, ...], new: object) -> Any:  # noqa: ANN401 - JSON
    if not way:
        return new
    copy = value.copy()
    copy[way[0]] = _replaced(value[way[0]], way[1:], new)
    return copy
