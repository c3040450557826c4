-- What every room stands on: the company and its clock, keys, stored answers, events out, activity.

-- Ids are uuids (time-ordered, made by the caller before the first attempt); clients see them with a prefix.
CREATE FUNCTION public_id(prefix text, id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN prefix || '_' || replace(id::text, '-', '');

-- In PL/pgSQL, as every function whose text the planner cannot put in the place of its call (it may not for a SET, for
-- SECURITY DEFINER, for an argument or a body less stable than the function): before PostgreSQL 18 a function in SQL is
-- then planned anew at every call, and one in PL/pgSQL once per connection.
CREATE FUNCTION rfc3339(at timestamptz) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
END $$;

-- An id of a row that a function makes by itself, one after another also within a millisecond (RFC 9562, version 7).
CREATE FUNCTION time_ordered_id() RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
    microseconds bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    first_half bigint := (microseconds / 1000) << 16 | 7 << 12 | (microseconds % 1000) * 4096 / 1000;
BEGIN
    RETURN encode(int8send(first_half) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid;
END $$;

CREATE TABLE companies (
    id               uuid NOT NULL,
    name             text NOT NULL,
    livemode         boolean NOT NULL,
    time_zone        text NOT NULL DEFAULT 'UTC',
    destination_url  text NOT NULL,
    whop_company_id  text,
    test_now         timestamptz,
    test_now_used    boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    trial_duration_days        integer NOT NULL DEFAULT 14,
    trial_plan                 text NOT NULL DEFAULT 'premium',
    post_trial_plan            text NOT NULL DEFAULT 'free',
    require_email_verification boolean NOT NULL DEFAULT true,
    self_registration_enabled  boolean NOT NULL DEFAULT true,
    require_invite             boolean NOT NULL DEFAULT false,
    invite_email_must_match    boolean NOT NULL DEFAULT false,
    not_disposable_domains     text[] NOT NULL DEFAULT '{}',
    patterns_version           integer NOT NULL DEFAULT 0,
    CONSTRAINT companies_pk PRIMARY KEY (id),
    CONSTRAINT companies_name_ck CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT companies_whop_company_uq UNIQUE (whop_company_id, livemode),
    CONSTRAINT companies_trial_ck CHECK (trial_duration_days >= 0),
    CONSTRAINT companies_test_clock_ck CHECK (test_now IS NULL OR NOT livemode)
);

-- The one source of now for business: a test company's clock stands still where it was set.
-- Machinery (leases, partitions, rate limits of codes, signatures) reads clock_timestamp() itself.
CREATE FUNCTION company_now(company uuid) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT coalesce(test_now, clock_timestamp()) FROM goodword.companies WHERE id = company);
END $$;

-- `months` calendar months later on the company's own calendar; a month end is clamped.
CREATE FUNCTION months_later(at timestamptz, months integer, zone text) RETURNS timestamptz
    LANGUAGE sql STABLE STRICT
    RETURN ((at AT TIME ZONE zone) + make_interval(months => months)) AT TIME ZONE zone;

-- The first instant of a local date. Midnight may not come, where clocks go forward over it: Postgres then takes the
-- instant they do. Or it comes twice, where they go back over it: Postgres takes the second one, and the first is found
-- by the clock of the day before. Every local date that becomes an instant does so here.
CREATE FUNCTION first_instant(day date, zone text) RETURNS timestamptz
    LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    midnight timestamp := day;
    latest timestamptz := midnight AT TIME ZONE zone;
    by_the_clock_before timestamptz := latest + (midnight - interval '24 hours'
        - ((latest - interval '24 hours') AT TIME ZONE zone));
BEGIN
    IF by_the_clock_before < latest AND by_the_clock_before AT TIME ZONE zone = midnight THEN
        RETURN by_the_clock_before;
    END IF;
    RETURN latest;
END $$;

-- The key itself is shown once and never stored: its hash recognises it, and `prefix`, its beginning, tells people which
-- one it is. Its times are real ones. `last_used_at` is exact to the minute.
CREATE TABLE api_keys (
    company_id    uuid NOT NULL,
    id            uuid NOT NULL,
    name          text NOT NULL,
    kind          text NOT NULL,
    scope         text NOT NULL,
    prefix        text NOT NULL,
    key_hash      bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    CONSTRAINT api_keys_pk PRIMARY KEY (company_id, id),
    CONSTRAINT api_keys_name_ck CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT api_keys_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT api_keys_hash_uq UNIQUE (key_hash),
    CONSTRAINT api_keys_kind_ck CHECK (kind IN ('secret', 'publishable')),
    CONSTRAINT api_keys_scope_ck CHECK (scope IN ('publishable', 'read', 'write', 'admin')),
    CONSTRAINT api_keys_publishable_ck CHECK ((kind = 'publishable') = (scope = 'publishable'))
);

-- One half of the keys of the keyed hashes under which addresses, devices and user agents are stored; the other one is
-- the deployment's secret, which is in no dump. Destroying a row (key = NULL) makes everything hashed under it anonymous.
CREATE TABLE privacy_keys (
    id          smallint GENERATED ALWAYS AS IDENTITY,
    key         bytea,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT privacy_keys_pk PRIMARY KEY (id),
    CONSTRAINT privacy_keys_length_ck CHECK (length(key) = 32)
);

-- 244 random bits from the server's own strong generator; pgcrypto is not everywhere.
INSERT INTO privacy_keys (key) VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- A new key, under which is hashed from now on; what is compared is so under the one before it too. For operators: whoever
-- could call it at will would make everything that is stored be forgotten.
CREATE FUNCTION make_privacy_key() RETURNS smallint LANGUAGE sql SET search_path = goodword, pg_temp AS $$
    INSERT INTO privacy_keys (key) VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
    RETURNING id
$$;

-- The keys that have not been destroyed, newest first. Where all have been, one is made: people go on signing up.
CREATE FUNCTION surviving_privacy_keys() RETURNS TABLE (id smallint, key bytea)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM privacy_keys AS known WHERE known.key IS NOT NULL) THEN
        PERFORM make_privacy_key();
    END IF;
    RETURN QUERY SELECT known.id, known.key FROM privacy_keys AS known WHERE known.key IS NOT NULL ORDER BY known.id DESC;
END $$;

-- What every transaction of a company writes has no foreign key to it: each check would lock the company's row, and one
-- row that all of them lock is where they would meet.

-- One row per Idempotency-Key, for ever; the answer itself may be removed after its retention. A row that has
-- `kept_until` is of a key that anybody may hold, and goes whole.
CREATE TABLE idempotent_answers (
    company_id    uuid NOT NULL,
    key           text NOT NULL,
    request_hash  bytea NOT NULL,
    status        smallint,
    body          bytea,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    kept_until    timestamptz,
    CONSTRAINT idempotent_answers_pk PRIMARY KEY (company_id, key)
);
CREATE INDEX idempotent_answers_kept_until_ix ON idempotent_answers (kept_until) WHERE kept_until IS NOT NULL;

-- Answers hold personal data, so no role reads the table: whoever has the key and the request gets the answer.
-- outcome: claimed (go on), replayed (give status and body), reused (same key, other request), expired.
-- The insert waits for a twin in flight; the next statement then sees the twin's committed answer.
-- `p_kept` is how long the key is known; NULL: for ever.
CREATE FUNCTION claim_idempotency_key(
    p_company uuid, p_key text, p_hash bytea, p_kept interval DEFAULT NULL,
    OUT outcome text, OUT status smallint, OUT body bytea
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    stored idempotent_answers;
BEGIN
    INSERT INTO idempotent_answers AS known (company_id, key, request_hash, kept_until)
    VALUES (p_company, p_key, p_hash, clock_timestamp() + p_kept)
    ON CONFLICT ON CONSTRAINT idempotent_answers_pk DO UPDATE
        SET request_hash = excluded.request_hash, status = NULL, body = NULL, kept_until = excluded.kept_until
        WHERE known.kept_until <= clock_timestamp();
    IF FOUND THEN
        outcome := 'claimed';
        RETURN;
    END IF;
    SELECT * INTO stored FROM idempotent_answers a WHERE a.company_id = p_company AND a.key = p_key;
    outcome := CASE
        WHEN stored.request_hash <> p_hash THEN 'reused'
        WHEN stored.body IS NULL THEN 'expired'
        ELSE 'replayed'
    END;
    IF outcome = 'replayed' THEN
        status := stored.status;
        body := stored.body;
    END IF;
END $$;

-- Whether an answer decided the request: the same one would then be answered so for ever. What decided nothing (unknown
-- user, too little scope, too many requests) may turn out otherwise tomorrow. The Python function of this name agrees.
CREATE FUNCTION is_decision(status integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN status BETWEEN 200 AND 299 OR status IN (409, 422);

-- What becomes of a claimed key: the first answer under it is kept if it is a decision, and a later one is not taken;
-- without one the key is free again.
CREATE FUNCTION keep_idempotent_answer(p_company uuid, p_key text, p_status smallint, p_body bytea) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
BEGIN
    IF is_decision(p_status) THEN
        UPDATE idempotent_answers SET status = p_status, body = p_body
        WHERE company_id = p_company AND key = p_key AND body IS NULL;
    ELSE
        DELETE FROM idempotent_answers WHERE company_id = p_company AND key = p_key AND status IS NULL;
    END IF;
END $$;

-- Removes at most `p_most` keys that are known no longer; the number of them.
CREATE FUNCTION forget_expired_keys(p_most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM idempotent_answers AS answer USING (
        SELECT company_id, key FROM idempotent_answers WHERE kept_until <= clock_timestamp()
        ORDER BY kept_until LIMIT p_most FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE answer.company_id = due.company_id AND answer.key = due.key;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;

-- The problem+json of a refusal that is answered by the statement itself (docs/api.md, Errors).
CREATE FUNCTION problem(status integer, code text, detail text, request_id text, extra jsonb DEFAULT '{}') RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_build_object(
        'type', 'urn:goodword:problem:' || code, 'title', upper(left(code, 1)) || replace(substr(code, 2), '_', ' '),
        'status', status, 'detail', detail, 'code', code, 'request_id', request_id) || extra;

-- The beginning and the end of a one-trip use case: one that claims its key, does its work and keeps its answer in one
-- statement. Between them stand its own steps. None of the steps sets a search_path: they run inside the use case, which
-- does, and setting it again would cost more than most steps.

-- An answer as it is kept under a key. `replayed`: it was kept before this request came.
CREATE TYPE kept_answer AS (status smallint, body bytea, replayed boolean);

-- The beginning: the answer of the key. Its status is NULL where the key is ours and the work is to be done.
CREATE FUNCTION answer_of_key(p_company uuid, p_key text, p_hash bytea, p_request_id text) RETURNS kept_answer
    LANGUAGE plpgsql AS $$
DECLARE
    claim record := claim_idempotency_key(p_company, p_key, p_hash);
    refusal jsonb;
BEGIN
    IF claim.outcome = 'claimed' THEN
        RETURN NULL;
    ELSIF claim.outcome = 'reused' THEN
        refusal := problem(409, 'idempotency_key_reused',
            'This Idempotency-Key was used before with another request.', p_request_id);
    ELSIF claim.outcome = 'expired' THEN
        refusal := problem(409, 'idempotency_answer_expired',
            'This request was done before; its stored answer is past its retention.', p_request_id);
    END IF;
    RETURN (coalesce(claim.status, (refusal ->> 'status')::smallint),
        coalesce(claim.body, convert_to(refusal::text, 'UTF8')), claim.outcome = 'replayed');
END $$;

-- The end: a refusal, or else the answer under `p_status`, kept under the key where there is one.
CREATE FUNCTION finish_one_trip(p_company uuid, p_key text, p_status smallint, p_answer jsonb, p_refusal jsonb)
    RETURNS kept_answer LANGUAGE plpgsql AS $$
DECLARE
    finished kept_answer := (coalesce((p_refusal ->> 'status')::smallint, p_status),
        convert_to(coalesce(p_refusal, p_answer)::text, 'UTF8'), false);
BEGIN
    IF p_key IS NOT NULL THEN
        PERFORM keep_idempotent_answer(p_company, p_key, finished.status, finished.body);
    END IF;
    RETURN finished;
END $$;

CREATE TABLE outbox_events (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL,
    type        text NOT NULL,
    data        jsonb NOT NULL,
    sequence    bigint,
    created_at  timestamptz NOT NULL,
    CONSTRAINT outbox_events_pk PRIMARY KEY (company_id, id),
    CONSTRAINT outbox_events_sequence_uq UNIQUE (company_id, sequence)
);

CREATE TABLE activity (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL,
    user_id     uuid NOT NULL,
    action      text NOT NULL,
    details     jsonb NOT NULL DEFAULT '{}',
    app_id      text,
    created_at  timestamptz NOT NULL,
    CONSTRAINT activity_pk PRIMARY KEY (company_id, id)
);
CREATE INDEX activity_user_ix ON activity (company_id, user_id, created_at);

-- What a one-trip use case leaves behind besides its own rows: the event that the company's systems get to hear, and what
-- the user did, or had done to them.
CREATE FUNCTION record_deed(
    p_company uuid, p_user uuid, p_at timestamptz,
    p_outbox uuid, p_event text, p_data jsonb, p_activity uuid, p_action text, p_details jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH announced AS (
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        VALUES (p_company, p_outbox, p_event, p_data, p_at)
    )
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    VALUES (p_company, p_activity, p_user, p_action, p_details, p_at);
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

-- What a hit at an instant comes to, beside the hits that were taken before it: all that still count, with it, where that
-- is room for it; else NULL, and in how many whole seconds there will be. A hit counts for a window's length, its end left
-- out, so no interval as long as the window ever holds more than `p_most`. `p_window` has no days, whose length differs.
CREATE FUNCTION hits_with(
    p_hits timestamptz[], p_at timestamptz, p_most integer, p_window interval,
    OUT hits timestamptz[], OUT retry_after integer
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    recent CONSTANT timestamptz[] := ARRAY(SELECT hit FROM unnest(p_hits) AS hit WHERE hit > p_at - p_window ORDER BY hit);
BEGIN
    IF cardinality(recent) < p_most THEN
        hits := recent || p_at;
    ELSE
        retry_after := ceil(extract(epoch FROM
            coalesce(recent[cardinality(recent) - p_most + 1], p_at) + p_window - p_at));
    END IF;
END $$;

-- One more hit, where there is room for it: NULL. Else nothing is counted, and the answer is in how many seconds there
-- will be room. In real time; hits of a transaction that is rolled back do not count.
CREATE FUNCTION take_hit(p_company uuid, p_kind text, p_subject bytea, p_most integer, p_window interval) RETURNS integer
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    known timestamptz[];
    taken record;
BEGIN
    INSERT INTO rate_windows (company_id, kind, subject, hits) VALUES (p_company, p_kind, p_subject, '{}')
    ON CONFLICT ON CONSTRAINT rate_windows_pk DO NOTHING;
    SELECT rate_windows.hits INTO known FROM rate_windows
    WHERE company_id = p_company AND kind = p_kind AND subject = p_subject FOR NO KEY UPDATE;
    taken := hits_with(known, clock_timestamp(), p_most, p_window);
    IF taken.hits IS NOT NULL THEN
        UPDATE rate_windows SET hits = taken.hits
        WHERE company_id = p_company AND kind = p_kind AND subject = p_subject;
    END IF;
    RETURN taken.retry_after;
END $$;

GRANT USAGE ON SCHEMA goodword TO :"click", :"webhook", :"app", :"admin", :"jobs", :"ledger";
-- The ledger's functions are made by the migrator and given to this role, which must be allowed to own them.
GRANT CREATE ON SCHEMA goodword TO :"ledger";
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA goodword FROM PUBLIC;
-- Without IN SCHEMA: what is granted by default everywhere cannot be revoked for one schema.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public_id, rfc3339, company_now, months_later, time_ordered_id
    TO :"click", :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION first_instant TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION claim_idempotency_key, keep_idempotent_answer TO :"click", :"app", :"admin", :"ledger";
GRANT EXECUTE ON FUNCTION is_decision TO :"ledger";
GRANT EXECUTE ON FUNCTION forget_expired_keys TO :"jobs";
GRANT EXECUTE ON FUNCTION problem, answer_of_key, finish_one_trip, record_deed TO :"app", :"admin", :"ledger";
GRANT SELECT ON companies TO :"click", :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT UPDATE (test_now, test_now_used, time_zone, destination_url, whop_company_id, trial_duration_days, trial_plan,
    post_trial_plan, require_email_verification, self_registration_enabled, require_invite, invite_email_must_match,
    updated_at) ON companies TO :"admin";
GRANT SELECT ON api_keys TO :"click", :"app", :"admin";
GRANT UPDATE (last_used_at) ON api_keys TO :"click", :"app", :"admin";
GRANT INSERT, UPDATE (revoked_at) ON api_keys TO :"admin";
GRANT SELECT, INSERT (key) ON privacy_keys TO :"ledger";
GRANT EXECUTE ON FUNCTION make_privacy_key TO :"ledger";
ALTER FUNCTION surviving_privacy_keys OWNER TO :"ledger";
GRANT EXECUTE ON FUNCTION surviving_privacy_keys TO :"click", :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, DELETE ON idempotent_answers TO :"ledger";
GRANT UPDATE (request_hash, status, body, kept_until) ON idempotent_answers TO :"ledger";
ALTER FUNCTION claim_idempotency_key OWNER TO :"ledger";
ALTER FUNCTION keep_idempotent_answer OWNER TO :"ledger";
ALTER FUNCTION forget_expired_keys OWNER TO :"ledger";
GRANT INSERT ON outbox_events, activity TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT SELECT, INSERT, UPDATE ON rate_windows TO :"click", :"app", :"admin";
GRANT EXECUTE ON FUNCTION hits_with, take_hit TO :"click", :"app", :"admin";
