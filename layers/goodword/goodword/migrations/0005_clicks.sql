-- Clicks: visits through a code, in partitions by month.

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

GRANT SELECT, INSERT ON clicks TO :"click";
GRANT SELECT ON clicks TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION record_click TO :"click";
GRANT EXECUTE ON FUNCTION received_at_of TO :"click", :"webhook", :"app", :"admin", :"jobs";
