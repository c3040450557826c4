-- Fraud: where people were seen, what each referral was judged to be, and the reviews of those that are suspected.

CREATE DOMAIN ip_type AS text
    CONSTRAINT ip_type_ck CHECK (VALUE IN ('unknown', 'residential', 'datacenter', 'vpn', 'proxy', 'tor'));
CREATE DOMAIN severity AS text CONSTRAINT severity_ck CHECK (VALUE IN ('low', 'medium', 'high', 'critical'));

CREATE DOMAIN seen_in AS text CONSTRAINT user_fingerprints_context_ck CHECK (VALUE IN ('registration', 'login'));
CREATE DOMAIN judgement_occasion AS text
    CONSTRAINT judgements_occasion_ck CHECK (VALUE IN ('signup', 'late', 'payment'));
CREATE DOMAIN judgement_outcome AS text
    CONSTRAINT judgements_outcome_ck CHECK (VALUE IN ('pay', 'hold', 'review', 'reject'));

-- Ranges of addresses whose kind the operator knows, as lists of one kind each. The key begins with what an address is
-- looked up by.
CREATE TABLE ip_ranges (
    company_id  uuid NOT NULL,
    ip_type     ip_type NOT NULL,
    cidr        cidr NOT NULL,
    CONSTRAINT ip_ranges_pk PRIMARY KEY (company_id, cidr, ip_type)
);

CREATE TABLE ip_range_lists (
    company_id  uuid NOT NULL,
    ip_type     ip_type NOT NULL,
    count       integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ip_range_lists_pk PRIMARY KEY (company_id, ip_type),
    CONSTRAINT ip_range_lists_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);

-- The kind of an address by the lists: of several that hold it, the one that says most against it; NULL where none
-- does. The ranges that can hold an address are few, and each is looked up by the key: an index of ranges would have
-- those of all companies in it, and reads thousands of rows where ranges lie close together.
CREATE FUNCTION ip_type_of(p_company uuid, p_ip inet) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    longest CONSTANT integer := CASE family(p_ip) WHEN 4 THEN 32 ELSE 128 END;
    holding CONSTANT cidr[] := ARRAY(
        SELECT network(set_masklen(p_ip, bits)) FROM generate_series(0, longest) AS bits);
BEGIN
    RETURN (SELECT ip_type FROM ip_ranges WHERE company_id = p_company AND cidr = ANY (holding)
        ORDER BY ip_type IN ('vpn', 'proxy', 'tor') DESC, masklen(cidr) DESC, ip_type LIMIT 1);
END $$;

-- What a company holds against signups by itself: addresses of e-mail, addresses of the network, devices.
CREATE TABLE fraud_patterns (
    company_id    uuid NOT NULL,
    id            uuid NOT NULL,
    type          text NOT NULL,
    value         text NOT NULL,
    match         text NOT NULL,
    severity      severity NOT NULL,
    score_impact  integer NOT NULL,
    description   text,
    active        boolean NOT NULL,
    created_by    uuid,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT fraud_patterns_pk PRIMARY KEY (company_id, id),
    CONSTRAINT fraud_patterns_value_uq UNIQUE (company_id, type, match, value),
    CONSTRAINT fraud_patterns_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT fraud_patterns_type_ck CHECK (type IN ('email_domain', 'ip_range', 'device_pattern')),
    CONSTRAINT fraud_patterns_match_ck CHECK (
        match = 'exact' OR (match = 'cidr' AND type = 'ip_range') OR (match = 'regex' AND type <> 'ip_range')),
    CONSTRAINT fraud_patterns_impact_ck CHECK (score_impact BETWEEN 0 AND 100)
);

-- Where a person was seen, as keyed hashes: by an address, the block that it lies in, and a device. `referrer_id` is the
-- one who brought a person who was seen at the signup, and `attributed_at` since when: so a referrer's own referees are
-- found by what they share.
CREATE TABLE user_fingerprints (
    company_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    ip_hash        bytea,
    block_hash     bytea,
    device_hash    bytea,
    agent_hash     bytea,
    hash_key_id    smallint NOT NULL,
    ip_type        ip_type NOT NULL,
    ip_country     text,
    ip_asn         bigint,
    context        seen_in NOT NULL,
    referrer_id    uuid,
    attributed_at  timestamptz,
    first_seen_at  timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    CONSTRAINT user_fingerprints_seen_uq UNIQUE NULLS NOT DISTINCT (company_id, user_id, ip_hash, device_hash),
    CONSTRAINT user_fingerprints_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT user_fingerprints_hash_ck CHECK (ip_hash IS NOT NULL OR device_hash IS NOT NULL),
    CONSTRAINT user_fingerprints_referrer_ck CHECK ((referrer_id IS NULL) = (attributed_at IS NULL))
);
CREATE INDEX user_fingerprints_ip_ix ON user_fingerprints (company_id, ip_hash, referrer_id, attributed_at)
    WHERE ip_hash IS NOT NULL;
CREATE INDEX user_fingerprints_device_ix ON user_fingerprints (company_id, device_hash, referrer_id, attributed_at)
    WHERE device_hash IS NOT NULL;
CREATE INDEX user_fingerprints_block_ix ON user_fingerprints (company_id, block_hash) WHERE block_hash IS NOT NULL;

-- A person was seen at an instant, by the columns of `p_seen`; `ip`, which is not kept, is looked up in the lists where
-- nobody has said of what kind it is.
CREATE FUNCTION see_user(p_company uuid, p_user uuid, p_seen jsonb, p_ip inet, p_at timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    seen user_fingerprints := jsonb_populate_record(NULL::user_fingerprints, p_seen);
BEGIN
    IF seen.ip_type = 'unknown' AND p_ip IS NOT NULL
        AND EXISTS (SELECT 1 FROM ip_range_lists WHERE company_id = p_company AND count > 0)
    THEN
        seen.ip_type := coalesce(ip_type_of(p_company, p_ip), 'unknown');
    END IF;
    INSERT INTO user_fingerprints AS known (company_id, user_id, ip_hash, block_hash, device_hash, agent_hash, hash_key_id,
        ip_type, ip_country, ip_asn, context, referrer_id, attributed_at, first_seen_at, last_seen_at)
    VALUES (p_company, p_user, seen.ip_hash, seen.block_hash, seen.device_hash, seen.agent_hash, seen.hash_key_id,
        seen.ip_type, upper(seen.ip_country), seen.ip_asn, seen.context, seen.referrer_id,
        CASE WHEN seen.referrer_id IS NOT NULL THEN p_at END, p_at, p_at)
    ON CONFLICT ON CONSTRAINT user_fingerprints_seen_uq DO UPDATE
        SET last_seen_at = greatest(known.last_seen_at, excluded.last_seen_at),
            agent_hash = coalesce(excluded.agent_hash, known.agent_hash),
            ip_type = CASE WHEN excluded.ip_type = 'unknown' THEN known.ip_type ELSE excluded.ip_type END,
            ip_country = coalesce(excluded.ip_country, known.ip_country),
            ip_asn = coalesce(excluded.ip_asn, known.ip_asn);
END $$;

-- A judgement on a person who came, or was to come, by a referrer: one row with the state of every signal. `referral_id`
-- is NULL where it made no referral. Those of its checks that were raised have rows of their own.
CREATE TABLE judgements (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    user_id          uuid NOT NULL,
    referrer_id      uuid NOT NULL,
    referral_id      uuid,
    occasion         judgement_occasion NOT NULL,
    program_version  integer NOT NULL,
    score            integer NOT NULL,
    behavioural      integer NOT NULL,
    outcome          judgement_outcome NOT NULL,
    states           jsonb NOT NULL,
    judged_at        timestamptz NOT NULL,
    CONSTRAINT judgements_pk PRIMARY KEY (company_id, id),
    CONSTRAINT judgements_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);
CREATE INDEX judgements_user_ix ON judgements (company_id, user_id, judged_at);

CREATE TABLE raised_checks (
    company_id    uuid NOT NULL,
    judgement_id  uuid NOT NULL,
    place         smallint NOT NULL,
    signal        text NOT NULL,
    check_type    text NOT NULL,
    score         integer NOT NULL,
    details       jsonb NOT NULL,
    CONSTRAINT raised_checks_pk PRIMARY KEY (company_id, judgement_id, place),
    CONSTRAINT raised_checks_judgement_fk FOREIGN KEY (company_id, judgement_id) REFERENCES judgements (company_id, id)
);

-- A suspected referral that a person decides on; `urgency` orders the queue. It is of what the signals said when it was
-- opened, and of those that were raised while it is open.
CREATE TABLE reviews (
    company_id     uuid NOT NULL,
    id             uuid NOT NULL,
    referral_id    uuid NOT NULL,
    fraud_score    integer NOT NULL,
    fraud_signals  text[] NOT NULL,
    check_types    text[] NOT NULL,
    priority       severity NOT NULL,
    urgency        smallint NOT NULL GENERATED ALWAYS AS (
        array_position(ARRAY['low', 'medium', 'high', 'critical'], priority::text)) STORED,
    status         text NOT NULL DEFAULT 'pending',
    assigned_to    text,
    notes          text,
    reviewed_by    uuid,
    reviewed_at    timestamptz,
    due_at         timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT reviews_pk PRIMARY KEY (company_id, id),
    CONSTRAINT reviews_referral_fk FOREIGN KEY (company_id, referral_id) REFERENCES referrals (company_id, id),
    CONSTRAINT reviews_status_ck CHECK (status IN ('pending', 'escalated', 'approved', 'rejected')),
    CONSTRAINT reviews_decided_ck CHECK ((status IN ('approved', 'rejected')) = (reviewed_at IS NOT NULL))
);
CREATE UNIQUE INDEX reviews_open_uq ON reviews (company_id, referral_id) WHERE status IN ('pending', 'escalated');
CREATE INDEX reviews_queue_ix ON reviews (company_id, urgency DESC, created_at, id);
CREATE INDEX reviews_status_ix ON reviews (company_id, status, urgency DESC, created_at, id);
CREATE INDEX reviews_referral_ix ON reviews (company_id, referral_id, created_at);
CREATE INDEX reviews_due_ix ON reviews (company_id, due_at) WHERE status = 'pending';

-- What is known of a person and of who is to have brought them, for the signals to look at; `p_at` is NULL for now. Those
-- who came by one referrer come one after the other from here on, so that each sees the ones before it.
-- Nothing is counted further than `p_most`. `emails` are those of one domain among the latest `p_compared` referees, NULL
-- where none of these has an e-mail.
-- Locks: the registrations of the referrer.
CREATE FUNCTION fraud_evidence(
    p_company uuid, p_referrer uuid, p_code uuid, p_ip_hashes bytea[], p_device_hashes bytea[], p_ip inet,
    p_email_domain text, p_shared interval, p_rapid interval, p_bulk interval, p_most integer, p_compared integer,
    p_at timestamptz,
    OUT referrer_since timestamptz, OUT referrer_email text, OUT is_referrers_ip boolean, OUT on_ip integer,
    OUT is_referrers_device boolean, OUT on_device integer, OUT on_code_lately integer, OUT of_referrer_lately integer,
    OUT on_code_today integer, OUT of_referrer_today integer, OUT emails text[], OUT has_ranges boolean,
    OUT listed_ip_type text, OUT patterns_version integer, OUT not_disposable text[]
) LANGUAGE plpgsql AS $$
DECLARE
    day CONSTANT interval := interval '24 hours';
    has_ip CONSTANT boolean := p_ip_hashes <> '{}';
    has_device CONSTANT boolean := p_device_hashes <> '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_company::text || p_referrer::text || 'registrations', 0));
    SELECT coalesce(u.app_created_at, u.created_at), u.email, c.patterns_version, c.not_disposable_domains,
        CASE WHEN p_ip IS NOT NULL THEN
            EXISTS (SELECT 1 FROM ip_range_lists AS l WHERE l.company_id = p_company AND l.count > 0) END,
        CASE WHEN has_ip THEN coalesce(own.ip, false) END, CASE WHEN has_device THEN coalesce(own.device, false) END,
        CASE WHEN has_ip THEN (SELECT count(*) FROM (SELECT FROM user_fingerprints AS f
            WHERE f.company_id = p_company AND f.ip_hash = ANY (p_ip_hashes) AND f.referrer_id = p_referrer
                AND f.attributed_at > instant.at - p_shared LIMIT p_most) AS sharing) END,
        CASE WHEN has_device THEN (SELECT count(*) FROM (SELECT FROM user_fingerprints AS f
            WHERE f.company_id = p_company AND f.device_hash = ANY (p_device_hashes) AND f.referrer_id = p_referrer
                AND f.attributed_at > instant.at - p_shared LIMIT p_most) AS sharing) END,
        brought.on_code_lately, brought.on_code_today, brought.lately, brought.today,
        CASE WHEN p_email_domain IS NOT NULL THEN (
            SELECT CASE WHEN count(e.email) > 0 THEN coalesce(
                array_agg(e.email) FILTER (WHERE lower(split_part(e.email, '@', 2)) = p_email_domain), '{}') END
            FROM (SELECT referee_id FROM referrals AS r WHERE r.company_id = p_company AND r.referrer_id = p_referrer
                    AND r.registered_at > instant.at - p_shared ORDER BY r.registered_at DESC LIMIT p_compared) AS latest
            JOIN users AS e ON e.company_id = p_company AND e.id = latest.referee_id) END
    INTO referrer_since, referrer_email, patterns_version, not_disposable, has_ranges, is_referrers_ip,
        is_referrers_device, on_ip, on_device, on_code_lately, on_code_today, of_referrer_lately, of_referrer_today, emails
    FROM companies AS c
    JOIN users AS u ON u.company_id = p_company AND u.id = p_referrer
    -- who has come before may have read the clock later
    CROSS JOIN LATERAL (SELECT coalesce(c.test_now, clock_timestamp()) AS now OFFSET 0) AS clock
    CROSS JOIN LATERAL (SELECT coalesce(p_at, now) AS at, greatest(p_at, now) AS known_until OFFSET 0) AS instant
    CROSS JOIN LATERAL (SELECT bool_or(f.ip_hash = ANY (p_ip_hashes)) AS ip,
            bool_or(f.device_hash = ANY (p_device_hashes)) AS device
        FROM user_fingerprints AS f WHERE f.company_id = p_company AND f.user_id = p_referrer
            AND f.last_seen_at > instant.at - p_shared) AS own
    CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE registered_at > instant.at - p_bulk) AS lately,
            count(*) FILTER (WHERE registered_at > instant.at - day) AS today,
            count(*) FILTER (WHERE code_id = p_code AND registered_at > instant.at - p_rapid) AS on_code_lately,
            count(*) FILTER (WHERE code_id = p_code AND registered_at > instant.at - day) AS on_code_today
        FROM (SELECT r.registered_at, r.code_id FROM referrals AS r
            WHERE r.company_id = p_company AND r.referrer_id = p_referrer
                AND r.campaign_id IS NULL AND r.source <> 'invite' AND r.registered_at <= instant.known_until
                AND r.registered_at > instant.at - greatest(p_rapid, p_bulk, day)
            ORDER BY r.registered_at DESC LIMIT p_most) AS latest) AS brought
    WHERE c.id = p_company;
    IF has_ranges THEN
        listed_ip_type := ip_type_of(p_company, p_ip);
    END IF;
END $$;

-- One judgement, with its checks that were raised, and the review that it needs, if it does: one that is open already
-- becomes more pressing.
CREATE FUNCTION keep_judgement(p_company uuid, p_judgement jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO judgements SELECT * FROM jsonb_populate_record(NULL::judgements, p_judgement);
    IF p_judgement -> 'raised' <> '[]' THEN
        INSERT INTO raised_checks (company_id, judgement_id, place, signal, check_type, score, details)
        SELECT p_company, (p_judgement ->> 'id')::uuid, place, signal, check_type, score, details
        FROM jsonb_to_recordset(p_judgement -> 'raised') AS raised (
            place smallint, signal text, check_type text, score integer, details jsonb);
    END IF;
    IF p_judgement -> 'review' <> 'null' THEN
        INSERT INTO reviews AS known (company_id, id, referral_id, fraud_score, fraud_signals, check_types, priority,
            due_at, created_at, updated_at)
        SELECT p_company, id, referral_id, fraud_score, fraud_signals, check_types, priority, due_at, created_at,
            created_at
        FROM jsonb_populate_record(NULL::reviews, p_judgement -> 'review')
        ON CONFLICT (company_id, referral_id) WHERE status IN ('pending', 'escalated') DO UPDATE
            SET fraud_score = excluded.fraud_score, fraud_signals = excluded.fraud_signals,
                check_types = excluded.check_types, updated_at = excluded.updated_at,
                priority = CASE WHEN excluded.urgency > known.urgency THEN excluded.priority ELSE known.priority END;
    END IF;
END $$;

GRANT SELECT ON ip_ranges, ip_range_lists, fraud_patterns, user_fingerprints, judgements, raised_checks, reviews
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON user_fingerprints TO :"app", :"webhook", :"admin";
GRANT INSERT ON judgements, raised_checks TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON reviews TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON fraud_patterns, ip_range_lists TO :"admin";
GRANT INSERT, DELETE ON ip_ranges TO :"admin";
GRANT UPDATE (patterns_version, not_disposable_domains) ON companies TO :"admin";
GRANT EXECUTE ON FUNCTION ip_type_of, see_user, fraud_evidence, keep_judgement
    TO :"webhook", :"app", :"admin", :"jobs";
