-- The floor: the rows of one attributed signup, each with the keys that no design could do without, written by one call
-- that decides nothing. `floor.py` says what it is for.
CREATE SCHEMA floor;
SET search_path = floor;

CREATE TABLE users (
    company_id uuid, id uuid, external_id text NOT NULL, email text, stripe_customer_id text, created_at timestamptz,
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, external_id),
    UNIQUE (company_id, stripe_customer_id)
);

CREATE TABLE codes (
    company_id uuid, id uuid, code text UNIQUE, user_id uuid, created_at timestamptz,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);

CREATE TABLE signups (
    company_id uuid, user_id uuid, trace jsonb,
    PRIMARY KEY (company_id, user_id),
    FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);

CREATE TABLE referrals (
    company_id uuid, id uuid, referrer_id uuid, referee_id uuid, code_id uuid, stage text, trace jsonb,
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, referee_id),
    FOREIGN KEY (company_id, referrer_id) REFERENCES users (company_id, id),
    FOREIGN KEY (company_id, referee_id) REFERENCES users (company_id, id)
);
CREATE INDEX ON referrals (company_id, referrer_id);

CREATE TABLE wallets (
    company_id uuid, user_id uuid, balance bigint CHECK (balance >= 0), total_earned bigint, version bigint,
    PRIMARY KEY (company_id, user_id),
    FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);

CREATE TABLE entries (
    company_id uuid, id bigint GENERATED ALWAYS AS IDENTITY, user_id uuid, type text, delta bigint,
    balance_after bigint, version bigint, reference text, created_at timestamptz,
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, user_id, version),
    UNIQUE (company_id, reference, type),
    FOREIGN KEY (company_id, user_id) REFERENCES wallets (company_id, user_id)
);

CREATE TABLE lots (
    company_id uuid, id bigint, user_id uuid, amount bigint, remaining bigint, expires_at timestamptz,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, id) REFERENCES entries (company_id, id)
);
CREATE INDEX ON lots (company_id, user_id, expires_at);

CREATE TABLE awards (
    company_id uuid, id uuid, referral_id uuid, user_id uuid, event text, points bigint, entry_id bigint,
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, referral_id, event),
    FOREIGN KEY (company_id, referral_id) REFERENCES referrals (company_id, id)
);

CREATE TABLE scores (
    company_id uuid, user_id uuid, board text, qualified integer, points bigint, reserved bigint,
    PRIMARY KEY (company_id, user_id, board)
);
CREATE INDEX ON scores (company_id, board, qualified, points) WHERE qualified >= 1;

CREATE TABLE user_fingerprints (
    company_id uuid, user_id uuid, ip_hash bytea, block_hash bytea, device_hash bytea, agent_hash bytea,
    referrer_id uuid, seen_at timestamptz,
    UNIQUE (company_id, user_id, ip_hash, device_hash),
    FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);
CREATE INDEX ON user_fingerprints (company_id, ip_hash, referrer_id);
CREATE INDEX ON user_fingerprints (company_id, device_hash, referrer_id);
CREATE INDEX ON user_fingerprints (company_id, block_hash);

CREATE TABLE judgements (
    company_id uuid, id uuid, user_id uuid, referral_id uuid, score integer, states jsonb, judged_at timestamptz,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);
CREATE INDEX ON judgements (company_id, user_id);

CREATE TABLE outbox_events (
    company_id uuid, id uuid, type text, data jsonb, created_at timestamptz,
    PRIMARY KEY (company_id, id)
);

CREATE TABLE activity (
    company_id uuid, id uuid, user_id uuid, action text, created_at timestamptz,
    PRIMARY KEY (company_id, id)
);

-- `p_ids`: of the referral, the code, the activity, two awards, four events and the judgement.
CREATE FUNCTION sign_up(p_company uuid, p_referrer uuid, p_user uuid, p_name text, p_ids uuid[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := clock_timestamp();
    trace jsonb := '{"by": "signup", "candidates": [{"kind": "code"}]}';
    seen bytea := sha256(convert_to(p_name, 'UTF8'));
    award integer := 0;
    person uuid;
    wallet record;
    entry bigint;
BEGIN
    INSERT INTO users VALUES (p_company, p_user, p_name, p_name || '@example.com', 'cus_' || p_name, at);
    INSERT INTO codes VALUES (p_company, p_ids[2], upper(p_name), p_user, at);
    INSERT INTO signups VALUES (p_company, p_user, trace);
    INSERT INTO activity VALUES (p_company, p_ids[3], p_user, 'signed_up', at);
    INSERT INTO referrals VALUES (p_company, p_ids[1], p_referrer, p_user, p_ids[2], 'registered', trace);
    INSERT INTO user_fingerprints VALUES (p_company, p_user, seen, seen, seen, seen, p_referrer, at);
    INSERT INTO judgements
    VALUES (p_company, p_ids[10], p_user, p_ids[1], 0, '{"same_ip": "clear", "same_device": "clear"}', at);
    FOREACH person IN ARRAY ARRAY[p_referrer, p_user] LOOP
        award := award + 1;
        INSERT INTO wallets VALUES (p_company, person, 5, 5, 1)
        ON CONFLICT (company_id, user_id) DO UPDATE SET balance = wallets.balance + 5,
            total_earned = wallets.total_earned + 5, version = wallets.version + 1
        RETURNING * INTO wallet;
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, version, reference, created_at)
        VALUES (p_company, person, 'REFERRAL', 5, wallet.balance, wallet.version, 'awd_' || p_ids[3 + award], at)
        RETURNING id INTO entry;
        INSERT INTO lots VALUES (p_company, entry, person, 5, 5, at + interval '1 year');
        INSERT INTO awards VALUES (p_company, p_ids[3 + award], p_ids[1], person, 'event_' || award, 5, entry);
    END LOOP;
    INSERT INTO scores
    VALUES (p_company, p_referrer, 'all', 0, 5, 5), (p_company, p_referrer, to_char(at, 'YYYY-MM'), 0, 5, 0),
        (p_company, p_user, 'all', 0, 0, 5)
    ON CONFLICT (company_id, user_id, board) DO UPDATE SET points = scores.points + excluded.points,
        reserved = scores.reserved + excluded.reserved;
    INSERT INTO outbox_events
    SELECT p_company, event, 'signed_up', '{"id": "x"}', at FROM unnest(p_ids[6:9]) AS event;
END $$;
