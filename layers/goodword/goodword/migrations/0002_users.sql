-- Users: the people of a company, by the app's own ids.

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
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_pk PRIMARY KEY (company_id, id),
    CONSTRAINT users_external_uq UNIQUE (company_id, external_id),
    CONSTRAINT users_whop_user_uq UNIQUE (company_id, whop_user_id),
    CONSTRAINT users_stripe_customer_uq UNIQUE (company_id, stripe_customer_id),
    CONSTRAINT users_verified_email_ck CHECK (verified_email IS NULL OR (email IS NOT NULL AND email_verified))
);
CREATE INDEX users_verified_email_ix ON users (company_id, verified_email) WHERE verified_email IS NOT NULL;

-- One new user, whose columns are the fields of `p_user`.
CREATE FUNCTION insert_user(p_user jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO users SELECT * FROM jsonb_populate_record(NULL::users, p_user);
END $$;

-- What a provider knows of a user fills in what the app has not said; a Whop user is given once, and to one user alone.
CREATE FUNCTION fill_in_user(
    p_company uuid, p_person text, p_whop_user text, p_username text, p_email text, p_avatar_url text) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    UPDATE users SET username = coalesce(username, p_username), email = coalesce(email, p_email),
        avatar_url = coalesce(avatar_url, p_avatar_url), whop_user_id = p_whop_user,
        updated_at = company_now(p_company)
    WHERE company_id = p_company AND external_id = p_person AND coalesce(whop_user_id, p_whop_user) = p_whop_user
        AND NOT EXISTS (SELECT 1 FROM users AS other
            WHERE other.company_id = p_company AND other.whop_user_id = p_whop_user AND other.id <> users.id);
END $$;

-- How often a user has logged in, for ever: the rows of their activity end after a while.
CREATE TABLE logins (
    company_id   uuid NOT NULL,
    user_id      uuid NOT NULL,
    login_count  bigint NOT NULL,
    last_login   timestamptz NOT NULL,
    CONSTRAINT logins_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT logins_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT logins_count_ck CHECK (login_count > 0)
) WITH (fillfactor = 70);

GRANT SELECT ON activity TO :"app";
GRANT SELECT, INSERT, UPDATE ON logins TO :"app";
GRANT SELECT (company_id, id, external_id, username) ON users TO :"click";
GRANT SELECT (company_id, id, external_id) ON users TO :"ledger";
GRANT SELECT ON users TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON users TO :"app", :"admin";
GRANT EXECUTE ON FUNCTION insert_user TO :"app";
GRANT EXECUTE ON FUNCTION fill_in_user TO :"webhook", :"admin", :"jobs";
