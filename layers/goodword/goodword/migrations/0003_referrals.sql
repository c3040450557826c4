-- Who came through whom, and the facts known about it.

CREATE TABLE referrals (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    referrer_id      uuid NOT NULL,
    referee_id       uuid NOT NULL,
    code_id          uuid NOT NULL,
    click_id         uuid,
    source           text NOT NULL,
    app_id           text,
    campaign_id      uuid,
    program_version  integer NOT NULL,
    stage            text NOT NULL DEFAULT 'registered',
    fraud_score      integer NOT NULL DEFAULT 0,
    flagged          boolean NOT NULL DEFAULT false,
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
    CONSTRAINT referrals_source_ck CHECK (source IN ('code', 'click', 'coupon', 'invite')),
    CONSTRAINT referrals_stage_ck CHECK (
        stage IN ('registered', 'activated', 'qualified', 'retained', 'expired', 'cancelled'))
);
CREATE INDEX referrals_referrer_ix ON referrals (company_id, referrer_id, registered_at DESC, id);
CREATE INDEX referrals_newest_ix ON referrals (company_id, registered_at DESC, id);
CREATE INDEX referrals_code_ix ON referrals (company_id, code_id);
-- When time alone will change what a referral stands for; NULL: never again.
CREATE INDEX referrals_advance_ix ON referrals (company_id, advances_at) WHERE advances_at IS NOT NULL;

-- A registered referral lapses exactly at lapses_at, whether or not a job has booked it.
CREATE FUNCTION stage_at(referral referrals, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN referral.stage = 'registered' AND referral.lapses_at <= at THEN 'expired' ELSE referral.stage END;

-- The signup as a fact, with the decision taken on it: a second signup of the same person is answered from here.
CREATE TABLE signups (
    company_id    uuid NOT NULL,
    user_id       uuid NOT NULL,
    outcome       text NOT NULL,
    reason        text,
    source        text,
    click_id      uuid,
    app_id        text,
    trace         jsonb NOT NULL,
    ip_hash       bytea,
    agent_hash    bytea,
    device_hash   bytea,
    hash_key_id   smallint,
    occurred_at   timestamptz NOT NULL,
    CONSTRAINT signups_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT signups_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT signups_outcome_ck CHECK (outcome IN ('attributed', 'none', 'rejected')),
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

-- A payment as every provider tells it. The key is the sale's own (invoice, else payment intent, else session),
-- so two events, two endpoints or two deliveries of one sale are one row, for ever. `objects` are the provider's ids
-- on it (customer, subscription, invoice…) by which its person may become known later; until then it is parked.
-- `other_amount` is the gross amount in the other currency of a sale that has two: the buyer's and the company's.
-- `is_proration`: all its lines are changes within a billing period that had begun before.
-- A payment told by a part of its sale (`stands_in_for`) counts until the sale itself is known, and is then superseded.
-- `external_id` is the app's own word for whose it is, and waits for that person; `reference` is whom a checkout's
-- reference names, which may be anything else, and counts once somebody of that external id has signed up.
-- `claimed_by` says what made it its user's: a key that names the person, or an e-mail, which yields to every such key.
CREATE TABLE payments (
    company_id        uuid NOT NULL,
    id                uuid NOT NULL,
    provider          text NOT NULL,
    payment_key       text NOT NULL,
    objects           text[] NOT NULL,
    external_id       text,
    reference         text,
    user_id           uuid,
    claimed_by        text,
    currency          text,
    gross_amount      bigint NOT NULL,
    net_amount        bigint NOT NULL,
    other_amount      bigint,
    other_currency    text,
    paid_at           timestamptz NOT NULL,
    period_start      timestamptz,
    is_proration      boolean NOT NULL DEFAULT false,
    stands_in_for     text,
    superseded        boolean NOT NULL DEFAULT false,
    recorded_at       timestamptz NOT NULL,
    CONSTRAINT payments_pk PRIMARY KEY (company_id, id),
    CONSTRAINT payments_key_uq UNIQUE (company_id, provider, payment_key),
    CONSTRAINT payments_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT payments_claimed_ck CHECK (
        (user_id IS NULL) = (claimed_by IS NULL) AND claimed_by IN ('key', 'email')),
    CONSTRAINT payments_net_ck CHECK (net_amount > 0 AND net_amount <= gross_amount),
    CONSTRAINT payments_other_ck CHECK (
        other_amount > 0 AND (other_amount IS NULL) = (other_currency IS NULL)),
    CONSTRAINT payments_superseded_ck CHECK (stands_in_for IS NOT NULL OR NOT superseded)
);
CREATE INDEX payments_user_ix ON payments (company_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX payments_person_ix ON payments (company_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX payments_objects_ix ON payments USING gin (objects);
CREATE INDEX payments_stands_in_ix ON payments (company_id, stands_in_for) WHERE stands_in_for IS NOT NULL;

-- A refund or a dispute: money that went back, or may. One row each, with the furthest of its statuses by time; whose
-- payment it is about may become known later. `amount` is of the payment's gross amount; `other_amount` is the same in
-- the other currency it was told in.
CREATE TABLE takebacks (
    company_id      uuid NOT NULL,
    provider        text NOT NULL,
    kind            text NOT NULL,
    takeback_key    text NOT NULL,
    objects         text[] NOT NULL,
    payment_id      uuid,
    amount          bigint NOT NULL,
    currency        text,
    other_amount    bigint,
    other_currency  text,
    status          text NOT NULL,
    began_at        timestamptz NOT NULL,
    status_at       timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    CONSTRAINT takebacks_pk PRIMARY KEY (company_id, provider, kind, takeback_key),
    CONSTRAINT takebacks_payment_fk FOREIGN KEY (company_id, payment_id) REFERENCES payments (company_id, id),
    CONSTRAINT takebacks_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT takebacks_amount_ck CHECK (amount >= 0),
    CONSTRAINT takebacks_other_ck CHECK (
        other_amount >= 0 AND (other_amount IS NULL) = (other_currency IS NULL)),
    CONSTRAINT takebacks_status_ck CHECK (CASE kind
        WHEN 'refund' THEN status IN ('pending', 'succeeded', 'failed')
        WHEN 'dispute' THEN status IN ('warning', 'open', 'lost', 'won')
        ELSE false
    END)
);
CREATE INDEX takebacks_payment_ix ON takebacks (company_id, payment_id);
CREATE INDEX takebacks_objects_ix ON takebacks USING gin (objects);

-- What becomes of the money: a refund is gone until it fails, a dispute when it is lost; an inquiry moves nothing.
CREATE FUNCTION takeback_state(status text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN status IN ('pending', 'succeeded', 'lost') THEN 'gone'
        WHEN status = 'open' THEN 'disputed' ELSE 'kept' END;

-- Of two statuses of one instant the further one stands (docs/rules.md, Takebacks).
CREATE FUNCTION takeback_rank(status text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['pending', 'warning', 'open', 'succeeded', 'lost', 'failed', 'won'], status);

-- How much of a payment a refund or dispute is about: `part` out of `whole`, both in a currency that both were told in,
-- because between two currencies rates have moved. Where they have none in common it is about all of it.
CREATE FUNCTION taken_part(back takebacks, payment payments, OUT part bigint, OUT whole bigint)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = goodword, pg_temp AS $$
    SELECT told.part, told.whole
    FROM (VALUES
        (1, back.currency = payment.currency, back.amount, payment.gross_amount),
        (2, back.currency = payment.other_currency, back.amount, payment.other_amount),
        (3, back.other_currency = payment.other_currency, back.other_amount, payment.other_amount),
        (4, back.other_currency = payment.currency, back.other_amount, payment.gross_amount),
        (5, back.currency IS NULL OR payment.currency IS NULL, back.amount, payment.gross_amount),
        (6, true, payment.gross_amount, payment.gross_amount)
    ) AS told (rank, comparable, part, whole)
    WHERE comparable ORDER BY rank LIMIT 1
$$;

-- A subscription as its provider last told of it, and since when it has told (`began_at`). `price_refs` name what is
-- subscribed to: Stripe's prices, Whop's plans; which plan of ours that is, `plan_prices` says. `cancels_at` is the end
-- it will have unless that is undone.
CREATE TABLE subscriptions (
    company_id            uuid NOT NULL,
    provider              text NOT NULL,
    subscription_key      text NOT NULL,
    objects               text[] NOT NULL,
    external_id           text,
    user_id               uuid,
    claimed_by            text,
    status                text NOT NULL,
    price_refs            text[] NOT NULL,
    period_ends_at        timestamptz,
    cancel_at_period_end  boolean NOT NULL DEFAULT false,
    cancels_at            timestamptz,
    began_at              timestamptz NOT NULL,
    ended_at              timestamptz,
    status_at             timestamptz NOT NULL,
    recorded_at           timestamptz NOT NULL,
    CONSTRAINT subscriptions_pk PRIMARY KEY (company_id, provider, subscription_key),
    CONSTRAINT subscriptions_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT subscriptions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT subscriptions_claimed_ck CHECK (
        (user_id IS NULL) = (claimed_by IS NULL) AND claimed_by IN ('key', 'email')),
    CONSTRAINT subscriptions_status_ck CHECK (
        status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused', 'ended')),
    CONSTRAINT subscriptions_ended_ck CHECK ((status = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX subscriptions_user_ix ON subscriptions (company_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX subscriptions_person_ix ON subscriptions (company_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX subscriptions_objects_ix ON subscriptions USING gin (objects);

-- At one instant: a subscription begins, fails, pauses and ends in this order.
CREATE FUNCTION subscription_rank(status text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['trialing', 'active', 'past_due', 'unpaid', 'paused', 'ended'], status);

-- Which people a provider's object belongs to, by the app's own ids: known perhaps before they sign up, and since when.
-- `by_reference`: named by nothing but a checkout's reference, which need not be anybody's id.
CREATE TABLE identity_links (
    company_id    uuid NOT NULL,
    provider      text NOT NULL,
    object_id     text NOT NULL,
    external_id   text NOT NULL,
    by_reference  boolean NOT NULL,
    linked_at     timestamptz NOT NULL,
    CONSTRAINT identity_links_pk PRIMARY KEY (company_id, provider, object_id, external_id),
    CONSTRAINT identity_links_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);
CREATE INDEX identity_links_person_ix ON identity_links (company_id, external_id);

-- Two provider objects of one sale (Stripe's invoice and payment intent), in both directions.
CREATE TABLE object_links (
    company_id  uuid NOT NULL,
    provider    text NOT NULL,
    object_id   text NOT NULL,
    other_id    text NOT NULL,
    CONSTRAINT object_links_pk PRIMARY KEY (company_id, provider, object_id, other_id),
    CONSTRAINT object_links_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);

-- A click or a code that a provider's event carried: who sent the person behind these objects, whoever that turns out
-- to be. One row per object of the event, since when it was carried first. Who names a person (`external_id`) means that
-- person alone; '' is whoever the object is linked to, and so is whom a reference names for as long as nobody of that
-- external id has signed up (`by_reference`). `ref` is as the event has it and need not be one of ours; a promotion's
-- is the provider's id of a promotion code, whose text is told by other events.
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

-- The e-mails that events showed beside provider objects: the weakest word on whose these are. Keyed hashes of their
-- normal form, under every key there was: whom they belong to may not be known yet.
CREATE TABLE object_emails (
    company_id   uuid NOT NULL,
    provider     text NOT NULL,
    object_id    text NOT NULL,
    email_hash   bytea NOT NULL,
    hash_key_id  smallint NOT NULL,
    CONSTRAINT object_emails_pk PRIMARY KEY (company_id, provider, object_id, email_hash),
    CONSTRAINT object_emails_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);
CREATE INDEX object_emails_hash_ix ON object_emails (company_id, email_hash);

-- The users who have verified the e-mail behind a hash.
CREATE TABLE verified_emails (
    company_id   uuid NOT NULL,
    email_hash   bytea NOT NULL,
    hash_key_id  smallint NOT NULL,
    user_id      uuid NOT NULL,
    CONSTRAINT verified_emails_pk PRIMARY KEY (company_id, email_hash, user_id),
    CONSTRAINT verified_emails_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id)
);
CREATE INDEX verified_emails_user_ix ON verified_emails (company_id, user_id);

-- These objects, and those that are linked to them as parts of one sale: as far as a key reaches from one of them.
CREATE FUNCTION with_partners(p_company uuid, p_provider text, p_objects text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN p_objects || ARRAY(
        SELECT other_id FROM object_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (p_objects));
END $$;

-- Whose something is that has these objects, and what makes it theirs. In this order: whoever it names itself
-- (`p_named`), who may have to sign up yet; whom its own reference names, if they have signed up; the earliest link of an
-- object to somebody who has signed up; the user whose own an object is; nobody, if a link names anybody by more than a
-- reference; and the one user who has verified an e-mail that was shown beside an object. Two are as good as none, for
-- nothing but the order in which they came could choose between them. So the owner follows from what is known, in
-- whatever order that came. `is_open`: nobody is named whom it would wait for, so that whoever verifies one of these
-- e-mails next is the owner.
CREATE FUNCTION owner_of(
    p_company uuid, p_provider text, p_named text, p_reference text, p_objects text[],
    OUT owner uuid, OUT claimed_by text, OUT is_open boolean
) LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[] := with_partners(p_company, p_provider, p_objects);
    holders uuid[];
BEGIN
    is_open := false;
    IF coalesce(p_named, p_reference) IS NOT NULL THEN
        SELECT id INTO owner FROM users
        WHERE company_id = p_company AND external_id = coalesce(p_named, p_reference);
    END IF;
    IF owner IS NULL AND p_named IS NULL THEN
        SELECT users.id INTO owner
        FROM identity_links AS link
        JOIN users ON users.company_id = link.company_id AND users.external_id = link.external_id
        WHERE link.company_id = p_company AND link.provider = p_provider AND link.object_id = ANY (related)
        ORDER BY link.linked_at, link.external_id LIMIT 1;
        IF owner IS NULL AND p_provider = 'stripe' THEN
            SELECT id INTO owner FROM users WHERE company_id = p_company AND stripe_customer_id = ANY (related)
            ORDER BY external_id LIMIT 1;
        ELSIF owner IS NULL AND p_provider = 'whop' THEN
            SELECT id INTO owner FROM users WHERE company_id = p_company AND whop_user_id = ANY (related)
            ORDER BY external_id LIMIT 1;
        END IF;
    END IF;
    IF owner IS NOT NULL THEN
        claimed_by := 'key';
    ELSIF p_named IS NULL AND NOT EXISTS (
        SELECT FROM identity_links AS link
        WHERE link.company_id = p_company AND link.provider = p_provider AND link.object_id = ANY (related)
            AND NOT link.by_reference)
    THEN
        holders := ARRAY(
            SELECT DISTINCT user_id FROM object_emails JOIN verified_emails USING (company_id, email_hash)
            WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (related) LIMIT 2);
        is_open := holders = '{}';
        IF cardinality(holders) = 1 THEN
            owner := holders[1];
            claimed_by := 'email';
        END IF;
    END IF;
END $$;

-- Gives each payment and subscription of these objects to its owner, and takes it from whoever is that no more. Whoever
-- calls holds the locks of the objects or of a person who is named, of the e-mails shown beside them, and of all people
-- beside them (`lock_people`, `lock_newcomer`), so that nothing of this is told at the same time.
-- Returns the users it gave to and took from, and whose the objects are.
CREATE FUNCTION claim(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
DECLARE
    related text[] := with_partners(p_company, p_provider, p_objects);
    usual uuid := (owner_of(p_company, p_provider, NULL, NULL, p_objects)).owner;
    -- what is already its usual owner's by a key stays so where nothing names anybody else: customers pay for years
    usual_name text := (SELECT external_id FROM users WHERE company_id = p_company AND id = usual);
    is_alone boolean := NOT EXISTS (
        SELECT FROM identity_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (related)
            AND external_id <> usual_name);
    paid uuid[] := ARRAY(
        SELECT id FROM payments
        WHERE company_id = p_company AND provider = p_provider AND objects && related
            AND (is_alone AND claimed_by = 'key' AND user_id = usual
                AND coalesce(reference, usual_name) = usual_name) IS NOT TRUE);
    subscribed text[] := ARRAY(
        SELECT subscription_key FROM subscriptions
        WHERE company_id = p_company AND provider = p_provider AND objects && related
            AND (is_alone AND claimed_by = 'key' AND user_id = usual) IS NOT TRUE);
BEGIN
    IF paid = '{}' AND subscribed = '{}' THEN
        RETURN QUERY SELECT usual WHERE usual IS NOT NULL;
        RETURN;
    END IF;
    PERFORM FROM payments WHERE company_id = p_company AND id = ANY (paid) ORDER BY id FOR NO KEY UPDATE;
    PERFORM FROM subscriptions
    WHERE company_id = p_company AND provider = p_provider AND subscription_key = ANY (subscribed)
    ORDER BY subscription_key FOR NO KEY UPDATE;
    RETURN QUERY
        WITH of_payments AS MATERIALIZED (
            SELECT id, user_id AS former, now_of.owner, now_of.claimed_by AS word
            FROM payments CROSS JOIN LATERAL owner_of(p_company, p_provider, external_id, reference, objects) AS now_of
            WHERE company_id = p_company AND id = ANY (paid)
        ), of_subscriptions AS MATERIALIZED (
            SELECT subscription_key, user_id AS former, now_of.owner, now_of.claimed_by AS word
            FROM subscriptions CROSS JOIN LATERAL owner_of(p_company, p_provider, external_id, NULL, objects) AS now_of
            WHERE company_id = p_company AND provider = p_provider AND subscription_key = ANY (subscribed)
        ), given_payments AS (
            UPDATE payments SET user_id = told.owner, claimed_by = told.word
            FROM of_payments AS told
            WHERE company_id = p_company AND payments.id = told.id
                AND (user_id, claimed_by) IS DISTINCT FROM (told.owner, told.word)
        ), given_subscriptions AS (
            UPDATE subscriptions SET user_id = told.owner, claimed_by = told.word
            FROM of_subscriptions AS told
            WHERE company_id = p_company AND provider = p_provider
                AND subscriptions.subscription_key = told.subscription_key
                AND (user_id, claimed_by) IS DISTINCT FROM (told.owner, told.word)
        )
        SELECT concerned.user_id FROM (
            SELECT owner FROM of_payments UNION SELECT former FROM of_payments
            UNION SELECT owner FROM of_subscriptions UNION SELECT former FROM of_subscriptions
            UNION SELECT usual
        ) AS concerned (user_id)
        WHERE concerned.user_id IS NOT NULL;
END $$;

-- The objects that are a person's in any way, who need not have signed up: what names them, what a link says is theirs,
-- what their own ids stand on, and what an e-mail that they have verified was shown beside.
CREATE FUNCTION objects_of(p_company uuid, p_person text, p_stripe_customer text, p_whop_user text, p_hashes bytea[])
    RETURNS TABLE (provider text, objects text[])
    LANGUAGE plpgsql STABLE ROWS 2 SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT told.provider, array_agg(DISTINCT told.object_id) FROM (
            SELECT provider, object_id FROM identity_links WHERE company_id = p_company AND external_id = p_person
            UNION ALL
            SELECT provider, unnest(objects) FROM payments WHERE company_id = p_company AND external_id = p_person
            UNION ALL
            SELECT provider, unnest(objects) FROM subscriptions WHERE company_id = p_company AND external_id = p_person
            UNION ALL
            SELECT 'stripe', p_stripe_customer WHERE p_stripe_customer IS NOT NULL
            UNION ALL
            SELECT 'whop', p_whop_user WHERE p_whop_user IS NOT NULL
            UNION ALL
            SELECT provider, object_id FROM object_emails
            WHERE company_id = p_company AND email_hash = ANY (p_hashes)
        ) AS told (provider, object_id)
        GROUP BY told.provider;
END $$;

-- Gives a person who has signed up, or verified an e-mail, what is theirs by then.
CREATE FUNCTION claim_of(p_company uuid, p_person text, p_hashes bytea[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    theirs record;
BEGIN
    FOR theirs IN
        SELECT own.provider, own.objects
        FROM users CROSS JOIN LATERAL
            objects_of(p_company, p_person, users.stripe_customer_id, users.whop_user_id, p_hashes) AS own
        WHERE users.company_id = p_company AND users.external_id = p_person
        ORDER BY own.provider
    LOOP
        RETURN QUERY SELECT * FROM claim(p_company, theirs.provider, theirs.objects);
    END LOOP;
END $$;

-- The objects of what is a person's by e-mail; for one who signs up now with `p_hashes`, of what is about to be.
CREATE FUNCTION objects_by_email(p_company uuid, p_person text, p_hashes bytea[])
    RETURNS TABLE (provider text, object_id text)
    LANGUAGE plpgsql STABLE ROWS 5 SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
DECLARE
    seen record;
BEGIN
    RETURN QUERY
        SELECT mine.provider, unnest(mine.objects) FROM users JOIN payments AS mine
            ON mine.company_id = users.company_id AND mine.user_id = users.id AND mine.claimed_by = 'email'
        WHERE users.company_id = p_company AND users.external_id = p_person
        UNION
        SELECT mine.provider, unnest(mine.objects) FROM users JOIN subscriptions AS mine
            ON mine.company_id = users.company_id AND mine.user_id = users.id AND mine.claimed_by = 'email'
        WHERE users.company_id = p_company AND users.external_id = p_person;
    IF p_hashes = '{}' THEN
        RETURN;
    END IF;
    FOR seen IN
        SELECT provider, with_partners(p_company, provider, array_agg(DISTINCT object_id)) AS objects
        FROM object_emails WHERE company_id = p_company AND email_hash = ANY (p_hashes) GROUP BY provider
    LOOP
        RETURN QUERY
            SELECT seen.provider, unnest(objects) FROM payments
            WHERE company_id = p_company AND provider = seen.provider AND objects && seen.objects AND user_id IS NULL
                AND (owner_of(p_company, seen.provider, external_id, reference, objects)).is_open
            UNION
            SELECT seen.provider, unnest(objects) FROM subscriptions
            WHERE company_id = p_company AND provider = seen.provider AND objects && seen.objects AND user_id IS NULL
                AND (owner_of(p_company, seen.provider, external_id, NULL, objects)).is_open;
    END LOOP;
END $$;

-- The touches of a person, who need not have signed up: each click and code once, since it was carried first.
-- A promotion is the code it stands for, where that is a referral code; one whose code is not known yet is told by the
-- identity to be held while it is relied on that nobody knows (touches.py).
CREATE FUNCTION touches_of(
    company uuid, person text, stripe_customer text, whop_user text, email_hashes bytea[] DEFAULT '{}')
    RETURNS TABLE (kind text, ref text, carried_at timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH linked AS (
        SELECT provider, object_id FROM identity_links
        WHERE identity_links.company_id = company AND identity_links.external_id = person
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
    SELECT CASE WHEN known.code IS NULL THEN told.kind ELSE 'code' END,
        CASE WHEN told.kind <> 'promotion' THEN told.ref
            ELSE coalesce(known.code, told.provider || ':' || told.ref) END,
        min(told.carried_at)
    FROM (
        SELECT touches.provider, touches.kind, touches.ref, touches.carried_at FROM touches
        WHERE touches.company_id = company AND touches.external_id = person AND touches.external_id <> ''
        UNION ALL
        SELECT provider, touches.kind, touches.ref, touches.carried_at
        FROM touches JOIN related USING (provider, object_id)
        WHERE touches.company_id = company AND (touches.external_id = '' OR touches.by_reference AND NOT EXISTS (
            SELECT FROM users WHERE users.company_id = company AND users.external_id = touches.external_id))
    ) AS told
    LEFT JOIN promotion_codes AS known ON told.kind = 'promotion' AND known.company_id = company
        AND known.provider = told.provider AND known.object_id = told.ref
    WHERE known.code IS NULL
        OR EXISTS (SELECT 1 FROM codes WHERE codes.company_id = company AND codes.code = known.code)
    GROUP BY 1, 2;
END;

-- These objects and all that are parts of the same sale. A sale's objects are few: an invoice, what paid it, charges.
CREATE FUNCTION sale_objects(p_company uuid, p_provider text, p_objects text[]) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = goodword, pg_temp AS $$
    WITH RECURSIVE sale AS (
        SELECT unnest(p_objects) AS object_id
        UNION
        SELECT other_id FROM object_links JOIN sale USING (object_id)
        WHERE company_id = p_company AND provider = p_provider
    )
    SELECT coalesce(array_agg(object_id), '{}') FROM sale
$$;

-- Joins what belongs to one sale, through the ids these objects share or have been linked to, whichever came first: a
-- payment that stands in for its sale gives way to the sale's own, and refunds and disputes find their payment. The
-- payments are locked: a signup that claims one at this moment comes before or after, never beside.
-- Returns the people whose payments they are.
CREATE FUNCTION match_takebacks(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[] := sale_objects(p_company, p_provider, p_objects);
    sale text[];
    takeback takebacks;
    payment payments;
BEGIN
    RETURN QUERY
        WITH given_way AS (
            UPDATE payments AS part SET superseded = true
            WHERE part.company_id = p_company AND part.provider = p_provider AND part.stands_in_for = ANY (related)
                AND NOT part.superseded AND EXISTS (
                    SELECT 1 FROM payments AS own
                    WHERE own.company_id = p_company AND own.provider = p_provider AND own.stands_in_for IS NULL
                        AND own.objects && sale_objects(p_company, p_provider, ARRAY[part.stands_in_for]))
            RETURNING part.user_id
        )
        SELECT user_id FROM given_way WHERE user_id IS NOT NULL;
    FOR takeback IN
        SELECT * FROM takebacks WHERE company_id = p_company AND provider = p_provider AND objects && related
        ORDER BY kind, takeback_key
    LOOP
        sale := sale_objects(p_company, p_provider, takeback.objects);
        SELECT * INTO payment FROM payments p
        WHERE p.company_id = p_company AND p.provider = p_provider AND p.objects && sale AND NOT p.superseded
        ORDER BY p.paid_at, p.payment_key LIMIT 1 FOR NO KEY UPDATE;
        IF FOUND THEN
            UPDATE takebacks SET payment_id = payment.id
            WHERE company_id = p_company AND provider = p_provider AND kind = takeback.kind
                AND takeback_key = takeback.takeback_key AND payment_id IS DISTINCT FROM payment.id;
            IF payment.user_id IS NOT NULL THEN RETURN NEXT payment.user_id; END IF;
        END IF;
    END LOOP;
END $$;

-- A signup and a payment of one person may commit at the same moment without seeing each other. Everything that
-- joins a provider's object to a person takes these locks first, in the order of docs/decisions/0017: objects with
-- their partners, e-mails, people, promotion codes, bindings; within each kind by name.
-- There is no row to lock: the person may not exist yet. Locks end with the transaction.
CREATE FUNCTION lock_identities(company uuid, identities text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(company::text || identity, 0))
    FROM (SELECT DISTINCT identity FROM unnest(identities) AS identity ORDER BY identity) AS ordered;
END $$;

-- Held together with all others who share it: nobody has it to themselves by lock_identities in the meantime.
CREATE FUNCTION share_identities(company uuid, identities text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(company::text || identity, 0))
    FROM (SELECT DISTINCT identity FROM unnest(identities) AS identity ORDER BY identity) AS ordered;
END $$;

-- Objects of one sale are joined to a person through each other, so whoever touches one holds them all. Another
-- transaction may have linked one more while the locks were waited for. To take that one after the others would be out
-- of order, so all are given back, as a savepoint's locks are when it is rolled back, and taken anew.
CREATE FUNCTION lock_objects(p_company uuid, p_provider text, p_objects text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[];
BEGIN
    LOOP
        related := with_partners(p_company, p_provider, p_objects);
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(
                SELECT p_provider || ':' || object_id FROM unnest(related) AS object_id));
            IF with_partners(p_company, p_provider, p_objects) <@ related THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN NULL;
        END;
    END LOOP;
END $$;

-- Everybody whose payments and subscriptions may change by what is told of these objects, or who is settled by it: who
-- is named on them or on what has them, whose own they are, who has verified an e-mail shown beside them, whose it is
-- now.
CREATE FUNCTION people_beside(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF text
    LANGUAGE plpgsql STABLE ROWS 3 SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[] := sale_objects(p_company, p_provider, p_objects);
BEGIN
    RETURN QUERY
        SELECT external_id FROM identity_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (related)
        UNION ALL
        SELECT person FROM payments
        LEFT JOIN users AS owner ON owner.company_id = payments.company_id AND owner.id = payments.user_id
        CROSS JOIN LATERAL (VALUES (payments.external_id), (reference), (owner.external_id)) AS named (person)
        WHERE payments.company_id = p_company AND provider = p_provider AND objects && related AND person IS NOT NULL
        UNION ALL
        SELECT person FROM subscriptions
        LEFT JOIN users AS owner ON owner.company_id = subscriptions.company_id AND owner.id = subscriptions.user_id
        CROSS JOIN LATERAL (VALUES (subscriptions.external_id), (owner.external_id)) AS named (person)
        WHERE subscriptions.company_id = p_company AND provider = p_provider AND objects && related
            AND person IS NOT NULL
        UNION ALL
        SELECT external_id FROM users
        WHERE p_provider = 'stripe' AND company_id = p_company AND stripe_customer_id = ANY (related)
        UNION ALL
        SELECT external_id FROM users
        WHERE p_provider = 'whop' AND company_id = p_company AND whop_user_id = ANY (related)
        UNION ALL
        SELECT users.external_id FROM object_emails AS shown
        JOIN verified_emails AS verified USING (company_id, email_hash)
        JOIN users ON users.company_id = verified.company_id AND users.id = verified.user_id
        WHERE shown.company_id = p_company AND shown.provider = p_provider AND shown.object_id = ANY (related);
END $$;

-- The people beside what an event is about, with those whom it names itself and who have verified an e-mail it shows.
-- Whoever calls holds the objects and the e-mails. Only whose something is now may still change: then as lock_objects.
CREATE FUNCTION lock_people(p_company uuid, p_provider text, p_objects text[], p_names text[], p_hashes bytea[])
    RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    holders text[] := ARRAY(
        SELECT users.external_id FROM verified_emails AS verified
        JOIN users ON users.company_id = verified.company_id AND users.id = verified.user_id
        WHERE verified.company_id = p_company AND email_hash = ANY (p_hashes));
    people text[];
BEGIN
    LOOP
        people := p_names || holders || ARRAY(SELECT people_beside(p_company, p_provider, p_objects));
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            IF ARRAY(SELECT people_beside(p_company, p_provider, p_objects)) <@ people THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN NULL;
        END;
    END LOOP;
END $$;

-- A person who signs up, with the people beside what will be theirs: known once the person's own lock is held.
CREATE FUNCTION lock_newcomer(
    p_company uuid, p_person text, p_stripe_customer text, p_whop_user text, p_hashes bytea[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    people text[] := ARRAY[p_person];
    beside text[];
BEGIN
    LOOP
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            beside := ARRAY(
                SELECT people_beside(p_company, own.provider, own.objects)
                FROM objects_of(p_company, p_person, p_stripe_customer, p_whop_user, p_hashes) AS own);
            IF beside <@ people THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN people := people || beside;
        END;
    END LOOP;
END $$;

-- touches_of, the other way round: who has signed up, is referred by nobody and is meant by the objects on which a
-- promotion code was used, where its text, known or `p_code`, is a referral code. At most `p_most` of them.
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

-- A promotion code and the people who wait for its text, whose locks come first. Whoever has used it since they were
-- looked for waits too: then as lock_objects.
CREATE FUNCTION lock_promotion(p_company uuid, p_provider text, p_promotion text, p_code text, p_most integer)
    RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    people text[] := '{}';
    waiting text[];
BEGIN
    LOOP
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            PERFORM lock_identities(p_company, ARRAY[p_provider || ':' || p_promotion]);
            waiting := ARRAY(
                SELECT external_id FROM waiting_for_promotion(p_company, p_provider, p_promotion, p_code, p_most));
            IF waiting <@ people THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN people := people || waiting;
        END;
    END LOOP;
END $$;

GRANT SELECT ON takebacks, subscriptions TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON takebacks, subscriptions TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION takeback_state, takeback_rank, taken_part, subscription_rank, sale_objects, match_takebacks
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT ON referrals, signups, activations, payments, identity_links, object_links
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT ON signups TO :"app";
GRANT INSERT, UPDATE ON activations TO :"app";
GRANT INSERT, UPDATE ON referrals, payments, identity_links, object_links TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION stage_at, lock_identities, share_identities, lock_objects, lock_people, lock_newcomer,
    lock_promotion, people_beside, waiting_for_promotion
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT, INSERT, UPDATE ON touches, touch_decisions TO :"webhook", :"admin", :"jobs";
GRANT SELECT ON touches, promotion_codes TO :"app";
GRANT SELECT, INSERT ON promotion_codes TO :"webhook", :"admin", :"jobs";
GRANT SELECT ON object_emails, verified_emails TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT ON object_emails TO :"webhook", :"admin", :"jobs";
GRANT INSERT ON verified_emails TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION with_partners, owner_of, claim, claim_of, objects_by_email, objects_of
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION touches_of TO :"webhook", :"app", :"admin", :"jobs";
