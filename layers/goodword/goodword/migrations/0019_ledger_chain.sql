-- The ledger's proof: a hash chain per company, and what audits found: docs/rules.md, Proof of the books.
--
-- Entries are sealed after the fact, by a job: a posting pays nothing for it. A seal's hash is
-- sha256(hash of the seal before || entry_digest), and before the first one stand 32 zero bytes, so whoever changes,
-- removes or adds an entry has to rewrite every later seal, and the head that somebody may have noted elsewhere.
-- docs/operations.md tells how anybody can compute a chain again.

-- No foreign key to entries: evidence must outlive what it is evidence of.
CREATE TABLE seals (
    company_id  uuid NOT NULL,
    position    bigint NOT NULL,
    entry_id    bigint NOT NULL,
    hash        bytea NOT NULL,
    CONSTRAINT seals_pk PRIMARY KEY (company_id, position),
    CONSTRAINT seals_entry_uq UNIQUE (company_id, entry_id),
    CONSTRAINT seals_position_ck CHECK (position > 0),
    CONSTRAINT seals_hash_ck CHECK (length(hash) = 32)
);
CREATE TRIGGER seals_append_only BEFORE UPDATE OR DELETE ON seals
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seals_no_truncate BEFORE TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Where each chain ends.
CREATE TABLE chain_heads (
    company_id  uuid NOT NULL,
    position    bigint NOT NULL,
    hash        bytea NOT NULL,
    sealed_at   timestamptz NOT NULL,
    CONSTRAINT chain_heads_pk PRIMARY KEY (company_id),
    CONSTRAINT chain_heads_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
) WITH (fillfactor = 70);

-- How far the sealing has come, in the order of transactions: one row for all companies, and the sealer's lock.
CREATE TABLE sealing (
    only_row  boolean NOT NULL DEFAULT true,
    xact      bigint NOT NULL DEFAULT 0,
    entry     bigint NOT NULL DEFAULT 0,
    CONSTRAINT sealing_pk PRIMARY KEY (only_row),
    CONSTRAINT sealing_only_row_ck CHECK (only_row)
);
INSERT INTO sealing DEFAULT VALUES;

-- What is sealed of an entry: all that was booked, and of its note the hash alone, for the note can be erased.
CREATE FUNCTION entry_digest(e entries) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256(convert_to(jsonb_build_array(
        'goodword entry 1', e.company_id, e.id, e.user_id, e.type, e.delta, e.debt_delta, e.balance_after, e.debt_after,
        e.version, e.reference, e.occasion, encode(e.note_hash, 'hex'), e.program_version, rfc3339(e.effective_at),
        rfc3339(e.created_at))::text, 'UTF8'));

CREATE FUNCTION chain_link(hash bytea, head bytea, digest bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256(coalesce(hash, head) || digest);

-- The running hash of a chain that goes on from `head`.
CREATE AGGREGATE chain_hash(head bytea, digest bytea) (SFUNC = chain_link, STYPE = bytea);

-- Seals up to `p_limit` entries; `more` says that there may be others. One sealer at a time: a second one does nothing.
--
-- An entry may be sealed once no transaction can come that belongs before it. Ids cannot tell: they are given out before
-- the commit. Transactions can: everything below the snapshot's xmin has ended, and what it wrote is seen, or never was;
-- whatever commits later is numbered xmin or above. So entries are taken in the order of (transaction, id), below xmin,
-- and nothing is skipped, however late it commits.
--
-- A database that was copied into another cluster row by row has entries with the other cluster's numbers. Those from
-- xmax on cannot be this cluster's (a snapshot sees nothing that young), hence they have ended; and where the counter
-- lies behind what was sealed already, the sealing begins at the beginning and passes over what has its seal.
CREATE FUNCTION seal_entries(p_limit integer, OUT sealed bigint, OUT more boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    reached sealing;
BEGIN
    sealed := 0;
    more := false;
    SELECT * INTO reached FROM sealing FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF reached.xact >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint THEN
        reached.xact := 0;
        reached.entry := 0;
    END IF;
    -- one statement, for what it reads and the xmin it goes by must be of one snapshot
    WITH own AS MATERIALIZED (
        SELECT e FROM entries e
        WHERE e.xact >= reached.xact AND (e.xact, e.id) > (reached.xact, reached.entry)
            AND e.xact < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
        ORDER BY e.xact, e.id LIMIT p_limit
    ), copied AS MATERIALIZED (
        SELECT e FROM entries e
        WHERE e.xact >= (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
            AND NOT EXISTS (SELECT 1 FROM seals s WHERE s.company_id = e.company_id AND s.entry_id = e.id)
        ORDER BY e.xact, e.id LIMIT p_limit
    ), unsealed AS (
        SELECT e FROM own
        WHERE NOT EXISTS (SELECT 1 FROM seals s WHERE s.company_id = (e).company_id AND s.entry_id = (e).id)
        UNION ALL
        SELECT e FROM copied
    ), linked AS (
        SELECT (e).company_id, (e).id AS entry_id,
            coalesce(h.position, 0) + row_number() OVER chain AS position,
            chain_hash(coalesce(h.hash, decode(repeat('00', 32), 'hex')), entry_digest(e)) OVER chain AS hash
        FROM unsealed LEFT JOIN chain_heads h ON h.company_id = (e).company_id
        -- a chain whose head was tampered with is left to the audit; the others are sealed
        WHERE NOT EXISTS (SELECT 1 FROM seals s
            WHERE s.company_id = (e).company_id AND s.position > coalesce(h.position, 0))
        WINDOW chain AS (PARTITION BY (e).company_id ORDER BY (e).xact, (e).id ROWS UNBOUNDED PRECEDING)
    ), added AS (
        INSERT INTO seals (company_id, position, entry_id, hash)
        SELECT company_id, position, entry_id, hash FROM linked
    ), heads AS (
        INSERT INTO chain_heads (company_id, position, hash, sealed_at)
        SELECT DISTINCT ON (company_id) company_id, position, hash, clock_timestamp() FROM linked
        ORDER BY company_id, position DESC
        ON CONFLICT ON CONSTRAINT chain_heads_pk DO UPDATE
        SET position = excluded.position, hash = excluded.hash, sealed_at = excluded.sealed_at
    ), moved AS (
        UPDATE sealing SET xact = (last.e).xact, entry = (last.e).id
        FROM (SELECT e FROM own ORDER BY (e).xact DESC, (e).id DESC LIMIT 1) AS last
    )
    SELECT (SELECT count(*) FROM linked),
        p_limit IN ((SELECT count(*) FROM own), (SELECT count(*) FROM copied))
    INTO sealed, more;
END $$;

-- Writes wallets, and what remains in lots, anew from entries and allocations, each wallet under its lock: for an
-- operator, after the audit named wallets or lots that do not agree with their entries. One row per wallet that was wrong:
-- its balance before and after, and how many of its lots were.
CREATE FUNCTION rebuild_wallets(p_company uuid)
    RETURNS TABLE (user_id uuid, balance_before bigint, balance_after bigint, lots_changed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = goodword, pg_temp AS $$
DECLARE
    before wallets;
    w wallets;
BEGIN
    FOR user_id IN
        SELECT wallets.user_id FROM wallets WHERE company_id = p_company
        UNION SELECT e.user_id FROM entries e WHERE company_id = p_company
        ORDER BY 1
    LOOP
        before := lock_wallet(p_company, user_id);
        w := before;
        UPDATE lots SET remaining = due.remaining
        FROM (
            SELECT l.id, l.amount - coalesce((
                SELECT sum(a.amount) FROM allocations a WHERE a.company_id = p_company AND a.lot_id = l.id), 0) AS remaining
            FROM entries e JOIN lots l ON l.company_id = e.company_id AND l.id = e.id
            WHERE e.company_id = p_company AND e.user_id = rebuild_wallets.user_id
        ) AS due
        WHERE lots.company_id = p_company AND lots.id = due.id AND lots.remaining <> due.remaining;
        GET DIAGNOSTICS lots_changed = ROW_COUNT;
        SELECT coalesce(sum(delta), 0), coalesce(sum(debt_delta), 0), coalesce(max(version), 0),
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'earned'), 0),
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'spent'), 0),
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'expired'), 0),
            coalesce(sum(delta) FILTER (WHERE entry_total(type, delta) = 'reversed'), 0)
        INTO w.balance, w.debt, w.version, w.total_earned, w.total_spent, w.total_expired, w.total_reversed
        FROM entries e WHERE e.company_id = p_company AND e.user_id = rebuild_wallets.user_id;
        w.next_expiry_at := least(w.next_expiry_at, (
            SELECT min(expires_at) FROM lots l
            WHERE l.company_id = p_company AND l.user_id = rebuild_wallets.user_id AND open AND expires_at < 'infinity'));
        IF lots_changed > 0 OR w IS DISTINCT FROM before THEN
            PERFORM save_wallet(w);
            balance_before := before.balance;
            balance_after := w.balance;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

-- The latest result of each check of a company's books (goodword.insight.checks), as an audit found it.
CREATE TABLE integrity_checks (
    company_id  uuid NOT NULL,
    name        text NOT NULL,
    ok          boolean NOT NULL,
    detail      text,
    checked_at  timestamptz NOT NULL,
    CONSTRAINT integrity_checks_pk PRIMARY KEY (company_id, name),
    CONSTRAINT integrity_checks_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT integrity_checks_detail_ck CHECK (ok = (detail IS NULL))
);

-- How far a company's audit has come: where the next window begins, and what was found before it. `space` is NULL between
-- audits, `started_at` where one was asked for out of turn.
CREATE TABLE audits (
    company_id  uuid NOT NULL,
    started_at  timestamptz,
    space       text,
    first_key   text,
    faults      jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT audits_pk PRIMARY KEY (company_id),
    CONSTRAINT audits_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT audits_started_ck CHECK (space IS NULL OR started_at IS NOT NULL)
);

GRANT SELECT ON seals, chain_heads, sealing TO :"admin", :"jobs", :"ledger";
GRANT SELECT ON integrity_checks TO :"admin";
GRANT SELECT, INSERT, UPDATE ON integrity_checks, audits TO :"jobs";
GRANT INSERT ON seals, chain_heads TO :"ledger";
GRANT UPDATE ON chain_heads, sealing TO :"ledger";
GRANT EXECUTE ON FUNCTION entry_digest TO :"admin", :"jobs", :"ledger";
GRANT EXECUTE ON FUNCTION chain_link, chain_hash TO :"ledger";
GRANT EXECUTE ON FUNCTION seal_entries TO :"jobs";
ALTER FUNCTION seal_entries OWNER TO :"ledger";
-- An operator calls it as the migrator, who belongs to the ledger's role; no function of the application may.
ALTER FUNCTION rebuild_wallets OWNER TO :"ledger";
