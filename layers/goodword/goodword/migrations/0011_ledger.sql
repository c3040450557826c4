-- The ledger: one wallet per user, one append-only entry per change of a balance, one lot per earning, allocations of
-- what was taken to the lots it was taken from. docs/rules.md, Ledger.
-- Only the functions below write here. They belong to a role nobody can log in as.

-- A domain's rule is prepared once per connection, a table's CHECK once per statement: what concerns one column alone
-- is therefore a domain here, and postings are a fifth cheaper for it.
CREATE DOMAIN points AS bigint CONSTRAINT points_not_negative_ck CHECK (VALUE >= 0);
CREATE DOMAIN outflow AS bigint CONSTRAINT outflow_not_positive_ck CHECK (VALUE <= 0);
CREATE DOMAIN allocated_points AS bigint CONSTRAINT allocations_amount_ck CHECK (VALUE <> 0);
CREATE DOMAIN entry_type AS text CONSTRAINT entries_type_ck CHECK (VALUE IN (
    'REFERRAL_REGISTERED', 'REFERRAL_ACTIVATED', 'REFERRAL_FIRST_PAYMENT', 'REFERRAL_RECURRING', 'REFERRAL_L2',
    'REFERRAL_RETAINED', 'REFERRAL_CROSS_APP', 'REFERRAL_WELCOME', 'MILESTONE', 'CAMPAIGN_PRIZE', 'IMPORT',
    'ADMIN_GRANT', 'REDEMPTION_QUOTA', 'REDEMPTION_UNLOCK', 'REDEMPTION_REWARD', 'REDEMPTION_REFUND',
    'EXPIRY', 'REVERSAL', 'REINSTATEMENT', 'DEBT_REPAYMENT'));

-- Which of a wallet's totals an entry counts in (docs/rules.md, Totals).
CREATE FUNCTION entry_total(type text, delta bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN type = 'ADMIN_GRANT' THEN CASE WHEN delta > 0 THEN 'earned' ELSE 'spent' END
        WHEN type LIKE 'REDEMPTION%' THEN 'spent'
        WHEN type = 'EXPIRY' THEN 'expired'
        WHEN type IN ('REVERSAL', 'REINSTATEMENT', 'DEBT_REPAYMENT') THEN 'reversed'
        ELSE 'earned'
    END;

-- `next_expiry_at` is no later than the first expiry of an open lot: until then nobody has to look at the lots.
-- NULL: nothing will expire.
CREATE TABLE wallets (
    company_id      uuid NOT NULL,
    user_id         uuid NOT NULL,
    balance         points NOT NULL DEFAULT 0,
    debt            points NOT NULL DEFAULT 0,
    total_earned    points NOT NULL DEFAULT 0,
    total_spent     outflow NOT NULL DEFAULT 0,
    total_expired   outflow NOT NULL DEFAULT 0,
    total_reversed  outflow NOT NULL DEFAULT 0,
    version         bigint NOT NULL DEFAULT 0,
    next_expiry_at  timestamptz,
    CONSTRAINT wallets_pk PRIMARY KEY (company_id, user_id),
    CONSTRAINT wallets_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT wallets_balance_or_debt_ck CHECK (balance = 0 OR debt = 0),
    CONSTRAINT wallets_totals_ck CHECK (balance = total_earned + total_spent + total_expired + total_reversed)
) WITH (fillfactor = 60);

CREATE TABLE entries (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    company_id       uuid NOT NULL,
    user_id          uuid NOT NULL,
    type             entry_type NOT NULL,
    delta            bigint NOT NULL,
    debt_delta       bigint NOT NULL DEFAULT 0,
    balance_after    points NOT NULL,
    debt_after       points NOT NULL,
    version          bigint NOT NULL,
    reference        text NOT NULL,
    occasion         text NOT NULL DEFAULT '',
    note_hash        bytea,
    program_version  integer,
    effective_at     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    xact             bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint, -- xid8 knows no BRIN
    CONSTRAINT entries_pk PRIMARY KEY (company_id, id),
    CONSTRAINT entries_version_uq UNIQUE (company_id, user_id, version),
    CONSTRAINT entries_once_uq UNIQUE (company_id, reference, type, occasion),
    CONSTRAINT entries_wallet_fk FOREIGN KEY (company_id, user_id) REFERENCES wallets (company_id, user_id),
    CONSTRAINT entries_delta_ck CHECK (delta <> 0 OR debt_delta <> 0),
    CONSTRAINT entries_debt_ck CHECK (debt_delta = 0 OR type = 'REVERSAL' OR type = 'DEBT_REPAYMENT')
);
-- Entries are laid down in about the order of their transactions, so this finds the latest for next to nothing.
CREATE INDEX entries_xact_ix ON entries USING brin (xact);

-- Notes are words about people, so they can be erased; the entry keeps a hash of note and salt, which then says nothing.
CREATE TABLE entry_notes (
    company_id  uuid NOT NULL,
    entry_id    bigint NOT NULL,
    salt        uuid NOT NULL,
    note        text NOT NULL,
    CONSTRAINT entry_notes_pk PRIMARY KEY (company_id, entry_id),
    CONSTRAINT entry_notes_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id)
);

-- Points earned together that expire together. A lot is known by the entry that earned it, and its wallet is the
-- entry's, which needs no second key (docs/decisions/0041). `open` and not `remaining` stands in the indexes: an update
-- that leaves a lot open then touches no index.
CREATE TABLE lots (
    company_id  uuid NOT NULL,
    id          bigint NOT NULL,
    user_id     uuid NOT NULL,
    amount      points NOT NULL,
    remaining   points NOT NULL,
    open        boolean NOT NULL GENERATED ALWAYS AS (remaining > 0) STORED,
    priority    smallint NOT NULL DEFAULT 100,
    expires_at  timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT lots_pk PRIMARY KEY (company_id, id),
    CONSTRAINT lots_entry_fk FOREIGN KEY (company_id, id) REFERENCES entries (company_id, id),
    CONSTRAINT lots_remaining_ck CHECK (amount > 0 AND remaining <= amount)
) WITH (fillfactor = 60);
CREATE INDEX lots_open_ix ON lots (company_id, user_id, priority, expires_at, id) WHERE open;
CREATE INDEX lots_due_ix ON lots (company_id, expires_at) WHERE open AND expires_at < 'infinity';

-- What an entry took from a lot; negative: what a refund gave back to it.
CREATE TABLE allocations (
    company_id  uuid NOT NULL,
    entry_id    bigint NOT NULL,
    lot_id      bigint NOT NULL,
    amount      allocated_points NOT NULL,
    CONSTRAINT allocations_pk PRIMARY KEY (company_id, entry_id, lot_id),
    CONSTRAINT allocations_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT allocations_lot_fk FOREIGN KEY (company_id, lot_id) REFERENCES lots (company_id, id)
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

-- The steps of a posting. A posting locks its wallets before all else, then reads the clock once, books what is due to
-- expire, and only then does what it came for. The steps set no search_path of their own: they run inside the postings,
-- which do, and setting it again would cost more than most steps.

CREATE TYPE booking AS (wallet wallets, entry_id bigint);

-- A wallet that nobody else can change until the transaction ends; made where there is none yet.
CREATE FUNCTION lock_wallet(p_company uuid, p_user uuid) RETURNS wallets LANGUAGE plpgsql AS $$
DECLARE
    w wallets;
BEGIN
    SELECT * INTO w FROM wallets WHERE company_id = p_company AND user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO wallets (company_id, user_id) VALUES (p_company, p_user)
        ON CONFLICT ON CONSTRAINT wallets_pk DO NOTHING RETURNING * INTO w;
        IF NOT FOUND THEN
            SELECT * INTO STRICT w FROM wallets WHERE company_id = p_company AND user_id = p_user FOR NO KEY UPDATE;
        END IF;
    END IF;
    RETURN w;
END $$;

CREATE FUNCTION save_wallet(w wallets) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wallets SET balance = w.balance, debt = w.debt, total_earned = w.total_earned,
        total_spent = w.total_spent, total_expired = w.total_expired, total_reversed = w.total_reversed,
        version = w.version, next_expiry_at = w.next_expiry_at
    WHERE company_id = w.company_id AND user_id = w.user_id;
END $$;

-- One entry; the wallet as it is after it, not saved: balance = 0 OR debt = 0 holds between postings only.
CREATE FUNCTION append_entry(
    w wallets, p_type text, p_delta bigint, p_debt_delta bigint, p_reference text, p_occasion text,
    p_note text, p_program_version integer, p_effective_at timestamptz, p_at timestamptz
) RETURNS booking LANGUAGE plpgsql AS $$
DECLARE
    salt uuid := CASE WHEN p_note IS NOT NULL THEN gen_random_uuid() END;
    entry bigint;
BEGIN
    w.balance := w.balance + p_delta;
    w.debt := w.debt + p_debt_delta;
    w.version := w.version + 1;
    CASE entry_total(p_type, p_delta)
        WHEN 'earned' THEN w.total_earned := w.total_earned + p_delta;
        WHEN 'spent' THEN w.total_spent := w.total_spent + p_delta;
        WHEN 'expired' THEN w.total_expired := w.total_expired + p_delta;
        WHEN 'reversed' THEN w.total_reversed := w.total_reversed + p_delta;
    END CASE;
    INSERT INTO entries (company_id, user_id, type, delta, debt_delta, balance_after, debt_after, version,
        reference, occasion, note_hash, program_version, effective_at, created_at)
    VALUES (w.company_id, w.user_id, p_type, p_delta, p_debt_delta, w.balance, w.debt, w.version,
        p_reference, p_occasion, sha256(uuid_send(salt) || convert_to(p_note, 'UTF8')), p_program_version,
        p_effective_at, p_at)
    RETURNING id INTO entry;
    IF p_note IS NOT NULL THEN
        INSERT INTO entry_notes (company_id, entry_id, salt, note) VALUES (w.company_id, entry, salt, p_note);
    END IF;
    RETURN (w, entry);
END $$;

-- Takes `p_amount` from the open lots and records what came from where: from `p_own` first, then in burn order
-- (priority, expiry, age). Mostly the first lot has that much, and nobody need look at the others.
CREATE FUNCTION burn_lots(w wallets, p_entry bigint, p_amount bigint, p_own bigint[] DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF p_own = '{}' AND p_amount > 0 THEN
        WITH burned AS (
            UPDATE lots SET remaining = remaining - p_amount
            WHERE company_id = w.company_id AND remaining >= p_amount AND id = (
                SELECT id FROM lots WHERE company_id = w.company_id AND user_id = w.user_id AND open
                ORDER BY priority, expires_at, id LIMIT 1)
            RETURNING id
        )
        INSERT INTO allocations (company_id, entry_id, lot_id, amount)
        SELECT w.company_id, p_entry, id, p_amount FROM burned;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    WITH queue AS (
        SELECT id, remaining, sum(remaining) OVER (
            ORDER BY id = ANY (p_own) DESC, priority, expires_at, id) - remaining AS before
        FROM lots WHERE company_id = w.company_id AND user_id = w.user_id AND open
    ), taken AS (
        SELECT id, least(remaining, p_amount - before)::bigint AS amount FROM queue WHERE before < p_amount
    ), burned AS (
        UPDATE lots SET remaining = lots.remaining - taken.amount FROM taken
        WHERE lots.company_id = w.company_id AND lots.id = taken.id
    )
    INSERT INTO allocations (company_id, entry_id, lot_id, amount)
    SELECT w.company_id, p_entry, id, amount FROM taken;
END $$;

-- Books what has expired by `p_at`: one entry per distinct instant, dated by that instant. Points that came back into
-- lots after their instant (`p_refund`, the refund's entry) expire at once and are dated by the refund: what a balance
-- was in between stays what it was.
CREATE FUNCTION book_due_expiry(w wallets, p_at timestamptz, p_refund bigint DEFAULT NULL) RETURNS wallets
    LANGUAGE plpgsql AS $$
DECLARE
    due record;
    booked booking;
BEGIN
    IF w.next_expiry_at IS NULL OR w.next_expiry_at > p_at THEN
        RETURN w;
    END IF;
    FOR due IN
        SELECT CASE WHEN p_refund IS NULL THEN expires_at ELSE p_at END AS instant,
            array_agg(id) AS lots, sum(remaining)::bigint AS points
        FROM lots WHERE company_id = w.company_id AND user_id = w.user_id AND open AND expires_at <= p_at
        GROUP BY 1 ORDER BY 1
    LOOP
        booked := append_entry(w, 'EXPIRY', -due.points, 0, public_id('usr', w.user_id),
            rfc3339(due.instant) || coalesce(' txn_' || p_refund, ''), NULL, NULL, due.instant, p_at);
        w := booked.wallet;
        WITH expired AS (
            SELECT id, remaining FROM lots WHERE company_id = w.company_id AND id = ANY (due.lots)
        ), emptied AS (
            UPDATE lots SET remaining = 0 WHERE company_id = w.company_id AND id = ANY (due.lots)
        )
        INSERT INTO allocations (company_id, entry_id, lot_id, amount)
        SELECT w.company_id, booked.entry_id, id, remaining FROM expired;
    END LOOP;
    w.next_expiry_at := (
        SELECT min(expires_at) FROM lots
        WHERE company_id = w.company_id AND user_id = w.user_id AND open AND expires_at < 'infinity');
    RETURN w;
END $$;

-- Debt is repaid out of whatever points come in. They were booked whole; this is the next entry.
CREATE FUNCTION repay_debt(w wallets, p_earning bigint, p_at timestamptz) RETURNS wallets LANGUAGE plpgsql AS $$
DECLARE
    points bigint := least(w.debt, w.balance);
    booked booking;
BEGIN
    IF points = 0 THEN
        RETURN w;
    END IF;
    booked := append_entry(w, 'DEBT_REPAYMENT', -points, -points, 'txn_' || p_earning, '', NULL, NULL, p_at, p_at);
    PERFORM burn_lots(booked.wallet, booked.entry_id, points);
    RETURN booked.wallet;
END $$;

-- What can still be taken back of an earning, which is all that was booked under one reference, reinstatements included:
-- what it gave, less what expired of it, which is neither taken nor owed, less what was taken back before. With its lots.
CREATE FUNCTION reversible(w wallets, p_reference text, OUT points bigint, OUT lots bigint[]) LANGUAGE plpgsql AS $$
BEGIN
    SELECT array_agg(l.id), coalesce(sum(l.amount), 0) INTO lots, points
    FROM entries e JOIN goodword.lots l ON l.company_id = e.company_id AND l.id = e.id
    WHERE e.company_id = w.company_id AND e.reference = p_reference AND e.user_id = w.user_id;
    points := points - (
        SELECT coalesce(sum(a.amount), 0)
        FROM allocations a JOIN entries e ON e.company_id = a.company_id AND e.id = a.entry_id AND e.type = 'EXPIRY'
        WHERE a.company_id = w.company_id AND a.lot_id = ANY (lots)
    ) - (
        SELECT coalesce(sum(debt_delta - delta), 0) FROM entries
        WHERE company_id = w.company_id AND reference = p_reference AND user_id = w.user_id AND type = 'REVERSAL');
END $$;

-- Takes earned points back: from the earning's own lots, then from the others in burn order; what the wallet cannot
-- cover becomes debt. The entry, or NULL where nothing is left to take.
CREATE FUNCTION book_reversal(
    w wallets, p_points bigint, p_reference text, p_occasion text, p_note text, p_program_version integer,
    p_at timestamptz
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    earning record := reversible(w, p_reference);
    take bigint := least(p_points, earning.points);
    from_balance bigint := least(take, w.balance);
    booked booking;
BEGIN
    IF take <= 0 THEN
        RETURN NULL;
    END IF;
    booked := append_entry(w, 'REVERSAL', -from_balance, take - from_balance, p_reference, p_occasion, p_note,
        p_program_version, p_at, p_at);
    PERFORM burn_lots(w, booked.entry_id, from_balance, earning.lots);
    PERFORM save_wallet(booked.wallet);
    RETURN booked.entry_id;
END $$;

-- One posting of an earning, a reversal or a reinstatement on a locked wallet that has nothing due, saved with it. The
-- entry: the one that stands where the natural key (reference, type, occasion) is booked already, and NULL where there
-- was nothing to take or to give back.
CREATE FUNCTION book_posting(
    w wallets, p_type text, p_points bigint, p_reference text, p_occasion text, p_note text,
    p_program_version integer, p_priority smallint, p_expires_at timestamptz, p_at timestamptz
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    entry bigint;
    salt uuid;
    is_plain boolean := w.debt = 0 AND p_type <> 'REINSTATEMENT';
BEGIN
    IF p_type IN ('REVERSAL', 'REINSTATEMENT') THEN
        SELECT id INTO entry FROM entries
        WHERE company_id = w.company_id AND reference = p_reference AND type = p_type AND occasion = p_occasion;
        IF FOUND THEN
            RETURN entry;
        ELSIF p_type = 'REVERSAL' THEN
            RETURN book_reversal(w, p_points, p_reference, p_occasion, p_note, p_program_version, p_at);
        END IF;
        p_points := least(p_points, (
            SELECT coalesce(sum(debt_delta - delta), 0) FROM entries
            WHERE company_id = w.company_id AND reference = p_reference AND user_id = w.user_id
                AND type IN ('REVERSAL', 'REINSTATEMENT')));
        IF p_points <= 0 THEN
            RETURN NULL; -- no more is given back than was taken
        END IF;
    END IF;
    -- in one statement and not by append_entry: most postings are earnings of somebody without debt
    IF p_note IS NOT NULL THEN
        salt := gen_random_uuid();
    END IF;
    WITH posted AS (
        INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version,
            reference, occasion, note_hash, program_version, effective_at, created_at)
        VALUES (w.company_id, w.user_id, p_type, p_points, w.balance + p_points, w.debt, w.version + 1, p_reference,
            p_occasion, sha256(uuid_send(salt) || convert_to(p_note, 'UTF8')), p_program_version, p_at, p_at)
        ON CONFLICT ON CONSTRAINT entries_once_uq DO NOTHING
        RETURNING id
    ), laid AS (
        INSERT INTO lots (company_id, id, user_id, amount, remaining, priority, expires_at)
        SELECT w.company_id, id, w.user_id, p_points, p_points, p_priority, coalesce(p_expires_at, 'infinity')
        FROM posted
    ), saved AS (
        UPDATE wallets SET balance = balance + p_points, total_earned = total_earned + p_points,
            version = version + 1, next_expiry_at = least(next_expiry_at, p_expires_at)
        FROM posted
        WHERE company_id = w.company_id AND user_id = w.user_id AND is_plain
    )
    SELECT id INTO entry FROM posted;
    IF entry IS NULL THEN
        RETURN (SELECT id FROM entries
            WHERE company_id = w.company_id AND reference = p_reference AND type = p_type AND occasion = p_occasion);
    END IF;
    IF p_note IS NOT NULL THEN
        INSERT INTO entry_notes (company_id, entry_id, salt, note) VALUES (w.company_id, entry, salt, p_note);
    END IF;
    IF NOT is_plain THEN
        w.balance := w.balance + p_points;
        w.version := w.version + 1;
        w.next_expiry_at := least(w.next_expiry_at, p_expires_at);
        IF p_type <> 'REINSTATEMENT' THEN
            w.total_earned := w.total_earned + p_points;
        END IF;
        w := repay_debt(w, entry, p_at);
        IF p_type = 'REINSTATEMENT' THEN
            -- not before: while debt stands for what was reversed, this total has no room for what comes back
            w.total_reversed := w.total_reversed + p_points;
        END IF;
        PERFORM save_wallet(w);
    END IF;
    RETURN entry;
END $$;

-- A wallet that is locked already, with what has expired by `p_at` booked and saved.
CREATE FUNCTION wallet_at(w wallets, p_at timestamptz) RETURNS wallets LANGUAGE plpgsql AS $$
BEGIN
    w := book_due_expiry(w, p_at);
    PERFORM save_wallet(w);
    RETURN w;
END $$;

-- Books what has expired by `p_at` in many wallets of a company, as book_due_expiry does in one, saves and announces it:
-- the points of each. Until a wallet is saved, the entries above its version are those that were just booked.
-- Needs: the locks of the wallets.
CREATE FUNCTION expire_lots(p_company uuid, p_users uuid[], p_at timestamptz) RETURNS TABLE (user_id uuid, points bigint)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO entries (company_id, user_id, type, delta, balance_after, debt_after, version, reference, occasion,
        effective_at, created_at)
    SELECT p_company, w.user_id, 'EXPIRY', -due.points, w.balance - sum(due.points) OVER running, w.debt,
        w.version + row_number() OVER running, public_id('usr', w.user_id), rfc3339(due.instant), due.instant, p_at
    FROM wallets AS w CROSS JOIN LATERAL (
        SELECT l.expires_at AS instant, sum(l.remaining)::bigint AS points FROM lots AS l
        WHERE l.company_id = p_company AND l.user_id = w.user_id AND l.open AND l.expires_at <= p_at
        GROUP BY l.expires_at
    ) AS due
    WHERE w.company_id = p_company AND w.user_id = ANY (p_users) AND w.next_expiry_at <= p_at
    WINDOW running AS (PARTITION BY w.user_id ORDER BY due.instant)
    ORDER BY w.user_id, due.instant;
    WITH expired AS (
        SELECT e.id AS entry_id, l.id, l.remaining
        FROM wallets AS w
        JOIN entries AS e ON e.company_id = p_company AND e.user_id = w.user_id AND e.version > w.version
        JOIN lots AS l ON l.company_id = p_company AND l.user_id = w.user_id AND l.open AND l.expires_at = e.effective_at
        WHERE w.company_id = p_company AND w.user_id = ANY (p_users)
    ), emptied AS (
        UPDATE lots SET remaining = 0 FROM expired WHERE lots.company_id = p_company AND lots.id = expired.id
    )
    INSERT INTO allocations (company_id, entry_id, lot_id, amount)
    SELECT p_company, entry_id, id, remaining FROM expired;
    RETURN QUERY WITH saved AS (
        UPDATE wallets AS w SET balance = w.balance - booked.points, total_expired = w.total_expired - booked.points,
            version = w.version + booked.entries, next_expiry_at = (
                SELECT min(l.expires_at) FROM lots AS l
                WHERE l.company_id = p_company AND l.user_id = w.user_id AND l.open AND l.expires_at < 'infinity')
        FROM unnest(p_users) AS person (id) CROSS JOIN LATERAL (
            SELECT coalesce(-sum(e.delta), 0)::bigint AS points, count(*) AS entries
            FROM wallets AS known JOIN entries AS e
                ON e.company_id = p_company AND e.user_id = person.id AND e.version > known.version
            WHERE known.company_id = p_company AND known.user_id = person.id
        ) AS booked
        WHERE w.company_id = p_company AND w.user_id = person.id
        RETURNING w.user_id, booked.points, w.balance
    ), announced AS (
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        SELECT p_company, gen_random_uuid(), 'points.expired', jsonb_build_object(
            'user_id', public_id('usr', user_id), 'points', points, 'balance', balance), p_at
        FROM saved WHERE points > 0
    )
    SELECT user_id, points FROM saved;
END $$;

-- Posts one earning (points above 0 that are new), reversal or reinstatement. Without `p_expiry_months` its points never
-- expire. Answers as book_posting does.
CREATE FUNCTION post_entry(
    p_company uuid, p_user uuid, p_type text, p_points bigint, p_reference text, p_occasion text DEFAULT '',
    p_note text DEFAULT NULL, p_program_version integer DEFAULT NULL, p_expiry_months integer DEFAULT NULL,
    p_priority smallint DEFAULT 100
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    w wallets := lock_wallet(p_company, p_user);
    at timestamptz;
    expires_at timestamptz;
BEGIN
    SELECT clock.now, months_later(clock.now, p_expiry_months, time_zone) INTO at, expires_at
    FROM companies CROSS JOIN LATERAL (SELECT coalesce(test_now, clock_timestamp()) AS now OFFSET 0) AS clock
    WHERE id = p_company;
    IF w.next_expiry_at <= at THEN
        w := wallet_at(w, at);
    END IF;
    RETURN book_posting(w, p_type, p_points, p_reference, p_occasion, p_note, p_program_version, p_priority, expires_at,
        at);
END $$;

-- The same for any number of people in one call, which locks their wallets in the order of their ids. Mostly it is one
-- posting. Each element:
--   {user_id, type, points, reference, occasion, note, program_version, expiry_months, priority}
-- The entry of each, in their order.
CREATE FUNCTION post_entries(p_company uuid, p_postings jsonb) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    entries bigint[] := '{}';
    sole jsonb := p_postings -> 0;
    person uuid;
    at timestamptz;
    zone text;
    w wallets;
    p record;
BEGIN
    IF jsonb_array_length(p_postings) = 1 THEN
        RETURN ARRAY[post_entry(p_company, (sole ->> 'user_id')::uuid, sole ->> 'type', (sole ->> 'points')::bigint,
            sole ->> 'reference', coalesce(sole ->> 'occasion', ''), sole ->> 'note',
            (sole ->> 'program_version')::integer, (sole ->> 'expiry_months')::integer,
            coalesce((sole ->> 'priority')::smallint, 100::smallint))];
    END IF;
    FOR person IN SELECT DISTINCT (each ->> 'user_id')::uuid FROM jsonb_array_elements(p_postings) AS each ORDER BY 1 LOOP
        w := lock_wallet(p_company, person);
    END LOOP;
    SELECT coalesce(test_now, clock_timestamp()), time_zone INTO STRICT at, zone FROM companies WHERE id = p_company;
    FOR p IN
        SELECT * FROM ROWS FROM (jsonb_to_recordset(p_postings) AS (
            user_id uuid, type text, points bigint, reference text, occasion text, note text,
            program_version integer, expiry_months integer, priority smallint)) WITH ORDINALITY AS each (
            user_id, type, points, reference, occasion, note, program_version, expiry_months, priority, position)
        ORDER BY position
    LOOP
        SELECT * INTO STRICT w FROM wallets WHERE company_id = p_company AND user_id = p.user_id;
        IF w.next_expiry_at <= at THEN
            w := wallet_at(w, at);
        END IF;
        entries := array_append(entries, book_posting(w, p.type, p.points, p.reference, coalesce(p.occasion, ''), p.note,
            p.program_version, coalesce(p.priority, 100::smallint), months_later(at, p.expiry_months, zone), at));
    END LOOP;
    RETURN entries;
END $$;

-- An entry as docs/api.md, Points, shows it.
CREATE FUNCTION entry_json(e entries, note text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'id', 'txn_' || e.id, 'type', e.type, 'delta', e.delta, 'debt_delta', e.debt_delta,
        'balance_after', e.balance_after, 'debt_after', e.debt_after, 'version', e.version, 'ref', e.reference,
        'note', note, 'effective_at', goodword.rfc3339(e.effective_at),
        'created_at', goodword.rfc3339(e.created_at));
END $$;

-- The steps of an adjustment: points that are given by hand or, negative, taken.

-- When points that come in at `p_at` expire by the program in force; NULL: never.
CREATE FUNCTION usual_expiry(p_company uuid, p_at timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT months_later(p_at, (
            SELECT (program ->> 'points_expiry_months')::integer FROM program_versions
            WHERE company_id = p_company ORDER BY version DESC LIMIT 1), time_zone)
        FROM companies WHERE id = p_company);
END $$;

-- Why a wallet is not adjusted so; NULL where it is.
CREATE FUNCTION refusal_of_adjustment(
    w wallets, p_points bigint, p_expires_at timestamptz, p_at timestamptz, p_request_id text
) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_expires_at <= p_at THEN
        RETURN problem(422, 'expires_in_the_past', 'expires_at must lie in the future.', p_request_id);
    ELSIF w.balance + p_points < 0 THEN
        RETURN problem(422, 'insufficient_points', 'The user has fewer points than would be taken.', p_request_id,
            jsonb_build_object('balance', w.balance, 'required', -p_points));
    END IF;
    RETURN NULL;
END $$;

-- The entry of an adjustment, with the wallet saved.
CREATE FUNCTION book_adjustment(
    w wallets, p_points bigint, p_reference text, p_note text, p_priority smallint, p_expires_at timestamptz,
    p_at timestamptz
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    booked booking;
BEGIN
    IF p_points > 0 THEN
        RETURN book_posting(w, 'ADMIN_GRANT', p_points, p_reference, '', p_note, NULL, p_priority,
            coalesce(p_expires_at, usual_expiry(w.company_id, p_at)), p_at);
    END IF;
    booked := append_entry(w, 'ADMIN_GRANT', p_points, 0, p_reference, '', p_note, NULL, p_at, p_at);
    PERFORM burn_lots(w, booked.entry_id, -p_points);
    PERFORM save_wallet(booked.wallet);
    RETURN booked.entry_id;
END $$;

-- POST /v1/users/{user_id}/points in one trip.
CREATE FUNCTION adjust_points(
    p_company uuid, p_external_id text, p_points bigint, p_note text, p_expires_at timestamptz,
    p_priority smallint, p_adjustment text, p_key text, p_hash bytea, p_request_id text, p_outbox uuid, p_activity uuid
) RETURNS kept_answer LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    kept kept_answer := answer_of_key(p_company, p_key, p_hash, p_request_id);
    person uuid;
    at timestamptz;
    w wallets;
    entry bigint;
    answer jsonb;
    refusal jsonb;
BEGIN
    IF kept.status IS NOT NULL THEN
        RETURN kept;
    END IF;
    SELECT id INTO person FROM users WHERE company_id = p_company AND external_id = p_external_id;
    IF person IS NULL THEN
        refusal := problem(404, 'user_not_found', 'There is no such user.', p_request_id);
    ELSE
        w := lock_wallet(p_company, person);
        at := company_now(p_company);
        w := wallet_at(w, at);
        refusal := refusal_of_adjustment(w, p_points, p_expires_at, at, p_request_id);
    END IF;
    IF refusal IS NULL THEN
        entry := book_adjustment(w, p_points, p_adjustment, p_note, p_priority, p_expires_at, at);
        SELECT entry_json(e, p_note) INTO STRICT answer FROM entries e WHERE company_id = p_company AND id = entry;
        PERFORM record_deed(p_company, person, at,
            p_outbox, 'points.adjusted', answer - 'note' || jsonb_build_object('user_id', p_external_id),
            p_activity, 'points_adjusted', jsonb_build_object('points', p_points, 'transaction_id', answer -> 'id'));
    END IF;
    RETURN finish_one_trip(p_company, p_key, 201::smallint, answer, refusal);
END $$;

-- What a user may spend at `at`, exact whether or not expiry has been booked.
CREATE FUNCTION spendable(p_company uuid, p_user uuid, at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT balance - CASE WHEN next_expiry_at <= at THEN coalesce((
                SELECT sum(remaining) FROM goodword.lots
                WHERE lots.company_id = p_company AND lots.user_id = p_user AND open AND expires_at <= at), 0)
            ELSE 0 END
        FROM goodword.wallets WHERE wallets.company_id = p_company AND wallets.user_id = p_user), 0)::bigint;
END $$;

GRANT SELECT ON wallets, entries, entry_notes, lots, allocations TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT ON wallets, entries, entry_notes, lots, allocations TO :"ledger";
GRANT UPDATE ON wallets, lots TO :"ledger";
GRANT EXECUTE ON FUNCTION entry_total, spendable, entry_json TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION lock_wallet, save_wallet, append_entry, burn_lots, book_due_expiry, repay_debt,
    reversible, book_reversal, book_posting, wallet_at, expire_lots, usual_expiry, refusal_of_adjustment, book_adjustment
    TO :"ledger";
GRANT EXECUTE ON FUNCTION post_entry, post_entries TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION adjust_points TO :"admin";
ALTER FUNCTION post_entry OWNER TO :"ledger";
ALTER FUNCTION post_entries OWNER TO :"ledger";
ALTER FUNCTION adjust_points OWNER TO :"ledger";
