"""Scores: what people's awards come to, all time, in a month and in a campaign; only settlement moves them.

Moves are added up as far as can be said here; which month an instant is in, the database says.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

ALL_TIME = "all"


class Place(NamedTuple):
    """A person's row on a board, which is named, or is the month of an instant in a zone."""

    user_id: UUID
    board: str | None
    at: datetime | None = None
    zone: str | None = None


@dataclass(slots=True)
class Move:
    """By how much a row moves; `qualified_at` is the last of the referrals that come to count there."""

    qualified: int = 0
    points: int = 0
    reserved: int = 0
    qualified_at: datetime | None = None
    loses: bool = False


@dataclass(slots=True)
class Moves:
    """All moves of a settlement."""

    _by_place: dict[Place, Move] = field(default_factory=dict[Place, Move])

    def count(self, user_id: UUID, at: datetime, zone: str, campaign_id: UUID | None, *, step: int) -> None:
        """A referral that qualified at an instant counts for somebody (1), or does no more (-1)."""
        for place in self._boards(user_id, at, zone, campaign_id):
            move = self._move(place)
            move.qualified += step
            move.loses = move.loses or step < 0
            if step > 0:
                move.qualified_at = max(move.qualified_at or at, at)

    def earn(self, user_id: UUID, at: datetime, zone: str, campaign_id: UUID | None, points: int) -> None:
        """Points that a referrer is paid for an award made at an instant, or that are taken back."""
        if points:
            for place in self._boards(user_id, at, zone, campaign_id):
                self._move(place).points += points

    def reserve(self, user_id: UUID, campaign_id: UUID | None, points: int) -> None:
        """Points that awards reserve under the caps of a person, or set free."""
        if points:
            for board in (ALL_TIME, *([str(campaign_id)] if campaign_id else [])):
                self._move(Place(user_id, board)).reserved += points

    def rows(self) -> list[dict[str, object]]:
        """As the SQL function `move_scores` takes them: rows of all time first, by person."""
        in_order = sorted(self._by_place.items(), key=lambda each: (each[0].board != ALL_TIME, each[0].user_id))
        return [
            {
                **place._asdict(), "qualified": move.qualified, "points": move.points, "reserved": move.reserved,
                "qualified_at": move.qualified_at, "loses": move.loses,
            }
            for place, move in in_order
        ]  # fmt: skip

    def _boards(self, user_id: UUID, at: datetime, zone: str, campaign_id: UUID | None) -> list[Place]:
        named = [Place(user_id, str(campaign_id))] if campaign_id else []
        return [Place(user_id, ALL_TIME), Place(user_id, None, at, zone), *named]

    def _move(self, place: Place) -> Move:
        return self._by_place.setdefault(place, Move())
