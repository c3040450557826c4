-- Signups on their short way: asked for in one statement and written in another (referral/signups.py).

-- All that a signup asks before it is decided, under the locks that it takes. `is_alone`: nothing was known of the person
-- before. Where something was, nothing else is answered, and no lock is held. For somebody who has signed up (`user_id`)
-- the stored decision is answered, and for anybody else the terms, and what the settings say of newcomers.
-- `p_holds_caps`: a code, a click or a coupon is asked for next. What else travels with it may take locks that come after
-- these, where `goodword.holds_newcomer` says `on` (referral/expected.py).
CREATE FUNCTION look_for_signup(
    p_company uuid, p_person text, p_stripe_customer text, p_whop_user text, p_holds_caps boolean,
    OUT is_alone boolean, OUT user_id uuid, OUT outcome text, OUT reason text, OUT source text, OUT click_id uuid,
    OUT version integer, OUT program text, OUT program_created_at timestamptz, OUT at timestamptz,
    OUT post_trial_plan text, OUT trial_duration_days integer, OUT require_email_verification boolean,
    OUT self_registration_enabled boolean, OUT require_invite boolean
) LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    is_alone := lock_newcomer_alone(p_company, p_person, p_stripe_customer, p_whop_user);
    IF NOT is_alone THEN
        RETURN;
    END IF;
    SELECT users.id, coalesce(signups.outcome, 'none'), signups.reason, signups.source, signups.click_id
    INTO user_id, outcome, reason, source, click_id
    FROM users LEFT JOIN signups ON signups.company_id = users.company_id AND signups.user_id = users.id
    WHERE users.company_id = p_company AND users.external_id = p_person;
    IF user_id IS NOT NULL THEN
        RETURN;
    END IF;
    IF p_holds_caps THEN
        PERFORM hold_caps(p_company, false);
    END IF;
    PERFORM set_config('goodword.holds_newcomer', 'on', true);
    SELECT current.version, current.program::text, current.created_at
    INTO version, program, program_created_at
    FROM program_versions AS current WHERE current.company_id = p_company ORDER BY current.version DESC LIMIT 1;
    SELECT c.post_trial_plan, c.trial_duration_days, c.require_email_verification, c.self_registration_enabled,
        c.require_invite, coalesce(c.test_now, clock_timestamp())
    INTO post_trial_plan, trial_duration_days, require_email_verification, self_registration_enabled, require_invite, at
    FROM companies AS c WHERE c.id = p_company;
END $$;

-- A person with an automatic code, the first of `p_codes` that nobody has, which is returned; their signup with its
-- decision, the judgement on it and the referral that it makes, where they were seen, and the events that announce it all.
CREATE FUNCTION write_signup(
    p_company uuid, p_user jsonb, p_code_id uuid, p_codes text[], p_signup jsonb, p_activity uuid, p_details jsonb,
    p_referral jsonb, p_judgement jsonb, p_seen jsonb, p_ip inet, p_events jsonb, p_at timestamptz, OUT code text
) LANGUAGE plpgsql AS $$
DECLARE
    person uuid := (p_signup ->> 'user_id')::uuid;
    drawn text;
BEGIN
    PERFORM insert_user(p_user);
    FOREACH drawn IN ARRAY p_codes LOOP
        INSERT INTO codes (company_id, id, code, type, user_id, created_at, updated_at)
        VALUES (p_company, p_code_id, drawn, 'auto', person, p_at, p_at)
        ON CONFLICT ON CONSTRAINT codes_code_uq DO NOTHING RETURNING codes.code INTO code;
        EXIT WHEN code IS NOT NULL;
    END LOOP;
    IF code IS NULL THEN
        RAISE SQLSTATE '40001' USING MESSAGE = 'every code drawn is taken'; -- the attempt is repeated with others
    END IF;
    INSERT INTO signups SELECT * FROM jsonb_populate_record(NULL::signups, p_signup);
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    VALUES (p_company, p_activity, person, 'signed_up', p_details, p_at);
    IF p_referral IS NOT NULL THEN
        PERFORM bind_referral(p_referral);
    END IF;
    IF p_seen IS NOT NULL THEN
        PERFORM see_user(p_company, person, p_seen, p_ip, p_at);
    END IF;
    IF p_judgement IS NOT NULL THEN
        PERFORM keep_judgement(p_company, p_judgement);
    END IF;
    IF p_events <> '[]' THEN
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        SELECT p_company, id, type, data, p_at
        FROM jsonb_to_recordset(p_events) AS event (id uuid, type text, data jsonb);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION look_for_signup, write_signup TO :"app";
