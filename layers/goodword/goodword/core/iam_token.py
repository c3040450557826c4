"""The password of a database connection under IAM: a presigned `rds-db:connect` request, signed here.

boto3 makes the same token, after an import that takes longer than the whole cold start of a click. Signature
Version 4, query parameters, empty body; valid for 15 minutes and only looked at while connecting.
"""

import hashlib
import hmac
import os
from datetime import datetime
from urllib.parse import quote, urlencode

from goodword.core import clock
from goodword.core.settings import Settings

LIFETIME_SECONDS = 900


def for_database(configured: Settings) -> str:
    """A fresh token for the configured user, from the credentials that Lambda gives its functions."""
    return presign(
        host=f"{configured.database_host}:{configured.database_port}",
        user=configured.database_user,
        region=os.environ["AWS_REGION"],
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        session_token=os.environ.get("AWS_SESSION_TOKEN"),
        at=clock.real_now(),
    )


def presign(
    *, host: str, user: str, region: str, access_key: str, secret_key: str, session_token: str | None, at: datetime
) -> str:
    """The token as boto3's `generate_db_auth_token` writes it."""
    day, moment = at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{day}/{region}/rds-db/aws4_request"
    query = {
        "Action": "connect",
        "DBUser": user,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(LIFETIME_SECONDS),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": session_token} if session_token else {}),
    }
    canonical_query = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
    nothing = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{nothing}"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "rds-db", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"{host}/?{canonical_query}&X-Amz-Signature={signature}"
