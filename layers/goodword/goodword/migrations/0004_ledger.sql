-- The ledger: one wallet per user, one append-only entry per change of a balance, one lot per earning, allocations of
-- what was taken to the lots it was taken from. DESIGN.md §4, RULES.md §5.
-- Only the functions below write here. They belong to a role nobody can log in as.

-- Which of a wallet's totals an entry counts in; NULL for a type that does not exist.
CREATE FUNCTION entry_total(type text, delta bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN type IN ('REFERRAL_REGISTERED', 'REFERRAL_ACTIVATED', 'REFERRAL_FIRST_PAYMENT', 'REFERRAL_RECURRING',
            'REFERRAL_L2', 'REFERRAL_RETAINED', 'REFERRAL_CROSS_APP', 'REFERRAL_WELCOME', 'MILESTONE',
            'CAMPAIGN_PRIZE', 'IMPORT') THEN 'earned'
        WHEN type = 'ADMIN_GRANT' THEN CASE WHEN delta > 0 THEN 'earned' ELSE 'spent' END
        WHEN type IN ('REDEMPTION_QUOTA', 'REDEMPTION_UNLOCK', 'REDEMPTION_REWARD', 'REDEMPTION_REFUND') THEN 'spent'
        WHEN type = 'EXPIRY' THEN 'expired'
        WHEN type IN ('REVERSAL', 'REINSTATEMENT', 'DEBT_REPAYMENT') THEN 'reversed'
    END;

-- `next_expiry_at` is no later than the first expiry of an open lot: until then nobody has to look at the lots.
-- NULL: nothing will expire.
CREATE TABLE wallets (
    company_id      uuid NOT NULL,
    user_id         uuid NOT NULL,
    balance         bigint NOT NULL DEFAULT 0,
    debt            bigint NOT NULL DEFAULT 0,
    total_earned    bigint NOT NULL DEFAULT 0,
    total_spent     bigint NOT NULL DEFAULT 0,
    total_expired   bigint NOT NULL DEFAULT 0,
    total_reversed  bigint NOT NULL DEFAULT 0,
    version         bigint NOT NULL DEFAULT 0,
    next_expiry_at  timestamptz,
    CONSTRAINT wallets_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT wallets_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT wallets_balance_ck CHECK (balance >= 0),
    CONSTRAINT wallets_debt_ck CHECK (debt >= 0),
    CONSTRAINT wallets_balance_or_debt_ck CHECK (balance = 0 OR debt = 0),
    CONSTRAINT wallets_totals_ck CHECK (balance = total_earned + total_spent + total_expired + total_reversed)
) WITH (fillfactor = 60);

CREATE TABLE entries (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    company_id       uuid NOT NULL,
    user_id          uuid NOT NULL,
    type             text NOT NULL,
    delta            bigint NOT NULL,
    debt_delta       bigint NOT NULL DEFAULT 0,
    balance_after    bigint NOT NULL,
    debt_after       bigint NOT NULL,
    version          bigint NOT NULL,
    reference        text NOT NULL,
    occasion         text NOT NULL DEFAULT '',
    note             text,
    program_version  integer,
    effective_at     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT entries_pk PRIMARY KEY (company_id, id),
    CONSTRAINT entries_version_uq UNIQUE (company_id, user_id, version),
    CONSTRAINT entries_once_uq UNIQUE (company_id, type, reference, occasion),
    CONSTRAINT entries_wallet_fk FOREIGN KEY (company_id, user_id) REFERENCES wallets (company_id, user_id),
    CONSTRAINT entries_type_ck CHECK (entry_total(type, delta) IS NOT NULL),
    CONSTRAINT entries_delta_ck CHECK (delta <> 0 OR debt_delta <> 0),
    CONSTRAINT entries_after_ck CHECK (balance_after >= 0 AND debt_after >= 0),
    CONSTRAINT entries_version_ck CHECK (version >= 1)
);
CREATE INDEX entries_effective_ix ON entries (company_id, user_id, effective_at);

CREATE TABLE lots (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    company_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    entry_id    bigint NOT NULL,
    amount      bigint NOT NULL,
    remaining   bigint NOT NULL,
    priority    smallint NOT NULL DEFAULT 100,
    expires_at  timestamptz NOT NULL DEFAULT 'infinity',
    created_at  timestamptz NOT NULL,
    CONSTRAINT lots_pk PRIMARY KEY (company_id, id),
    CONSTRAINT lots_entry_uq UNIQUE (company_id, entry_id),
    CONSTRAINT lots_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT lots_wallet_fk FOREIGN KEY (company_id, user_id) REFERENCES wallets (company_id, user_id),
    CONSTRAINT lots_amount_ck CHECK (amount > 0),
    CONSTRAINT lots_remaining_ck CHECK (remaining BETWEEN 0 AND amount)
) WITH (fillfactor = 60);
CREATE INDEX lots_open_ix ON lots (company_id, user_id, priority, expires_at, id) WHERE remaining > 0;
CREATE INDEX lots_due_ix ON lots (company_id, expires_at) WHERE remaining > 0 AND expires_at < 'infinity';

CREATE TABLE allocations (
    company_id  uuid NOT NULL,
    entry_id    bigint NOT NULL,
    lot_id      bigint NOT NULL,
    amount      bigint NOT NULL,
    CONSTRAINT allocations_pk PRIMARY KEY (company_id, entry_id, lot_id),
    CONSTRAINT allocations_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT allocations_lot_fk FOREIGN KEY (company_id, lot_id) REFERENCES lots (company_id, id),
    CONSTRAINT allocations_amount_ck CHECK (amount > 0)
);
CREATE INDEX allocations_lot_ix ON allocations (company_id, lot_id);

-- Append-only for everybody, the owner and a superuser included: privileges alone do not bind them.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER allocations_append_only BEFORE UPDATE OR DELETE ON allocations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER allocations_no_truncate BEFORE TRUNCATE ON allocations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The steps of a posting. Each takes and returns the wallet as a value: a posting locks the row, walks through its
-- entries in memory, and writes the row once at its end (balance = 0 OR debt = 0 holds between postings only).

CREATE FUNCTION lock_wallets(p_company uuid, p_users uuid[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    INSERT INTO wallets (company_id, user_id)
    SELECT p_company, u FROM (SELECT DISTINCT unnest(p_users) AS u ORDER BY 1) AS users
    ON CONFLICT ON CONSTRAINT wallets_pk DO NOTHING;
    PERFORM 1 FROM wallets WHERE company_id = p_company AND user_id = ANY (p_users)
    ORDER BY user_id FOR NO KEY UPDATE;
END $$;

CREATE FUNCTION append_entry(
    w wallets, p_type text, p_delta bigint, p_debt_delta bigint, p_reference text, p_occasion text,
    p_note text, p_program_version integer, p_effective_at timestamptz, p_at timestamptz
) RETURNS entries LANGUAGE sql SET search_path = goodword, pg_temp AS $$
    INSERT INTO entries (company_id, user_id, type, delta, debt_delta, balance_after, debt_after, version,
        reference, occasion, note, program_version, effective_at, created_at)
    VALUES (w.company_id, w.user_id, p_type, p_delta, p_debt_delta, w.balance + p_delta, w.debt + p_debt_delta,
        w.version + 1, p_reference, p_occasion, p_note, p_program_version, p_effective_at, p_at)
    RETURNING *;
$$;

CREATE FUNCTION wallet_after(w wallets, e entries) RETURNS wallets LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    w.balance := e.balance_after;
    w.debt := e.debt_after;
    w.version := e.version;
    CASE goodword.entry_total(e.type, e.delta)
        WHEN 'earned' THEN w.total_earned := w.total_earned + e.delta;
        WHEN 'spent' THEN w.total_spent := w.total_spent + e.delta;
        WHEN 'expired' THEN w.total_expired := w.total_expired + e.delta;
        WHEN 'reversed' THEN w.total_reversed := w.total_reversed + e.delta;
    END CASE;
    RETURN w;
END $$;

CREATE FUNCTION save_wallet(w wallets) RETURNS void LANGUAGE sql SET search_path = goodword, pg_temp AS $$
    UPDATE wallets SET balance = w.balance, debt = w.debt, total_earned = w.total_earned,
        total_spent = w.total_spent, total_expired = w.total_expired, total_reversed = w.total_reversed,
        version = w.version, next_expiry_at = w.next_expiry_at
    WHERE company_id = w.company_id AND user_id = w.user_id;
$$;

-- Takes `p_amount` from the open lots in burn order (priority, expiry, age) and records what came from where.
CREATE FUNCTION burn_lots(w wallets, p_entry bigint, p_amount bigint) RETURNS void
    LANGUAGE sql SET search_path = goodword, pg_temp AS $$
    WITH queue AS (
        SELECT id, remaining, sum(remaining) OVER (ORDER BY priority, expires_at, id) - remaining AS before
        FROM lots WHERE company_id = w.company_id AND user_id = w.user_id AND remaining > 0
    ), taken AS (
        SELECT id, least(remaining, p_amount - before)::bigint AS amount FROM queue WHERE before < p_amount
    ), burned AS (
        UPDATE lots SET remaining = lots.remaining - taken.amount FROM taken
        WHERE lots.company_id = w.company_id AND lots.id = taken.id
    )
    INSERT INTO allocations (company_id, entry_id, lot_id, amount)
    SELECT w.company_id, p_entry, id, amount FROM taken;
$$;

-- Books what has expired by `p_at`: one entry per distinct instant, dated by that instant.
CREATE FUNCTION book_due_expiry(w wallets, p_at timestamptz) RETURNS wallets
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    due record;
    e entries;
BEGIN
    IF w.next_expiry_at IS NULL OR w.next_expiry_at > p_at THEN
        RETURN w;
    END IF;
    FOR due IN
        SELECT expires_at, sum(remaining)::bigint AS points FROM lots
        WHERE company_id = w.company_id AND user_id = w.user_id AND remaining > 0 AND expires_at <= p_at
        GROUP BY expires_at ORDER BY expires_at
    LOOP
        e := append_entry(w, 'EXPIRY', -due.points, 0, public_id('usr', w.user_id), rfc3339(due.expires_at),
            NULL, NULL, due.expires_at, p_at);
        w := wallet_after(w, e);
        WITH expired AS (
            SELECT id, remaining FROM lots
            WHERE company_id = w.company_id AND user_id = w.user_id AND remaining > 0 AND expires_at = due.expires_at
        ), emptied AS (
            UPDATE lots SET remaining = 0 FROM expired WHERE lots.company_id = w.company_id AND lots.id = expired.id
        )
        INSERT INTO allocations (company_id, entry_id, lot_id, amount)
        SELECT w.company_id, e.id, id, remaining FROM expired;
    END LOOP;
    SELECT min(expires_at) INTO w.next_expiry_at FROM lots
    WHERE company_id = w.company_id AND user_id = w.user_id AND remaining > 0 AND expires_at < 'infinity';
    RETURN w;
END $$;

-- A locked wallet, as of `p_at`, with everything due by then booked.
CREATE FUNCTION wallet_at(p_company uuid, p_user uuid, p_at timestamptz) RETURNS wallets
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    w wallets;
BEGIN
    SELECT * INTO STRICT w FROM wallets WHERE company_id = p_company AND user_id = p_user;
    RETURN book_due_expiry(w, p_at);
END $$;

-- Earned points: the entry, its lot, and the repayment of debt out of that very lot.
CREATE FUNCTION book_credit(
    w wallets, p_type text, p_points bigint, p_reference text, p_occasion text, p_note text,
    p_program_version integer, p_priority smallint, p_expires_at timestamptz, p_at timestamptz, OUT wallet wallets,
    OUT entry entries
) LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    repayment entries;
    repaid bigint := least(w.debt, p_points);
    lot bigint;
BEGIN
    entry := append_entry(w, p_type, p_points, 0, p_reference, p_occasion, p_note, p_program_version, p_at, p_at);
    wallet := wallet_after(w, entry);
    INSERT INTO lots (company_id, user_id, entry_id, amount, remaining, priority, expires_at, created_at)
    VALUES (w.company_id, w.user_id, entry.id, p_points, p_points - repaid, p_priority,
        coalesce(p_expires_at, 'infinity'), p_at)
    RETURNING id INTO lot;
    wallet.next_expiry_at := least(wallet.next_expiry_at, p_expires_at);
    IF repaid > 0 THEN
        repayment := append_entry(wallet, 'DEBT_REPAYMENT', -repaid, -repaid, 'txn_' || entry.id, '',
            NULL, NULL, p_at, p_at);
        wallet := wallet_after(wallet, repayment);
        INSERT INTO allocations (company_id, entry_id, lot_id, amount) VALUES (w.company_id, repayment.id, lot, repaid);
    END IF;
END $$;

-- Posts earnings of any number of people in one call. Each element:
--   {user_id, type, points, reference, occasion, note, program_version, expiry_months (null: never), priority}
-- An earning that is booked already (type, reference, occasion) is left as it is. Returns the entries of all of them.
CREATE FUNCTION post_credits(p_company uuid, p_postings jsonb) RETURNS SETOF entries
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    zone text;
    at timestamptz;
    w wallets;
    posting record;
    booked record;
    e entries;
BEGIN
    PERFORM lock_wallets(p_company, ARRAY(SELECT (p ->> 'user_id')::uuid FROM jsonb_array_elements(p_postings) AS p));
    at := company_now(p_company);
    SELECT time_zone INTO STRICT zone FROM companies WHERE id = p_company;
    FOR posting IN
        SELECT * FROM jsonb_to_recordset(p_postings) AS p (
            user_id uuid, type text, points bigint, reference text, occasion text, note text,
            program_version integer, expiry_months integer, priority smallint)
        ORDER BY user_id
    LOOP
        SELECT * INTO e FROM entries WHERE company_id = p_company AND type = posting.type
            AND reference = posting.reference AND occasion = coalesce(posting.occasion, '');
        IF NOT FOUND THEN
            IF w.user_id IS DISTINCT FROM posting.user_id THEN
                IF w.user_id IS NOT NULL THEN PERFORM save_wallet(w); END IF;
                w := wallet_at(p_company, posting.user_id, at);
            END IF;
            SELECT * INTO booked FROM book_credit(w, posting.type, posting.points, posting.reference,
                coalesce(posting.occasion, ''), posting.note, posting.program_version,
                coalesce(posting.priority, 100::smallint), months_later(at, posting.expiry_months, zone), at);
            w := booked.wallet;
            e := booked.entry;
        END IF;
        RETURN NEXT e;
    END LOOP;
    IF w.user_id IS NOT NULL THEN PERFORM save_wallet(w); END IF;
END $$;

CREATE FUNCTION entry_json(e entries) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_build_object(
        'id', 'txn_' || e.id, 'type', e.type, 'delta', e.delta, 'balance_after', e.balance_after,
        'version', e.version, 'ref', e.reference, 'note', e.note, 'created_at', rfc3339(e.created_at));

-- POST /v1/users/{user_id}/points in one trip: a grant of points or, negative, a taking of them. Answers status and body.
CREATE FUNCTION adjust_points(
    p_company uuid, p_external_id text, p_points bigint, p_note text, p_expires_at timestamptz,
    p_adjustment text, p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid,
    OUT status smallint, OUT body bytea, OUT replayed boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    answer jsonb;
    refusal jsonb;
    person uuid;
    zone text;
    at timestamptz;
    w wallets;
    booked record;
    e entries;
BEGIN
    SELECT a.status, a.body, a.replayed INTO status, body, replayed
    FROM answer_of_key(p_company, p_key, p_hash, p_request_id) AS a;
    IF status IS NOT NULL THEN RETURN; END IF;
    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    SELECT time_zone INTO STRICT zone FROM companies WHERE id = p_company;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSE
        PERFORM lock_wallets(p_company, ARRAY[person]);
        at := company_now(p_company);
        w := wallet_at(p_company, person, at);
        IF p_expires_at <= at THEN
            refusal := problem(422, 'expires_in_the_past', 'expires_at must lie in the future.', p_request_id);
        ELSIF p_points > 0 THEN
            SELECT * INTO booked FROM book_credit(w, 'ADMIN_GRANT', p_points, p_adjustment, '', p_note, NULL,
                100::smallint, coalesce(p_expires_at, months_later(at,
                    (SELECT (program ->> 'points_expiry_months')::integer FROM program_versions
                     WHERE company_id = p_company ORDER BY version DESC LIMIT 1), zone)), at);
            w := booked.wallet;
            e := booked.entry;
        ELSIF w.balance + p_points < 0 THEN
            refusal := problem(422, 'insufficient_points', 'The user has fewer points than would be taken.',
                p_request_id, jsonb_build_object('balance', w.balance, 'required', -p_points));
        ELSE
            e := append_entry(w, 'ADMIN_GRANT', p_points, 0, p_adjustment, '', p_note, NULL, at, at);
            PERFORM burn_lots(w, e.id, -p_points);
            w := wallet_after(w, e);
        END IF;
        PERFORM save_wallet(w);
        IF refusal IS NULL THEN
            answer := entry_json(e);
            INSERT INTO outbox_events (company_id, id, type, data, created_at) VALUES (p_company, p_outbox,
                'points.adjusted', answer || jsonb_build_object('user_id', p_external_id), at);
            INSERT INTO activity (company_id, id, user_id, action, details, created_at) VALUES (p_company, p_activity,
                person, 'points_adjusted', jsonb_build_object('points', p_points, 'transaction_id', answer -> 'id'), at);
        END IF;
    END IF;
    status := coalesce((refusal ->> 'status')::smallint, 201);
    body := convert_to(coalesce(refusal, answer)::text, 'UTF8');
    PERFORM keep_idempotent_answer(p_company, p_key, status, body);
END $$;

-- What a user may spend at `at`, exact whether or not expiry has been booked.
CREATE FUNCTION spendable(p_company uuid, p_user uuid, at timestamptz) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN coalesce((
        SELECT balance - CASE WHEN next_expiry_at <= at THEN coalesce((
                SELECT sum(remaining) FROM lots
                WHERE lots.company_id = p_company AND lots.user_id = p_user AND remaining > 0 AND expires_at <= at), 0)
            ELSE 0 END
        FROM wallets WHERE wallets.company_id = p_company AND wallets.user_id = p_user), 0)::bigint;

GRANT SELECT ON wallets, entries, lots, allocations TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT ON wallets, entries, lots, allocations TO :"ledger";
GRANT UPDATE ON wallets, lots TO :"ledger";
GRANT EXECUTE ON FUNCTION entry_total, spendable, entry_json TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION lock_wallets, append_entry, wallet_after, save_wallet, burn_lots, book_due_expiry,
    wallet_at, book_credit TO :"ledger";
GRANT EXECUTE ON FUNCTION post_credits TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION adjust_points TO :"admin";
ALTER FUNCTION post_credits OWNER TO :"ledger";
ALTER FUNCTION adjust_points OWNER TO :"ledger";
