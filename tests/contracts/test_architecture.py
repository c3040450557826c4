"""docs/architecture.md stays one page, and every table has its room there."""

import re
from collections import Counter

from tests.contracts.support import ARCHITECTURE, ROOT, section
from tests.contracts.test_arrows import FLOORS

MIGRATIONS = sorted((ROOT / "layers/goodword/goodword/migrations").glob("*.sql"))


def test_the_page_is_read_in_one_go() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 150


def test_every_room_is_shown_where_it_stands() -> None:
    shown = re.findall(r"^(\w+) {2,}\S", section("Rooms").partition("```")[2].partition("```")[0], re.MULTILINE)
    assert shown == list(reversed(FLOORS))


def test_every_table_is_one_rooms() -> None:
    made = {name for path in MIGRATIONS for name in re.findall(r"^CREATE TABLE (\w+)", path.read_text(), re.MULTILINE)}
    owned = Counter(
        name
        for tables in re.findall(r"^\| \w+ \| (`.*) \|$", section("Whose a table is"), re.MULTILINE)
        for name in re.findall(r"`(\w+)`", tables)
    )
    assert owned == Counter(made)
