-- What scheduled work leaves behind: who is running, what each run did, what was set aside. And the expiry of points.

-- One run at a time per job. Correctness does not rest on it (items are claimed with SKIP LOCKED): it saves work.
CREATE TABLE job_leases (
    job         text NOT NULL,
    holder      uuid NOT NULL,
    held_until  timestamptz NOT NULL,
    CONSTRAINT job_leases_pk PRIMARY KEY (job)
);

CREATE TABLE job_runs (
    job          text NOT NULL,
    id           uuid NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz NOT NULL,
    summary      jsonb NOT NULL,
    CONSTRAINT job_runs_pk PRIMARY KEY (job, id)
);

-- An item that cannot be done is named here and tried again later, ever more rarely, while the others go on.
CREATE TABLE job_setbacks (
    company_id       uuid NOT NULL,
    job              text NOT NULL,
    item             text NOT NULL,
    error            text NOT NULL,
    attempts         integer NOT NULL DEFAULT 1,
    next_attempt_at  timestamptz NOT NULL,
    CONSTRAINT job_setbacks_pk PRIMARY KEY (company_id, job, item),
    CONSTRAINT job_setbacks_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);

CREATE FUNCTION is_set_aside(p_company uuid, p_job text, p_item text) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM goodword.job_setbacks WHERE company_id = p_company AND job = p_job AND item = p_item
        AND next_attempt_at > clock_timestamp());
END $$;

-- Books what has expired, for at most `p_wallets` wallets that nobody else is using. One row per wallet: the points
-- that expired, or why they could not be booked. Wallets are locked without waiting, so the order cannot deadlock.
CREATE FUNCTION expire_due_lots(p_wallets integer) RETURNS TABLE (company_id uuid, user_id uuid, points bigint, error text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
DECLARE
    held record;
    person uuid;
    at timestamptz;
BEGIN
    FOR held IN
        SELECT locked.company_id, array_agg(locked.user_id ORDER BY locked.user_id) AS people
        FROM (
            SELECT w.company_id, w.user_id
            FROM wallets w
            JOIN (
                SELECT DISTINCT c.id AS company_id, expired.user_id
                FROM companies c
                -- a fence: what is volatile bounds no scan of an index
                CROSS JOIN LATERAL (SELECT coalesce(c.test_now, clock_timestamp()) AS now OFFSET 0) AS clock
                CROSS JOIN LATERAL (
                    SELECT l.user_id FROM lots l
                    WHERE l.company_id = c.id AND l.open AND l.expires_at < 'infinity' AND l.expires_at <= clock.now
                        AND NOT EXISTS (SELECT FROM job_setbacks s
                            WHERE s.company_id = c.id AND s.job = 'expire_points'
                                AND s.item = public_id('usr', l.user_id) AND s.next_attempt_at > clock_timestamp())
                    ORDER BY l.expires_at LIMIT p_wallets
                ) AS expired
                LIMIT p_wallets
            ) AS chosen ON chosen.company_id = w.company_id AND chosen.user_id = w.user_id
            FOR NO KEY UPDATE OF w SKIP LOCKED
        ) AS locked
        GROUP BY locked.company_id
    LOOP
        at := company_now(held.company_id);
        BEGIN
            RETURN QUERY SELECT held.company_id, each.user_id, each.points, NULL::text
                FROM expire_lots(held.company_id, held.people, at) AS each;
        EXCEPTION WHEN OTHERS THEN
            -- one of them cannot be booked: each by itself, so that the others are
            FOREACH person IN ARRAY held.people LOOP
                BEGIN
                    RETURN QUERY SELECT held.company_id, each.user_id, each.points, NULL::text
                        FROM expire_lots(held.company_id, ARRAY[person], at) AS each;
                EXCEPTION WHEN OTHERS THEN
                    RETURN QUERY SELECT held.company_id, person, 0::bigint, SQLSTATE::text;
                END;
            END LOOP;
        END;
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON job_leases TO :"jobs";
GRANT SELECT, INSERT ON job_runs TO :"jobs";
GRANT SELECT, INSERT, UPDATE, DELETE ON job_setbacks TO :"jobs";
GRANT SELECT ON job_runs, job_setbacks TO :"admin";
GRANT SELECT ON job_setbacks TO :"ledger";
GRANT EXECUTE ON FUNCTION is_set_aside TO :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION expire_due_lots TO :"jobs";
ALTER FUNCTION expire_due_lots OWNER TO :"ledger";
