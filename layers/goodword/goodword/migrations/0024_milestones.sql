-- Milestones: rewards for a number of counted referrals, and who has reached them. Not versioned: one that is new, or
-- changed, is for referrals that count from then on.

CREATE TABLE milestones (
    company_id   uuid NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL,
    description  text,
    threshold    integer NOT NULL,
    reward_type  text NOT NULL,
    reward_data  jsonb NOT NULL,
    auto_apply   boolean NOT NULL DEFAULT true,
    active       boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT milestones_pk PRIMARY KEY (company_id, id),
    CONSTRAINT milestones_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT milestones_threshold_ck CHECK (threshold >= 1),
    CONSTRAINT milestones_reward_type_ck CHECK (reward_type IN ('points', 'product_unlock', 'discount', 'custom'))
);
CREATE INDEX milestones_threshold_ix ON milestones (company_id, threshold, id);

ALTER TABLE access_grants ADD CONSTRAINT access_grants_milestone_fk FOREIGN KEY (company_id, milestone_id)
    REFERENCES milestones (company_id, id);

-- Reached once per person, for ever. A pending one waits for its claim; it reads as not reached while its user has fewer
-- counted referrals than it takes.
CREATE TABLE reached_milestones (
    company_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    milestone_id   uuid NOT NULL,
    status         text NOT NULL,
    reached_at     timestamptz NOT NULL,
    granted_at     timestamptz,
    claimed_at     timestamptz,
    grant_id       uuid,
    entry_id       bigint,
    error_message  text,
    note           text,
    CONSTRAINT reached_milestones_pk PRIMARY KEY (company_id, user_id, milestone_id),
    CONSTRAINT reached_milestones_milestone_fk FOREIGN KEY (company_id, milestone_id)
        REFERENCES milestones (company_id, id),
    CONSTRAINT reached_milestones_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT reached_milestones_grant_fk FOREIGN KEY (company_id, grant_id) REFERENCES access_grants (company_id, id),
    CONSTRAINT reached_milestones_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT reached_milestones_status_ck CHECK (status IN ('pending', 'granted', 'claimed', 'failed')),
    CONSTRAINT reached_milestones_times_ck CHECK (
        (status IN ('granted', 'claimed')) = (granted_at IS NOT NULL) AND (status = 'claimed') = (claimed_at IS NOT NULL)
        AND (status = 'failed') = (error_message IS NOT NULL))
);
CREATE INDEX reached_milestones_milestone_ix ON reached_milestones (company_id, milestone_id, user_id);
CREATE INDEX reached_milestones_status_ix ON reached_milestones (company_id, milestone_id, status, user_id);

-- Milestones that a referrer has not reached and may, as so many more of their referrals may come to count.
CREATE FUNCTION milestones_ahead(p_company uuid, p_user uuid, p_more integer)
    RETURNS TABLE (id uuid, threshold integer, auto_apply boolean, reward_type text, reward_data text)
    LANGUAGE sql STABLE AS $$
    SELECT m.id, m.threshold, m.auto_apply, m.reward_type, m.reward_data::text FROM milestones AS m
    WHERE m.company_id = p_company AND m.active AND m.threshold <= p_more + coalesce((
            SELECT qualified FROM scores WHERE company_id = p_company AND user_id = p_user AND board = 'all'), 0)
        AND NOT EXISTS (SELECT FROM reached_milestones AS reached WHERE reached.company_id = p_company
            AND reached.user_id = p_user AND reached.milestone_id = m.id)
    ORDER BY m.threshold, m.id
$$;

-- What an event tells of a milestone that somebody has reached.
CREATE FUNCTION milestone_json(p_reached reached_milestones) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('id', public_id('mil', m.id), 'user_id', public_id('usr', u.id),
        'external_id', u.external_id, 'status', p_reached.status, 'threshold', m.threshold,
        'reward_type', m.reward_type, 'product_id', m.reward_data ->> 'product_id',
        'grant_id', public_id('grt', p_reached.grant_id), 'transaction_id', 'txn_' || p_reached.entry_id,
        'error_message', p_reached.error_message))
    FROM milestones AS m, users AS u
    WHERE m.company_id = p_reached.company_id AND m.id = p_reached.milestone_id
        AND u.company_id = p_reached.company_id AND u.id = p_reached.user_id
$$;

-- Makes the grant that a milestone is worth, of its own: whatever stands in the way of it undoes it alone. Why it could
-- not be made, or NULL.
-- Locks: the user's grants.
CREATE FUNCTION grant_of_milestone(p_company uuid, p_user uuid, p_milestone uuid, p_grant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    data jsonb := (SELECT reward_data FROM milestones WHERE company_id = p_company AND id = p_milestone);
    broken text;
BEGIN
    PERFORM hold_grants(p_company, p_user);
    PERFORM make_grant(p_company, p_user, jsonb_build_object('id', p_grant, 'plan_id', data ->> 'plan',
        'source', 'milestone', 'milestone_id', p_milestone,
        'granted_seconds', (data ->> 'days')::bigint * 86400), company_now(p_company));
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE ~ '^(40|53|55|57|58)' THEN
        RAISE; -- the database cannot now, and the whole is tried again
    END IF;
    GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
    RETURN CASE broken
        WHEN 'access_grants_plan_fk' THEN 'There is no such plan.'
        WHEN 'grant_intervals_calendar_ck' THEN 'The user has plans until the end of the calendar already.'
        ELSE 'The grant could not be made (' || SQLSTATE || ').'
    END;
END $$;

-- The same for all milestones that are reached together and give a grant at once, by user: as they have become.
CREATE FUNCTION grant_milestones(p_company uuid, p_milestones jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    each jsonb;
    error text;
    done jsonb := '[]';
BEGIN
    FOR each IN SELECT reached FROM jsonb_array_elements(p_milestones) AS known (reached)
        ORDER BY (reached ->> 'user_id')::uuid
    LOOP
        IF each ->> 'grant_id' IS NOT NULL THEN
            error := grant_of_milestone(p_company, (each ->> 'user_id')::uuid, (each ->> 'milestone_id')::uuid,
                (each ->> 'grant_id')::uuid);
            IF error IS NOT NULL THEN
                each := each || jsonb_build_object('status', 'failed', 'grant_id', NULL, 'error_message', error,
                    'statuses', jsonb_build_array('failed'));
            END IF;
        END IF;
        done := done || jsonb_build_array(each);
    END LOOP;
    RETURN done;
END $$;

-- Writes what milestones have become to those who reach or have reached them, each with the entry that it was paid by, if
-- one was; and tells of every status that they have passed through (`statuses`; without it that which they have now).
-- Needs: hold_score of those people.
CREATE FUNCTION write_milestones(p_company uuid, p_milestones jsonb, p_entries bigint[], p_at timestamptz)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH become AS (
        SELECT * FROM jsonb_to_recordset(p_milestones) AS each (user_id uuid, milestone_id uuid, status text,
            statuses text[], grant_id uuid, earning integer, error_message text, note text)
    ), written AS (
        INSERT INTO reached_milestones AS known (company_id, user_id, milestone_id, status, reached_at, granted_at,
            claimed_at, grant_id, entry_id, error_message, note)
        SELECT p_company, user_id, milestone_id, status, p_at, CASE WHEN status IN ('granted', 'claimed') THEN p_at END,
            CASE WHEN status = 'claimed' THEN p_at END, grant_id, p_entries[earning], error_message, note
        FROM become
        ON CONFLICT ON CONSTRAINT reached_milestones_pk DO UPDATE SET status = excluded.status,
            granted_at = coalesce(known.granted_at, excluded.granted_at), claimed_at = excluded.claimed_at,
            grant_id = coalesce(known.grant_id, excluded.grant_id),
            entry_id = coalesce(known.entry_id, excluded.entry_id), error_message = excluded.error_message,
            note = coalesce(excluded.note, known.note)
        RETURNING known AS reached
    ), passed AS (
        SELECT reached, passed.status, CASE passed.status WHEN 'pending' THEN 'reached' ELSE passed.status END AS deed
        FROM written JOIN become ON become.user_id = (reached).user_id
            AND become.milestone_id = (reached).milestone_id
        CROSS JOIN LATERAL unnest(coalesce(become.statuses, ARRAY[become.status])) WITH ORDINALITY
            AS passed (status, position)
        ORDER BY (reached).user_id, (reached).milestone_id, passed.position
    ), told AS (
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        SELECT p_company, time_ordered_id(), 'milestone.' || deed,
            milestone_json(reached) || jsonb_build_object('status', status), p_at
        FROM passed
    )
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    SELECT p_company, time_ordered_id(), (reached).user_id, 'milestone_' || deed,
        jsonb_build_object('milestone_id', public_id('mil', (reached).milestone_id)), p_at
    FROM passed;
END $$;

-- What milestones become outside of a settlement: their grants, their postings (NULL: none), and they themselves.
-- Needs: hold_score of those people. Locks: their grants, then their wallets.
CREATE FUNCTION give_milestones(p_company uuid, p_milestones jsonb, p_postings jsonb, p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    entries bigint[];
BEGIN
    p_milestones := grant_milestones(p_company, p_milestones);
    IF p_postings IS NOT NULL THEN
        entries := post_entries(p_company, p_postings);
    END IF;
    PERFORM write_milestones(p_company, p_milestones, entries, p_at);
END $$;

GRANT EXECUTE ON FUNCTION give_milestones TO :"app", :"admin";
GRANT EXECUTE ON FUNCTION milestones_ahead, grant_of_milestone, grant_milestones, write_milestones, milestone_json
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT ON milestones TO :"ledger";
GRANT SELECT ON milestones TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON milestones TO :"admin";
GRANT SELECT, INSERT, UPDATE ON reached_milestones TO :"webhook", :"app", :"admin", :"jobs";
ALTER FUNCTION grant_of_milestone OWNER TO :"ledger";
