"""The expiry of points as a job: it only books.

Every read and every spend already sees what has expired, to the microsecond; this writes the entries that say so, for
people who do not come by themselves.
"""

from psycopg import Connection

from goodword.core.jobs import Batch, batch_of_users

JOB = "expire_points"
WALLETS_PER_BATCH = 500

_EXPIRE = "SELECT company_id, user_id, points, error FROM expire_due_lots(%(wallets)s)"


def batch(connection: Connection) -> Batch:
    """Book what has expired in a batch of wallets."""
    rows = connection.execute(_EXPIRE, {"wallets": WALLETS_PER_BATCH}).fetchall()
    return batch_of_users("wallets", "points", rows)
