"""Histories: every judgement on a user, and everywhere they were seen, for whoever runs the company.

How many have signed up at a place is counted as it is asked (`fingerprints`).
"""

from typing import Annotated
from uuid import UUID

from psycopg import Connection
from pydantic import Field

from goodword.accounts import users
from goodword.core import query
from goodword.core.fields import AnswerModel, Instant
from goodword.core.ids import JudgementId, ReferralId
from goodword.fraud import findings
from goodword.fraud.checks import FraudCheck
from goodword.fraud.findings import Judged
from goodword.fraud.fingerprints import SeenIn
from goodword.fraud.judgement import FraudOutcome, Occasion

MOST_FINGERPRINTS = 100


class UserJudgement(AnswerModel):
    """A judgement on a user: at the signup, at a late attribution, or by a first payment that raised something.

    `referral_id` is null where it made no referral. `outcome` is what its score leads to by the program's thresholds.
    """

    id: JudgementId
    occasion: Occasion
    outcome: FraudOutcome
    score: int
    behavioural: int
    referrer: str | None
    referral_id: ReferralId | None
    checks: list[FraudCheck]
    judged_at: Instant


class Fingerprint(AnswerModel):
    """A place where a user was seen: an address, a device, or both. It is known by hashes, which are not shown.

    `registration_count` people have signed up at this very place, the user among them if they have; the referrals of
    `flagged_count` of them are flagged.
    """

    context: SeenIn
    has_ip: bool
    has_device: bool
    ip_type: str
    ip_country: str | None
    ip_asn: int | None
    registration_count: int
    flagged_count: int
    first_seen_at: Instant
    last_seen_at: Instant


class UserChecks(AnswerModel):
    """What is known against a user: judgements, oldest first, and the latest places where they were seen."""

    judgements: list[UserJudgement]
    fingerprints: Annotated[list[Fingerprint], Field(max_length=MOST_FINGERPRINTS)]


# Two ways to look, for each index holds either the address or the device.
_FINGERPRINTS = """
    SELECT own.context, own.ip_hash IS NOT NULL AS has_ip, own.device_hash IS NOT NULL AS has_device, own.ip_type,
        own.ip_country, own.ip_asn, there.registration_count, there.flagged_count, own.first_seen_at, own.last_seen_at
    FROM (
        SELECT * FROM user_fingerprints WHERE company_id = %(company_id)s AND user_id = %(user_id)s
        ORDER BY last_seen_at DESC, first_seen_at DESC LIMIT %(most)s
    ) AS own
    CROSS JOIN LATERAL (
        SELECT count(*) AS registration_count, count(*) FILTER (WHERE is_flagged(risk)) AS flagged_count
        FROM (
            SELECT user_id FROM user_fingerprints AS known
            WHERE known.company_id = own.company_id AND known.ip_hash = own.ip_hash
                AND known.device_hash IS NOT DISTINCT FROM own.device_hash AND known.context = 'registration'
            UNION ALL
            SELECT user_id FROM user_fingerprints AS known
            WHERE known.company_id = own.company_id AND known.device_hash = own.device_hash
                AND own.ip_hash IS NULL AND known.ip_hash IS NULL AND known.context = 'registration'
        ) AS registered
        LEFT JOIN referrals ON referrals.company_id = own.company_id AND referee_id = registered.user_id
    ) AS there
    ORDER BY own.last_seen_at DESC, own.first_seen_at DESC
"""


def of_user(connection: Connection, company_id: UUID, external_id: str) -> UserChecks:
    """Everything that was looked at of a user. Raises NotFound."""
    user_id = users.find(connection, company_id, external_id).id
    fingerprints_later = query.every_later(
        connection, Fingerprint, _FINGERPRINTS, company_id=company_id, user_id=user_id, most=MOST_FINGERPRINTS
    )
    judged = findings.of_user(connection, company_id, user_id)
    return UserChecks(judgements=[_judgement(each) for each in judged], fingerprints=fingerprints_later())


def _judgement(judged: Judged) -> UserJudgement:
    found = judged.findings
    return UserJudgement(
        id=judged.id,
        occasion=judged.occasion,
        outcome=judged.outcome,
        score=found.score,
        behavioural=found.behavioural,
        referrer=judged.referrer,
        referral_id=judged.referral_id,
        checks=found.checks,
        judged_at=judged.judged_at,
    )
