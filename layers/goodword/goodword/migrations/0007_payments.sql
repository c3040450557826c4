-- Payments, takebacks and subscriptions: the facts of money, as every provider reports them.

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
    SELECT measure.part, measure.whole
    FROM (VALUES
        (1, back.currency = payment.currency, back.amount, payment.gross_amount),
        (2, back.currency = payment.other_currency, back.amount, payment.other_amount),
        (3, back.other_currency = payment.other_currency, back.other_amount, payment.other_amount),
        (4, back.other_currency = payment.currency, back.other_amount, payment.gross_amount),
        (5, back.currency IS NULL OR payment.currency IS NULL, back.amount, payment.gross_amount),
        (6, true, payment.gross_amount, payment.gross_amount)
    ) AS measure (rank, comparable, part, whole)
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

-- Two provider objects of one sale (Stripe's invoice and payment intent), in both directions.
CREATE TABLE object_links (
    company_id  uuid NOT NULL,
    provider    text NOT NULL,
    object_id   text NOT NULL,
    other_id    text NOT NULL,
    CONSTRAINT object_links_pk PRIMARY KEY (company_id, provider, object_id, other_id),
    CONSTRAINT object_links_company_fk FOREIGN KEY (company_id) REFERENCES companies (id)
);

-- These objects and all that are parts of the same sale. A sale's objects are few: an invoice, what paid it, charges.
CREATE FUNCTION sale_objects(p_company uuid, p_provider text, p_objects text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    sale text[] := p_objects;
    found text[];
BEGIN
    LOOP
        found := ARRAY(
            SELECT DISTINCT other_id FROM object_links
            WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (sale)
                AND other_id <> ALL (sale));
        IF found = '{}' THEN
            RETURN sale;
        END IF;
        sale := sale || found;
    END LOOP;
END $$;

-- Everything with an owner that has one of these objects: payments, and subscriptions by their keys, with what they
-- name themselves and whose they are. The objects alone find them, and their company is looked at afterwards (OFFSET
-- 0): a plan that is made while a company has few payments would go through all of them, and be kept when they are
-- many.
CREATE FUNCTION owned_beside(p_company uuid, p_provider text, p_objects text[])
    RETURNS TABLE (
        payment_id uuid, subscription_key text, objects text[], external_id text, reference text, user_id uuid,
        claimed_by text)
    LANGUAGE sql STABLE AS $$
    SELECT id, NULL, objects, external_id, reference, user_id, claimed_by
    FROM (
        SELECT company_id, provider, id, objects, external_id, reference, user_id, claimed_by
        FROM payments WHERE objects && (SELECT p_objects) OFFSET 0) AS paid
    WHERE company_id = p_company AND provider = p_provider
    UNION ALL
    SELECT NULL, subscription_key, objects, external_id, NULL, user_id, claimed_by
    FROM (
        SELECT company_id, provider, subscription_key, objects, external_id, user_id, claimed_by
        FROM subscriptions WHERE objects && (SELECT p_objects) OFFSET 0) AS subscribed
    WHERE company_id = p_company AND provider = p_provider
$$;

-- The refunds and disputes that are told of one of these objects.
CREATE FUNCTION takebacks_beside(p_company uuid, p_provider text, p_objects text[])
    RETURNS TABLE (kind text, takeback_key text, objects text[])
    LANGUAGE sql STABLE AS $$
    SELECT kind, takeback_key, objects
    FROM (
        SELECT company_id, provider, kind, takeback_key, objects
        FROM takebacks WHERE objects && (SELECT p_objects) OFFSET 0) AS beside
    WHERE company_id = p_company AND provider = p_provider
$$;

-- Joins what belongs to one sale, through the ids these objects share or have been linked to, whichever came first: a
-- payment that stands in for its sale gives way to the sale's own, and refunds and disputes find their payment. The
-- payments are locked: a signup that claims one at this moment comes before or after, never beside.
-- Returns the people whose payments they are.
CREATE FUNCTION match_takebacks(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF uuid
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    related text[] := sale_objects(p_company, p_provider, p_objects);
    stand_in record;
    takeback record;
    payment payments;
    payer uuid;
BEGIN
    FOR stand_in IN
        SELECT part.id, part.stands_in_for
        FROM unnest((SELECT related)) AS sale (object_id) CROSS JOIN LATERAL (
            SELECT * FROM payments
            WHERE company_id = p_company AND stands_in_for = sale.object_id AND provider = p_provider
            OFFSET 0) AS part
        WHERE NOT part.superseded
    LOOP
        IF EXISTS (
            SELECT FROM owned_beside(p_company, p_provider,
                sale_objects(p_company, p_provider, ARRAY[stand_in.stands_in_for])) AS sold
            JOIN payments AS own ON own.company_id = p_company AND own.id = sold.payment_id
            WHERE own.stands_in_for IS NULL)
        THEN
            UPDATE payments SET superseded = true WHERE company_id = p_company AND id = stand_in.id
            RETURNING user_id INTO payer;
            IF payer IS NOT NULL THEN RETURN NEXT payer; END IF;
        END IF;
    END LOOP;
    FOR takeback IN
        SELECT * FROM takebacks_beside(p_company, p_provider, related) ORDER BY kind, takeback_key
    LOOP
        SELECT * INTO payment FROM payments
        WHERE company_id = p_company AND NOT superseded AND id = ANY (ARRAY(
            SELECT payment_id
            FROM owned_beside(p_company, p_provider, sale_objects(p_company, p_provider, takeback.objects))))
        ORDER BY paid_at, payment_key LIMIT 1 FOR NO KEY UPDATE;
        IF FOUND THEN
            UPDATE takebacks SET payment_id = payment.id
            WHERE company_id = p_company AND provider = p_provider AND kind = takeback.kind
                AND takeback_key = takeback.takeback_key AND payment_id IS DISTINCT FROM payment.id;
            IF payment.user_id IS NOT NULL THEN RETURN NEXT payment.user_id; END IF;
        END IF;
    END LOOP;
END $$;

GRANT SELECT ON takebacks, subscriptions TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON takebacks, subscriptions TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION takeback_state, takeback_rank, taken_part, subscription_rank, sale_objects, owned_beside,
    takebacks_beside, match_takebacks
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT ON payments, object_links TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON payments, object_links TO :"webhook", :"app", :"admin", :"jobs";
