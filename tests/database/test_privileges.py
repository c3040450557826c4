"""What each role may do, in full: a grant that is wider, or missing, is a difference here.

The grants are read back from the server, so it does not matter which statement of which migration gave them.
"""

import psycopg
import pytest
from psycopg import sql

from tests.support.everything import fill
from tests.support.tenants import Tenant

# Tables by what the role may do to them: S select, I insert, U update, D delete. Nobody truncates or references.
TABLES = {
    "click": {
        "S": "api_keys campaigns codes companies program_versions",
        "SI": "clicks",
        "SIU": "rate_windows",
    },
    "webhook": {
        "S": (
            "activations allocations clicks codes companies entries entry_notes features lots plan_limits"
            " plan_prices plans"
            " program_versions quota_grants quota_uses signups usage_counters usage_returns usages users wallets"
            " access_grants grant_intervals grant_schedules restrictions campaigns milestones"
            " fraud_patterns ip_range_lists ip_ranges"
        ),
        "I": "activity outbox_events",
        "SI": "judgements object_emails promotion_codes raised_checks verified_emails",
        "SIU": (
            "awards identity_links inbox_events object_links payments referrals subscriptions takebacks touch_decisions"
            " touches reached_milestones scores reviews user_fingerprints"
        ),
    },
    "app": {
        "S": (
            "allocations api_keys clicks companies entries entry_notes features lots object_emails plan_limits"
            " plan_prices plans"
            " program_versions promotion_codes quota_grants redemption_options redemptions restrictions touches wallets"
            " coupons campaigns campaign_ranks milestones fraud_patterns ip_range_lists ip_ranges"
        ),
        "I": "outbox_events",
        "SI": (
            "activity coupon_redemptions identity_marks judgements quota_uses raised_checks signups usage_returns"
            " usages verified_emails"
        ),
        "SIU": (
            "activations awards codes identity_links object_links payments rate_windows referrals subscriptions"
            " takebacks touch_decisions usage_counters users access_grants grant_schedules logins"
            " reached_milestones scores reviews user_fingerprints"
        ),
        "SIUD": "grant_intervals",
    },
    "admin": {
        "S": (
            "activations allocations clicks companies entries entry_notes inbox_events lots"
            " coupon_redemptions quota_grants quota_uses"
            " redemptions signups usage_counters usage_returns usages wallets job_runs job_setbacks"
            " chain_heads integrity_checks reconciliations sealing seals campaign_ranks"
        ),
        "I": "activity outbox_events provider_endpoints",
        "SI": "api_keys judgements object_emails program_versions promotion_codes raised_checks verified_emails",
        "SIU": (
            "access_grants awards codes coupons features grant_schedules identity_links object_links payments plans"
            " rate_windows redemption_options referrals subscriptions takebacks touch_decisions touches users"
            " campaigns milestones reached_milestones scores reviews user_fingerprints fraud_patterns ip_range_lists"
        ),
        "SID": "ip_ranges",
        "SIUD": "grant_intervals plan_limits plan_prices restrictions",
    },
    "jobs": {
        "S": (
            "activations allocations clicks codes companies entries entry_notes features lots plan_limits"
            " plan_prices plans"
            " program_versions quota_grants quota_uses redemption_options redemptions restrictions signups"
            " usage_counters usage_returns usages coupons coupon_redemptions users wallets chain_heads sealing seals"
            " campaigns milestones fraud_patterns ip_range_lists ip_ranges user_fingerprints"
        ),
        "I": "activity outbox_events",
        "SI": "campaign_ranks job_runs judgements object_emails promotion_codes raised_checks verified_emails",
        "SIU": (
            "access_grants audits awards grant_intervals grant_schedules"
            " identity_links inbox_events integrity_checks object_links payments reconciliations referrals"
            " subscriptions takebacks touch_decisions touches reached_milestones scores reviews"
        ),
        "SIUD": "job_leases job_setbacks",
    },
    "ledger": {
        "S": (
            "companies features job_setbacks milestones privacy_keys plan_limits plan_prices plans program_versions"
            " redemption_options restrictions subscriptions quota_uses usage_counters usage_returns usages"
        ),
        "I": "activity outbox_events",
        "SI": "allocations entries entry_notes quota_grants redemptions seals",
        "SID": "idempotent_answers",
        "SU": "sealing",
        "SIU": "access_grants chain_heads grant_schedules lots wallets",
        "SIUD": "grant_intervals",
    },
}

# Columns where the role may not have the whole table.
COLUMNS = {
    "click": {
        ("users", "SELECT", "company_id external_id id username"),
        ("api_keys", "UPDATE", "last_used_at"),
    },
    "webhook": {
        ("provider_endpoints", "SELECT", "company_id disabled_at id provider scope secrets"),
        ("users", "UPDATE", "avatar_url email updated_at username whop_user_id"),
        ("codes", "UPDATE", "updated_at uses"),
        ("campaigns", "UPDATE", "reserved_points"),
    },
    "app": {
        ("campaigns", "UPDATE", "reserved_points"),
        ("api_keys", "UPDATE", "last_used_at"),
        ("coupons", "UPDATE", "redemption_count"),
        ("quota_grants", "UPDATE", "used"),
        ("quota_uses", "UPDATE", "returned"),
        ("usages", "UPDATE", "returned"),
    },
    "admin": {
        ("api_keys", "UPDATE", "last_used_at revoked_at"),
        ("inbox_events", "UPDATE", "attempts error handled_at next_attempt_at note outcome"),
        (
            "companies",
            "UPDATE",
            (
                "destination_url invite_email_must_match not_disposable_domains patterns_version post_trial_plan"
                " require_email_verification require_invite self_registration_enabled test_now test_now_used time_zone"
                " trial_duration_days trial_plan updated_at whop_company_id"
            ),
        ),
        ("provider_endpoints", "SELECT", "company_id created_at disabled_at id provider reconciles scope"),
        ("provider_endpoints", "UPDATE", "api_key disabled_at secrets"),
    },
    "jobs": {
        ("provider_endpoints", "SELECT", "api_key company_id id provider reconciles scope"),
        ("users", "UPDATE", "avatar_url email updated_at username whop_user_id"),
        ("codes", "UPDATE", "updated_at uses"),
        ("campaigns", "UPDATE", "ranked_at reserved_points updated_at"),
    },
    "ledger": {
        ("idempotent_answers", "UPDATE", "body kept_until request_hash status"),
        ("privacy_keys", "INSERT", "key"),
        ("quota_grants", "UPDATE", "ended_at"),
        ("redemptions", "UPDATE", "balance_after decision failed_at fulfilled_at note refunded_at status"),
        ("redemption_options", "UPDATE", "stock"),
        ("users", "SELECT", "company_id external_id id"),
    },
}

_EVERYBODY = "company_now months_later public_id rfc3339 time_ordered_id"
_READING = (
    "entitlement_json entitlements entry_json entry_total first_instant is_closed period_end spendable subscribed_plans"
    " plans_held plan_of_user keeps_plan grants_at grant_json record_plan_change record_subscribed_change"
)
_BOOKING_GRANTS = "hold_grants book_grants"
_GRANTING = f"{_BOOKING_GRANTS} intervals_to_come place_grants book_grants_due make_grant stop_grant"
_REFERRING = (
    "code_refusal received_at_of lock_identities lock_key stage_at takeback_rank takeback_state subscription_rank"
    " match_takebacks owned_beside takebacks_beside sale_objects share_identities taken_part touches_of hold_caps"
    " claim claim_of objects_by_email objects_of owner_in owner_of with_partners person_of is_same_payer"
    " holders_of names_of_holders links_of look_around look_at verify_email"
    " lock_emails lock_event lock_newcomer lock_objects lock_people lock_promotion people_beside"
    " keep_event store_emails store_links store_payment"
    " undecided_among waiting_for_promotion bind_referral book_settlement known_referrals write_awards is_flagged"
)
_IN_CAMPAIGNS = "campaign_status campaign_terms is_in_force"
_SCORING = (
    f"{_IN_CAMPAIGNS} hold_score move_scores lower_scores date_score last_counted_at reserve_in_campaign"
    " reserved_for hold_deciding terms_of milestones_ahead grant_of_milestone grant_milestones write_milestones"
    " milestone_json"
)
_POSTING = "post_entries post_entry"
_KEEPING = "claim_idempotency_key keep_idempotent_answer"
_ANSWERING = f"{_KEEPING} answer_of_key finish_one_trip problem record_deed"
_SCREENING = "fraud_evidence ip_type_of keep_judgement see_user"
_SIGNING_UP = "insert_user is_known_object is_known_person lock_newcomer_alone look_for_signup write_signup"
_USING = (
    "consume_usage hold_usage hold_quota from_allowance refusal_of_usage count_usage take_quota"
    " return_usage parts_of_usage hold_parts undo_usage"
)
FUNCTIONS = {
    "click": (
        f"{_EVERYBODY} {_KEEPING} {_IN_CAMPAIGNS} code_refusal received_at_of record_click hits_with take_hit"
        " surviving_privacy_keys"
    ),
    "webhook": (
        f"{_EVERYBODY} {_READING} {_REFERRING} {_SCORING} {_POSTING} {_SCREENING} next_inbox_attempt"
        " fill_in_user surviving_privacy_keys"
    ),
    "app": (
        f"{_EVERYBODY} {_READING} {_REFERRING} {_SCORING} {_ANSWERING} {_POSTING} {_SIGNING_UP} {_USING} {_GRANTING}"
        f" {_SCREENING} begin_trial give_milestones grant_of_redemption redeem hits_with take_hit"
        " surviving_privacy_keys"
    ),
    "admin": (
        f"{_EVERYBODY} {_READING} {_REFERRING} {_SCORING} {_ANSWERING} {_POSTING} {_GRANTING}"
        " adjust_points refund_redemption decide_reward grant_of_redemption next_inbox_attempt hits_with take_hit"
        f" {_SCREENING} entry_digest fill_in_user give_milestones surviving_privacy_keys"
    ),
    "jobs": (
        f"{_EVERYBODY} {_READING} {_REFERRING} {_SCORING} {_POSTING} {_BOOKING_GRANTS} book_due_grants expire_due_lots"
        f" {_SCREENING} forget_expired_keys is_set_aside next_inbox_attempt entry_digest seal_entries fill_in_user"
        " end_campaign surviving_privacy_keys"
    ),
    "ledger": (
        f"{_EVERYBODY} {_READING} {_ANSWERING} {_POSTING} {_GRANTING} redeem refund_redemption adjust_points"
        " decide_reward grant_of_redemption shown_redemption undo_redemption fulfil_reward append_entry"
        " book_due_expiry book_posting book_reversal burn_lots lock_wallet repay_debt reversible save_wallet wallet_at"
        " usual_expiry refusal_of_adjustment book_adjustment"
        " redemption_json refusal_of_option refusal_of_purchase buy deliver give_back"
        " expire_due_lots expire_lots forget_expired_keys is_decision is_set_aside"
        " chain_hash chain_link entry_digest rebuild_wallets seal_entries grant_of_milestone"
        " make_privacy_key surviving_privacy_keys"
    ),
}
ROLES = sorted(TABLES)


@pytest.mark.parametrize("role", ROLES)
def test_tables(superuser: psycopg.Connection, role: str) -> None:
    granted = superuser.execute(
        """
        SELECT relname, string_agg(left(privilege, 1), '' ORDER BY position)
        FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
            WITH ORDINALITY AS p (privilege, position)
        WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND has_table_privilege('goodword_' || %(role)s, pg_class.oid, privilege)
        GROUP BY relname
        """,
        {"role": role},
    ).fetchall()
    expected = {table: privileges for privileges, tables in TABLES[role].items() for table in tables.split()}
    assert dict(granted) == expected


@pytest.mark.parametrize("role", ROLES)
def test_columns(superuser: psycopg.Connection, role: str) -> None:
    granted = superuser.execute(
        """
        SELECT relname, privilege_type, string_agg(attname, ' ' ORDER BY attname COLLATE "C")
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) AS acl
        WHERE relnamespace = 'goodword'::regnamespace AND acl.grantee = ('goodword_' || %(role)s)::regrole
        GROUP BY relname, privilege_type
        """,
        {"role": role},
    ).fetchall()
    assert set(granted) == COLUMNS[role]


@pytest.mark.parametrize("role", ROLES)
def test_functions(superuser: psycopg.Connection, role: str) -> None:
    granted = superuser.execute(
        """
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'goodword'::regnamespace
            AND has_function_privilege('goodword_' || %(role)s, oid, 'EXECUTE')
        """,
        {"role": role},
    ).fetchall()
    assert {name for (name,) in granted} == set(FUNCTIONS[role].split())


@pytest.mark.parametrize("role", ROLES)
def test_sequences(superuser: psycopg.Connection, role: str) -> None:
    """Identity columns need no right to their sequence, so nobody has one."""
    granted = superuser.execute(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'goodword'::regnamespace AND CASE relkind
            WHEN 'S' THEN has_sequence_privilege('goodword_' || %(role)s, oid, 'USAGE, SELECT, UPDATE') END
        """,
        {"role": role},
    ).fetchall()
    assert granted == []


def test_the_public_has_nothing(superuser: psycopg.Connection) -> None:
    """What is granted to PUBLIC is granted to the role that the whole internet reaches."""
    granted = superuser.execute(
        """
        SELECT 'schema ' || nspname FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl
        WHERE nspname = 'goodword' AND acl.grantee = 0
        UNION ALL
        SELECT 'relation ' || relname FROM pg_class, aclexplode(coalesce(
            relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner))) AS acl
        WHERE relnamespace = 'goodword'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') AND acl.grantee = 0
        UNION ALL
        SELECT 'function ' || proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
        WHERE pronamespace = 'goodword'::regnamespace AND acl.grantee = 0
        """
    ).fetchall()
    assert granted == []


def test_a_function_made_tomorrow_is_not_the_publics_either(tenant: Tenant) -> None:
    migrator = tenant.connection("migrator")
    with migrator.transaction(force_rollback=True):
        migrator.execute("CREATE FUNCTION goodword.of_tomorrow() RETURNS integer LANGUAGE sql RETURN 1")
        may = migrator.execute("SELECT has_function_privilege('goodword_click', 'goodword.of_tomorrow()', 'EXECUTE')")
        assert may.fetchone() == (False,)


@pytest.mark.parametrize("role", ["click", "app", "admin", "jobs"])
def test_signing_secrets_are_read_by_the_webhook_role_alone(tenant: Tenant, role: str) -> None:
    fill(tenant)
    secret = tenant.line["stripe_secret"]
    select = "SELECT secrets FROM provider_endpoints WHERE company_id = %(company_id)s AND provider = 'stripe'"
    assert tenant.connection("webhook").execute(select, {"company_id": tenant.id}).fetchall() == [([secret],)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connection(role).execute(select, {"company_id": tenant.id})
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connection(role).execute("SELECT provider_endpoints FROM provider_endpoints")


@pytest.mark.parametrize("role", ["click", "webhook", "app", "admin"])
def test_api_keys_are_read_by_the_jobs_role_alone(tenant: Tenant, role: str) -> None:
    select = "SELECT api_key FROM provider_endpoints WHERE company_id = %(company_id)s AND provider = 'stripe'"
    assert tenant.connection("jobs").execute(select, {"company_id": tenant.id}).fetchall() == [(None,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connection(role).execute(select, {"company_id": tenant.id})


@pytest.mark.parametrize("column", ["email", "avatar_url", "stripe_customer_id", "whop_user_id", "created_at"])
def test_the_click_role_reads_a_referrers_name_and_nothing_more(tenant: Tenant, column: str) -> None:
    fill(tenant)
    click = tenant.connection("click")
    assert click.execute("SELECT company_id, id, external_id, username FROM users LIMIT 1").fetchone()
    select = sql.SQL("SELECT {} FROM users").format(sql.Identifier(column))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        click.execute(select)


def test_the_click_role_cannot_mint_points(tenant: Tenant) -> None:
    user_id = tenant.add_user("mallory")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.post({"user_id": user_id, "points": 1_000_000}, role="click")
