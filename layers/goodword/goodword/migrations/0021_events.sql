-- Events on their way: what a provider tells of sales is kept in one statement (facts/__init__.py, `keep`).

-- Locks everything that an event is about: its objects, the e-mails that it shows (`p_hashes`) and those that were ever
-- shown beside them, and the people. Returns what is around the objects, and whether something has them.
CREATE FUNCTION lock_event(
    p_company uuid, p_provider text, p_objects text[], p_names text[], p_hashes bytea[],
    OUT around surroundings, OUT is_owned boolean
) LANGUAGE plpgsql AS $$
DECLARE
    hashes bytea[];
BEGIN
    around := lock_objects(p_company, p_provider, p_objects);
    hashes := p_hashes || around.hashes;
    IF hashes <> '{}' THEN
        PERFORM lock_emails(p_company, hashes);
    END IF;
    is_owned := lock_people(p_company, p_provider, around, p_names, p_hashes);
    IF around.linked <> '{}' AND (around.linked_user IS NULL OR cardinality(around.linked) > 1) THEN
        -- whom a link names may have signed up until they were held
        around := look_around(p_company, p_provider, p_objects);
    END IF;
END $$;

-- These objects belong to the person whom the link names, since the earliest instant that is told of; a reference is a
-- weaker name than the app's own word, and becomes that word once it is told as such. One event may say it twice.
CREATE FUNCTION store_links(p_company uuid, p_provider text, p_links jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO identity_links AS known (company_id, provider, object_id, external_id, by_reference, linked_at)
    SELECT p_company, p_provider, object_id, coalesce(external_id, reference), bool_and(external_id IS NULL), min(at)
    FROM jsonb_to_recordset(p_links) AS link (objects text[], external_id text, reference text, at timestamptz),
        unnest(objects) AS object_id
    GROUP BY object_id, coalesce(external_id, reference)
    ON CONFLICT ON CONSTRAINT identity_links_pk DO UPDATE
        SET by_reference = known.by_reference AND excluded.by_reference,
            linked_at = least(known.linked_at, excluded.linked_at)
        WHERE excluded.linked_at < known.linked_at OR known.by_reference AND NOT excluded.by_reference;
END $$;

-- E-mails were shown beside objects; of those who have verified one it is known anew, under the keys of today.
CREATE FUNCTION store_emails(p_company uuid, p_provider text, p_emails jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT * FROM jsonb_to_recordset(p_emails) AS shown (
            email text, objects text[], hashes bytea[], key_ids smallint[])
    LOOP
        INSERT INTO object_emails (company_id, provider, object_id, email_hash, hash_key_id)
        SELECT p_company, p_provider, object_id, email_hash, hash_key_id
        FROM unnest(shown.objects) AS object_id,
            unnest(shown.hashes, shown.key_ids) AS hashed (email_hash, hash_key_id)
        ON CONFLICT ON CONSTRAINT object_emails_pk DO NOTHING;
        PERFORM verify_email(p_company, shown.email, shown.hashes, shown.key_ids);
    END LOOP;
END $$;

-- One payment, `told` by its columns. A new one is written with the owner that it has by what is around its objects: to
-- give it one afterwards would be to write all of it again. Another event of a known sale says nothing new of the
-- money, but may name more of its objects, or its person. `around` is what is around the objects of its event.
-- Returns the owner by what is known now, and whether the payment is new.
CREATE FUNCTION store_payment(
    p_company uuid, p_provider text, told jsonb, p_objects text[], around surroundings,
    OUT owner uuid, OUT is_new boolean
) LANGUAGE plpgsql AS $$
DECLARE
    payment payments := jsonb_populate_record(NULL::payments, told);
    own record;
    stored uuid;
BEGIN
    IF NOT p_objects <@ payment.objects THEN
        around := look_around(p_company, p_provider, payment.objects);
    END IF;
    own := owner_in(p_company, payment.external_id, payment.reference, around);
    owner := own.owner;
    payment.company_id := p_company;
    payment.provider := p_provider;
    payment.user_id := own.owner;
    payment.claimed_by := own.claimed_by;
    payment.superseded := false;
    payment.recorded_at := company_now(p_company);
    INSERT INTO payments AS known VALUES (payment.*)
    ON CONFLICT ON CONSTRAINT payments_key_uq DO UPDATE
        SET objects = ARRAY(SELECT DISTINCT unnest(known.objects || excluded.objects)),
            external_id = coalesce(known.external_id, excluded.external_id),
            reference = coalesce(known.reference, excluded.reference),
            other_amount = coalesce(known.other_amount, excluded.other_amount),
            other_currency = coalesce(known.other_currency, excluded.other_currency)
        WHERE NOT known.objects @> excluded.objects
            OR (known.external_id IS NULL AND excluded.external_id IS NOT NULL)
            OR (known.reference IS NULL AND excluded.reference IS NOT NULL)
            OR (known.other_amount IS NULL AND excluded.other_amount IS NOT NULL)
    RETURNING id INTO stored;
    is_new := coalesce(stored = payment.id, false);
    IF is_new THEN
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        VALUES (p_company, (told ->> 'outbox_id')::uuid, 'payment.succeeded', jsonb_build_object(
            'id', public_id('pay', payment.id), 'provider', p_provider, 'currency', payment.currency,
            'net_amount', payment.net_amount, 'paid_at', rfc3339(payment.paid_at)), payment.recorded_at);
    END IF;
END $$;

-- Keeps what an event tells of sales: whom it links, the e-mails that it shows, and payments. Then what belongs to one
-- sale is joined, and everything is given to its owner. What the event tells besides is stored before, under the same
-- locks; `p_is_of_sale`: it tells of money, or of what is one sale.
-- Returns the users whose sale it is (`matched`); all who are to be settled, who are these, the owners before and
-- after, and those whom the event names (`concerned`); and whether one of its payments is nobody's yet.
-- Locks: all that the event is about, and then the payments and subscriptions that may change hands.
CREATE FUNCTION keep_event(
    p_company uuid, p_provider text, p_objects text[], p_names text[], p_hashes bytea[], p_links jsonb,
    p_emails jsonb, p_payments jsonb, p_is_of_sale boolean,
    OUT matched uuid[], OUT concerned uuid[], OUT has_parked boolean
) LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    held record := lock_event(p_company, p_provider, p_objects, p_names, p_hashes);
    around surroundings := held.around;
    is_owned boolean := held.is_owned;
    is_joined boolean := around.partners <> '{}' OR around.stands_in;
    stored record;
    name text;
BEGIN
    concerned := '{}';
    has_parked := false;
    IF p_links <> '[]' THEN
        PERFORM store_links(p_company, p_provider, p_links);
    END IF;
    IF p_emails <> '[]' THEN
        PERFORM store_emails(p_company, p_provider, p_emails);
    END IF;
    IF p_links <> '[]' OR p_emails <> '[]' THEN
        around := look_around(p_company, p_provider, p_objects);
    END IF;
    FOR i IN 0 .. jsonb_array_length(p_payments) - 1 LOOP
        stored := store_payment(p_company, p_provider, p_payments -> i, p_objects, around);
        IF stored.is_new THEN
            concerned := concerned || stored.owner;
            has_parked := has_parked OR stored.owner IS NULL;
        END IF;
        is_owned := is_owned OR NOT stored.is_new;
        is_joined := is_joined OR p_payments -> i ->> 'stands_in_for' IS NOT NULL;
    END LOOP;
    IF p_is_of_sale AND (is_joined OR EXISTS (SELECT FROM takebacks_beside(p_company, p_provider, p_objects))) THEN
        matched := ARRAY(SELECT match_takebacks(p_company, p_provider, p_objects));
    END IF;
    -- of what is new alone the owners are known
    IF is_owned THEN
        concerned := concerned || ARRAY(SELECT claim(p_company, p_provider, p_objects));
        has_parked := EXISTS (
            SELECT FROM jsonb_array_elements(p_payments) AS told WHERE (
                SELECT user_id FROM payments WHERE company_id = p_company AND provider = p_provider
                    AND payment_key = told ->> 'payment_key') IS NULL);
    ELSE
        concerned := concerned || (owner_in(p_company, NULL, NULL, around)).owner;
    END IF;
    FOREACH name IN ARRAY p_names LOOP
        concerned := concerned || (SELECT id FROM users WHERE company_id = p_company AND external_id = name);
    END LOOP;
    concerned := array_remove(concerned || matched, NULL);
END $$;

GRANT EXECUTE ON FUNCTION lock_event, store_links, store_emails, store_payment, keep_event
    TO :"webhook", :"app", :"admin", :"jobs";
