"""Windows of keys, through which a company's books are looked at, and the statements that look.

The windows of a space cover every key there can be, so a row is seen even where what it belongs to is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, LiteralString
from uuid import UUID

Space = Literal["company", "seals", "entries", "users"]
"""Whose keys the windows are made of: positions of seals, ids of entries, ids of users. The company itself has none."""

Key = int | UUID


@dataclass(frozen=True, slots=True)
class Window:
    """The keys from `first` to `last` of a space."""

    space: Space
    first: Key
    last: Key


ENDS: Final[Mapping[Space, tuple[Key, Key]]] = {
    "company": (0, 0),
    "seals": (-(2**63), 2**63 - 1),
    "entries": (-(2**63), 2**63 - 1),
    "users": (UUID(int=0), UUID(int=2**128 - 1)),
}
WHOLE: Final[Sequence[Window]] = tuple(Window(space, *ends) for space, ends in ENDS.items())


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """One statement of a check: a text for each row in the window that contradicts it, the first row first."""

    name: str
    space: Space
    faults: LiteralString
