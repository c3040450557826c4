-- What a user may use of each feature, what was used, and bought quota: docs/rules.md, Access.

-- How much is used of the allowance of the period that ends at `period_ends_at` ('infinity': never), and how much was
-- ever used. A period of which something is used keeps its end when the company moves to another time zone.
CREATE TABLE usage_counters (
    company_id      uuid NOT NULL,
    user_id         uuid NOT NULL,
    feature         text NOT NULL,
    period_ends_at  timestamptz NOT NULL,
    used            bigint NOT NULL,
    used_ever       bigint NOT NULL,
    CONSTRAINT usage_counters_pk PRIMARY KEY (company_id, user_id, feature),
    CONSTRAINT usage_counters_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT usage_counters_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT usage_counters_used_ck CHECK (used >= 0 AND used_ever >= used)
) WITH (fillfactor = 70);

-- Quota bought with points, one row a purchase; used after the period's own allowance, the one whose term ends first
-- before the others, until its term is over (`ends_at`) or a refund of the purchase ends it (`ended_at`).
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
    CONSTRAINT quota_grants_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT quota_grants_used_ck CHECK (used BETWEEN 0 AND quantity),
    CONSTRAINT quota_grants_term_ck CHECK (ends_at > created_at)
) WITH (fillfactor = 70);
CREATE INDEX quota_grants_user_ix ON quota_grants (company_id, user_id, feature, ends_at, created_at, redemption_id);

-- A use: `from_allowance` of it was taken of the period that ends at `period_ends_at`, and the rest of bought quota.
CREATE TABLE usages (
    company_id      uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    feature         text NOT NULL,
    quantity        bigint NOT NULL,
    from_allowance  bigint NOT NULL,
    returned        bigint NOT NULL DEFAULT 0,
    period_ends_at  timestamptz NOT NULL,
    answer          bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT usages_pk PRIMARY KEY (company_id, id),
    CONSTRAINT usages_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT usages_quantity_ck CHECK (quantity > 0 AND from_allowance BETWEEN 0 AND quantity),
    CONSTRAINT usages_returned_ck CHECK (returned BETWEEN 0 AND quantity)
);
CREATE INDEX usages_user_ix ON usages (company_id, user_id, id);

-- How much of a use was taken of which bought quota.
CREATE TABLE quota_uses (
    company_id     uuid NOT NULL,
    usage_id       uuid NOT NULL,
    redemption_id  uuid NOT NULL,
    quantity       bigint NOT NULL,
    returned       bigint NOT NULL DEFAULT 0,
    CONSTRAINT quota_uses_pk PRIMARY KEY (company_id, usage_id, redemption_id),
    CONSTRAINT quota_uses_usage_fk FOREIGN KEY (company_id, usage_id) REFERENCES usages (company_id, id),
    CONSTRAINT quota_uses_redemption_fk FOREIGN KEY (company_id, redemption_id)
        REFERENCES quota_grants (company_id, redemption_id),
    CONSTRAINT quota_uses_quantity_ck CHECK (quantity > 0 AND returned BETWEEN 0 AND quantity)
);

CREATE TABLE usage_returns (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL,
    usage_id    uuid NOT NULL,
    quantity    bigint NOT NULL,
    answer      bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT usage_returns_pk PRIMARY KEY (company_id, id),
    CONSTRAINT usage_returns_usage_fk FOREIGN KEY (company_id, usage_id) REFERENCES usages (company_id, id),
    CONSTRAINT usage_returns_quantity_ck CHECK (quantity > 0)
);

-- When the period of an instant is over: with a local day or month of the company's calendar. What is never reset has
-- one period, without an end.
CREATE FUNCTION period_end(reset text, at timestamptz, zone text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN CASE reset
        WHEN 'daily' THEN goodword.first_instant((at AT TIME ZONE zone)::date + 1, zone)
        WHEN 'monthly' THEN goodword.first_instant(
            (date_trunc('month', at AT TIME ZONE zone) + interval '1 month')::date, zone)
        ELSE 'infinity'
    END;
END $$;

-- What a user may use of a feature, and from what: `used` of the period's own allowance, `extra` is what is left of
-- bought quota, `bought` whether there ever was any.
CREATE TYPE entitlement AS (
    feature text, limit_type text, active boolean, source text, plan_id text, grant_id uuid, limit_value bigint,
    used bigint, extra bigint, bought boolean, period_ends_at timestamptz);

-- The precedence of limits lives here alone, and the read and the consumption both ask it: the first level that says
-- anything of a feature counts, of a level the most generous, and of equals the first by `preference`. One row per
-- feature of the company (or the one named). `used` is 0 once the counter's period is over, booked or not.
CREATE FUNCTION entitlements(p_company uuid, p_user uuid, p_feature text, p_at timestamptz) RETURNS SETOF entitlement
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH running AS MATERIALIZED (
        SELECT held.plan_id, held.source, held.grant_id, row_number() OVER (ORDER BY held.source = 'subscription',
            plans.sort_order DESC, held.ends_at DESC, g.position, held.plan_id) AS preference
        FROM plans_held(p_company, p_user, p_at) AS held
        JOIN plans ON plans.company_id = p_company AND plans.id = held.plan_id
        LEFT JOIN access_grants AS g ON g.company_id = p_company AND g.id = held.grant_id
    )
    SELECT f.key, f.limit_type, f.active, winner.source, winner.plan_id, winner.grant_id, winner.limit_value,
        CASE WHEN u.period_ends_at > p_at THEN u.used ELSE 0 END, coalesce(quota.left_over, 0)::bigint,
        quota.purchases > 0,
        CASE WHEN u.used > 0 AND u.period_ends_at > p_at THEN u.period_ends_at
            ELSE period_end(f.reset, p_at, c.time_zone) END
    FROM companies AS c
    JOIN features AS f ON f.company_id = c.id AND (p_feature IS NULL OR f.key = p_feature)
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT 1 AS level, 'restriction' AS source, NULL AS plan_id, NULL::uuid AS grant_id, r.limit_value,
                0 AS preference
            FROM restrictions AS r WHERE r.company_id = c.id AND r.user_id = p_user AND r.feature = f.key
            UNION ALL
            SELECT 2, running.source, running.plan_id, running.grant_id, l.limit_value, running.preference
            FROM running
            JOIN plan_limits AS l ON l.company_id = c.id AND l.plan_id = running.plan_id AND l.feature = f.key
            UNION ALL
            SELECT 3, 'plan', c.post_trial_plan, NULL, 0, 0 WHERE c.post_trial_plan = 'disabled'
            UNION ALL
            SELECT 4, 'plan', l.plan_id, NULL, l.limit_value, 0
            FROM plan_limits AS l WHERE l.company_id = c.id AND l.plan_id = c.post_trial_plan AND l.feature = f.key
            UNION ALL
            SELECT 5, 'default', NULL, NULL, f.default_limit, 0
        ) AS said
        ORDER BY level, limit_value DESC NULLS FIRST, preference LIMIT 1
    ) AS winner
    LEFT JOIN usage_counters AS u ON u.company_id = c.id AND u.user_id = p_user AND u.feature = f.key
    CROSS JOIN LATERAL (
        SELECT count(*) AS purchases,
            sum(g.quantity - g.used) FILTER (WHERE g.ended_at IS NULL AND g.ends_at > p_at) AS left_over
        FROM quota_grants AS g WHERE g.company_id = c.id AND g.user_id = p_user AND g.feature = f.key
    ) AS quota
    WHERE c.id = p_company
    ORDER BY f.sort_order, f.key;
END $$;

-- Whether a limit of 0 is one that bought quota does not open: a boolean, or what is restricted, or left off after a
-- trial.
CREATE FUNCTION is_closed(e entitlement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN coalesce(e.limit_value = 0, false) AND (e.limit_type = 'boolean' OR e.source = 'restriction'
        OR e.source = 'plan' AND e.plan_id = 'disabled');
END $$;

-- One entitlement as docs/api.md, Access, shows it. Bought quota opens a count feature that the plan has off.
CREATE FUNCTION entitlement_json(e entitlement) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = goodword, pg_temp AS $$
DECLARE
    remaining bigint := CASE
        WHEN e.limit_value IS NULL OR e.limit_type = 'boolean' THEN NULL
        WHEN is_closed(e) THEN 0
        ELSE greatest(e.limit_value - e.used, 0) + e.extra
    END;
    reason text := CASE
        WHEN NOT e.active THEN 'feature_inactive'
        WHEN e.limit_value IS NULL THEN 'unlimited'
        WHEN is_closed(e) THEN 'disabled'
        WHEN remaining > 0 OR e.limit_type = 'boolean' THEN 'ok'
        WHEN e.limit_value > 0 OR e.bought THEN 'limit_reached'
        ELSE 'disabled'
    END;
BEGIN
    RETURN jsonb_build_object(
        'feature', e.feature, 'allowed', reason IN ('ok', 'unlimited'), 'reason', reason, 'source', e.source,
        'plan', e.plan_id, 'grant_id', public_id('grt', e.grant_id), 'limit', e.limit_value, 'used', e.used,
        'remaining', remaining, 'extra', e.extra, 'resets_at', rfc3339(nullif(e.period_ends_at, 'infinity')));
END $$;

-- The steps of a use: the period's own allowance first, then bought quota. As the steps of a posting they set no
-- search_path of their own.

-- What of a use the allowance of the running period covers; bought quota has to cover the rest.
CREATE FUNCTION from_allowance(e entitlement, p_quantity bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE
        WHEN e.limit_value IS NULL OR (e.limit_type = 'boolean' AND e.limit_value > 0) THEN p_quantity
        ELSE least(p_quantity, greatest(e.limit_value - e.used, 0))
    END;
END $$;

-- When the counter of this user and feature was ours: uses and returns are counted one after the other.
-- Locks: the counter.
CREATE FUNCTION hold_usage(p_company uuid, p_user uuid, p_feature text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_counters (company_id, user_id, feature, period_ends_at, used, used_ever)
    VALUES (p_company, p_user, p_feature, '-infinity', 0, 0)
    ON CONFLICT ON CONSTRAINT usage_counters_pk DO NOTHING;
    PERFORM 1 FROM usage_counters AS u
    WHERE u.company_id = p_company AND u.user_id = p_user AND u.feature = p_feature FOR NO KEY UPDATE;
    RETURN company_now(p_company);
END $$;

-- Locks: what is left of bought quota, which a refund may be ending. What is read after this is exact until the
-- transaction ends.
-- Needs: hold_usage.
CREATE FUNCTION hold_quota(p_company uuid, p_user uuid, p_feature text, p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM quota_grants AS g
    WHERE g.company_id = p_company AND g.user_id = p_user AND g.feature = p_feature AND g.ends_at > p_at
        AND g.ended_at IS NULL AND g.used < g.quantity
    ORDER BY g.ends_at, g.created_at, g.redemption_id FOR NO KEY UPDATE;
END $$;

-- Why so much of a feature cannot be used; NULL where it can.
CREATE FUNCTION refusal_of_usage(e entitlement, p_quantity bigint, p_request_id text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shown jsonb;
BEGIN
    IF e.active AND NOT is_closed(e) AND p_quantity - from_allowance(e, p_quantity) <= e.extra THEN
        RETURN NULL;
    END IF;
    shown := entitlement_json(e);
    IF shown ->> 'reason' IN ('feature_inactive', 'disabled') THEN
        RETURN problem(422, 'feature_disabled', 'This feature is off for the user.', p_request_id);
    END IF;
    RETURN problem(422, 'limit_reached', 'The user has used up what this feature allows.', p_request_id,
        shown - 'feature' - 'allowed' - 'reason');
END $$;

-- Takes what the allowance does not cover of bought quota.
-- Needs: hold_quota.
CREATE FUNCTION take_quota(p_use usages) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint := p_use.quantity - p_use.from_allowance;
BEGIN
    WITH queue AS (
        SELECT g.redemption_id, g.quantity - g.used AS left_over,
            sum(g.quantity - g.used) OVER (ORDER BY g.ends_at, g.created_at, g.redemption_id)
                - (g.quantity - g.used) AS before
        FROM quota_grants AS g
        WHERE g.company_id = p_use.company_id AND g.user_id = p_use.user_id AND g.feature = p_use.feature
            AND g.ends_at > p_use.created_at AND g.ended_at IS NULL AND g.used < g.quantity
    ), taken AS (
        UPDATE quota_grants AS g SET used = g.used + least(queue.left_over, wanted - queue.before)
        FROM queue
        WHERE g.company_id = p_use.company_id AND g.redemption_id = queue.redemption_id AND queue.before < wanted
        RETURNING g.redemption_id, least(queue.left_over, wanted - queue.before) AS quantity
    )
    INSERT INTO quota_uses (company_id, usage_id, redemption_id, quantity)
    SELECT p_use.company_id, p_use.id, taken.redemption_id, taken.quantity FROM taken;
END $$;

-- Counts a use that is allowed; its answer.
-- Needs: hold_usage, hold_quota, and an entitlement that was read after them.
CREATE FUNCTION count_usage(
    e entitlement, p_company uuid, p_user uuid, p_quantity bigint, p_usage uuid, p_at timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    own bigint := from_allowance(e, p_quantity);
    answer jsonb;
    use usages;
BEGIN
    e.used := e.used + own;
    e.extra := e.extra - (p_quantity - own);
    answer := entitlement_json(e) || jsonb_build_object('allowed', true, 'usage_id', public_id('use', p_usage));
    UPDATE usage_counters AS u
    SET period_ends_at = e.period_ends_at, used = e.used, used_ever = u.used_ever + p_quantity
    WHERE u.company_id = p_company AND u.user_id = p_user AND u.feature = e.feature;
    INSERT INTO usages (company_id, id, user_id, feature, quantity, from_allowance, period_ends_at, answer, created_at)
    VALUES (p_company, p_usage, p_user, e.feature, p_quantity, own, e.period_ends_at, convert_to(answer::text, 'UTF8'),
        p_at)
    RETURNING * INTO use;
    IF own < p_quantity THEN
        PERFORM take_quota(use);
    END IF;
    RETURN answer;
END $$;

-- POST /v1/users/{user_id}/usage in one trip. Without an Idempotency-Key the usage id, made by the caller before its
-- first attempt, makes a repeated attempt the same usage.
CREATE FUNCTION consume_usage(
    p_company uuid, p_external_id text, p_feature text, p_quantity bigint, p_usage uuid,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid
) RETURNS kept_answer LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer;
    person uuid;
    e entitlement;
    at timestamptz;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF p_key IS NOT NULL THEN
        kept := answer_of_key(p_company, p_key, p_hash, p_request_id);
    ELSE
        SELECT 200, u.answer, false INTO kept FROM usages AS u WHERE u.company_id = p_company AND u.id = p_usage;
    END IF;
    IF kept.status IS NOT NULL THEN RETURN kept; END IF;

    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSIF NOT EXISTS (SELECT 1 FROM features WHERE company_id = p_company AND key = p_feature) THEN
        refusal := problem(422, 'feature_unknown', 'There is no such feature.', p_request_id);
    ELSE
        at := hold_usage(p_company, person, p_feature);
        PERFORM hold_quota(p_company, person, p_feature, at);
        SELECT * INTO e FROM entitlements(p_company, person, p_feature, at);
        refusal := refusal_of_usage(e, p_quantity, p_request_id);
    END IF;
    IF refusal IS NULL THEN
        answer := count_usage(e, p_company, person, p_quantity, p_usage, at);
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        VALUES (p_company, p_outbox, 'usage.recorded',
            answer || jsonb_build_object('user_id', p_external_id, 'quantity', p_quantity), at);
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

-- The steps of a return.

-- The parts of a use, in the order in which they come back: first what can be used again, of that bought quota before
-- the allowance (whose `redemption_id` is NULL), the last taken first; then what is void, for its purchase was ended or
-- its term or period is over. `before` is what comes back before a part.
CREATE FUNCTION parts_of_usage(p_use usages, p_at timestamptz)
    RETURNS TABLE (redemption_id uuid, left_over bigint, is_void boolean, before bigint)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT part.redemption_id, part.left_over, part.is_void,
        (sum(part.left_over) OVER (ORDER BY part.is_void, part.redemption_id IS NULL, part.ends_at DESC,
            part.created_at DESC, part.redemption_id DESC) - part.left_over)::bigint
    FROM (
        SELECT q.redemption_id, q.quantity - q.returned AS left_over,
            g.ended_at IS NOT NULL OR g.ends_at <= p_at AS is_void, g.ends_at, g.created_at
        FROM quota_uses AS q
        JOIN quota_grants AS g ON g.company_id = q.company_id AND g.redemption_id = q.redemption_id
        WHERE q.company_id = p_use.company_id AND q.usage_id = p_use.id
        UNION ALL
        SELECT NULL, p_use.from_allowance - p_use.returned + coalesce((
                SELECT sum(q.returned) FROM quota_uses AS q
                WHERE q.company_id = p_use.company_id AND q.usage_id = p_use.id), 0)::bigint,
            p_use.period_ends_at <= p_at, NULL, NULL
    ) AS part;
END;

-- When what a use took was ours: nobody else counts it or ends it.
-- Locks: the counter, then the use's bought quota.
CREATE FUNCTION hold_parts(p_use usages) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := hold_usage(p_use.company_id, p_use.user_id, p_use.feature);
BEGIN
    PERFORM 1 FROM quota_grants AS g
    WHERE g.company_id = p_use.company_id AND g.redemption_id IN (
        SELECT q.redemption_id FROM quota_uses AS q
        WHERE q.company_id = p_use.company_id AND q.usage_id = p_use.id)
    ORDER BY g.ends_at, g.created_at, g.redemption_id FOR NO KEY UPDATE;
    RETURN at;
END $$;

-- Gives so much of a use back, where it was taken from; what is void gives nothing, and counts as returned.
-- Needs: hold_parts, and the use as it was read after it.
CREATE FUNCTION undo_usage(p_use usages, p_quantity bigint, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH due AS (
        SELECT part.redemption_id, part.is_void, least(part.left_over, p_quantity - part.before) AS quantity
        FROM parts_of_usage(p_use, p_at) AS part WHERE part.before < p_quantity
    ), from_quota AS (
        UPDATE quota_uses AS q SET returned = q.returned + due.quantity FROM due
        WHERE q.company_id = p_use.company_id AND q.usage_id = p_use.id AND q.redemption_id = due.redemption_id
    ), to_quota AS (
        UPDATE quota_grants AS g SET used = g.used - due.quantity FROM due
        WHERE g.company_id = p_use.company_id AND g.redemption_id = due.redemption_id
    ), part_returned AS (
        UPDATE usages AS u SET returned = u.returned + p_quantity
        WHERE u.company_id = p_use.company_id AND u.id = p_use.id
    )
    UPDATE usage_counters AS u SET used_ever = u.used_ever - p_quantity, used = CASE
        WHEN u.period_ends_at > p_at THEN u.used - coalesce((
            SELECT due.quantity FROM due WHERE due.redemption_id IS NULL AND NOT due.is_void), 0)
        ELSE 0
    END
    WHERE u.company_id = p_use.company_id AND u.user_id = p_use.user_id AND u.feature = p_use.feature;
END $$;

-- POST /v1/users/{user_id}/usage/{usage_id}/return in one trip; without a quantity all that is left of the use. Without
-- an Idempotency-Key the return's id makes a repeated attempt the same return.
CREATE FUNCTION return_usage(
    p_company uuid, p_external_id text, p_usage uuid, p_quantity bigint, p_return uuid,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid
) RETURNS kept_answer LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer;
    person uuid;
    use usages;
    at timestamptz;
    returnable bigint;
    quantity bigint;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF p_key IS NOT NULL THEN
        kept := answer_of_key(p_company, p_key, p_hash, p_request_id);
    ELSE
        SELECT 200, r.answer, false INTO kept FROM usage_returns AS r
        WHERE r.company_id = p_company AND r.id = p_return;
    END IF;
    IF kept.status IS NOT NULL THEN RETURN kept; END IF;

    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    SELECT * INTO use FROM usages AS u WHERE u.company_id = p_company AND u.id = p_usage AND u.user_id = person;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSIF use.id IS NULL THEN
        refusal := problem(404, 'usage_not_found', 'There is no such use.', p_request_id);
    ELSE
        at := hold_parts(use);
        SELECT * INTO use FROM usages AS u WHERE u.company_id = p_company AND u.id = p_usage;
        returnable := use.quantity - use.returned;
        quantity := coalesce(p_quantity, returnable);
        IF quantity > returnable OR returnable = 0 THEN
            refusal := problem(422, 'return_exceeds_usage', 'There is not that much left of this use.', p_request_id,
                jsonb_build_object('returnable', returnable));
        END IF;
    END IF;
    IF refusal IS NULL THEN
        PERFORM undo_usage(use, quantity, at);
        SELECT entitlement_json(e) || jsonb_build_object('usage_id', public_id('use', p_usage), 'returnable',
            returnable - quantity) INTO STRICT answer FROM entitlements(p_company, person, use.feature, at) AS e;
        INSERT INTO usage_returns (company_id, id, usage_id, quantity, answer, created_at)
        VALUES (p_company, p_return, p_usage, quantity, convert_to(answer::text, 'UTF8'), at);
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        VALUES (p_company, p_outbox, 'usage.returned',
            answer || jsonb_build_object('user_id', p_external_id, 'quantity', quantity), at);
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

GRANT SELECT ON quota_grants, quota_uses, usage_counters, usages, usage_returns
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON usage_counters TO :"app";
GRANT INSERT ON usages, quota_uses, usage_returns TO :"app";
GRANT UPDATE (returned) ON usages, quota_uses TO :"app";
GRANT UPDATE (used) ON quota_grants TO :"app";
GRANT INSERT ON quota_grants TO :"ledger";
GRANT EXECUTE ON FUNCTION period_end, entitlements, is_closed, entitlement_json
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION consume_usage, hold_usage, hold_quota, from_allowance, refusal_of_usage, take_quota,
    count_usage, return_usage, parts_of_usage, hold_parts, undo_usage TO :"app";
