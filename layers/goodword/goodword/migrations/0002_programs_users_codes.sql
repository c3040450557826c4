-- Who takes part and what they share: the versioned program, users, referral codes, clicks.

CREATE TABLE program_versions (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    version     integer NOT NULL,
    program     jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT program_versions_pk PRIMARY KEY (company_id, version),
    CONSTRAINT program_versions_id_uq UNIQUE (company_id, id),
    CONSTRAINT program_versions_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT program_versions_version_ck CHECK (version >= 1)
);

-- `verified_email` is the normal form of an e-mail that its user was shown to hold: payments find their person by it.
CREATE TABLE users (
    company_id          uuid NOT NULL,
    id                  uuid NOT NULL,
    external_id         text NOT NULL,
    email               text,
    email_verified      boolean NOT NULL DEFAULT false,
    verified_email      text,
    username            text,
    avatar_url          text,
    whop_user_id        text,
    stripe_customer_id  text,
    app_created_at      timestamptz,
    created_at          timestamptz NOT NULL,
    CONSTRAINT users_pk PRIMARY KEY (company_id, id),
    CONSTRAINT users_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT users_external_uq UNIQUE (company_id, external_id),
    CONSTRAINT users_whop_user_uq UNIQUE (company_id, whop_user_id),
    CONSTRAINT users_stripe_customer_uq UNIQUE (company_id, stripe_customer_id),
    CONSTRAINT users_verified_email_ck CHECK (verified_email IS NULL OR (email IS NOT NULL AND email_verified))
);
CREATE INDEX users_verified_email_ix ON users (company_id, verified_email) WHERE verified_email IS NOT NULL;

ALTER TABLE activity ADD CONSTRAINT activity_user_fk FOREIGN KEY (company_id, user_id)
    REFERENCES users (company_id, id);

CREATE TABLE codes (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    code             text NOT NULL,
    type             text NOT NULL,
    user_id          uuid,
    app_id           text,
    campaign_id      uuid,
    destination_url  text,
    active           boolean NOT NULL DEFAULT true,
    max_uses         integer,
    uses             integer NOT NULL DEFAULT 0,
    archived_clicks  bigint NOT NULL DEFAULT 0,
    expires_at       timestamptz,
    metadata         jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT codes_pk PRIMARY KEY (company_id, id),
    CONSTRAINT codes_code_uq UNIQUE (code),
    CONSTRAINT codes_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT codes_upper_ck CHECK (code = upper(code)),
    CONSTRAINT codes_type_ck CHECK (type IN ('auto', 'custom', 'campaign')),
    CONSTRAINT codes_owner_ck CHECK (type = 'campaign' OR user_id IS NOT NULL),
    CONSTRAINT codes_uses_ck CHECK (uses >= 0 AND uses <= coalesce(max_uses, uses)),
    CONSTRAINT codes_archived_clicks_ck CHECK (archived_clicks >= 0)
);
CREATE UNIQUE INDEX codes_one_auto_uq ON codes (company_id, user_id) WHERE type = 'auto';
CREATE INDEX codes_newest_ix ON codes (company_id, created_at DESC, id);
CREATE INDEX codes_user_ix ON codes (company_id, user_id, created_at DESC, id);

-- `uses` counts only where a cap makes it matter: an unlimited code has no row that every signup would queue for. Its
-- uses are its referrals. `archived_clicks` are those of dropped partitions.
--
-- Who goes by the caps of codes holds this together with all others who do; who changes a cap holds it alone. So a first
-- cap counts all uses that were made without one. One lock for a company: which code a click is of shows when it is read.
CREATE FUNCTION hold_caps(company uuid, alone boolean) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(company::text || 'caps', 0));
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtextextended(company::text || 'caps', 0));
    END IF;
END $$;

CREATE FUNCTION code_refusal(code codes, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN NOT code.active THEN 'inactive'
        WHEN code.expires_at <= at THEN 'expired'
        WHEN code.uses >= code.max_uses THEN 'used_up'
    END;

-- Clicks live by the month of their real receive time, which the id carries too (uuid version 7), so one id finds
-- its partition. Nothing references them by foreign key, and they reference nothing: company and code are copied
-- from one codes row by the inserting statement, and a check on a viral code's row would make it hot. `previous_id` is
-- the click of the same browser before this one.
CREATE TABLE clicks (
    received_at   timestamptz NOT NULL,
    id            uuid NOT NULL,
    company_id    uuid NOT NULL,
    code_id       uuid NOT NULL,
    previous_id   uuid,
    occurred_at   timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    app_id        text,
    landing_url   text,
    referrer_url  text,
    ip_hash       bytea,
    agent_hash    bytea,
    device_hash   bytea,
    hash_key_id   smallint NOT NULL,
    CONSTRAINT clicks_pk PRIMARY KEY (received_at, id)
) PARTITION BY RANGE (received_at);
CREATE INDEX clicks_code_ix ON clicks (company_id, code_id, received_at);

-- A click outside every month is kept here rather than lost; none is expected.
CREATE TABLE clicks_other PARTITION OF clicks DEFAULT;

CREATE FUNCTION make_click_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql SET search_path = goodword, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first_day date;
    made integer := 0;
BEGIN
    FOR months IN -1 .. months_ahead LOOP
        first_day := date_trunc('month', clock_timestamp())::date + make_interval(months => months);
        IF to_regclass(format('goodword.%I', 'clicks_' || to_char(first_day, 'YYYY_MM'))) IS NULL THEN
            EXECUTE format('CREATE TABLE goodword.%I PARTITION OF goodword.clicks FOR VALUES FROM (%L) TO (%L)',
                'clicks_' || to_char(first_day, 'YYYY_MM'), first_day, first_day + interval '1 month');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
SELECT make_click_partitions(24);

-- The real receive time that a click's id carries (the first 48 bits: milliseconds since 1970).
CREATE FUNCTION received_at_of(click_id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'epoch'::timestamptz
        + (('x0000' || substr(replace(click_id::text, '-', ''), 1, 12))::bit(64)::bigint) * interval '1 millisecond';

-- A visit: where a code leads and, when it counts and the code may be used, the recorded click. The busiest statement
-- there is: one trip, and a function because its plans are then made once per connection and not once per click.
-- An unknown code leaves everything NULL. A click recorded by an earlier attempt is left as it is.
CREATE FUNCTION record_click(
    p_code text, p_company uuid, p_click uuid, p_received_at timestamptz, p_counted boolean,
    p_previous uuid, p_previous_at timestamptz, p_app_id text, p_landing_url text, p_referrer_url text,
    p_ip_hash bytea, p_agent_hash bytea, p_device_hash bytea, p_hash_key smallint,
    OUT destination text, OUT company_destination text, OUT refusal text, OUT window_days integer,
    OUT expires_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    target codes;
    at timestamptz;
    previous uuid;
BEGIN
    SELECT * INTO target FROM codes WHERE codes.code = p_code;
    IF target.id IS NULL OR target.company_id <> coalesce(p_company, target.company_id) THEN
        RETURN;
    END IF;
    SELECT companies.destination_url, coalesce(companies.test_now, clock_timestamp()) INTO company_destination, at
    FROM companies WHERE companies.id = target.company_id;
    SELECT (program #>> '{attribution,window_days}')::integer INTO window_days FROM program_versions
    WHERE program_versions.company_id = target.company_id ORDER BY version DESC LIMIT 1;
    destination := coalesce(target.destination_url, company_destination);
    refusal := code_refusal(target, at);
    expires_at := at + make_interval(days => window_days);
    IF refusal IS NOT NULL OR NOT p_counted THEN
        RETURN;
    END IF;
    IF p_previous IS NOT NULL THEN
        SELECT clicks.id INTO previous FROM clicks
        WHERE clicks.received_at = p_previous_at AND clicks.id = p_previous AND clicks.company_id = target.company_id;
    END IF;
    INSERT INTO clicks (received_at, id, company_id, code_id, previous_id, occurred_at, expires_at, app_id,
        landing_url, referrer_url, ip_hash, agent_hash, device_hash, hash_key_id)
    VALUES (p_received_at, p_click, target.company_id, target.id, previous, at, expires_at, p_app_id,
        p_landing_url, p_referrer_url, p_ip_hash, p_agent_hash, p_device_hash, p_hash_key)
    ON CONFLICT ON CONSTRAINT clicks_pk DO NOTHING;
END $$;

-- A sliding window per subject: the times of the hits that still count. One row, one lock, exact.
CREATE TABLE rate_windows (
    company_id  uuid NOT NULL,
    kind        text NOT NULL,
    subject     bytea NOT NULL,
    hits        timestamptz[] NOT NULL,
    CONSTRAINT rate_windows_pk PRIMARY KEY (company_id, kind, subject),
    CONSTRAINT rate_windows_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
) WITH (fillfactor = 70);

-- One more hit, where there is room for it: NULL. Else nothing is counted, and the answer is in how many seconds there
-- will be room. In real time; hits of a transaction that is rolled back do not count.
CREATE FUNCTION take_hit(p_company uuid, p_kind text, p_subject bytea, p_most integer, p_window interval) RETURNS integer
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    known timestamptz[];
    recent timestamptz[];
    at timestamptz;
BEGIN
    INSERT INTO rate_windows (company_id, kind, subject, hits) VALUES (p_company, p_kind, p_subject, '{}')
    ON CONFLICT ON CONSTRAINT rate_windows_pk DO NOTHING;
    SELECT hits INTO known FROM rate_windows
    WHERE company_id = p_company AND kind = p_kind AND subject = p_subject FOR NO KEY UPDATE;
    at := clock_timestamp();
    recent := ARRAY(SELECT hit FROM unnest(known) AS hit WHERE hit > at - p_window ORDER BY hit);
    IF cardinality(recent) >= p_most THEN
        RETURN ceil(extract(epoch FROM
            coalesce(recent[cardinality(recent) - p_most + 1], at) + p_window - at));
    END IF;
    UPDATE rate_windows SET hits = recent || at
    WHERE company_id = p_company AND kind = p_kind AND subject = p_subject;
    RETURN NULL;
END $$;

GRANT SELECT ON program_versions TO :"click", :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT ON program_versions TO :"admin";
GRANT SELECT (company_id, id, external_id, username) ON users TO :"click";
GRANT SELECT (company_id, id, external_id) ON users TO :"ledger";
GRANT SELECT ON users TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON users TO :"app", :"admin";
GRANT SELECT ON codes TO :"click", :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON codes TO :"app", :"admin";
GRANT UPDATE (uses, updated_at) ON codes TO :"webhook", :"jobs";
GRANT SELECT, INSERT ON clicks TO :"click";
GRANT SELECT ON clicks TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON rate_windows TO :"click", :"app", :"admin";
GRANT EXECUTE ON FUNCTION record_click TO :"click";
GRANT EXECUTE ON FUNCTION take_hit TO :"click", :"app", :"admin";
GRANT EXECUTE ON FUNCTION hold_caps TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION code_refusal, received_at_of TO :"click", :"webhook", :"app", :"admin", :"jobs";
