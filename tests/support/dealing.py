"""How tests are dealt to the processes of a run.

A file's tests stay together, for they share its fixtures, and the longest come first, so that all processes end at
once. As far as there is work of both kinds, every other process is given what needs the served bundle: each function's
processes are then started by half of them only, which costs more than many a file of tests.
"""

from collections.abc import Iterator, Sequence

import pytest
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

LONGEST_FIRST = (
    "tests/bundle", "tests/faults/test_customer_lives.py", "tests/faults", "tests/database", "tests/functions",
    "tests/local", "tests/domain", "tests/gateway",
)  # fmt: skip
"""What is begun first; others come after."""
ALONE = ("tests/database/test_ledger_model.py",)
"""Files whose tests share nothing but the session's fixtures, and take long."""
SERVED = " with the served bundle"


def order(items: list[pytest.Item]) -> None:
    """Bring the tests into the order in which they are begun."""
    items.sort(key=lambda item: next(place for place, name in enumerate((*LONGEST_FIRST, "")) if name in item.nodeid))


def groups(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    """Each test with the name of what it is dealt with."""
    named = [(item, _name(item)) for item in items]
    served = {name for item, name in named if "bundle" in getattr(item, "fixturenames", ())}
    for item, name in named:
        yield item, f"{name}{SERVED}" if name in served else name


def _name(item: pytest.Item) -> str:
    file = item.nodeid.partition("::")[0]
    if file.startswith("tests/bundle/"):  # it is built once
        return "tests/bundle"
    return item.nodeid if file in ALONE else file


class Dealer(LoadGroupScheduling):
    """Gives a process the next group of its kind, or of the other when there is none left."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        serves = self.nodes.index(node) % 2 == 0
        for group in self.workqueue:
            if group.endswith(SERVED) == serves:
                self.workqueue.move_to_end(group, last=False)
                break
        super()._assign_work_unit(node)
