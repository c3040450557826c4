-- Referral codes: what a user shares, and the caps on their uses.

-- What concerns one column alone is a domain's rule, for the same reason as in the ledger.
CREATE DOMAIN code_text AS text CONSTRAINT codes_upper_ck CHECK (VALUE = upper(VALUE));
CREATE DOMAIN code_type AS text CONSTRAINT codes_type_ck CHECK (VALUE IN ('auto', 'custom', 'campaign'));
CREATE DOMAIN click_count AS bigint CONSTRAINT codes_archived_clicks_ck CHECK (VALUE >= 0);

CREATE TABLE codes (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    code             code_text NOT NULL,
    type             code_type NOT NULL,
    user_id          uuid NOT NULL,
    app_id           text,
    campaign_id      uuid,
    destination_url  text,
    active           boolean NOT NULL DEFAULT true,
    max_uses         integer,
    uses             integer NOT NULL DEFAULT 0,
    archived_clicks  click_count NOT NULL DEFAULT 0,
    expires_at       timestamptz,
    metadata         jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT codes_pk PRIMARY KEY (company_id, id),
    CONSTRAINT codes_code_uq UNIQUE (code),
    CONSTRAINT codes_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT codes_uses_ck CHECK (uses >= 0 AND uses <= coalesce(max_uses, uses))
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

GRANT SELECT ON codes TO :"click", :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON codes TO :"app", :"admin";
GRANT UPDATE (uses, updated_at) ON codes TO :"webhook", :"jobs";
GRANT EXECUTE ON FUNCTION hold_caps TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION code_refusal TO :"click", :"webhook", :"app", :"admin", :"jobs";
