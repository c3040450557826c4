-- The points that facts are due: one row per person, event and occasion of a referral, with its booking once paid.
-- `adjustments` counts what was taken back from and given back to a paid award: the occasions of those bookings.

CREATE DOMAIN award_event AS text CONSTRAINT awards_event_ck CHECK (VALUE IN (
    'registered', 'welcome', 'activated', 'qualified', 'recurring', 'l2', 'retained', 'cross_app'));
CREATE DOMAIN award_status AS text
    CONSTRAINT awards_status_ck CHECK (VALUE IN ('pending', 'held', 'paid', 'rejected', 'reversed'));

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
    status           award_status NOT NULL,
    hold_until       timestamptz,
    hold_reason      text,
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
    CONSTRAINT awards_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT awards_points_ck CHECK (points >= 0 AND reversed_points BETWEEN 0 AND points),
    CONSTRAINT awards_paid_ck CHECK (status <> 'paid' OR entry_id IS NOT NULL)
);
CREATE INDEX awards_user_ix ON awards (company_id, user_id, created_at, id);
CREATE INDEX awards_unpaid_ix ON awards (company_id, user_id) WHERE status IN ('pending', 'held');
CREATE INDEX awards_waiting_ix ON awards (company_id, hold_until) WHERE status = 'pending';

-- The referrals of some referees, by id, each with everything that is known about it: the columns stand in
-- awards/settlement.py, and those of a row beside its class.
-- `p_holds`: they are locked first. Everything else is read after that by statements of their own, which see what was
-- committed while the locks were waited for; so this is VOLATILE. `p_all`: nothing is locked or read unless every one
-- of these users is referred.
CREATE FUNCTION known_referrals(p_company uuid, p_referees uuid[], p_holds boolean, p_all boolean) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    ids uuid[];
    is_all boolean;
    each uuid;
    r referrals;
    up referrals;
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
        END LOOP;
    END IF;
    at := company_now(p_company);
    FOREACH each IN ARRAY ids LOOP
        IF NOT p_holds OR cardinality(ids) > 1 THEN
            SELECT * INTO STRICT r FROM referrals WHERE company_id = p_company AND id = each;
        END IF;
        SELECT * INTO up FROM referrals WHERE company_id = p_company AND referee_id = r.referrer_id;
        paid := ARRAY(SELECT p FROM payments AS p WHERE company_id = p_company AND user_id = r.referee_id);
        RETURN QUERY SELECT
            r.id, r.referrer_id, r.referee_id, r.stage::text, r.activated_at, r.qualified_at, r.retained_at, r.expired_at,
            r.advances_at, r.touched_at, r.registered_at, r.app_id, r.program_version, at,
            (SELECT program::text FROM program_versions WHERE company_id = p_company AND version = r.program_version),
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
                    status::text AS status, hold_until, hold_reason, entry_id IS NOT NULL AS booked, adjustments, period,
                    payment_id, due_at, created_at
                FROM awards WHERE company_id = p_company AND referral_id = r.id) AS award);
    END LOOP;
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
        multiplier_bps, points, reversed_points, adjustments, tier, status, hold_until, hold_reason, reason,
        program_version, payment_id, entry_id, trace, due_at, released_at, created_at)
    SELECT p_company, id, referral_id, user_id, event, app_id, occasion, period, base_points,
        multiplier_bps, points, reversed_points, adjustments, tier, status, hold_until, hold_reason, reason,
        program_version, payment_id, p_entries[earning], trace, due_at,
        CASE WHEN p_entries[earning] IS NOT NULL THEN p_at END, p_at
    FROM jsonb_to_recordset(p_awards) AS new (
        is_new boolean, earning integer, id uuid, referral_id uuid, user_id uuid, event text, app_id text,
        occasion text, period integer, base_points bigint, multiplier_bps integer, points bigint,
        reversed_points bigint, adjustments integer, tier text, status text, hold_until timestamptz,
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
                period = CASE WHEN is_due THEN award.period ELSE period END,
                payment_id = CASE WHEN is_due THEN award.payment_id ELSE payment_id END,
                due_at = CASE WHEN is_due THEN award.due_at ELSE due_at END,
                trace = CASE WHEN is_due THEN award.trace ELSE trace END,
                entry_id = coalesce(entry_id, award.entry_id),
                released_at = coalesce(award.released_at, released_at)
            WHERE company_id = p_company AND id = award.id;
        END IF;
    END LOOP;
END $$;

-- Everything that settling comes to, each kind as an array or NULL: how far referrals have come, awards, the postings
-- of awards as post_entries takes them, and the events that announce it. No posting comes without its award.
-- The entries, by the order of their postings.
-- Needs: the locks of the referrals. Locks: the wallets that are posted to.
CREATE FUNCTION book_settlement(
    p_company uuid, p_stages jsonb, p_awards jsonb, p_postings jsonb, p_events jsonb, p_at timestamptz
) RETURNS bigint[] LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    reached referrals;
    entries bigint[];
BEGIN
    FOR i IN 0 .. coalesce(jsonb_array_length(p_stages), 0) - 1 LOOP
        reached := jsonb_populate_record(NULL::referrals, p_stages -> i);
        UPDATE referrals SET stage = reached.stage, activated_at = reached.activated_at,
            qualified_at = reached.qualified_at, retained_at = reached.retained_at, expired_at = reached.expired_at,
            advances_at = reached.advances_at, updated_at = p_at
        WHERE company_id = p_company AND id = reached.id;
    END LOOP;
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
    RETURN entries;
END $$;

GRANT EXECUTE ON FUNCTION known_referrals, write_awards, book_settlement TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON awards TO :"webhook", :"app", :"admin", :"jobs";
