"""Sightings: whoever uses an app is seen there too, and a referrer's own address and device are compared with.

A signup is kept with all else that it writes (`referral/signups`).
"""

from typing import LiteralString
from uuid import UUID

from psycopg import Connection

from goodword.accounts import activity
from goodword.accounts.activity import Activity, NewActivity
from goodword.core import privacy, query
from goodword.core.query import Later
from goodword.fraud.fingerprints import Seen

_SEE: LiteralString = """
    SELECT see_user(company_id, id, %(seen)s, %(ip)s, company_now(company_id)) FROM users
    WHERE company_id = %(company_id)s AND external_id = %(external_id)s
"""


def report(
    connection: Connection, company_id: UUID, external_id: str, activity_id: UUID, new: NewActivity
) -> Later[Activity]:
    """Keep what a user did, and where they were seen as they did it. Reading it raises NotFound for an unknown user."""
    seen = Seen(new.ip, new.ip_type, new.ip_country, new.ip_asn, new.user_agent, new.device_fingerprint)
    if seen.is_anywhere:
        key = privacy.current_key(connection)
        row = seen.row(key, seen.hashes([key]), "login")
        query.do(
            connection, _SEE, company_id=company_id, external_id=external_id, seen=query.as_json(row), ip=seen.public_ip
        )
    return activity.report(connection, company_id, external_id, activity_id, new)
