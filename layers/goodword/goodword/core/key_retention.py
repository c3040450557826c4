"""The retention of Idempotency-Keys: those of browsers, which anybody may send, are forgotten after a day."""

from psycopg import Connection

from goodword.core.jobs import Batch

KEYS_PER_BATCH = 5000

_FORGET = "SELECT forget_expired_keys(%(most)s)"


def batch(connection: Connection) -> Batch:
    """Remove the keys of browsers that are known no longer."""
    row = connection.execute(_FORGET, {"most": KEYS_PER_BATCH}).fetchone()
    forgotten = row[0] if row else 0
    return Batch(counts={"keys": forgotten}, more=forgotten == KEYS_PER_BATCH)
