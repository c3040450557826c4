-- Touches: the clicks and codes that providers' events carry, and what was decided on them.

-- A click or a code that a provider's event carried: who sent the person behind these objects, once that person is
-- known. One row per object of the event, since when it was carried first. An event that names a person (`external_id`)
-- means that person alone; '' is the person to whom the object is linked, and so is a person whom a reference names, for
-- as long as nobody of that external id has signed up (`by_reference`). `ref` is as the event has it and need not be a
-- click or code of ours; a promotion's is the provider's id of a promotion code, whose text other events tell.
CREATE TABLE touches (
    company_id    uuid NOT NULL,
    provider      text NOT NULL,
    object_id     text NOT NULL,
    external_id   text NOT NULL,
    by_reference  boolean NOT NULL,
    kind          text NOT NULL,
    ref           text NOT NULL,
    carried_at    timestamptz NOT NULL,
    CONSTRAINT touches_pk PRIMARY KEY (company_id, provider, object_id, external_id, kind, ref),
    CONSTRAINT touches_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT touches_kind_ck CHECK (kind IN ('click', 'code', 'promotion'))
);
CREATE INDEX touches_person_ix ON touches (company_id, external_id) WHERE external_id <> '';
CREATE INDEX touches_promotion_ix ON touches (company_id, provider, ref) WHERE kind = 'promotion';

-- What a customer types in for a provider's promotion code: known by the provider's word alone, and never changed.
CREATE TABLE promotion_codes (
    company_id  uuid NOT NULL,
    provider    text NOT NULL,
    object_id   text NOT NULL,
    code        text NOT NULL,
    CONSTRAINT promotion_codes_pk PRIMARY KEY (company_id, provider, object_id),
    CONSTRAINT promotion_codes_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT promotion_codes_upper_ck CHECK (code = upper(code))
);

-- What was decided on a touch of a user who had signed up before it came and was referred by nobody. Once: the same
-- code on every renewal is no new question, but that it was carried earlier than was known is one.
CREATE TABLE touch_decisions (
    company_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    kind        text NOT NULL,
    ref         text NOT NULL,
    carried_at  timestamptz NOT NULL,
    outcome     text NOT NULL,
    reason      text,
    trace       jsonb NOT NULL,
    decided_at  timestamptz NOT NULL,
    CONSTRAINT touch_decisions_pk PRIMARY KEY (company_id, user_id, kind, ref),
    CONSTRAINT touch_decisions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT touch_decisions_outcome_ck CHECK (outcome IN ('attributed', 'rejected', 'passed_over')),
    CONSTRAINT touch_decisions_reason_ck CHECK ((outcome = 'rejected') = (reason IS NOT NULL))
);

-- The touches of a person, who need not have signed up: each click and code once, since it was carried first. What was
-- once their own counts until it is somebody else's.
-- A promotion is the code that it stands for, where that is a referral code. A promotion whose text is not known yet has
-- the name of its lock as `ref`, to be shared while a transaction relies on nobody's knowing the text.
CREATE FUNCTION touches_of(
    company uuid, person text, stripe_customer text, whop_user text, email_hashes bytea[] DEFAULT '{}')
    RETURNS TABLE (kind text, ref text, carried_at timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH linked AS (
        SELECT provider, object_id FROM identity_links
        WHERE identity_links.company_id = company AND identity_links.external_id = person AND (
            linked_at < 'infinity' OR CASE provider
                WHEN 'stripe' THEN NOT EXISTS (
                    SELECT FROM users WHERE users.company_id = company AND users.stripe_customer_id = object_id)
                ELSE NOT EXISTS (
                    SELECT FROM users WHERE users.company_id = company AND users.whop_user_id = object_id)
            END)
        UNION
        SELECT 'stripe', stripe_customer WHERE stripe_customer IS NOT NULL
        UNION
        SELECT 'whop', whop_user WHERE whop_user IS NOT NULL
        UNION
        SELECT provider, object_id FROM objects_by_email(company, person, email_hashes)
    ), related AS (
        SELECT provider, object_id FROM linked
        UNION
        SELECT provider, other_id FROM object_links JOIN linked USING (provider, object_id)
        WHERE object_links.company_id = company
    )
    SELECT CASE WHEN known.code IS NULL THEN carried.kind ELSE 'code' END,
        CASE WHEN carried.kind <> 'promotion' THEN carried.ref
            ELSE coalesce(known.code, carried.provider || ':' || carried.ref) END,
        min(carried.carried_at)
    FROM (
        SELECT touches.provider, touches.kind, touches.ref, touches.carried_at FROM touches
        WHERE touches.company_id = company AND touches.external_id = person AND touches.external_id <> ''
        UNION ALL
        SELECT provider, touches.kind, touches.ref, touches.carried_at
        FROM touches JOIN related USING (provider, object_id)
        WHERE touches.company_id = company AND (touches.external_id = '' OR touches.by_reference AND NOT EXISTS (
            SELECT FROM users WHERE users.company_id = company AND users.external_id = touches.external_id))
    ) AS carried
    LEFT JOIN promotion_codes AS known ON carried.kind = 'promotion' AND known.company_id = company
        AND known.provider = carried.provider AND known.object_id = carried.ref
    WHERE known.code IS NULL
        OR EXISTS (SELECT 1 FROM codes WHERE codes.company_id = company AND codes.code = known.code)
    GROUP BY 1, 2;
END;

-- Who of these users, referred by nobody, has touches to be decided on: one on which nothing was decided, or that was
-- carried earlier than the decision knew. `promotions` are those whose texts are not known yet, as `touches_of` names
-- them.
CREATE FUNCTION undecided_among(p_company uuid, p_users uuid[])
    RETURNS TABLE (external_id text, has_touch boolean, promotions text[])
    LANGUAGE plpgsql STABLE ROWS 1 SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
DECLARE
    unreferred uuid[] := ARRAY(
        SELECT given.id FROM unnest((SELECT p_users)) AS given (id)
        WHERE (SELECT id FROM referrals WHERE company_id = p_company AND referee_id = given.id) IS NULL);
BEGIN
    IF unreferred <> '{}' THEN
        RETURN QUERY
            SELECT users.external_id, bool_or(touch.kind <> 'promotion'),
                coalesce(array_agg(touch.ref) FILTER (WHERE touch.kind = 'promotion'), '{}')
            FROM users CROSS JOIN LATERAL
                touches_of(users.company_id, users.external_id, users.stripe_customer_id, users.whop_user_id) AS touch
            WHERE users.company_id = p_company AND users.id = ANY (unreferred)
                AND NOT EXISTS (SELECT FROM touch_decisions AS decided
                    WHERE decided.company_id = users.company_id AND decided.user_id = users.id
                        AND decided.kind = touch.kind AND decided.ref = touch.ref
                        AND decided.carried_at <= touch.carried_at)
            GROUP BY users.external_id ORDER BY users.external_id;
    END IF;
END $$;

-- The users who have used a promotion code, where its text, known or `p_code`, is a referral code: those whom
-- `touches_of` gives that code, by the objects on which it was used. Users who are referred, and users on whom the code
-- was decided, wait for nothing. At most `p_most` of them.
CREATE FUNCTION waiting_for_promotion(
    p_company uuid, p_provider text, p_promotion text, p_code text, p_most integer)
    RETURNS TABLE (id uuid, external_id text)
    LANGUAGE plpgsql STABLE ROWS 5 SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        WITH used AS (
            SELECT touches.object_id, touches.external_id, touches.carried_at, codes.code,
                touches.external_id = '' OR touches.by_reference AND NOT EXISTS (
                    SELECT FROM users
                    WHERE users.company_id = touches.company_id AND users.external_id = touches.external_id
                ) AS is_anybodys
            FROM touches
            LEFT JOIN promotion_codes AS known ON known.company_id = touches.company_id
                AND known.provider = touches.provider AND known.object_id = touches.ref
            JOIN codes ON codes.company_id = touches.company_id AND codes.code = coalesce(known.code, p_code)
            WHERE touches.company_id = p_company AND touches.provider = p_provider AND touches.kind = 'promotion'
                AND touches.ref = p_promotion
        ), objects AS (
            SELECT object_id, carried_at, code FROM used WHERE is_anybodys
            UNION
            SELECT other_id, carried_at, code FROM object_links JOIN used USING (object_id)
            WHERE object_links.company_id = p_company AND object_links.provider = p_provider
                AND is_anybodys
        ), people AS (
            SELECT external_id, carried_at, code FROM used WHERE external_id <> ''
            UNION
            SELECT external_id, carried_at, code FROM identity_links JOIN objects USING (object_id)
            WHERE identity_links.company_id = p_company AND identity_links.provider = p_provider
        ), waiting AS (
            SELECT id, external_id, carried_at, code FROM users JOIN people USING (external_id)
            WHERE company_id = p_company
            UNION
            SELECT id, external_id, carried_at, code FROM users JOIN objects ON stripe_customer_id = object_id
            WHERE company_id = p_company AND p_provider = 'stripe'
            UNION
            SELECT id, external_id, carried_at, code FROM users JOIN objects ON whop_user_id = object_id
            WHERE company_id = p_company AND p_provider = 'whop'
            UNION
            SELECT users.id, users.external_id, carried_at, code FROM objects
            JOIN payments ON payments.objects && ARRAY[objects.object_id]
            JOIN users ON users.company_id = payments.company_id AND users.id = payments.user_id
            WHERE payments.company_id = p_company AND payments.provider = p_provider AND claimed_by = 'email'
            UNION
            SELECT users.id, users.external_id, carried_at, code FROM objects
            JOIN subscriptions ON subscriptions.objects && ARRAY[objects.object_id]
            JOIN users ON users.company_id = subscriptions.company_id AND users.id = subscriptions.user_id
            WHERE subscriptions.company_id = p_company AND subscriptions.provider = p_provider
                AND claimed_by = 'email'
        )
        SELECT DISTINCT id, external_id FROM waiting
        WHERE NOT EXISTS (SELECT 1 FROM referrals WHERE company_id = p_company AND referee_id = waiting.id)
            AND NOT EXISTS (SELECT 1 FROM touch_decisions AS decided
                WHERE decided.company_id = p_company AND decided.user_id = waiting.id AND decided.kind = 'code'
                    AND decided.ref = waiting.code AND decided.carried_at <= waiting.carried_at)
        ORDER BY id LIMIT p_most;
END $$;

GRANT EXECUTE ON FUNCTION undecided_among, waiting_for_promotion TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON touches TO :"webhook", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON touch_decisions TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT ON touches, promotion_codes TO :"app";
GRANT SELECT, INSERT ON promotion_codes TO :"webhook", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION touches_of TO :"webhook", :"app", :"admin", :"jobs";
