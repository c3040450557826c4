-- Access grants: a plan for a time, and who has which plan at an instant: docs/rules.md, Grants.

-- `position` is the order in which a user's grants were made. `granted_seconds` is how long a grant gives its plan in
-- all; NULL: without end. `stopped_at`: ended before its time. `ended_at` is booked, and may be booked late: whoever reads
-- asks the intervals.
CREATE TABLE access_grants (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    position         bigint GENERATED ALWAYS AS IDENTITY,
    user_id          uuid NOT NULL,
    plan_id          text NOT NULL,
    source           text NOT NULL,
    is_wellpass      boolean NOT NULL,
    granted_seconds  bigint,
    coupon_id        uuid,
    redemption_id    uuid,
    milestone_id     uuid,
    reason           text,
    created_at       timestamptz NOT NULL,
    stopped_at       timestamptz,
    stop_reason      text,
    ended_at         timestamptz,
    CONSTRAINT access_grants_pk PRIMARY KEY (company_id, id),
    CONSTRAINT access_grants_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT access_grants_plan_fk FOREIGN KEY (company_id, plan_id) REFERENCES plans (company_id, id),
    CONSTRAINT access_grants_source_ck CHECK (source IN ('coupon', 'trial', 'admin', 'redemption', 'milestone')),
    CONSTRAINT access_grants_seconds_ck CHECK (granted_seconds > 0),
    CONSTRAINT access_grants_wellpass_ck CHECK (NOT is_wellpass OR granted_seconds IS NOT NULL)
);
CREATE INDEX access_grants_user_ix ON access_grants (company_id, user_id, position);

-- One row per user who has been given a grant: the lock of all their grants, and when the next change of one is due to be
-- announced.
CREATE TABLE grant_schedules (
    company_id      uuid NOT NULL,
    user_id         uuid NOT NULL,
    next_change_at  timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT grant_schedules_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT grant_schedules_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);
CREATE INDEX grant_schedules_due_ix ON grant_schedules (company_id, next_change_at) WHERE next_change_at < 'infinity';

-- When a grant gives its plan, and when it is paused. Past intervals stay; those that are to come say what will be if
-- nothing else happens, and are placed anew whenever a grant is made or stopped. So every read is exact, and what ran and
-- what is left always add up to what was granted.
CREATE TABLE grant_intervals (
    company_id    uuid NOT NULL,
    grant_id      uuid NOT NULL,
    user_id       uuid NOT NULL,
    plan_id       text NOT NULL,
    is_paused     boolean NOT NULL,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    is_announced  boolean NOT NULL DEFAULT false,
    CONSTRAINT grant_intervals_pk PRIMARY KEY (company_id, grant_id, starts_at),
    CONSTRAINT grant_intervals_grant_fk FOREIGN KEY (company_id, grant_id) REFERENCES access_grants (company_id, id),
    CONSTRAINT grant_intervals_user_fk FOREIGN KEY (company_id, user_id)
        REFERENCES grant_schedules (company_id, user_id),
    CONSTRAINT grant_intervals_order_ck CHECK (starts_at < ends_at),
    CONSTRAINT grant_intervals_calendar_ck CHECK (ends_at < '9999-01-01Z' OR ends_at = 'infinity')
);
CREATE INDEX grant_intervals_user_ix ON grant_intervals (company_id, user_id, ends_at);

-- What gives a user access at an instant: the one place that entitlements, uses and the plan of a profile ask. A grant
-- comes with its end, `infinity` where it has none.
CREATE TYPE plan_held AS (plan_id text, source text, grant_id uuid, ends_at timestamptz);
CREATE FUNCTION plans_held(p_company uuid, p_user uuid, p_at timestamptz) RETURNS SETOF plan_held
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT own.plan_id, 'subscription', NULL::uuid, NULL::timestamptz
    FROM subscribed_plans(p_company, p_user, p_at) AS own
    UNION ALL
    SELECT running.plan_id, 'grant', running.grant_id, running.ends_at
    FROM grant_intervals AS running
    WHERE running.company_id = p_company AND running.user_id = p_user AND NOT running.is_paused
        AND running.ends_at > p_at AND running.starts_at <= p_at;
END;

-- The plan of a profile: the highest that the user has, else what is left after a trial.
CREATE FUNCTION plan_of_user(p_company uuid, p_user uuid, p_at timestamptz) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT plans.id FROM plans JOIN plans_held(p_company, p_user, p_at) AS held ON held.plan_id = plans.id
        WHERE plans.company_id = p_company ORDER BY plans.sort_order DESC, plans.id LIMIT 1
    ), (SELECT post_trial_plan FROM companies WHERE id = p_company));
END $$;

-- Whether a user has a plan for as long as can be foreseen: by a grant without end, or by a subscription that nobody has
-- cancelled.
CREATE FUNCTION keeps_plan(p_company uuid, p_user uuid, p_plan text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM grant_intervals WHERE company_id = p_company AND user_id = p_user AND plan_id = p_plan
            AND ends_at > '9800-01-01Z' -- of a grant without end, or by so many that the calendar ends first
    ) OR EXISTS (
        SELECT 1 FROM subscriptions
        JOIN plan_prices AS price ON price.company_id = subscriptions.company_id
            AND price.provider = subscriptions.provider AND price.price_ref = ANY (subscriptions.price_refs)
        WHERE subscriptions.company_id = p_company AND subscriptions.user_id = p_user AND price.plan_id = p_plan
            AND subscriptions.status IN ('trialing', 'active', 'past_due')
            AND subscriptions.cancels_at IS NULL AND subscriptions.ended_at IS NULL
    );
END $$;

-- A user's grants as they stand at an instant: what is behind, by the intervals before it, and what is to come, by those
-- after it. `starts_at` is when the grant's turn comes, though a wellpass may keep it waiting then.
CREATE FUNCTION grants_at(p_company uuid, p_user uuid, p_at timestamptz) RETURNS TABLE (
    id uuid, user_id uuid, "position" bigint, plan text, source text, coupon_id uuid, redemption_id uuid,
    milestone_id uuid, reason text, starts_at timestamptz, ends_at timestamptz, status text, paused_by uuid,
    paused_at timestamptz, remaining_seconds bigint, remaining_days bigint, created_at timestamptz
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT stated.id, stated.user_id, stated.position, stated.plan_id, stated.source, stated.coupon_id,
        stated.redemption_id, stated.milestone_id, stated.reason,
        CASE WHEN stated.status = 'ended' AND stated.ran = 0 THEN stated.over_at ELSE stated.turn_at END,
        CASE stated.status
            WHEN 'ended' THEN stated.over_at
            WHEN 'paused' THEN NULL
            ELSE nullif(stated.last_at, 'infinity')
        END,
        stated.status,
        CASE WHEN stated.status = 'paused' THEN stated.wellpass END,
        CASE WHEN stated.status = 'paused' THEN stated.state_since END,
        CASE WHEN stated.status = 'ended' THEN 0 ELSE ceil(stated.granted_seconds - stated.ran) END::bigint,
        CASE WHEN stated.status = 'ended' THEN 0 ELSE ceil((stated.granted_seconds - stated.ran) / 86400) END::bigint,
        stated.created_at
    FROM (
        SELECT g.*, placed.*, least(g.stopped_at, placed.last_at) AS over_at,
            CASE
                WHEN g.stopped_at <= p_at OR placed.last_at <= p_at THEN 'ended'
                WHEN placed.is_paused THEN 'paused'
                WHEN placed.is_paused IS NULL THEN 'scheduled'
                ELSE 'active'
            END AS status,
            (SELECT running.grant_id FROM grant_intervals AS running
                JOIN access_grants AS wellpass ON wellpass.company_id = running.company_id
                    AND wellpass.id = running.grant_id AND wellpass.is_wellpass
                WHERE running.company_id = g.company_id AND running.user_id = g.user_id AND NOT running.is_paused
                    AND running.starts_at <= p_at AND running.ends_at > p_at) AS wellpass
        FROM access_grants AS g
        CROSS JOIN LATERAL (
            SELECT min(i.starts_at) AS turn_at, max(i.ends_at) AS last_at,
                bool_or(i.is_paused) FILTER (WHERE i.starts_at <= p_at AND i.ends_at > p_at) AS is_paused,
                min(i.starts_at) FILTER (WHERE i.starts_at <= p_at AND i.ends_at > p_at) AS state_since,
                coalesce(sum(extract(epoch FROM least(i.ends_at, p_at) - i.starts_at))
                    FILTER (WHERE NOT i.is_paused AND i.starts_at < p_at), 0) AS ran
            FROM grant_intervals AS i
            WHERE i.company_id = g.company_id AND i.user_id = g.user_id AND i.grant_id = g.id
        ) AS placed
        WHERE g.company_id = p_company AND g.user_id = p_user
    ) AS stated;
END;

-- A grant as docs/api.md, Access, shows it.
CREATE FUNCTION grant_json(p_company uuid, p_user uuid, p_grant uuid, p_at timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN (SELECT jsonb_build_object(
        'id', public_id('grt', g.id), 'plan', g.plan, 'source', g.source, 'coupon_id', public_id('cpn', g.coupon_id),
        'redemption_id', public_id('red', g.redemption_id), 'milestone_id', public_id('mil', g.milestone_id),
        'reason', g.reason, 'starts_at', rfc3339(g.starts_at), 'ends_at', rfc3339(g.ends_at), 'status', g.status,
        'paused_by', public_id('grt', g.paused_by), 'paused_at', rfc3339(g.paused_at),
        'remaining_seconds', g.remaining_seconds, 'remaining_days', g.remaining_days,
        'created_at', rfc3339(g.created_at))
    FROM grants_at(p_company, p_user, p_at) AS g WHERE g.id = p_grant);
END $$;

-- The steps of giving and stopping. As the steps of a posting they set no search_path of their own.

-- Locks: all grants of a user.
CREATE FUNCTION hold_grants(p_company uuid, p_user uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO grant_schedules (company_id, user_id) VALUES (p_company, p_user)
    ON CONFLICT ON CONSTRAINT grant_schedules_pk DO NOTHING;
    PERFORM 1 FROM grant_schedules WHERE company_id = p_company AND user_id = p_user FOR NO KEY UPDATE;
END $$;

-- What will be from now on, if nothing else happens. Wellpasses run first, one after the other, and whoever would run but
-- for them is paused; then of each plan one grant after the other, and different plans beside each other. In each queue
-- the order is that in which the grants were made.
CREATE FUNCTION intervals_to_come(p_company uuid, p_user uuid, p_at timestamptz) RETURNS SETOF grant_intervals
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH unfinished AS (
        SELECT g.id, g.plan_id, g.is_wellpass, g.position, g.granted_seconds * 1000000 - ran.microseconds AS left_over
        FROM access_grants AS g
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(extract(epoch FROM least(i.ends_at, p_at) - i.starts_at) * 1000000), 0) AS microseconds
            FROM grant_intervals AS i
            WHERE i.company_id = g.company_id AND i.grant_id = g.id AND NOT i.is_paused AND i.starts_at < p_at
        ) AS ran
        WHERE g.company_id = p_company AND g.user_id = p_user AND g.stopped_at IS NULL AND g.ended_at IS NULL
            AND (g.granted_seconds IS NULL OR g.granted_seconds * 1000000 > ran.microseconds)
    ), queued AS (
        SELECT unfinished.*, coalesce(sum(left_over) OVER before_it, 0) AS waits,
            count(*) OVER before_it = 0 AS is_first,
            coalesce(bool_or(left_over IS NULL) OVER before_it, false) AS never_comes,
            coalesce(sum(left_over) FILTER (WHERE is_wellpass) OVER (), 0) AS wellpasses_take
        FROM unfinished
        WINDOW before_it AS (PARTITION BY is_wellpass, CASE WHEN NOT is_wellpass THEN plan_id END ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), turns AS (
        SELECT id, plan_id, is_wellpass, left_over, is_first, never_comes,
            p_at + wellpasses_take::bigint * interval '1 microsecond' AS wellpasses_end,
            p_at + (waits + CASE WHEN is_wellpass THEN 0 ELSE wellpasses_take END)::bigint * interval '1 microsecond'
                AS comes_at
        FROM queued
    )
    SELECT p_company, id, p_user, plan_id, true, p_at, wellpasses_end, false
    FROM turns WHERE is_first AND NOT is_wellpass AND wellpasses_end > p_at
    UNION ALL
    SELECT p_company, id, p_user, plan_id, false, comes_at,
        coalesce(comes_at + left_over::bigint * interval '1 microsecond', 'infinity'), false
    FROM turns WHERE NOT never_comes;
END;

-- Places anew what is to come. A state that goes on keeps its interval, with when it began and that it was announced;
-- one that began at this very instant and is over leaves none. The grants that were in some, for book_grants.
-- Needs: hold_grants, and a clock reading taken after it.
CREATE FUNCTION place_grants(p_company uuid, p_user uuid, p_at timestamptz) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    placed grant_intervals[] := ARRAY(SELECT i FROM intervals_to_come(p_company, p_user, p_at) AS i);
    begun uuid[] := ARRAY(SELECT i.grant_id FROM grant_intervals AS i
        WHERE i.company_id = p_company AND i.user_id = p_user AND i.starts_at = p_at AND i.is_announced);
BEGIN
    DELETE FROM grant_intervals WHERE company_id = p_company AND user_id = p_user AND starts_at > p_at;
    UPDATE grant_intervals AS known SET ends_at = coming.ends_at
    FROM unnest(placed) AS coming
    WHERE known.company_id = p_company AND known.user_id = p_user AND known.grant_id = coming.grant_id
        AND known.is_paused = coming.is_paused AND known.starts_at <= p_at AND known.ends_at > p_at
        AND coming.starts_at = p_at;
    DELETE FROM grant_intervals AS known
    WHERE known.company_id = p_company AND known.user_id = p_user AND known.starts_at = p_at
        AND NOT EXISTS (SELECT 1 FROM unnest(placed) AS coming WHERE coming.grant_id = known.grant_id
            AND coming.is_paused = known.is_paused AND coming.starts_at = p_at);
    UPDATE grant_intervals AS known SET ends_at = p_at
    WHERE known.company_id = p_company AND known.user_id = p_user AND known.starts_at < p_at AND known.ends_at > p_at
        AND NOT EXISTS (SELECT 1 FROM unnest(placed) AS coming WHERE coming.grant_id = known.grant_id
            AND coming.is_paused = known.is_paused AND coming.starts_at = p_at);
    INSERT INTO grant_intervals
    SELECT coming.* FROM unnest(placed) AS coming
    WHERE NOT EXISTS (SELECT 1 FROM grant_intervals AS known
        WHERE known.company_id = p_company AND known.grant_id = coming.grant_id
            AND known.is_paused = coming.is_paused AND known.starts_at <= coming.starts_at
            AND known.ends_at = coming.ends_at);
    RETURN begun;
END $$;

-- Books what has become of a user's grants by now, and tells the company's systems of it, each change once; then says
-- when the next one is due. A grant starts once: `p_begun` are those of whose start no interval is left to tell.
-- Needs: hold_grants.
CREATE FUNCTION book_grants(p_company uuid, p_user uuid, p_at timestamptz, p_begun uuid[] DEFAULT '{}') RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    person text := (SELECT external_id FROM users WHERE company_id = p_company AND id = p_user);
    changes integer;
BEGIN
    WITH begun AS (
        UPDATE grant_intervals AS i SET is_announced = true
        WHERE i.company_id = p_company AND i.user_id = p_user AND NOT i.is_announced AND i.starts_at <= p_at
        RETURNING i.grant_id, i.is_paused, i.starts_at
    ), over AS (
        UPDATE access_grants AS g SET ended_at = due.ends_at
        FROM grants_at(p_company, p_user, p_at) AS due
        WHERE g.company_id = p_company AND g.user_id = p_user AND g.id = due.id AND g.ended_at IS NULL
            AND due.status = 'ended'
        RETURNING g.id, g.ended_at
    ), changed AS (
        SELECT begun.grant_id, begun.starts_at AS at, 1 AS rank, CASE
            WHEN begun.is_paused THEN 'grant.paused'
            WHEN begun.grant_id = ANY (p_begun)
                OR EXISTS (SELECT 1 FROM grant_intervals AS earlier WHERE earlier.company_id = p_company
                AND earlier.grant_id = begun.grant_id AND earlier.starts_at < begun.starts_at) THEN 'grant.resumed'
            ELSE 'grant.started'
        END AS type
        FROM begun
        UNION ALL
        SELECT over.id, over.ended_at, 0, 'grant.ended' FROM over
    )
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    SELECT p_company, time_ordered_id(), type,
        grant_json(p_company, p_user, grant_id, at) - 'reason' || jsonb_build_object('user_id', person), p_at
    FROM (SELECT * FROM changed ORDER BY at, rank, grant_id) AS in_order;
    GET DIAGNOSTICS changes = ROW_COUNT;
    UPDATE grant_schedules SET next_change_at = coalesce((
        SELECT min(CASE WHEN i.starts_at > p_at THEN i.starts_at ELSE i.ends_at END) FROM grant_intervals AS i
        WHERE i.company_id = p_company AND i.user_id = p_user AND i.ends_at > p_at), 'infinity')
    WHERE company_id = p_company AND user_id = p_user;
    RETURN changes;
END $$;

-- Books what has come by the clock alone, before it is changed.
-- Needs: hold_grants.
CREATE FUNCTION book_grants_due(p_company uuid, p_user uuid, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM book_grants(p_company, p_user, p_at) FROM grant_schedules
    WHERE company_id = p_company AND user_id = p_user AND next_change_at <= p_at;
END $$;

-- One row of a user's activity where a request has changed the plan of their profile.
CREATE FUNCTION record_plan_change(p_company uuid, p_user uuid, p_before text, p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    plan text := plan_of_user(p_company, p_user, p_at);
BEGIN
    IF plan <> p_before THEN
        INSERT INTO activity (company_id, id, user_id, action, details, created_at)
        VALUES (p_company, time_ordered_id(), p_user, 'plan_changed', jsonb_build_object('from', p_before, 'to', plan),
            p_at);
    END IF;
END $$;

-- The same where a request has changed what the user is subscribed to, which was `p_subscribed`: what else gives a plan is
-- taken as it is now, for a change of that is another request's.
CREATE FUNCTION record_subscribed_change(p_company uuid, p_user uuid, p_subscribed text[], p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_plan_change(p_company, p_user, coalesce((
        SELECT plans.id FROM plans WHERE plans.company_id = p_company AND (plans.id = ANY (p_subscribed)
            OR plans.id IN (SELECT held.plan_id FROM plans_held(p_company, p_user, p_at) AS held
                WHERE held.source = 'grant'))
        ORDER BY plans.sort_order DESC, plans.id LIMIT 1
    ), (SELECT post_trial_plan FROM companies WHERE id = p_company)), p_at);
END $$;

-- Gives a user a plan for a time, whose columns are the fields of `p_grant`; one that is there already is not given again.
-- The grant as it stands then.
-- Needs: hold_grants, and a clock reading taken after it.
CREATE FUNCTION make_grant(p_company uuid, p_user uuid, p_grant jsonb, p_at timestamptz) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    new access_grants := jsonb_populate_record(NULL::access_grants, p_grant);
    before text := plan_of_user(p_company, p_user, p_at);
BEGIN
    PERFORM book_grants_due(p_company, p_user, p_at);
    INSERT INTO access_grants (company_id, id, user_id, plan_id, source, is_wellpass, granted_seconds, coupon_id,
        redemption_id, milestone_id, reason, created_at)
    VALUES (p_company, new.id, p_user, new.plan_id, new.source, coalesce(new.is_wellpass, false), new.granted_seconds,
        new.coupon_id, new.redemption_id, new.milestone_id, new.reason, p_at)
    ON CONFLICT ON CONSTRAINT access_grants_pk DO NOTHING;
    IF FOUND THEN
        PERFORM book_grants(p_company, p_user, p_at, place_grants(p_company, p_user, p_at));
        PERFORM record_plan_change(p_company, p_user, before, p_at);
    END IF;
    RETURN grant_json(p_company, p_user, new.id, p_at);
END $$;

-- Ends a grant before its time; of one that has ended, nothing. The grant as it stands then.
-- Needs: hold_grants, and a clock reading taken after it.
CREATE FUNCTION stop_grant(p_company uuid, p_user uuid, p_grant uuid, p_at timestamptz, p_reason text DEFAULT NULL)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    before text := plan_of_user(p_company, p_user, p_at);
BEGIN
    PERFORM book_grants_due(p_company, p_user, p_at);
    UPDATE access_grants AS g SET stopped_at = p_at, stop_reason = p_reason
    FROM grants_at(p_company, p_user, p_at) AS known
    WHERE g.company_id = p_company AND g.id = p_grant AND known.id = p_grant AND known.status <> 'ended';
    IF FOUND THEN
        PERFORM book_grants(p_company, p_user, p_at, place_grants(p_company, p_user, p_at));
        PERFORM record_plan_change(p_company, p_user, before, p_at);
    END IF;
    RETURN grant_json(p_company, p_user, p_grant, p_at);
END $$;

-- Books the changes that are due, for at most `p_most` users whose grants nobody else is using. One row per user: the
-- number of changes, or why they could not be booked. Locks are taken without waiting, so the order cannot deadlock.
CREATE FUNCTION book_due_grants(p_most integer) RETURNS TABLE (company_id uuid, user_id uuid, changes integer, error text)
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    due record;
BEGIN
    FOR due IN
        SELECT s.company_id, s.user_id
        FROM grant_schedules s
        JOIN (
            SELECT c.id AS company_id, waiting.user_id
            FROM companies c
            CROSS JOIN LATERAL (
                SELECT w.user_id FROM grant_schedules w
                WHERE w.company_id = c.id AND w.next_change_at < 'infinity'
                    AND w.next_change_at <= coalesce(c.test_now, clock_timestamp())
                    AND NOT is_set_aside(c.id, 'expire_access', public_id('usr', w.user_id))
                ORDER BY w.next_change_at LIMIT p_most
            ) AS waiting
            LIMIT p_most
        ) AS chosen ON chosen.company_id = s.company_id AND chosen.user_id = s.user_id
        FOR NO KEY UPDATE OF s SKIP LOCKED
    LOOP
        company_id := due.company_id;
        user_id := due.user_id;
        changes := 0;
        error := NULL;
        BEGIN
            changes := book_grants(due.company_id, due.user_id, company_now(due.company_id));
        EXCEPTION WHEN OTHERS THEN
            error := SQLSTATE;
        END;
        RETURN NEXT;
    END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION book_due_grants TO :"jobs";
GRANT SELECT ON access_grants, grant_intervals, grant_schedules TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON access_grants, grant_intervals, grant_schedules TO :"app", :"admin", :"jobs", :"ledger";
GRANT DELETE ON grant_intervals TO :"app", :"admin", :"ledger";
GRANT EXECUTE ON FUNCTION plans_held, plan_of_user, keeps_plan, grants_at, grant_json
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION hold_grants, book_grants TO :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION record_plan_change, record_subscribed_change
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION intervals_to_come, place_grants, book_grants_due, make_grant, stop_grant
    TO :"app", :"admin", :"ledger";
