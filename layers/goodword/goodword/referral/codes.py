"""Referral codes: what a user shares. Unique over the installation, stored in upper case, never deleted."""

import secrets
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import BaseModel

from goodword.core.errors import TooManyRequests
from goodword.core.fields import AnswerModel
from goodword.core.privacy import PrivacyKey
from goodword.referral.clicks import normal_code

# without 0 O 1 I L U: nobody should have to ask which one is meant
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8
VALIDATION_WINDOW_SECONDS = 60


class Referrer(BaseModel):
    """What a stranger may know of the one who shares a code."""

    display_name: str | None


class CodeCheck(AnswerModel):
    """Whether a code can be used, and what it is worth to the one who uses it."""

    code: str
    valid: bool
    reason: Literal["unknown", "inactive", "expired", "used_up"] | None
    referrer: Referrer | None
    welcome_points: int


# One trip: the hit of a browser's address on the sliding window, and what is known of the code.
_CHECK = """
    WITH terms AS (
        SELECT (program #>> '{limits,code_validations_per_minute}')::integer AS per_minute,
            coalesce((program #>> '{awards,welcome,points}')::bigint, 0) AS welcome_points
        FROM program_versions WHERE company_id = %(company_id)s ORDER BY version DESC LIMIT 1
    ), hit AS (
        INSERT INTO rate_windows AS w (company_id, kind, subject, hits)
        SELECT %(company_id)s, 'code_validation', %(subject)s::bytea, ARRAY[clock_timestamp()]
        FROM terms WHERE %(subject)s::bytea IS NOT NULL AND per_minute > 0
        ON CONFLICT ON CONSTRAINT rate_windows_pk DO UPDATE SET hits =
            ARRAY(SELECT h FROM unnest(w.hits) AS h WHERE h > clock_timestamp() - interval '1 minute')
            || clock_timestamp()
        WHERE cardinality(ARRAY(SELECT h FROM unnest(w.hits) AS h WHERE h > clock_timestamp() - interval '1 minute'))
            < (SELECT per_minute FROM terms)
        RETURNING 1
    )
    SELECT %(subject)s::bytea IS NULL OR EXISTS (SELECT 1 FROM hit) AS allowed,
        (SELECT ceil(extract(epoch FROM min(h) + interval '1 minute' - clock_timestamp()))::integer
            FROM rate_windows, unnest(hits) AS h
            WHERE company_id = %(company_id)s AND kind = 'code_validation' AND subject = %(subject)s::bytea
                AND h > clock_timestamp() - interval '1 minute') AS retry_after,
        terms.welcome_points, codes.id AS code_id, code_refusal(codes, company_now(%(company_id)s)) AS refusal,
        codes.user_id AS owner_id, users.username AS owner_name
    FROM terms
    LEFT JOIN codes ON codes.company_id = %(company_id)s AND codes.code = %(code)s
    LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
"""


def random_code() -> str:
    """A code as a signup gets one: 8 characters of an unambiguous alphabet."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def check(connection: Connection, company_id: UUID, code: str, browser_ip: str | None, key: PrivacyKey) -> CodeCheck:
    """Whether a code can be used now. `browser_ip` is given where the limit per address applies.

    Raises TooManyRequests past the program's limit per minute.
    """
    text = normal_code(code)
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(_CHECK, {"company_id": company_id, "code": text, "subject": key.hash("ip", browser_ip)})
        .fetchone()
    )
    if row is None:
        raise LookupError(f"company {company_id} has no program")
    if not row["allowed"]:
        retry_after = min(max(row["retry_after"] or VALIDATION_WINDOW_SECONDS, 1), VALIDATION_WINDOW_SECONDS)
        raise TooManyRequests("rate_limited", "Too many codes were checked from this address.", retry_after=retry_after)
    known = row["code_id"] is not None
    reason = row["refusal"] if known else "unknown"
    return CodeCheck(
        code=text,
        valid=reason is None,
        reason=reason,
        referrer=Referrer(display_name=row["owner_name"]) if row["owner_id"] else None,
        welcome_points=row["welcome_points"],
    )
