"""Checks of codes: whether one can be used, and what it is worth. Browsers may make so many a minute.

Otherwise codes could be guessed. A click that a browser reports says just as well whether a code is known, so the
unknown ones count in the same window (docs/decisions/0020).
"""

from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from pydantic import BaseModel

from goodword.core import addresses, privacy, query, rates
from goodword.core.fields import AnswerModel
from goodword.referral import typed


class Browser(NamedTuple):
    """Who may make only so many checks: an address under a publishable key."""

    key_id: UUID
    address: str


class Referrer(BaseModel):
    """What a stranger may know of the one who shares a code."""

    display_name: str | None


class CodeCheck(AnswerModel):
    """Whether a code can be used, and what it is worth to the one who uses it: by its campaign's terms, if in force."""

    code: str
    valid: bool
    reason: Literal["unknown", "inactive", "expired", "used_up"] | None
    referrer: Referrer | None
    welcome_points: int


class _Checked(NamedTuple):
    """What is known of a code, and how long its browser has to wait, where it checks too many."""

    retry_after: int | None
    welcome_points: int
    code_id: UUID | None
    refusal: Literal["inactive", "expired", "used_up"] | None
    owner_id: UUID | None
    owner_name: str | None


_TOO_MANY = "Too many codes were checked from this address."

# One trip: the hit of a browser on the sliding window, and what is known of the code.
_CHECK = """
    WITH terms AS (
        SELECT (program #>> '{limits,code_validations_per_minute}')::integer AS per_minute,
            coalesce((program #>> '{awards,welcome,points}')::bigint, 0) AS welcome_points
        FROM program_versions WHERE company_id = %(company_id)s ORDER BY version DESC LIMIT 1
    )
    SELECT CASE WHEN %(subject)s::bytea IS NOT NULL THEN
            take_hit(%(company_id)s, 'code_validation', %(subject)s, per_minute, interval '1 minute')
        END AS retry_after,
        coalesce((campaigns.awards #>> '{welcome,points}')::bigint, terms.welcome_points) AS welcome_points,
        codes.id AS code_id, code_refusal(codes, company_now(%(company_id)s)) AS refusal,
        codes.user_id AS owner_id, users.username AS owner_name
    FROM terms
    LEFT JOIN codes ON codes.company_id = %(company_id)s AND codes.code = %(code)s
    LEFT JOIN users ON users.company_id = codes.company_id AND users.id = codes.user_id
    LEFT JOIN campaigns ON campaigns.company_id = codes.company_id AND campaigns.id = codes.campaign_id
        AND is_in_force(campaigns, company_now(%(company_id)s))
"""

_COUNT = """
    SELECT take_hit(%(company_id)s, 'code_validation', %(subject)s,
        (program #>> '{limits,code_validations_per_minute}')::integer, interval '1 minute') AS retry_after
    FROM program_versions WHERE company_id = %(company_id)s ORDER BY version DESC LIMIT 1
"""


def check(connection: Connection, company_id: UUID, code: str, browser: Browser | None) -> CodeCheck:
    """Whether a code can be used now. Raises TooManyRequests past the program's limit a minute for a browser."""
    text = typed.code(code) or typed.UNKNOWN
    checked = query.one(
        connection, _Checked, _CHECK, company_id=company_id, code=text, subject=_subject(connection, browser)
    )
    if checked is None:
        raise LookupError(f"company {company_id} has no program")
    rates.refuse_after(checked.retry_after, _TOO_MANY)
    reason = checked.refusal if checked.code_id is not None else "unknown"
    return CodeCheck(
        code=text or typed.excerpt(code),
        valid=reason is None,
        reason=reason,
        referrer=Referrer(display_name=checked.owner_name) if checked.owner_id else None,
        welcome_points=checked.welcome_points,
    )


def count_unknown(connection: Connection, company_id: UUID, browser: Browser) -> None:
    """Count a reported click of an unknown code as the check that it is. Raises TooManyRequests as `check` does."""
    counted = {"company_id": company_id, "subject": _subject(connection, browser)}
    row = connection.execute(_COUNT, counted).fetchone()
    rates.refuse_after(row[0] if row else None, _TOO_MANY)


def _subject(connection: Connection, browser: Browser | None) -> bytes | None:
    if browser is None:
        return None
    return privacy.current_key(connection).hash("browser", f"{browser.key_id}:{_holder(browser.address)}")


def _holder(address: str) -> str:
    """Who is counted together (docs/rules.md, Limits on codes); a caller of no address at all is one too."""
    try:
        return addresses.holder(address)
    except ValueError:
        return address
