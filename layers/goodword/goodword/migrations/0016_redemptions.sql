-- Points turned into something: the catalogue, what was redeemed, and the redemption itself as one statement.

CREATE DOMAIN redemption_status AS text
    CONSTRAINT redemptions_status_ck CHECK (VALUE IN ('fulfilled', 'pending', 'failed', 'refunded'));
CREATE DOMAIN redeemed_quantity AS bigint CONSTRAINT redemptions_quantity_ck CHECK (VALUE > 0);

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
    quantity     redeemed_quantity NOT NULL,
    cost_points  bigint NOT NULL,
    status       redemption_status NOT NULL,
    entry_id     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    refunded_at  timestamptz,
    CONSTRAINT redemptions_pk PRIMARY KEY (company_id, id),
    CONSTRAINT redemptions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT redemptions_option_fk FOREIGN KEY (company_id, option_id)
        REFERENCES redemption_options (company_id, id),
    CONSTRAINT redemptions_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT redemptions_refunded_ck CHECK ((status = 'refunded') = (refunded_at IS NOT NULL))
);
CREATE INDEX redemptions_user_ix ON redemptions (company_id, user_id, option_id);

ALTER TABLE quota_grants ADD CONSTRAINT quota_grants_redemption_fk FOREIGN KEY (company_id, redemption_id)
    REFERENCES redemptions (company_id, id);
ALTER TABLE access_grants ADD CONSTRAINT access_grants_redemption_fk FOREIGN KEY (company_id, redemption_id)
    REFERENCES redemptions (company_id, id);

-- A redemption as docs/api.md, Points, shows it, with what is left of the wallet.
CREATE FUNCTION redemption_json(r redemptions, p_external_id text, p_balance bigint) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'id', public_id('red', r.id), 'user_id', p_external_id, 'option_id', public_id('opt', r.option_id),
        'kind', r.kind, 'quantity', r.quantity, 'cost_points', r.cost_points, 'status', r.status,
        'balance_after', p_balance, 'grant', NULL, 'created_at', rfc3339(r.created_at),
        'refunded_at', rfc3339(r.refunded_at));
END $$;

-- The steps of a redemption. As the steps of a posting they set no search_path of their own.

-- Why nobody can have so many of an option, or this user none; NULL where they can.
CREATE FUNCTION refusal_of_option(p_user uuid, option redemption_options, p_quantity bigint, p_request_id text)
    RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_user IS NULL THEN
        RETURN problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSIF option.id IS NULL THEN
        RETURN problem(404, 'option_not_found', 'There is no such redemption option.', p_request_id);
    ELSIF NOT option.active THEN
        RETURN problem(422, 'option_inactive', 'This redemption option is not active.', p_request_id);
    ELSIF option.stock < p_quantity THEN
        RETURN problem(422, 'out_of_stock', 'There is not that much left.', p_request_id);
    END IF;
    RETURN NULL;
END $$;

-- Why the user of a wallet cannot buy so many; NULL where they can.
CREATE FUNCTION refusal_of_purchase(w wallets, option redemption_options, p_quantity bigint, p_request_id text)
    RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    cost numeric := option.cost_points::numeric * p_quantity;
BEGIN
    -- counted only where there is a limit: few options have one
    IF option.per_user_limit IS NOT NULL THEN
        IF option.per_user_limit < p_quantity + (
            SELECT coalesce(sum(quantity), 0) FROM redemptions
            WHERE company_id = w.company_id AND user_id = w.user_id AND option_id = option.id
                AND status <> 'refunded')
        THEN
            RETURN problem(422, 'limit_reached', 'The user has redeemed this as often as allowed.', p_request_id);
        END IF;
    END IF;
    IF w.balance < cost THEN
        RETURN problem(422, 'insufficient_points', 'The user has fewer points than this costs.', p_request_id,
            jsonb_build_object('balance', w.balance, 'required', cost));
    END IF;
    RETURN NULL;
END $$;

-- What was bought, from now on.
CREATE FUNCTION fulfil(r redemptions, option redemption_options) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quota_grants (company_id, redemption_id, user_id, feature, quantity, created_at)
    VALUES (r.company_id, r.id, r.user_id, option.feature, option.quantity * r.quantity, r.created_at);
END $$;

-- Takes the price out of a locked wallet that has nothing due, and the pieces out of the stock. The wallet is saved.
CREATE FUNCTION buy(
    w wallets, option redemption_options, p_quantity bigint, p_redemption uuid, p_at timestamptz
) RETURNS redemptions LANGUAGE plpgsql AS $$
DECLARE
    cost bigint := option.cost_points * p_quantity;
    bought redemptions;
BEGIN
    -- not by append_entry, as the earnings of book_posting; and in one statement, for it is the path that is taken most
    WITH booked AS (
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference,
            effective_at, created_at)
        VALUES (w.company_id, w.user_id, 'REDEMPTION_' || upper(option.kind), -cost, w.balance - cost, w.debt,
            w.version + 1, public_id('red', p_redemption), p_at, p_at)
        RETURNING id
    ), saved AS (
        UPDATE wallets SET balance = balance - cost, total_spent = total_spent - cost, version = version + 1
        WHERE company_id = w.company_id AND user_id = w.user_id
    )
    INSERT INTO redemptions (company_id, id, user_id, option_id, kind, quantity, cost_points, status, entry_id,
        created_at)
    SELECT w.company_id, p_redemption, w.user_id, option.id, option.kind, p_quantity, cost, 'fulfilled', id, p_at
    FROM booked
    RETURNING * INTO bought;
    PERFORM burn_lots(w, bought.entry_id, cost);
    IF option.stock IS NOT NULL THEN
        UPDATE redemption_options o SET stock = o.stock - p_quantity
        WHERE o.company_id = option.company_id AND o.id = option.id;
    END IF;
    RETURN bought;
END $$;

-- POST /v1/users/{user_id}/redemptions in one trip. A refusal is stored like a yes.
-- Locks: the key, the option (where its stock counts), then the wallet, then lots.
CREATE FUNCTION redeem(
    p_company uuid, p_external_id text, p_option uuid, p_quantity bigint, p_redemption uuid,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer := answer_of_key(p_company, p_key, p_hash, p_request_id);
    person uuid;
    option redemption_options;
    w wallets;
    at timestamptz;
    bought redemptions;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF kept.status IS NOT NULL THEN
        RETURN kept;
    END IF;
    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    SELECT * INTO option FROM redemption_options WHERE company_id = p_company AND id = p_option;
    IF option.stock IS NOT NULL THEN
        SELECT * INTO option FROM redemption_options WHERE company_id = p_company AND id = p_option FOR NO KEY UPDATE;
    END IF;
    refusal := refusal_of_option(person, option, p_quantity, p_request_id);
    IF refusal IS NULL THEN
        w := lock_wallet(p_company, person);
        at := company_now(p_company);
        IF w.next_expiry_at <= at THEN
            w := wallet_at(w, at);
        END IF;
        refusal := refusal_of_purchase(w, option, p_quantity, p_request_id);
    END IF;
    IF refusal IS NULL THEN
        bought := buy(w, option, p_quantity, p_redemption, at);
        PERFORM fulfil(bought, option);
        answer := redemption_json(bought, p_external_id, w.balance - bought.cost_points);
        PERFORM record_deed(p_company, person, at, p_outbox, 'redemption.fulfilled', answer, p_activity, 'redeemed',
            jsonb_build_object('redemption_id', answer -> 'id', 'points', answer -> 'cost_points'));
    END IF;
    RETURN finish_one_trip(p_company, p_key, 201::smallint, answer, refusal);
END $$;

-- The steps of a refund.

-- Puts what a redemption took back into the lots it was taken from; what has expired meanwhile expires again at once, and
-- debt is repaid out of the rest. The wallet is saved.
CREATE FUNCTION give_back(w wallets, r redemptions, p_at timestamptz) RETURNS wallets LANGUAGE plpgsql AS $$
DECLARE
    booked booking := append_entry(w, 'REDEMPTION_REFUND', r.cost_points, 0, public_id('red', r.id), '', NULL, NULL,
        p_at, p_at);
BEGIN
    w := booked.wallet;
    WITH taken AS (
        SELECT lot_id, amount FROM allocations WHERE company_id = r.company_id AND entry_id = r.entry_id
    ), filled AS (
        UPDATE lots SET remaining = remaining + taken.amount FROM taken
        WHERE lots.company_id = r.company_id AND lots.id = taken.lot_id
        RETURNING expires_at
    ), given_back AS (
        INSERT INTO allocations (company_id, entry_id, lot_id, amount)
        SELECT r.company_id, booked.entry_id, lot_id, -amount FROM taken
    )
    SELECT least(w.next_expiry_at, nullif(min(expires_at), 'infinity')) INTO w.next_expiry_at FROM filled;
    w := book_due_expiry(w, p_at, booked.entry_id);
    w := repay_debt(w, booked.entry_id, p_at);
    PERFORM save_wallet(w);
    RETURN w;
END $$;

-- Ends what was bought. The redemption as it is from now on.
CREATE FUNCTION end_redemption(r redemptions, p_at timestamptz) RETURNS redemptions LANGUAGE plpgsql AS $$
BEGIN
    UPDATE quota_grants q SET ended_at = p_at WHERE q.company_id = r.company_id AND q.redemption_id = r.id;
    UPDATE redemptions SET status = 'refunded', refunded_at = p_at WHERE company_id = r.company_id AND id = r.id
    RETURNING * INTO r;
    RETURN r;
END $$;

-- POST /v1/redemptions/{id}/refund in one trip: all points go back, the stock gets its pieces back, and what was bought
-- ends now.
-- Locks: the key, the redemption, the option, the quota, then the wallet, then lots.
CREATE FUNCTION refund_redemption(
    p_company uuid, p_redemption uuid, p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer := answer_of_key(p_company, p_key, p_hash, p_request_id);
    r redemptions;
    at timestamptz;
    w wallets;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF kept.status IS NOT NULL THEN
        RETURN kept;
    END IF;
    SELECT * INTO r FROM redemptions WHERE company_id = p_company AND id = p_redemption FOR NO KEY UPDATE;
    IF r.id IS NULL THEN
        refusal := problem(404, 'redemption_not_found', 'There is no such redemption.', p_request_id);
    ELSIF r.status = 'refunded' THEN
        refusal := problem(409, 'redemption_refunded', 'The points of this redemption were given back before.',
            p_request_id);
    ELSE
        UPDATE redemption_options o SET stock = o.stock + r.quantity
        WHERE o.company_id = p_company AND o.id = r.option_id AND o.stock IS NOT NULL;
        PERFORM 1 FROM quota_grants q WHERE q.company_id = p_company AND q.redemption_id = p_redemption
        FOR NO KEY UPDATE;
        w := lock_wallet(p_company, r.user_id);
        at := company_now(p_company);
        w := give_back(book_due_expiry(w, at), r, at);
        r := end_redemption(r, at);
        SELECT redemption_json(r, external_id, w.balance) INTO STRICT answer
        FROM users WHERE company_id = p_company AND id = r.user_id;
        PERFORM record_deed(p_company, r.user_id, at, p_outbox, 'redemption.refunded', answer, p_activity,
            'redemption_refunded', jsonb_build_object('redemption_id', answer -> 'id', 'points', r.cost_points));
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

GRANT SELECT ON redemption_options, redemptions TO :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON redemption_options TO :"admin";
GRANT UPDATE (stock) ON redemption_options TO :"ledger";
GRANT INSERT ON redemptions TO :"ledger";
GRANT UPDATE (status, refunded_at) ON redemptions TO :"ledger";
GRANT UPDATE (ended_at) ON quota_grants TO :"ledger";
GRANT EXECUTE ON FUNCTION redeem TO :"app";
GRANT EXECUTE ON FUNCTION refund_redemption TO :"admin";
GRANT EXECUTE ON FUNCTION redemption_json, refusal_of_option, refusal_of_purchase, buy, fulfil, give_back,
    end_redemption TO :"ledger";
ALTER FUNCTION redeem OWNER TO :"ledger";
ALTER FUNCTION refund_redemption OWNER TO :"ledger";
