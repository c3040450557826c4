-- Points turned into something: the catalogue, what was redeemed, and the redemption itself as one statement.

CREATE DOMAIN redemption_status AS text
    CONSTRAINT redemptions_status_ck CHECK (VALUE IN ('fulfilled', 'pending', 'failed', 'refunded'));
CREATE DOMAIN redeemed_quantity AS bigint CONSTRAINT redemptions_quantity_ck CHECK (VALUE > 0);

-- What one piece costs, and what it is: `quantity` uses of a feature, for `days` or, without them, for ever; a plan for
-- `days`; or a reward, which the company gives by itself.
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
    updated_at      timestamptz NOT NULL,
    CONSTRAINT redemption_options_pk PRIMARY KEY (company_id, id),
    CONSTRAINT redemption_options_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT redemption_options_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT redemption_options_plan_fk FOREIGN KEY (company_id, plan) REFERENCES plans (company_id, id),
    CONSTRAINT redemption_options_kind_ck CHECK (CASE kind
        WHEN 'quota' THEN num_nonnulls(feature, quantity) = 2 AND plan IS NULL
        WHEN 'unlock' THEN num_nonnulls(plan, days) = 2 AND num_nonnulls(feature, quantity) = 0
        WHEN 'reward' THEN num_nonnulls(feature, quantity, days, plan) = 0
        ELSE false
    END),
    CONSTRAINT redemption_options_cost_ck CHECK (cost_points > 0),
    CONSTRAINT redemption_options_quantity_ck CHECK (quantity > 0),
    CONSTRAINT redemption_options_days_ck CHECK (days > 0),
    CONSTRAINT redemption_options_stock_ck CHECK (stock >= 0),
    CONSTRAINT redemption_options_limit_ck CHECK (per_user_limit > 0)
);

-- `balance_after` is the wallet's, when the redemption last moved points. `decision` is the request that said what became
-- of a reward: its repetition is the same decision. The option and the user have no foreign key: `redeem` has found both
-- by their company, and the entry has its own (docs/decisions/0041).
CREATE TABLE redemptions (
    company_id     uuid NOT NULL,
    id             uuid NOT NULL,
    user_id        uuid NOT NULL,
    option_id      uuid NOT NULL,
    kind           text NOT NULL,
    quantity       redeemed_quantity NOT NULL,
    cost_points    bigint NOT NULL,
    status         redemption_status NOT NULL,
    entry_id       bigint NOT NULL,
    balance_after  bigint NOT NULL,
    note           text,
    decision       uuid,
    created_at     timestamptz NOT NULL,
    fulfilled_at   timestamptz,
    failed_at      timestamptz,
    refunded_at    timestamptz,
    CONSTRAINT redemptions_pk PRIMARY KEY (company_id, id),
    CONSTRAINT redemptions_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT redemptions_times_ck CHECK ((status = 'refunded') = (refunded_at IS NOT NULL)
        AND (status = 'failed') = (failed_at IS NOT NULL))
);
-- Not by the company first: in a table that was analysed when it was empty, this index would then seem as good as the
-- primary key to the foreign keys that refer to a redemption, and each check would read all redemptions of the company.
CREATE INDEX redemptions_user_ix ON redemptions (user_id, option_id);
CREATE INDEX redemptions_pending_ix ON redemptions (company_id, id) WHERE status = 'pending';

ALTER TABLE quota_grants ADD CONSTRAINT quota_grants_redemption_fk FOREIGN KEY (company_id, redemption_id)
    REFERENCES redemptions (company_id, id);
ALTER TABLE access_grants ADD CONSTRAINT access_grants_redemption_fk FOREIGN KEY (company_id, redemption_id)
    REFERENCES redemptions (company_id, id);

-- The grant that an unlock has made, as it stands; NULL for every other redemption.
CREATE FUNCTION grant_of_redemption(r redemptions, p_at timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    IF r.kind <> 'unlock' THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT grant_json(r.company_id, r.user_id, g.id, p_at) FROM access_grants AS g
        WHERE g.company_id = r.company_id AND g.user_id = r.user_id AND g.redemption_id = r.id);
END $$;

-- A redemption as docs/api.md, Points, shows it.
CREATE FUNCTION redemption_json(r redemptions, p_external_id text, p_grant jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'id', public_id('red', r.id), 'user_id', p_external_id, 'option_id', public_id('opt', r.option_id),
        'kind', r.kind, 'quantity', r.quantity, 'cost_points', r.cost_points, 'status', r.status,
        'balance_after', r.balance_after, 'grant', p_grant, 'note', r.note, 'created_at', rfc3339(r.created_at),
        'updated_at', rfc3339(coalesce(r.refunded_at, r.failed_at, r.fulfilled_at, r.created_at)),
        'fulfilled_at', rfc3339(r.fulfilled_at), 'failed_at', rfc3339(r.failed_at),
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
    ELSIF option.kind = 'unlock' AND option.days * p_quantity > 36500 THEN -- a century, far from where time ends
        RETURN problem(422, 'invalid_request', 'Some fields are not valid.', p_request_id,
            '{"errors": [{"field": "quantity", "message": "must not make more than 36500 days"}]}');
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
                AND status NOT IN ('refunded', 'failed'))
        THEN
            RETURN problem(422, 'limit_reached', 'The user has redeemed this as often as allowed.', p_request_id);
        END IF;
    END IF;
    IF w.balance < cost THEN
        RETURN problem(422, 'insufficient_points', 'The user has fewer points than this costs.', p_request_id,
            jsonb_build_object('balance', w.balance, 'required', cost));
    ELSIF option.kind = 'unlock' AND keeps_plan(w.company_id, w.user_id, option.plan) THEN
        RETURN problem(422, 'plan_already_held', 'The user has this plan without an end.', p_request_id);
    END IF;
    RETURN NULL;
END $$;

-- What was bought, from now on: quota, or a grant, which is returned. A reward is the company's to give.
CREATE FUNCTION deliver(r redemptions, option redemption_options) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF r.kind = 'quota' THEN
        INSERT INTO quota_grants (company_id, redemption_id, user_id, feature, quantity, created_at, ends_at)
        VALUES (r.company_id, r.id, r.user_id, option.feature, option.quantity * r.quantity, r.created_at,
            coalesce(r.created_at + option.days * interval '24 hours', 'infinity'));
    ELSIF r.kind = 'unlock' THEN
        RETURN make_grant(r.company_id, r.user_id, jsonb_build_object('id', time_ordered_id(), 'plan_id', option.plan,
            'source', 'redemption', 'redemption_id', r.id, 'granted_seconds', option.days * r.quantity * 86400),
            r.created_at);
    END IF;
    RETURN NULL;
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
        balance_after, created_at, fulfilled_at)
    SELECT w.company_id, p_redemption, w.user_id, option.id, option.kind, p_quantity, cost,
        CASE option.kind WHEN 'reward' THEN 'pending' ELSE 'fulfilled' END, id, w.balance - cost, p_at,
        CASE WHEN option.kind <> 'reward' THEN p_at END
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
-- Locks: the key, the option (where its stock counts), the user's grants (of an unlock), then the wallet, then lots.
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
        IF option.kind = 'unlock' THEN
            PERFORM hold_grants(p_company, person);
        END IF;
        w := lock_wallet(p_company, person);
        at := company_now(p_company);
        IF w.next_expiry_at <= at THEN
            w := wallet_at(w, at);
        END IF;
        refusal := refusal_of_purchase(w, option, p_quantity, p_request_id);
    END IF;
    IF refusal IS NULL THEN
        bought := buy(w, option, p_quantity, p_redemption, at);
        answer := redemption_json(bought, p_external_id, deliver(bought, option));
        PERFORM record_deed(p_company, person, at, p_outbox, 'redemption.' || bought.status, answer - 'note',
            p_activity, 'redeemed',
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

-- A redemption as it stands now, for an answer.
CREATE FUNCTION shown_redemption(r redemptions, p_at timestamptz) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT redemption_json(r, external_id, grant_of_redemption(r, p_at))
        FROM users WHERE company_id = r.company_id AND id = r.user_id);
END $$;

-- Undoes a redemption, as `p_status` says, refunded or failed: its points go back, the stock gets its pieces back, and
-- what was bought ends now. The redemption for an answer.
-- Needs: its lock. Locks: the option, the quota or the user's grants, then the wallet, then lots.
CREATE FUNCTION undo_redemption(r redemptions, p_status text, p_outbox uuid, p_activity uuid) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz;
    w wallets;
    answer jsonb;
BEGIN
    UPDATE redemption_options AS o SET stock = o.stock + r.quantity
    WHERE o.company_id = r.company_id AND o.id = r.option_id AND o.stock IS NOT NULL;
    IF r.kind = 'quota' THEN
        PERFORM 1 FROM quota_grants WHERE company_id = r.company_id AND redemption_id = r.id FOR NO KEY UPDATE;
    ELSIF r.kind = 'unlock' THEN
        PERFORM hold_grants(r.company_id, r.user_id);
    END IF;
    w := lock_wallet(r.company_id, r.user_id);
    at := company_now(r.company_id);
    w := give_back(book_due_expiry(w, at), r, at);
    UPDATE quota_grants SET ended_at = at WHERE company_id = r.company_id AND redemption_id = r.id;
    PERFORM stop_grant(g.company_id, g.user_id, g.id, at) FROM access_grants AS g
    WHERE g.company_id = r.company_id AND g.user_id = r.user_id AND g.redemption_id = r.id;
    UPDATE redemptions SET status = p_status, balance_after = w.balance, note = r.note, decision = r.decision,
        failed_at = CASE p_status WHEN 'failed' THEN at END, refunded_at = CASE p_status WHEN 'refunded' THEN at END
    WHERE company_id = r.company_id AND id = r.id RETURNING * INTO r;
    answer := shown_redemption(r, at);
    PERFORM record_deed(r.company_id, r.user_id, at, p_outbox, 'redemption.' || p_status, answer - 'note', p_activity,
        'redemption_refunded', jsonb_build_object('redemption_id', answer -> 'id', 'points', r.cost_points));
    RETURN answer;
END $$;

-- POST /v1/redemptions/{id}/refund in one trip: as if it had never been, but that what was used was used.
-- Locks: the key, the redemption, then those of undo_redemption.
CREATE FUNCTION refund_redemption(
    p_company uuid, p_redemption uuid, p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer := answer_of_key(p_company, p_key, p_hash, p_request_id);
    r redemptions;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF kept.status IS NOT NULL THEN
        RETURN kept;
    END IF;
    SELECT * INTO r FROM redemptions WHERE company_id = p_company AND id = p_redemption FOR NO KEY UPDATE;
    IF r.id IS NULL THEN
        refusal := problem(404, 'redemption_not_found', 'There is no such redemption.', p_request_id);
    ELSIF r.status IN ('refunded', 'failed') THEN
        refusal := problem(409, 'redemption_' || r.status, 'The points of this redemption were given back before.',
            p_request_id);
    ELSE
        answer := undo_redemption(r, 'refunded', p_outbox, p_activity);
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

-- The steps of a decision on a reward.

-- The company has given a reward. The redemption for an answer.
-- Needs: its lock.
CREATE FUNCTION fulfil_reward(r redemptions, p_outbox uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := company_now(r.company_id);
    answer jsonb;
BEGIN
    UPDATE redemptions SET status = 'fulfilled', fulfilled_at = at, note = r.note, decision = r.decision
    WHERE company_id = r.company_id AND id = r.id RETURNING * INTO r;
    answer := shown_redemption(r, at);
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    VALUES (r.company_id, p_outbox, 'redemption.fulfilled', answer - 'note', at);
    RETURN answer;
END $$;

-- POST /v1/redemptions/{id}/fulfil and …/fail in one trip: what became of a reward. The id of the event that tells of it,
-- made by the caller before its first attempt, makes a repeated attempt the same decision.
-- Locks: the key, the redemption, then those of undo_redemption.
CREATE FUNCTION decide_reward(
    p_company uuid, p_redemption uuid, p_status text, p_note text,
    p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer;
    r redemptions;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF p_key IS NOT NULL THEN
        kept := answer_of_key(p_company, p_key, p_hash, p_request_id);
        IF kept.status IS NOT NULL THEN RETURN kept; END IF;
    END IF;
    SELECT * INTO r FROM redemptions WHERE company_id = p_company AND id = p_redemption FOR NO KEY UPDATE;
    IF r.id IS NULL THEN
        refusal := problem(404, 'redemption_not_found', 'There is no such redemption.', p_request_id);
    ELSIF r.decision = p_outbox THEN
        answer := shown_redemption(r, company_now(p_company));
    ELSIF r.status <> 'pending' THEN
        refusal := problem(409, 'redemption_not_pending', 'This redemption is not pending.', p_request_id);
    ELSE
        r.note := p_note;
        r.decision := p_outbox;
        answer := CASE p_status
            WHEN 'failed' THEN undo_redemption(r, p_status, p_outbox, p_activity)
            ELSE fulfil_reward(r, p_outbox)
        END;
    END IF;
    RETURN finish_one_trip(p_company, p_key, 200::smallint, answer, refusal);
END $$;

GRANT SELECT ON redemption_options, redemptions TO :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON redemption_options TO :"admin";
GRANT UPDATE (stock) ON redemption_options TO :"ledger";
GRANT INSERT ON redemptions TO :"ledger";
GRANT UPDATE (status, balance_after, note, decision, fulfilled_at, failed_at, refunded_at) ON redemptions TO :"ledger";
GRANT UPDATE (ended_at) ON quota_grants TO :"ledger";
GRANT EXECUTE ON FUNCTION grant_of_redemption TO :"app", :"admin", :"ledger";
GRANT EXECUTE ON FUNCTION redeem TO :"app";
GRANT EXECUTE ON FUNCTION refund_redemption, decide_reward TO :"admin";
GRANT EXECUTE ON FUNCTION redemption_json, refusal_of_option, refusal_of_purchase, buy, deliver, give_back,
    shown_redemption, undo_redemption, fulfil_reward TO :"ledger";
ALTER FUNCTION redeem OWNER TO :"ledger";
ALTER FUNCTION refund_redemption OWNER TO :"ledger";
ALTER FUNCTION decide_reward OWNER TO :"ledger";
