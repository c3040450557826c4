"""Rows read by position: an SQL function gives the fields of a class as columns, by name and in their order."""

import inspect
import re

import pytest

from goodword.awards.history import Payment, Subscription, Takeback, Use
from goodword.awards.stored import StoredAward
from tests.contracts.test_tables import BODIES

ROWS: dict[str, type] = {
    "used": Use, "payment": Payment, "takeback": Takeback, "subscription": Subscription, "award": StoredAward,
}  # fmt: skip

# What stands behind the fields of a class, for another use.
FURTHER = {"payment": ["recorded_at"]}

_COLUMNS = {
    name: [column.split(" AS ")[-1].strip() for column in columns.split(",")]
    for name, columns in re.findall(
        r"row\((\w+)\.\*\) FROM \( SELECT (.*?) FROM ", re.sub(r"\s+", " ", BODIES["known_referrals"].text)
    )
}


@pytest.mark.parametrize("name", ROWS)
def test_columns_stand_in_the_order_of_the_fields_of_their_class(name: str) -> None:
    assert _COLUMNS[name] == [*inspect.signature(ROWS[name]).parameters, *FURTHER.get(name, [])]


def test_every_kind_of_row_is_held() -> None:
    assert _COLUMNS.keys() == ROWS.keys()
