"""How tests are dealt to the processes of a run.

A file's tests stay together, for they share its fixtures, and the longest come first, so that all processes end at
once. As far as there is work of both kinds, every other process is given what needs the served bundle: each function's
processes are then started by half of them only, which costs more than many a file of tests.
"""

from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SECONDS: Mapping[str, int] = {
    "tests/bundle": 113,
    "tests/local/test_commands.py": 45,
    "tests/faults/test_customer_lives.py": 21,
    "tests/faults/test_database_breaks.py": 39,
    "tests/faults/test_postings_at_once.py": 29,
    "tests/faults/test_killed_anywhere.py": 27,
    "tests/database/test_integrity.py": 24,
    "tests/local/test_postgres.py": 24,
    "tests/faults/test_lost_answers.py": 22,
    "tests/domain/test_what_payments_earn.py": 21,
    "tests/faults/test_workers_killed.py": 20,
    "tests/functions/test_bad_input.py": 9,
    "tests/functions/test_linking_by_email.py": 19,
    "tests/faults/test_no_deadlocks.py": 18,
    "tests/functions/test_reconcile_payments.py": 17,
    "tests/database/test_settlement.py": 12,
    "tests/faults/test_lock_order.py": 12,
    "tests/faults/test_trips.py": 11,
    "tests/faults/test_linking_by_email_at_once.py": 11,
    "tests/domain/test_differences.py": 10,
    "tests/functions/test_events.py": 7,
    "tests/faults/test_database_away.py": 9,
    "tests/functions/test_refunds_and_disputes.py": 9,
    "tests/functions/test_payload_corpus.py": 9,
    "tests/faults/test_points_at_once.py": 9,
    "tests/functions/test_edge_cases.py": 8,
    "tests/local/test_invoke.py": 8,
}
"""What is begun first, and how long it takes on a machine that does nothing else; the rest takes a few seconds each."""
ALONE = ("tests/database/test_ledger_model.py",)
"""Files whose tests share nothing but the session's fixtures, and take long."""
SERVED = ("tests/bundle", "tests/faults/", "tests/functions/")
"""Where nearly every test needs the served bundle."""


def order(items: list[pytest.Item]) -> None:
    """Bring the tests into the order in which they are begun."""
    items.sort(key=lambda item: SECONDS.get(group_of(item.nodeid).partition("::")[0], 0), reverse=True)


def group_of(nodeid: str) -> str:
    """The name of the tests that a test is dealt with."""
    file = nodeid.partition("::")[0]
    if file.startswith("tests/bundle/"):  # it is built once
        return "tests/bundle"
    return nodeid if file in ALONE else file


class Dealer(LoadScopeScheduling):
    """Gives a process the next group of its kind, or of the other when there is none left."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        serves = self.nodes.index(node) % 2 == 0
        for group in self.workqueue:
            if group.startswith(SERVED) == serves:
                self.workqueue.move_to_end(group, last=False)
                break
        super()._assign_work_unit(node)
