"""Clusters: the people whom a referee hangs together with, because they were seen at one address or with one device.

Who shares something with somebody of the cluster is in it as well, so a farm of accounts is one cluster even where no
two of them share everything. It is looked for when a review is shown, from person to place and from place to person,
by index alone and within bounds: a crowd behind one address costs no more than a few hundred steps.
"""

from typing import Literal, LiteralString

from goodword.core.fields import AnswerModel

Shared = Literal["ip", "device", "ip_block"]


class Cluster(AnswerModel):
    """The people a referee hangs together with.

    `referrals`: how many have their referee among them, this one included; of these, `rings` have their referrer there
    too. `shared`: what joins them; `ip_block` where they have a block in common and not the address.
    """

    referrals: int
    rings: int
    shared: list[Shared]


class SeenThere(AnswerModel):
    """How many people were seen at the address from which a referee signed up, and with the device; 1,000 is many.

    None where the signup told none.
    """

    ip: int | None
    device: int | None


CLUSTER: LiteralString = """
    (WITH RECURSIVE reached (user_id, kind, hash) AS (
        SELECT referrals.referee_id, NULL, NULL::bytea
        UNION
        SELECT near.user_id, near.kind, near.hash
        FROM reached CROSS JOIN LATERAL (
            (SELECT NULL::uuid AS user_id, seen.kind, seen.hash FROM user_fingerprints AS own
                CROSS JOIN LATERAL (VALUES ('ip', ip_hash), ('device', device_hash), ('ip_block', block_hash)
                    ) AS seen (kind, hash)
                WHERE own.company_id = %(company_id)s AND own.user_id = reached.user_id AND seen.hash IS NOT NULL
                LIMIT 150)
            UNION ALL
            (SELECT user_id, NULL, NULL FROM user_fingerprints
                WHERE company_id = %(company_id)s AND reached.kind = 'ip' AND ip_hash = reached.hash LIMIT 50)
            UNION ALL
            (SELECT user_id, NULL, NULL FROM user_fingerprints
                WHERE company_id = %(company_id)s AND reached.kind = 'device' AND device_hash = reached.hash LIMIT 50)
            UNION ALL
            (SELECT user_id, NULL, NULL FROM user_fingerprints
                WHERE company_id = %(company_id)s AND reached.kind = 'ip_block' AND block_hash = reached.hash LIMIT 50)
        ) AS near
    ), people AS MATERIALIZED (
        SELECT user_id FROM reached WHERE user_id IS NOT NULL LIMIT 200
    ), seen AS MATERIALIZED (
        SELECT people.user_id, ip_hash, block_hash, device_hash FROM people CROSS JOIN LATERAL (
            SELECT ip_hash, block_hash, device_hash FROM user_fingerprints
            WHERE company_id = %(company_id)s AND user_id = people.user_id LIMIT 50) AS own
    ), joined (kind) AS (
        (SELECT 'ip' FROM seen WHERE ip_hash IS NOT NULL
            GROUP BY ip_hash HAVING count(DISTINCT user_id) > 1 LIMIT 1)
        UNION ALL
        (SELECT 'device' FROM seen WHERE device_hash IS NOT NULL
            GROUP BY device_hash HAVING count(DISTINCT user_id) > 1 LIMIT 1)
        UNION ALL
        (SELECT 'ip_block' FROM seen WHERE block_hash IS NOT NULL
            GROUP BY block_hash HAVING count(DISTINCT user_id) > 1 AND count(DISTINCT ip_hash) > 1 LIMIT 1)
    )
    SELECT jsonb_build_object(
        'referrals', count(*),
        'rings', count(*) FILTER (WHERE brought.referrer_id IN (SELECT user_id FROM people)),
        'shared', (SELECT coalesce(jsonb_agg(kind), '[]') FROM joined))
    FROM people CROSS JOIN LATERAL (
        SELECT referrer_id FROM referrals AS known
        WHERE known.company_id = %(company_id)s AND known.referee_id = people.user_id OFFSET 0) AS brought)
"""
"""The `Cluster` of a row of `referrals`: at most 200 people, and of each place at most 50."""

SEEN_THERE: LiteralString = """
    (SELECT jsonb_build_object('ip', max(ip), 'device', max(device)) FROM (
        SELECT
            CASE WHEN own.ip_hash IS NOT NULL THEN (SELECT count(DISTINCT user_id) FROM (
                SELECT user_id FROM user_fingerprints
                WHERE company_id = %(company_id)s AND ip_hash = own.ip_hash LIMIT 1000) AS there) END AS ip,
            CASE WHEN own.device_hash IS NOT NULL THEN (SELECT count(DISTINCT user_id) FROM (
                SELECT user_id FROM user_fingerprints
                WHERE company_id = %(company_id)s AND device_hash = own.device_hash LIMIT 1000) AS there) END AS device
        FROM user_fingerprints AS own
        WHERE own.company_id = %(company_id)s AND own.user_id = referrals.referee_id AND own.context = 'registration'
    ) AS counted)
"""
"""The `SeenThere` of a row of `referrals`."""
