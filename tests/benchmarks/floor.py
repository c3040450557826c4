"""The floor: the least that any design does for one attributed signup, and so the unit in which calls are priced.

The same rows with the same keys, by one call in one transaction, and no decision (`floor.sql`). The signup of the
`cost` group writes one row here for every row that it writes in the product: whoever adds a row to that path adds it to
the floor in the same commit, and `tests/functions/test_floor.py` holds both side by side. Milliseconds differ from
machine to machine; how many times the floor a call costs hardly does.
"""

import time
import uuid
from itertools import count
from pathlib import Path

import psycopg

from tests.benchmarks import cpu

TABLES = (
    "users", "codes", "signups", "referrals", "wallets", "entries", "lots", "awards", "scores", "outbox_events",
    "activity", "user_fingerprints", "judgements",
)  # fmt: skip
"""Each stands for the product's table of the same name."""

_LAY = Path(__file__).with_suffix(".sql").read_bytes()
_REFER = "INSERT INTO floor.users (company_id, id, external_id) VALUES (%(company_id)s, %(id)s, %(name)s)"
_SIGN_UP = """
    SELECT floor.sign_up(%(company_id)s, %(referrer_id)s, %(id)s, %(name)s, %(ids)s)
"""
REFERRERS = 200


class Floor:
    """The floor in a database, over a connection of its own. `superuser_url` may create a schema."""

    def __init__(self, superuser_url: str) -> None:
        self._connection = psycopg.connect(superuser_url, autocommit=True)
        self._connection.execute(_LAY)
        self._company_id = uuid.uuid4()
        self._referrers = [uuid.uuid4() for _ in range(REFERRERS)]
        self._numbers = count()
        for number, id_ in enumerate(self._referrers):
            referrer = {"company_id": self._company_id, "id": id_, "name": f"referrer-{number}"}
            self._connection.execute(_REFER, referrer)

    def sign_up(self) -> None:
        """Write the rows of the next signup."""
        number = next(self._numbers)
        signup = {
            "company_id": self._company_id,
            "referrer_id": self._referrers[number % REFERRERS],
            "id": uuid.uuid4(),
            "name": f"person-{number}",
            "ids": [uuid.uuid4() for _ in range(10)],
        }
        self._connection.execute(_SIGN_UP, signup)

    def cost(self, calls: int) -> float:
        """Milliseconds of CPU time of a signup, the client's own included."""
        began = time.thread_time()
        below = cpu.spent(lambda: [self.sign_up() for _ in range(calls)])
        return (below + time.thread_time() - began) * 1000 / calls

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
