-- Points turned into something: the catalogue, what was redeemed, and the redemption itself as one statement.

CREATE TABLE redemption_options (
    company_id      uuid NOT NULL,
    id              uuid NOT NULL,
    kind            text NOT NULL,
    name            text NOT NULL,
    feature         text,
    quantity        bigint,
    days            integer,
    plan            text,
    cost_points     bigint NOT NULL,
    stock           bigint,
    per_user_limit  integer,
    active          boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    CONSTRAINT redemption_options_pk PRIMARY KEY (company_id, id),
    CONSTRAINT redemption_options_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT redemption_options_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT redemption_options_kind_ck CHECK (kind IN ('quota', 'unlock', 'reward')),
    CONSTRAINT redemption_options_quota_ck CHECK (kind <> 'quota' OR (feature IS NOT NULL AND quantity IS NOT NULL)),
    CONSTRAINT redemption_options_cost_ck CHECK (cost_points > 0),
    CONSTRAINT redemption_options_quantity_ck CHECK (quantity > 0),
    CONSTRAINT redemption_options_stock_ck CHECK (stock >= 0),
    CONSTRAINT redemption_options_limit_ck CHECK (per_user_limit > 0)
);

CREATE TABLE redemptions (
    company_id   uuid NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    option_id    uuid NOT NULL,
    kind         text NOT NULL,
    quantity     bigint NOT NULL,
    cost_points  bigint NOT NULL,
    status       text NOT NULL,
    entry_id     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    refunded_at  timestamptz,
    CONSTRAINT redemptions_pk PRIMARY KEY (company_id, id),
    CONSTRAINT redemptions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT redemptions_option_fk FOREIGN KEY (company_id, option_id)
        REFERENCES redemption_options (company_id, id),
    CONSTRAINT redemptions_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT redemptions_status_ck CHECK (status IN ('fulfilled', 'pending', 'failed', 'refunded')),
    CONSTRAINT redemptions_refunded_ck CHECK ((status = 'refunded') = (refunded_at IS NOT NULL)),
    CONSTRAINT redemptions_quantity_ck CHECK (quantity > 0)
);
CREATE INDEX redemptions_user_ix ON redemptions (company_id, user_id, option_id);

ALTER TABLE quota_grants ADD CONSTRAINT quota_grants_redemption_fk FOREIGN KEY (company_id, redemption_id)
    REFERENCES redemptions (company_id, id);

-- POST /v1/users/{user_id}/redemptions in one trip: key, price, stock, limit, wallet, lots, quota, answer.
-- Lock order: option (where its stock counts), then wallet, then lots. A refusal is stored like a yes.
CREATE FUNCTION redeem(
    p_company uuid, p_external_id text, p_option uuid, p_quantity bigint, p_redemption uuid,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid,
    OUT status smallint, OUT body bytea, OUT replayed boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    person uuid;
    option redemption_options;
    cost numeric;
    at timestamptz;
    w wallets;
    b booking;
    taken_before bigint;
    answer jsonb;
    refusal jsonb;
BEGIN
    SELECT a.status, a.body, a.replayed INTO status, body, replayed
    FROM answer_of_key(p_company, p_key, p_hash, p_request_id) AS a;
    IF status IS NOT NULL THEN RETURN; END IF;

    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    SELECT * INTO option FROM redemption_options WHERE company_id = p_company AND id = p_option;
    IF option.stock IS NOT NULL THEN
        SELECT * INTO option FROM redemption_options WHERE company_id = p_company AND id = p_option FOR NO KEY UPDATE;
    END IF;
    cost := option.cost_points::numeric * p_quantity;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSIF option.id IS NULL THEN
        refusal := problem(404, 'option_not_found', 'There is no such redemption option.', p_request_id);
    ELSIF NOT option.active THEN
        refusal := problem(422, 'option_inactive', 'This redemption option is not active.', p_request_id);
    ELSIF option.stock < p_quantity THEN
        refusal := problem(422, 'out_of_stock', 'There is not that much left.', p_request_id);
    ELSE
        w := lock_wallet(p_company, person);
        at := company_now(p_company);
        w := book_due_expiry(w, at);
        SELECT coalesce(sum(r.quantity), 0) INTO taken_before FROM redemptions r
        WHERE r.company_id = p_company AND r.user_id = person AND r.option_id = p_option AND r.status <> 'refunded';
        IF taken_before + p_quantity > option.per_user_limit THEN
            refusal := problem(422, 'limit_reached', 'The user has redeemed this as often as allowed.', p_request_id);
        ELSIF w.balance < cost THEN
            refusal := problem(422, 'insufficient_points', 'The user has fewer points than this costs.',
                p_request_id, jsonb_build_object('balance', w.balance, 'required', cost));
        ELSE
            b := append_entry(w, 'REDEMPTION_' || upper(option.kind), -cost::bigint, 0, public_id('red', p_redemption),
                '', NULL, NULL, at, at);
            PERFORM burn_lots(w, b.entry_id, cost::bigint);
            w := b.wallet;
            UPDATE redemption_options o SET stock = o.stock - p_quantity
            WHERE o.company_id = p_company AND o.id = p_option AND o.stock IS NOT NULL;
            INSERT INTO redemptions (company_id, id, user_id, option_id, kind, quantity, cost_points, status, entry_id,
                created_at)
            VALUES (p_company, p_redemption, person, p_option, option.kind, p_quantity, cost, 'fulfilled', b.entry_id, at);
            INSERT INTO quota_grants (company_id, redemption_id, user_id, feature, quantity, created_at)
            VALUES (p_company, p_redemption, person, option.feature, option.quantity * p_quantity, at);
            answer := jsonb_build_object(
                'id', public_id('red', p_redemption), 'user_id', p_external_id,
                'option_id', public_id('opt', p_option), 'kind', option.kind,
                'quantity', p_quantity, 'cost_points', cost::bigint, 'status', 'fulfilled',
                'balance_after', w.balance, 'grant', NULL, 'created_at', rfc3339(at), 'refunded_at', NULL);
            INSERT INTO outbox_events (company_id, id, type, data, created_at) VALUES (p_company, p_outbox,
                'redemption.fulfilled', answer, at);
            INSERT INTO activity (company_id, id, user_id, action, details, created_at) VALUES (p_company, p_activity,
                person, 'redeemed', jsonb_build_object('redemption_id', answer -> 'id', 'points', cost), at);
        END IF;
        PERFORM save_wallet(w);
    END IF;
    status := coalesce((refusal ->> 'status')::smallint, 201);
    body := convert_to(coalesce(refusal, answer)::text, 'UTF8');
    PERFORM keep_idempotent_answer(p_company, p_key, status, body);
END $$;

-- POST /v1/redemptions/{id}/refund in one trip: all points go back into the lots they came from (what has expired
-- meanwhile expires again at once), the stock gets its piece back, and what was bought ends now.
-- Lock order: redemption, option, quota, then wallet, then lots.
CREATE FUNCTION refund_redemption(
    p_company uuid, p_redemption uuid, p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid,
    OUT status smallint, OUT body bytea, OUT replayed boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    redemption redemptions;
    at timestamptz;
    w wallets;
    b booking;
    answer jsonb;
    refusal jsonb;
BEGIN
    SELECT a.status, a.body, a.replayed INTO status, body, replayed
    FROM answer_of_key(p_company, p_key, p_hash, p_request_id) AS a;
    IF status IS NOT NULL THEN RETURN; END IF;

    SELECT * INTO redemption FROM redemptions WHERE company_id = p_company AND id = p_redemption FOR NO KEY UPDATE;
    IF redemption.id IS NULL THEN
        refusal := problem(404, 'redemption_not_found', 'There is no such redemption.', p_request_id);
    ELSIF redemption.status = 'refunded' THEN
        refusal := problem(409, 'redemption_refunded', 'The points of this redemption were given back before.',
            p_request_id);
    ELSE
        UPDATE redemption_options o SET stock = o.stock + redemption.quantity
        WHERE o.company_id = p_company AND o.id = redemption.option_id AND o.stock IS NOT NULL;
        PERFORM 1 FROM quota_grants q WHERE q.company_id = p_company AND q.redemption_id = p_redemption
        FOR NO KEY UPDATE;
        w := lock_wallet(p_company, redemption.user_id);
        at := company_now(p_company);
        w := book_due_expiry(w, at);
        b := append_entry(w, 'REDEMPTION_REFUND', redemption.cost_points, 0, public_id('red', p_redemption), '', NULL,
            NULL, at, at);
        w := b.wallet;
        WITH taken AS (
            SELECT lot_id, amount FROM allocations WHERE company_id = p_company AND entry_id = redemption.entry_id
        ), filled AS (
            UPDATE lots SET remaining = remaining + taken.amount FROM taken
            WHERE lots.company_id = p_company AND lots.id = taken.lot_id
            RETURNING expires_at
        ), given_back AS (
            INSERT INTO allocations (company_id, entry_id, lot_id, amount)
            SELECT p_company, b.entry_id, lot_id, -amount FROM taken
        )
        SELECT least(w.next_expiry_at, nullif(min(expires_at), 'infinity')) INTO w.next_expiry_at FROM filled;
        w := book_due_expiry(w, at, b.entry_id);
        w := repay_debt(w, b.entry_id, at);
        PERFORM save_wallet(w);
        UPDATE quota_grants q SET ended_at = at WHERE q.company_id = p_company AND q.redemption_id = p_redemption;
        UPDATE redemptions r SET status = 'refunded', refunded_at = at
        WHERE r.company_id = p_company AND r.id = p_redemption;
        answer := jsonb_build_object(
            'id', public_id('red', p_redemption),
            'user_id', (SELECT external_id FROM users WHERE company_id = p_company AND users.id = redemption.user_id),
            'option_id', public_id('opt', redemption.option_id),
            'kind', redemption.kind, 'quantity', redemption.quantity, 'cost_points', redemption.cost_points,
            'status', 'refunded', 'balance_after', w.balance, 'grant', NULL,
            'created_at', rfc3339(redemption.created_at), 'refunded_at', rfc3339(at));
        INSERT INTO outbox_events (company_id, id, type, data, created_at) VALUES (p_company, p_outbox,
            'redemption.refunded', answer, at);
        INSERT INTO activity (company_id, id, user_id, action, details, created_at) VALUES (p_company, p_activity,
            redemption.user_id, 'redemption_refunded',
            jsonb_build_object('redemption_id', answer -> 'id', 'points', redemption.cost_points), at);
    END IF;
    status := coalesce((refusal ->> 'status')::smallint, 200);
    body := convert_to(coalesce(refusal, answer)::text, 'UTF8');
    PERFORM keep_idempotent_answer(p_company, p_key, status, body);
END $$;

GRANT SELECT ON redemption_options, redemptions TO :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON redemption_options TO :"admin";
GRANT UPDATE (stock) ON redemption_options TO :"ledger";
GRANT INSERT ON redemptions TO :"ledger";
GRANT UPDATE (status, refunded_at) ON redemptions TO :"ledger";
GRANT UPDATE (ended_at) ON quota_grants TO :"ledger";
GRANT EXECUTE ON FUNCTION redeem TO :"app";
GRANT EXECUTE ON FUNCTION refund_redemption TO :"admin";
ALTER FUNCTION redeem OWNER TO :"ledger";
ALTER FUNCTION refund_redemption OWNER TO :"ledger";
