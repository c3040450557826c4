-- What a user may use of each feature, what was used, and bought quota: docs/rules.md, Access.

CREATE TABLE usage_counters (
    company_id    uuid NOT NULL,
    user_id       uuid NOT NULL,
    feature       text NOT NULL,
    period_start  timestamptz NOT NULL,
    used          bigint NOT NULL,
    used_ever     bigint NOT NULL,
    CONSTRAINT usage_counters_pk PRIMARY KEY (company_id, user_id, feature),
    CONSTRAINT usage_counters_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT usage_counters_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT usage_counters_used_ck CHECK (used >= 0 AND used_ever >= used)
) WITH (fillfactor = 70);

-- Quota bought with points, one row a purchase; used after the period's own allowance, oldest first, until a refund of
-- the purchase ends it.
CREATE TABLE quota_grants (
    company_id     uuid NOT NULL,
    redemption_id  uuid NOT NULL,
    user_id        uuid NOT NULL,
    feature        text NOT NULL,
    quantity       bigint NOT NULL,
    used           bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL DEFAULT 'infinity',
    ended_at       timestamptz,
    CONSTRAINT quota_grants_pk PRIMARY KEY (company_id, redemption_id),
    CONSTRAINT quota_grants_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT quota_grants_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT quota_grants_used_ck CHECK (used BETWEEN 0 AND quantity)
) WITH (fillfactor = 70);
CREATE INDEX quota_grants_user_ix ON quota_grants (company_id, user_id, feature, created_at, redemption_id);

CREATE TABLE usages (
    company_id      uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    feature         text NOT NULL,
    quantity        bigint NOT NULL,
    from_allowance  bigint NOT NULL,
    from_quota      bigint NOT NULL,
    period_start    timestamptz NOT NULL,
    answer          bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT usages_pk PRIMARY KEY (company_id, id),
    CONSTRAINT usages_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT usages_quantity_ck CHECK (quantity > 0 AND quantity = from_allowance + from_quota)
);

-- When the running period of a feature began, and when the next one does: local dates on the company's calendar. What is
-- never reset has one period, without an end.
CREATE FUNCTION usage_period(reset text, at timestamptz, zone text, OUT starts timestamptz, OUT ends timestamptz)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    length interval := CASE reset WHEN 'daily' THEN interval '1 day' WHEN 'monthly' THEN interval '1 month' END;
    first_day date := CASE reset WHEN 'daily' THEN at AT TIME ZONE zone
        WHEN 'monthly' THEN date_trunc('month', at AT TIME ZONE zone) END;
BEGIN
    starts := coalesce(goodword.first_instant(first_day, zone), '-infinity');
    ends := goodword.first_instant((first_day + length)::date, zone);
END $$;

-- What a user may use of a feature, and from what: `used` of the period's own allowance, `extra` is what is left of bought
-- quota, `bought` whether there is any that was not ended.
CREATE TYPE entitlement AS (
    feature text, limit_type text, active boolean, source text, limit_value bigint,
    used bigint, extra bigint, bought boolean, period_start timestamptz, resets_at timestamptz);

-- The precedence of limits lives here alone; the read and the consumption both ask it. Of several plans the most
-- generous counts, feature by feature. One row per feature of the company (or the one named). `used` is 0 once the
-- counter's period is over, booked or not.
CREATE FUNCTION entitlements(p_company uuid, p_user uuid, p_feature text, p_at timestamptz) RETURNS SETOF entitlement
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT f.key, f.limit_type, f.active, running.source, running.limit_value, coalesce(u.used, 0),
        coalesce(q.left_over, 0)::bigint, q.left_over IS NOT NULL, running_period.starts, running_period.ends
    FROM companies c
    CROSS JOIN LATERAL (SELECT ARRAY(SELECT held FROM plans_held(c.id, p_user, p_at) AS held) AS held) AS has
    JOIN features f ON f.company_id = c.id AND (p_feature IS NULL OR f.key = p_feature)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN l.feature IS NULL THEN 'default' ELSE plan.source END AS source,
            CASE WHEN l.feature IS NULL THEN f.default_limit ELSE l.limit_value END AS limit_value
        FROM (
            SELECT own.source, own.plan_id FROM unnest(has.held) AS own
            UNION ALL
            SELECT 'plan', c.post_trial_plan WHERE has.held = '{}'
        ) AS plan
        LEFT JOIN plan_limits l ON l.company_id = c.id AND l.plan_id = plan.plan_id AND l.feature = f.key
        ORDER BY 2 DESC NULLS FIRST, l.feature LIMIT 1
    ) AS running
    CROSS JOIN LATERAL usage_period(f.reset, p_at, c.time_zone) AS running_period
    LEFT JOIN usage_counters u ON u.company_id = c.id AND u.user_id = p_user AND u.feature = f.key
        AND u.period_start >= running_period.starts
    LEFT JOIN LATERAL (
        SELECT sum(quantity - g.used) AS left_over FROM quota_grants g
        WHERE g.company_id = c.id AND g.user_id = p_user AND g.feature = f.key AND g.ended_at IS NULL
    ) q ON true
    WHERE c.id = p_company
    ORDER BY f.sort_order, f.key;
END $$;

-- One entitlement as docs/api.md, Access, shows it. Bought quota opens a count feature that the plan has off.
CREATE FUNCTION entitlement_json(e entitlement) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = goodword, pg_temp AS $$
DECLARE
    remaining bigint := CASE
        WHEN e.limit_value IS NULL OR e.limit_type = 'boolean' THEN NULL
        ELSE greatest(e.limit_value - e.used, 0) + e.extra
    END;
    reason text := CASE
        WHEN NOT e.active THEN 'feature_inactive'
        WHEN e.limit_value IS NULL THEN 'unlimited'
        WHEN e.limit_type = 'boolean' THEN CASE WHEN e.limit_value = 0 THEN 'disabled' ELSE 'ok' END
        WHEN remaining > 0 THEN 'ok'
        WHEN e.limit_value = 0 AND e.used = 0 AND NOT e.bought THEN 'disabled'
        ELSE 'limit_reached'
    END;
BEGIN
    RETURN jsonb_build_object(
        'feature', e.feature, 'allowed', reason IN ('ok', 'unlimited'), 'reason', reason, 'source', e.source,
        'limit', e.limit_value, 'used', e.used, 'remaining', remaining, 'extra', e.extra,
        'resets_at', rfc3339(e.resets_at));
END $$;

-- The steps of a use: the period's own allowance first, then bought quota.

-- What of a use the allowance of the running period covers; bought quota has to cover the rest.
CREATE FUNCTION from_allowance(e entitlement, p_quantity bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE
        WHEN e.limit_value IS NULL OR (e.limit_type = 'boolean' AND e.limit_value > 0) THEN p_quantity
        ELSE least(p_quantity, greatest(e.limit_value - e.used, 0))
    END;
END $$;

-- Locks: the counter of this user and feature, then its bought quota, which a refund may be ending. What is read after
-- this is exact until the transaction ends.
CREATE FUNCTION hold_usage(p_company uuid, p_user uuid, p_feature text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_counters (company_id, user_id, feature, period_start, used, used_ever)
    VALUES (p_company, p_user, p_feature, '-infinity', 0, 0)
    ON CONFLICT ON CONSTRAINT usage_counters_pk DO NOTHING;
    PERFORM 1 FROM usage_counters c
    WHERE c.company_id = p_company AND c.user_id = p_user AND c.feature = p_feature FOR NO KEY UPDATE;
    PERFORM 1 FROM quota_grants g
    WHERE g.company_id = p_company AND g.user_id = p_user AND g.feature = p_feature AND g.ended_at IS NULL
        AND g.used < g.quantity
    ORDER BY g.created_at, g.redemption_id FOR NO KEY UPDATE;
END $$;

-- Why so much of a feature cannot be used; NULL where it can.
CREATE FUNCTION refusal_of_usage(e entitlement, p_quantity bigint, p_request_id text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shown jsonb := entitlement_json(e);
BEGIN
    IF NOT e.active OR shown ->> 'reason' = 'disabled' THEN
        RETURN problem(422, 'feature_disabled', 'This feature is off for the user.', p_request_id);
    ELSIF p_quantity - from_allowance(e, p_quantity) > e.extra THEN
        RETURN problem(422, 'limit_reached', 'The user has used up what this feature allows.', p_request_id,
            shown - 'feature' - 'allowed' - 'reason');
    END IF;
    RETURN NULL;
END $$;

-- Needs: hold_usage, and an entitlement that was read after it.
CREATE FUNCTION count_usage(
    e entitlement, p_company uuid, p_user uuid, p_from_allowance bigint, p_from_quota bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage_counters c SET period_start = e.period_start, used = e.used + p_from_allowance,
        used_ever = c.used_ever + p_from_allowance + p_from_quota
    WHERE c.company_id = p_company AND c.user_id = p_user AND c.feature = e.feature;
    IF p_from_quota > 0 THEN
        WITH queue AS (
            SELECT g.redemption_id, g.quantity - g.used AS left_over,
                sum(g.quantity - g.used) OVER (ORDER BY g.created_at, g.redemption_id)
                    - (g.quantity - g.used) AS before
            FROM quota_grants g WHERE g.company_id = p_company AND g.user_id = p_user
                AND g.feature = e.feature AND g.used < g.quantity AND g.ended_at IS NULL
        )
        UPDATE quota_grants g SET used = g.used + least(queue.left_over, p_from_quota - queue.before)
        FROM queue
        WHERE g.company_id = p_company AND g.redemption_id = queue.redemption_id AND queue.before < p_from_quota;
    END IF;
END $$;

-- POST /v1/users/{user_id}/usage in one trip. Without an Idempotency-Key the usage id, made by the caller before its
-- first attempt, makes a repeated attempt the same usage.
CREATE FUNCTION consume_usage(
    p_company uuid, p_external_id text, p_feature text, p_quantity bigint, p_usage uuid,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer;
    person uuid;
    e entitlement;
    own bigint;
    at timestamptz;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF p_key IS NOT NULL THEN
        kept := answer_of_key(p_company, p_key, p_hash, p_request_id);
        IF kept.status IS NOT NULL THEN RETURN kept; END IF;
    END IF;
    SELECT 200, u.answer, false INTO kept FROM usages u WHERE u.company_id = p_company AND u.id = p_usage;
    IF FOUND THEN RETURN kept; END IF;

    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSIF NOT EXISTS (SELECT 1 FROM features WHERE company_id = p_company AND key = p_feature) THEN
        refusal := problem(422, 'feature_unknown', 'There is no such feature.', p_request_id);
    ELSE
        PERFORM hold_usage(p_company, person, p_feature);
        at := company_now(p_company);
        SELECT * INTO e FROM entitlements(p_company, person, p_feature, at);
        refusal := refusal_of_usage(e, p_quantity, p_request_id);
    END IF;
    IF refusal IS NULL THEN
        own := from_allowance(e, p_quantity);
        PERFORM count_usage(e, p_company, person, own, p_quantity - own);
        e.used := e.used + own;
        e.extra := e.extra - (p_quantity - own);
        answer := entitlement_json(e) || jsonb_build_object('allowed', true, 'usage_id', public_id('use', p_usage));
        INSERT INTO usages (company_id, id, user_id, feature, quantity, from_allowance, from_quota, period_start,
            answer, created_at)
        VALUES (p_company, p_usage, person, p_feature, p_quantity, own, p_quantity - own, e.period_start,
            convert_to(answer::text, 'UTF8'), at);
        PERFORM record_deed(p_company, person, at,
            p_outbox, 'usage.recorded', answer || jsonb_build_object('user_id', p_external_id, 'quantity', p_quantity),
            p_activity, 'used_feature', jsonb_build_object('feature', p_feature, 'quantity', p_quantity));
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

GRANT SELECT ON quota_grants, usage_counters, usages TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON usage_counters TO :"app";
GRANT INSERT ON usages TO :"app";
GRANT UPDATE (used) ON quota_grants TO :"app";
GRANT INSERT ON quota_grants TO :"ledger";
GRANT EXECUTE ON FUNCTION usage_period, entitlements, entitlement_json
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION consume_usage, hold_usage, from_allowance, refusal_of_usage, count_usage TO :"app";
