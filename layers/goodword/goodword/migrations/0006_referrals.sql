-- Referrals: who came through whom, and the signup that decided it.

CREATE DOMAIN referral_source AS text
    CONSTRAINT referrals_source_ck CHECK (VALUE IN ('code', 'click', 'coupon', 'invite'));
CREATE DOMAIN referral_stage AS text CONSTRAINT referrals_stage_ck CHECK (
    VALUE IN ('registered', 'activated', 'qualified', 'retained', 'expired', 'cancelled'));
CREATE DOMAIN referral_risk AS text CONSTRAINT referrals_risk_ck CHECK (
    VALUE IN ('clear', 'hold', 'limited', 'review', 'refused', 'approved', 'rejected'));
CREATE DOMAIN signup_outcome AS text
    CONSTRAINT signups_outcome_ck CHECK (VALUE IN ('attributed', 'none', 'rejected'));

CREATE TABLE referrals (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    referrer_id      uuid NOT NULL,
    referee_id       uuid NOT NULL,
    code_id          uuid NOT NULL,
    click_id         uuid,
    source           referral_source NOT NULL,
    app_id           text,
    campaign_id      uuid,
    program_version  integer NOT NULL,
    stage            referral_stage NOT NULL DEFAULT 'registered',
    risk             referral_risk NOT NULL DEFAULT 'clear',
    fraud_score      integer NOT NULL DEFAULT 0,
    fraud_behavioural integer NOT NULL DEFAULT 0,
    fraud_cleared    integer NOT NULL DEFAULT 0,
    fraud_signals    text[] NOT NULL DEFAULT '{}',
    judged_paid_at   timestamptz,
    counts           boolean NOT NULL DEFAULT false,
    touched_at       timestamptz NOT NULL,
    registered_at    timestamptz NOT NULL,
    lapses_at        timestamptz NOT NULL,
    advances_at      timestamptz,
    trace            jsonb NOT NULL,
    activated_at     timestamptz,
    qualified_at     timestamptz,
    retained_at      timestamptz,
    expired_at       timestamptz,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT referrals_pk PRIMARY KEY (company_id, id),
    CONSTRAINT referrals_referee_uq UNIQUE (company_id, referee_id),
    CONSTRAINT referrals_referrer_fk FOREIGN KEY (company_id, referrer_id) REFERENCES users (company_id, id),
    CONSTRAINT referrals_referee_fk FOREIGN KEY (company_id, referee_id) REFERENCES users (company_id, id),
    CONSTRAINT referrals_code_fk FOREIGN KEY (company_id, code_id) REFERENCES codes (company_id, id),
    CONSTRAINT referrals_program_fk FOREIGN KEY (company_id, program_version)
        REFERENCES program_versions (company_id, version),
    CONSTRAINT referrals_self_ck CHECK (referrer_id <> referee_id),
    CONSTRAINT referrals_counts_ck CHECK (counts = (
        stage IN ('qualified', 'retained') AND risk NOT IN ('limited', 'review', 'refused', 'rejected')))
);
CREATE INDEX referrals_referrer_ix ON referrals (company_id, referrer_id, registered_at DESC, id);
CREATE INDEX referrals_newest_ix ON referrals (company_id, registered_at DESC, id);
CREATE INDEX referrals_code_ix ON referrals (company_id, code_id);
-- Those that count under the limits of registrations; without it the latest of all are looked through for a referrer's.
CREATE INDEX referrals_limited_ix ON referrals (company_id, referrer_id, registered_at)
    WHERE campaign_id IS NULL AND source <> 'invite';
CREATE INDEX referrals_counted_ix ON referrals (company_id, referrer_id, qualified_at) WHERE counts;

-- Whether a referral counts nowhere, whatever its stage: it is to be looked at, or has been found wanting.
CREATE FUNCTION is_flagged(risk text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN risk IN ('limited', 'review', 'refused', 'rejected');

-- When time alone will change what a referral stands for; NULL: never again.
CREATE INDEX referrals_advance_ix ON referrals (company_id, advances_at) WHERE advances_at IS NOT NULL;

-- A registered referral lapses exactly at lapses_at, whether or not a job has booked it.
CREATE FUNCTION stage_at(referral referrals, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN referral.stage = 'registered' AND referral.lapses_at <= at THEN 'expired' ELSE referral.stage END;

-- One new referral, at its first stage, with what `p_referral` says of it.
CREATE FUNCTION bind_referral(p_referral jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO referrals (company_id, id, referrer_id, referee_id, code_id, click_id, source, app_id, campaign_id,
        program_version, risk, fraud_score, fraud_behavioural, fraud_cleared, fraud_signals, judged_paid_at, touched_at,
        registered_at, lapses_at, advances_at, trace, updated_at)
    SELECT company_id, id, referrer_id, referee_id, code_id, click_id, source, app_id, campaign_id,
        program_version, risk, fraud_score, fraud_behavioural, fraud_cleared, fraud_signals, judged_paid_at, touched_at,
        registered_at, lapses_at, lapses_at, trace, registered_at
    FROM jsonb_populate_record(NULL::referrals, p_referral);
END $$;

-- The signup as a fact, with the decision taken on it: a second signup of the same person is answered from here.
CREATE TABLE signups (
    company_id    uuid NOT NULL,
    user_id       uuid NOT NULL,
    outcome       signup_outcome NOT NULL,
    reason        text,
    source        text,
    click_id      uuid,
    app_id        text,
    trace         jsonb NOT NULL,
    occurred_at   timestamptz NOT NULL,
    CONSTRAINT signups_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT signups_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT signups_reason_ck CHECK ((outcome = 'rejected') = (reason IS NOT NULL))
);

-- First use of an app by a user; an unknown app is ''. Unreferred users have activations too.
CREATE TABLE activations (
    company_id   uuid NOT NULL,
    user_id      uuid NOT NULL,
    app_id       text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    CONSTRAINT activations_pk PRIMARY KEY (company_id, user_id, app_id),
    CONSTRAINT activations_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);

GRANT SELECT ON referrals, signups, activations TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT ON signups TO :"app";
GRANT INSERT, UPDATE ON activations TO :"app";
GRANT INSERT, UPDATE ON referrals TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION stage_at, is_flagged, bind_referral TO :"webhook", :"app", :"admin", :"jobs";
