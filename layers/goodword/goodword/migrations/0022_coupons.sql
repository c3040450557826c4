-- Coupons: codes that give a plan for some time, and who has used what is there once for everybody: docs/rules.md, Coupons.

CREATE TABLE coupons (
    company_id        uuid NOT NULL,
    id                uuid NOT NULL,
    code              text NOT NULL,
    type              text NOT NULL,
    plan_id           text NOT NULL,
    duration_days     integer NOT NULL,
    max_redemptions   bigint,
    redemption_count  bigint NOT NULL DEFAULT 0,
    valid_from        timestamptz,
    valid_until       timestamptz,
    active            boolean NOT NULL DEFAULT true,
    description       text,
    referral_code_id  uuid,
    created_by        uuid NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT coupons_pk PRIMARY KEY (company_id, id),
    CONSTRAINT coupons_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT coupons_code_uq UNIQUE (company_id, code),
    CONSTRAINT coupons_plan_fk FOREIGN KEY (company_id, plan_id) REFERENCES plans (company_id, id),
    CONSTRAINT coupons_key_fk FOREIGN KEY (company_id, created_by) REFERENCES api_keys (company_id, id),
    CONSTRAINT coupons_referral_code_fk FOREIGN KEY (company_id, referral_code_id) REFERENCES codes (company_id, id),
    CONSTRAINT coupons_type_ck CHECK (type IN ('single_use', 'period', 'wellpass')),
    CONSTRAINT coupons_duration_ck CHECK (duration_days > 0),
    CONSTRAINT coupons_single_use_ck CHECK (type <> 'single_use' OR max_redemptions = 1),
    CONSTRAINT coupons_cap_ck CHECK (max_redemptions >= 0),
    CONSTRAINT coupons_count_ck CHECK (redemption_count >= 0),
    CONSTRAINT coupons_window_ck CHECK (valid_from < valid_until)
);
CREATE INDEX coupons_created_ix ON coupons (company_id, created_at, id);

CREATE TABLE coupon_redemptions (
    company_id   uuid NOT NULL,
    coupon_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    grant_id     uuid NOT NULL,
    redeemed_at  timestamptz NOT NULL,
    CONSTRAINT coupon_redemptions_pk PRIMARY KEY (company_id, coupon_id, user_id),
    CONSTRAINT coupon_redemptions_coupon_fk FOREIGN KEY (company_id, coupon_id) REFERENCES coupons (company_id, id),
    CONSTRAINT coupon_redemptions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT coupon_redemptions_grant_fk FOREIGN KEY (company_id, grant_id) REFERENCES access_grants (company_id, id)
);

-- What is given once per person: a trial, or each coupon (`occasion` is its id). Whoever was given it is known by keyed
-- hashes of all that the app says of who they are, so that erasure keeps them and says nothing of them.
CREATE TABLE identity_marks (
    company_id   uuid NOT NULL,
    occasion     text NOT NULL,
    hash         bytea NOT NULL,
    hash_key_id  smallint NOT NULL,
    CONSTRAINT identity_marks_pk PRIMARY KEY (company_id, occasion, hash),
    CONSTRAINT identity_marks_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);

ALTER TABLE access_grants ADD CONSTRAINT access_grants_coupon_fk FOREIGN KEY (company_id, coupon_id)
    REFERENCES coupons (company_id, id);

-- Begins the trial that the company's settings give, unless the person was given one before (`p_known` are the hashes
-- under which they may be known), or has its plan already, without end or by a subscription.
-- Locks: all grants of the user.
CREATE FUNCTION begin_trial(
    p_company uuid, p_user uuid, p_grant uuid, p_occasion text, p_known bytea[], p_new bytea[], p_key_id smallint,
    p_activity uuid
) RETURNS void LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    company companies := (SELECT c FROM companies AS c WHERE c.id = p_company);
    at timestamptz;
BEGIN
    PERFORM hold_grants(p_company, p_user);
    at := company_now(p_company);
    IF company.trial_duration_days = 0 OR keeps_plan(p_company, p_user, company.trial_plan)
        OR company.trial_plan IN (SELECT plan_id FROM subscribed_plans(p_company, p_user, at))
        OR EXISTS (SELECT FROM identity_marks
            WHERE company_id = p_company AND occasion = p_occasion AND hash = ANY (p_known))
    THEN
        RETURN;
    END IF;
    -- somebody who is the same person may begin theirs at this very instant: the hash they share lets one of them
    BEGIN
        INSERT INTO identity_marks (company_id, occasion, hash, hash_key_id)
        SELECT p_company, p_occasion, hash, p_key_id FROM unnest(p_new) AS hash ORDER BY hash;
    EXCEPTION WHEN unique_violation THEN
        RETURN;
    END;
    PERFORM make_grant(p_company, p_user, jsonb_build_object('id', p_grant, 'plan_id', company.trial_plan,
        'source', 'trial', 'granted_seconds', company.trial_duration_days * 86400), at);
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    VALUES (p_company, p_activity, p_user, 'trial_started',
        jsonb_build_object('grant_id', public_id('grt', p_grant), 'plan', company.trial_plan), at);
END $$;

GRANT EXECUTE ON FUNCTION begin_trial TO :"app";
GRANT SELECT ON coupons TO :"app", :"admin", :"jobs";
GRANT UPDATE (redemption_count) ON coupons TO :"app";
GRANT INSERT, UPDATE ON coupons TO :"admin";
GRANT SELECT ON coupon_redemptions TO :"app", :"admin", :"jobs";
GRANT INSERT ON coupon_redemptions TO :"app";
GRANT SELECT, INSERT ON identity_marks TO :"app";
