-- The points that facts are due: one row per person, event and occasion of a referral, with its booking once paid.
-- `adjustments` counts what was taken back from and given back to a paid award: the occasions of those bookings.
-- `counted` is how many other referrals of its referrer counted when it was decided on, by which it has its tier.

CREATE DOMAIN award_event AS text CONSTRAINT awards_event_ck CHECK (VALUE IN (
    'registered', 'welcome', 'activated', 'qualified', 'recurring', 'l2', 'retained', 'cross_app'));
CREATE DOMAIN award_status AS text
    CONSTRAINT awards_status_ck CHECK (VALUE IN ('pending', 'held', 'paid', 'rejected', 'reversed'));

CREATE DOMAIN hold_reason AS text
    CONSTRAINT awards_hold_reason_ck CHECK (VALUE IN ('risk', 'review', 'dispute'));

CREATE TABLE awards (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    referral_id      uuid NOT NULL,
    user_id          uuid NOT NULL,
    event            award_event NOT NULL,
    app_id           text NOT NULL DEFAULT '',
    occasion         text NOT NULL DEFAULT '',
    period           integer,
    base_points      bigint NOT NULL,
    multiplier_bps   integer NOT NULL DEFAULT 10000,
    points           bigint NOT NULL,
    reversed_points  bigint NOT NULL DEFAULT 0,
    adjustments      integer NOT NULL DEFAULT 0,
    tier             text,
    counted          integer,
    status           award_status NOT NULL,
    hold_until       timestamptz,
    hold_reason      hold_reason,
    reason           text,
    program_version  integer NOT NULL,
    payment_id       uuid,
    entry_id         bigint,
    trace            jsonb NOT NULL,
    due_at           timestamptz NOT NULL,
    released_at      timestamptz,
    created_at       timestamptz NOT NULL,
    CONSTRAINT awards_pk PRIMARY KEY (company_id, id),
    CONSTRAINT awards_natural_uq UNIQUE (company_id, referral_id, event, app_id, occasion),
    CONSTRAINT awards_referral_fk FOREIGN KEY (company_id, referral_id) REFERENCES referrals (company_id, id),
    CONSTRAINT awards_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT awards_payment_fk FOREIGN KEY (company_id, payment_id) REFERENCES payments (company_id, id),
    CONSTRAINT awards_hold_ck CHECK ((status = 'held') = (hold_reason IS NOT NULL)),
    CONSTRAINT awards_reason_ck CHECK ((status = 'rejected') = (reason IS NOT NULL)),
    CONSTRAINT awards_points_ck CHECK (points >= 0 AND reversed_points BETWEEN 0 AND points),
    CONSTRAINT awards_paid_ck CHECK (status <> 'paid' OR entry_id IS NOT NULL)
);
CREATE INDEX awards_user_ix ON awards (company_id, user_id, created_at, id);
CREATE INDEX awards_unpaid_ix ON awards (company_id, user_id) WHERE status IN ('pending', 'held');
CREATE INDEX awards_waiting_ix ON awards (company_id, hold_until) WHERE status = 'pending' OR hold_reason = 'risk';

-- The referrals of some referees, by id, each with everything that is known about it: the columns stand in
-- awards/known.py, and those of a row beside its class.
-- `p_holds`: they are locked first, with what they are decided by. Everything else is read after that by statements of
-- their own, which see what was committed while the locks were waited for; so this is VOLATILE. `p_all`: nothing is
-- locked or read unless every one of these users is referred.
CREATE FUNCTION known_referrals(p_company uuid, p_referees uuid[], p_holds boolean, p_all boolean) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    ids uuid[];
    is_all boolean;
    each uuid;
    r referrals;
    held referrals[] := '{}';
    up referrals;
    terms record;
    paid payments[];
    at timestamptz;
BEGIN
    SELECT coalesce(array_agg(DISTINCT found.id ORDER BY found.id) FILTER (WHERE found.id IS NOT NULL), '{}'),
        coalesce(bool_and(found.id IS NOT NULL), true)
    INTO ids, is_all
    FROM (
        SELECT (SELECT id FROM referrals WHERE company_id = p_company AND referee_id = given.referee) AS id
        FROM unnest((SELECT p_referees)) AS given (referee) OFFSET 0) AS found;
    IF p_all AND NOT is_all THEN
        RETURN;
    END IF;
    IF p_holds THEN
        FOREACH each IN ARRAY ids LOOP
            SELECT * INTO STRICT r FROM referrals WHERE company_id = p_company AND id = each FOR NO KEY UPDATE;
            held := held || r;
        END LOOP;
        PERFORM hold_deciding(p_company, held);
    END IF;
    at := company_now(p_company);
    FOREACH each IN ARRAY ids LOOP
        IF NOT p_holds OR cardinality(ids) > 1 THEN
            SELECT * INTO STRICT r FROM referrals WHERE company_id = p_company AND id = each;
        END IF;
        SELECT * INTO up FROM referrals WHERE company_id = p_company AND referee_id = r.referrer_id;
        SELECT * INTO terms FROM terms_of(p_company, r.program_version, r.campaign_id);
        paid := ARRAY(SELECT p FROM payments AS p WHERE company_id = p_company AND user_id = r.referee_id);
        RETURN QUERY SELECT
            r.id, r.referrer_id, r.referee_id, r.stage::text, r.activated_at, r.qualified_at, r.retained_at, r.expired_at,
            r.advances_at, r.counts, r.risk::text, r.fraud_score, r.fraud_behavioural, r.fraud_cleared, r.fraud_signals,
            r.judged_paid_at, r.touched_at, r.registered_at, r.app_id, r.program_version, at,
            terms.program, r.campaign_id, terms.campaign, terms.points_cap, terms.per_user_cap, terms.reserved_points,
            coalesce((SELECT qualified FROM scores
                WHERE company_id = p_company AND user_id = r.referrer_id AND board = 'all'), 0),
            date_trunc('day', at, terms.zone), (at AT TIME ZONE terms.zone)::date,
            CASE WHEN terms.has_caps THEN ARRAY(SELECT row(reserved.*) FROM reserved_for(
                p_company, ARRAY[r.referrer_id, r.referee_id, up.referrer_id], terms.zone, r.campaign_id, at) AS reserved)
                ELSE '{}' END,
            CASE WHEN NOT r.counts THEN ARRAY(SELECT row(milestone.*) FROM milestones_ahead(
                p_company, r.referrer_id, cardinality(ids)) AS milestone) ELSE '{}' END,
            up.referrer_id, up.registered_at, stage_at(up, at) NOT IN ('expired', 'cancelled'),
            ARRAY(SELECT row(used.*) FROM (
                SELECT app_id, occurred_at
                FROM activations WHERE company_id = p_company AND user_id = r.referee_id) AS used),
            ARRAY(SELECT row(payment.*) FROM (
                SELECT id, payment_key AS key, net_amount, gross_amount, currency, paid_at, period_start, is_proration,
                    recorded_at
                FROM unnest((SELECT paid)) WHERE NOT superseded) AS payment),
            ARRAY(SELECT row(takeback.*) FROM (
                SELECT payment_id, part AS amount, takeback_state(status) AS state, began_at, whole
                FROM unnest((SELECT paid)) AS p CROSS JOIN LATERAL (
                    SELECT * FROM takebacks WHERE company_id = p_company AND payment_id = p.id OFFSET 0) AS t
                CROSS JOIN LATERAL taken_part(t, p)) AS takeback),
            ARRAY(SELECT row(subscription.*) FROM (
                SELECT began_at, ended_at
                FROM subscriptions WHERE company_id = p_company AND user_id = r.referee_id) AS subscription),
            ARRAY(SELECT row(award.*) FROM (
                SELECT id, event::text AS event, app_id, occasion, user_id, points, reversed_points,
                    status::text AS status, hold_until, hold_reason::text AS hold_reason,
                    entry_id IS NOT NULL AS booked, adjustments, period, payment_id, due_at, created_at, multiplier_bps, tier, counted, reason
                FROM awards WHERE company_id = p_company AND referral_id = r.id) AS award);
    END LOOP;
END $$;

-- The terms of a referral: its version of the program, and those of its campaign in their place.
CREATE FUNCTION terms_of(
    p_company uuid, p_version integer, p_campaign uuid, OUT program text, OUT zone text, OUT campaign text,
    OUT points_cap bigint, OUT per_user_cap bigint, OUT reserved_points bigint, OUT has_caps boolean
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT v.program::text, v.timezone, v.has_caps INTO STRICT program, zone, has_caps FROM program_versions AS v
    WHERE v.company_id = p_company AND v.version = p_version;
    IF p_campaign IS NOT NULL THEN
        SELECT campaign_terms(c), c.points_cap, c.per_user_cap, c.reserved_points
        INTO STRICT campaign, points_cap, per_user_cap, reserved_points
        FROM campaigns AS c WHERE c.company_id = p_company AND c.id = p_campaign;
        has_caps := has_caps OR coalesce(points_cap, per_user_cap) IS NOT NULL;
    END IF;
END $$;

-- Locks what referrals are decided by, besides their own rows: campaigns under a cap of points; and the scores of their
-- referrers, with those of all who receive awards where caps are asked of them.
CREATE FUNCTION hold_deciding(p_company uuid, p_referrals referrals[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    campaigns_held uuid[] := '{}';
    people uuid[] := '{}';
    r referrals;
    capped record;
    person uuid;
BEGIN
    FOREACH r IN ARRAY p_referrals LOOP
        people := people || r.referrer_id;
        SELECT v.has_caps OR coalesce(c.points_cap, c.per_user_cap) IS NOT NULL AS at_all, c.points_cap IS NOT NULL AS whole
        INTO STRICT capped
        FROM program_versions AS v
        LEFT JOIN campaigns AS c ON c.company_id = v.company_id AND c.id = r.campaign_id
        WHERE v.company_id = p_company AND v.version = r.program_version;
        IF capped.at_all THEN
            people := people || r.referee_id || ARRAY(
                SELECT referrer_id FROM referrals WHERE company_id = p_company AND referee_id = r.referrer_id);
        END IF;
        IF capped.whole THEN
            campaigns_held := campaigns_held || r.campaign_id;
        END IF;
    END LOOP;
    IF campaigns_held <> '{}' THEN
        PERFORM FROM campaigns WHERE company_id = p_company AND id = ANY (campaigns_held)
        ORDER BY id FOR NO KEY UPDATE;
    END IF;
    IF cardinality(people) = 1 THEN
        PERFORM hold_score(p_company, people[1]);
        RETURN;
    END IF;
    FOR person IN SELECT DISTINCT each FROM unnest(people) AS known (each) ORDER BY each LOOP
        PERFORM hold_score(p_company, person);
    END LOOP;
END $$;

-- What is reserved for some people: all time, on the local day of an instant, and in a campaign. An award is reserved on
-- the day on which it was made, in the zone of its own version of the program.
CREATE FUNCTION reserved_for(p_company uuid, p_people uuid[], p_zone text, p_campaign uuid, p_at timestamptz)
    RETURNS TABLE (user_id uuid, ever bigint, today bigint, in_campaign bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT person,
        coalesce((SELECT reserved FROM scores
            WHERE scores.company_id = p_company AND scores.user_id = person AND board = 'all'), 0),
        coalesce((SELECT sum(points - reversed_points)::bigint FROM awards
            JOIN program_versions AS own ON own.company_id = awards.company_id AND own.version = awards.program_version
            WHERE awards.company_id = p_company AND awards.user_id = person AND status <> 'rejected'
                AND awards.created_at > p_at - interval '50 hours'
                AND (awards.created_at AT TIME ZONE own.timezone)::date
                    = (p_at AT TIME ZONE p_zone)::date), 0),
        coalesce((SELECT reserved FROM scores
            WHERE scores.company_id = p_company AND scores.user_id = person AND board = p_campaign::text), 0)
    FROM unnest(p_people) AS known (person) WHERE person IS NOT NULL;
END $$;

-- What settling some referrals comes to is written in one call: what is new together, what changes a row at a time. An
-- array does not tell the planner its length, and for the hundred rows that it supposes it would read every referral of
-- the company.

-- New awards, and changed ones, by their columns; each with its entry, if one of `p_entries` pays it now: that of the
-- position `earning`.
CREATE FUNCTION write_awards(p_company uuid, p_awards jsonb, p_entries bigint[], p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    told jsonb;
    award awards;
    is_due boolean;
BEGIN
    INSERT INTO awards (company_id, id, referral_id, user_id, event, app_id, occasion, period, base_points,
        multiplier_bps, points, reversed_points, adjustments, tier, counted, status, hold_until, hold_reason, reason,
        program_version, payment_id, entry_id, trace, due_at, released_at, created_at)
    SELECT p_company, id, referral_id, user_id, event, app_id, occasion, period, base_points,
        multiplier_bps, points, reversed_points, adjustments, tier, counted, status, hold_until, hold_reason, reason,
        program_version, payment_id, p_entries[earning], trace, due_at,
        CASE WHEN p_entries[earning] IS NOT NULL THEN p_at END, p_at
    FROM jsonb_to_recordset(p_awards) AS new (
        is_new boolean, earning integer, id uuid, referral_id uuid, user_id uuid, event text, app_id text,
        occasion text, period integer, base_points bigint, multiplier_bps integer, points bigint,
        reversed_points bigint, adjustments integer, tier text, counted integer, status text, hold_until timestamptz,
        hold_reason text, reason text, program_version integer, payment_id uuid, trace jsonb, due_at timestamptz)
    WHERE is_new;
    FOR i IN 0 .. jsonb_array_length(p_awards) - 1 LOOP
        told := p_awards -> i;
        IF NOT (told ->> 'is_new')::boolean THEN
            award := jsonb_populate_record(NULL::awards, told);
            award.entry_id := p_entries[(told ->> 'earning')::integer];
            award.released_at := CASE WHEN award.entry_id IS NOT NULL THEN p_at END;
            is_due := (told ->> 'is_due')::boolean;
            UPDATE awards SET status = award.status, reversed_points = award.reversed_points,
                adjustments = award.adjustments, hold_until = award.hold_until, hold_reason = award.hold_reason,
                reason = award.reason, period = CASE WHEN is_due THEN award.period ELSE period END,
                payment_id = CASE WHEN is_due THEN award.payment_id ELSE payment_id END,
                due_at = CASE WHEN is_due THEN award.due_at ELSE due_at END,
                trace = CASE WHEN is_due THEN award.trace ELSE trace END,
                entry_id = coalesce(entry_id, award.entry_id),
                released_at = coalesce(award.released_at, released_at)
            WHERE company_id = p_company AND id = award.id;
        END IF;
    END LOOP;
END $$;

-- Everything that settling comes to, each kind as an array or NULL: how far referrals have come, what that moves on the
-- boards and under the caps of campaigns, milestones that are reached, awards, the postings of both as post_entries takes
-- them, and the events that announce it. No posting comes without its award or milestone.
-- The entries, by the order of their postings.
-- Needs: the locks of the referrals. Locks: campaigns and scores that are moved, the grants of those who reach a
-- milestone, and the wallets that are posted to.
CREATE FUNCTION book_settlement(
    p_company uuid, p_stages jsonb, p_campaigns jsonb, p_moves jsonb, p_milestones jsonb, p_awards jsonb, p_postings jsonb,
    p_events jsonb, p_at timestamptz
) RETURNS bigint[] LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    reached referrals;
    entries bigint[];
BEGIN
    FOR i IN 0 .. coalesce(jsonb_array_length(p_stages), 0) - 1 LOOP
        reached := jsonb_populate_record(NULL::referrals, p_stages -> i);
        UPDATE referrals SET stage = reached.stage, counts = reached.counts, activated_at = reached.activated_at,
            qualified_at = reached.qualified_at, retained_at = reached.retained_at, expired_at = reached.expired_at,
            advances_at = reached.advances_at, risk = reached.risk, fraud_score = reached.fraud_score,
            fraud_behavioural = reached.fraud_behavioural, fraud_cleared = reached.fraud_cleared,
            fraud_signals = reached.fraud_signals, judged_paid_at = reached.judged_paid_at, updated_at = p_at
        WHERE company_id = p_company AND id = reached.id;
    END LOOP;
    IF p_campaigns <> '[]' THEN
        PERFORM reserve_in_campaign(p_company, id, points)
        FROM (SELECT id, points FROM jsonb_to_recordset(p_campaigns) AS moved (id uuid, points bigint)
            ORDER BY id) AS in_order;
    END IF;
    IF p_moves <> '[]' THEN
        PERFORM date_score(p_company, lost_user, lost_board, last_counted_at(p_company, lost_user, lost_board))
        FROM move_scores(p_company, p_moves);
    END IF;
    IF p_milestones <> '[]' THEN
        p_milestones := grant_milestones(p_company, p_milestones);
    END IF;
    IF p_postings <> '[]' THEN
        entries := post_entries(p_company, p_postings);
    END IF;
    IF p_awards <> '[]' THEN
        PERFORM write_awards(p_company, p_awards, entries, p_at);
    END IF;
    IF p_events <> '[]' THEN
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        SELECT p_company, id, type, data, p_at
        FROM jsonb_to_recordset(p_events) AS event (id uuid, type text, data jsonb);
    END IF;
    IF p_milestones <> '[]' THEN
        PERFORM write_milestones(p_company, p_milestones, entries, p_at);
    END IF;
    RETURN entries;
END $$;

-- When the last of the referrals of somebody qualified that count on a board.
CREATE FUNCTION last_counted_at(p_company uuid, p_user uuid, p_board text) RETURNS timestamptz
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_board = 'all' THEN
        RETURN (SELECT max(qualified_at) FROM referrals
            WHERE company_id = p_company AND referrer_id = p_user AND counts);
    ELSIF p_board ~ '^\d{4}-\d{2}$' THEN
        RETURN (SELECT max(qualified_at) FROM referrals JOIN program_versions AS own
            ON own.company_id = referrals.company_id AND own.version = referrals.program_version
            WHERE referrals.company_id = p_company AND referrer_id = p_user AND counts
                AND qualified_at BETWEEN to_date(p_board, 'YYYY-MM') - interval '2 days'
                    AND to_date(p_board, 'YYYY-MM') + interval '33 days'
                AND to_char(qualified_at AT TIME ZONE own.timezone, 'YYYY-MM') = p_board);
    END IF;
    RETURN (SELECT max(qualified_at) FROM referrals
        WHERE company_id = p_company AND referrer_id = p_user AND counts AND campaign_id = p_board::uuid);
END $$;

GRANT EXECUTE ON FUNCTION known_referrals, terms_of, hold_deciding, reserved_for, write_awards,
    book_settlement, last_counted_at TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON awards TO :"webhook", :"app", :"admin", :"jobs";
