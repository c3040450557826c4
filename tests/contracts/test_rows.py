"""Rows read by position: the columns that stand beside a class are its fields, by name and in their order."""

import inspect
from typing import LiteralString

import pytest

from goodword.awards import differences, history
from goodword.awards.differences import StoredAward
from goodword.awards.history import Payment, Subscription, Takeback, Use

ROWS: dict[str, tuple[type, LiteralString]] = {
    "USE_COLUMNS": (Use, history.USE_COLUMNS),
    "PAYMENT_COLUMNS": (Payment, history.PAYMENT_COLUMNS),
    "TAKEBACK_COLUMNS": (Takeback, history.TAKEBACK_COLUMNS),
    "SUBSCRIPTION_COLUMNS": (Subscription, history.SUBSCRIPTION_COLUMNS),
    "STORED_AWARD_COLUMNS": (StoredAward, differences.STORED_AWARD_COLUMNS),
}


@pytest.mark.parametrize("name", ROWS)
def test_columns_stand_in_the_order_of_the_fields_of_their_class(name: str) -> None:
    kind, columns = ROWS[name]
    names = [column.split(" AS ")[-1].strip() for column in columns.split(",")]
    assert names == list(inspect.signature(kind).parameters)


def test_every_list_of_columns_is_held() -> None:
    modules = (differences, history)
    assert {name for module in modules for name in vars(module) if name.endswith("_COLUMNS")} == ROWS.keys()
