-- Ownership: whose a payment or a subscription is, by all that is known.

-- Which people a provider's object belongs to, by the app's own ids: known perhaps before they sign up, and since when.
-- `by_reference`: named by nothing but a checkout's reference, which need not be anybody's id. `linked_at` infinity: the
-- object was once the user's own (a customer of Stripe, a user of Whop) and is so no longer.
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

-- Keeps by its hashes that an e-mail is verified, for those users of whom `users.verified_email` says so.
CREATE FUNCTION verify_email(p_company uuid, p_email text, p_hashes bytea[], p_key_ids smallint[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    FOR holder IN SELECT id FROM users WHERE company_id = p_company AND verified_email = p_email LOOP
        INSERT INTO verified_emails (company_id, email_hash, hash_key_id, user_id)
        SELECT p_company, email_hash, hash_key_id, holder
        FROM unnest(p_hashes, p_key_ids) AS hashed (email_hash, hash_key_id)
        ON CONFLICT ON CONSTRAINT verified_emails_pk DO NOTHING;
    END LOOP;
END $$;

-- These objects, and those that are linked to them as parts of one sale: as far as a key reaches from one of them.
CREATE FUNCTION with_partners(p_company uuid, p_provider text, p_objects text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN p_objects || ARRAY(
        SELECT other_id FROM object_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (p_objects));
END $$;

-- What is known around `objects`: their `partners`; the hashes of the e-mails shown beside them; whom links name, of
-- these the earliest linked who has signed up, and whether a link names anybody by more than a reference (`is_named`);
-- the users whose own an object is, the customers of Stripe and the users of Whop, of whom the first by name counts;
-- and whether a payment stands in for one of them.
CREATE TYPE surroundings AS (
    objects      text[],
    partners     text[],
    hashes       bytea[],
    linked       text[],
    linked_user  uuid,
    linked_name  text,
    is_named     boolean,
    own          text[],
    own_user     uuid,
    own_name     text,
    stands_in    boolean
);

-- Whom links of objects name, the earliest first, who of them has signed up, and whose own the object once was.
CREATE FUNCTION links_of(p_company uuid, p_provider text, p_objects text[])
    RETURNS TABLE (external_id text, by_reference boolean, was_own boolean, user_id uuid)
    LANGUAGE sql STABLE AS $$
    SELECT link.external_id, link.by_reference, link.linked_at = 'infinity', (
        SELECT id FROM users WHERE company_id = p_company AND users.external_id = link.external_id)
    FROM unnest((SELECT p_objects)) AS each (object) CROSS JOIN LATERAL (
        SELECT * FROM identity_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = each.object OFFSET 0) AS link
    ORDER BY link.linked_at, link.external_id
$$;

-- Looks at objects in one statement, and in a second where anything links them. It goes by object: for as long as a
-- company is small the planner would rather read all that it has, and keep that plan. The sub-selects hide from it how
-- many objects there are and whose: it would plan anew at every call, for just these.
CREATE FUNCTION look_at(p_company uuid, p_provider text, p_objects text[]) RETURNS surroundings
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    around surroundings := (p_objects, '{}', '{}', '{}', NULL, NULL, false, '{}', NULL, NULL, false);
    found record;
    link record;
BEGIN
    FOR found IN
        SELECT ARRAY(SELECT other_id FROM object_links
                WHERE company_id = p_company AND provider = p_provider AND object_id = each.object) AS partners,
            ARRAY(SELECT email_hash FROM object_emails
                WHERE company_id = p_company AND provider = p_provider AND object_id = each.object) AS hashes,
            ARRAY(SELECT external_id FROM identity_links
                WHERE company_id = p_company AND provider = p_provider AND object_id = each.object) AS linked,
            CASE (SELECT p_provider)
                WHEN 'stripe' THEN (SELECT own FROM users AS own
                    WHERE company_id = p_company AND stripe_customer_id = each.object)
                WHEN 'whop' THEN (SELECT own FROM users AS own
                    WHERE company_id = p_company AND whop_user_id = each.object)
            END AS own,
            EXISTS (SELECT FROM payments WHERE company_id = p_company AND stands_in_for = each.object) AS stands_in
        FROM unnest((SELECT p_objects)) AS each (object)
    LOOP
        around.partners := around.partners || found.partners;
        around.hashes := around.hashes || found.hashes;
        around.linked := around.linked || found.linked;
        around.stands_in := around.stands_in OR found.stands_in;
        IF (found.own).id IS NOT NULL THEN
            around.own := around.own || (found.own).external_id;
            IF around.own_name IS NULL OR (found.own).external_id < around.own_name THEN
                around.own_user := (found.own).id;
                around.own_name := (found.own).external_id;
            END IF;
        END IF;
    END LOOP;
    IF around.linked <> '{}' THEN
        FOR link IN SELECT * FROM links_of(p_company, p_provider, p_objects) LOOP
            -- whose own an object was says less than whose own it is
            CONTINUE WHEN link.was_own AND around.own_user IS NOT NULL;
            IF around.linked_user IS NULL AND link.user_id IS NOT NULL THEN
                around.linked_user := link.user_id;
                around.linked_name := link.external_id;
            END IF;
            around.is_named := around.is_named OR NOT link.by_reference;
        END LOOP;
    END IF;
    RETURN around;
END $$;

-- Looks at objects with their partners: as far as a key reaches from one of them.
CREATE FUNCTION look_around(p_company uuid, p_provider text, p_objects text[]) RETURNS surroundings
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    around surroundings := look_at(p_company, p_provider, p_objects);
BEGIN
    IF around.partners <@ p_objects THEN
        RETURN around;
    END IF;
    RETURN look_at(p_company, p_provider, p_objects || around.partners);
END $$;

-- The ids of the users who have verified the e-mails behind some hashes.
CREATE FUNCTION holders_of(p_company uuid, p_hashes bytea[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE AS $$
    SELECT verified.user_id FROM unnest((SELECT p_hashes)) AS each (hash) CROSS JOIN LATERAL (
        SELECT user_id FROM verified_emails
        WHERE company_id = p_company AND email_hash = each.hash OFFSET 0) AS verified
$$;

CREATE FUNCTION names_of_holders(p_company uuid, p_hashes bytea[]) RETURNS text[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT (SELECT external_id FROM users WHERE company_id = p_company AND id = holder)
        FROM holders_of(p_company, p_hashes) AS holder);
END $$;

-- The owner of something that has objects with these surroundings, and what makes it theirs. In this order: the person
-- whom it names itself (`p_named`), who may have to sign up yet; the person whom its own reference names, if they have
-- signed up; the earliest link of an object to somebody who has signed up; the user whose own an object is; nobody, if
-- a link names anybody by more than a reference; and the one user who has verified an e-mail that was shown beside an
-- object. Two such users are as good as none, for nothing but the order in which they came could choose between them.
-- So the owner follows from what is known, in whatever order that came.
-- Returns `owner_name`, the owner's external id, and `is_open`: nobody is named whom it would wait for, so the next
-- user who verifies one of these e-mails is the owner.
CREATE FUNCTION owner_in(
    p_company uuid, p_named text, p_reference text, around surroundings,
    OUT owner uuid, OUT owner_name text, OUT claimed_by text, OUT is_open boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    holders uuid[];
BEGIN
    is_open := false;
    IF coalesce(p_named, p_reference) IS NOT NULL THEN
        SELECT id, external_id INTO owner, owner_name FROM users
        WHERE company_id = p_company AND external_id = coalesce(p_named, p_reference);
    END IF;
    IF owner IS NULL AND p_named IS NULL THEN
        owner := coalesce(around.linked_user, around.own_user);
        owner_name := coalesce(around.linked_name, around.own_name);
    END IF;
    IF owner IS NOT NULL THEN
        claimed_by := 'key';
    ELSIF p_named IS NULL AND NOT around.is_named THEN
        holders := ARRAY(SELECT DISTINCT holders_of(p_company, around.hashes) LIMIT 2);
        is_open := holders = '{}';
        IF cardinality(holders) = 1 THEN
            owner := holders[1];
            owner_name := (SELECT external_id FROM users WHERE company_id = p_company AND id = owner);
            claimed_by := 'email';
        END IF;
    END IF;
END $$;

-- The owner of something that has these objects.
CREATE FUNCTION owner_of(
    p_company uuid, p_provider text, p_named text, p_reference text, p_objects text[],
    OUT owner uuid, OUT claimed_by text, OUT is_open boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    found record := owner_in(p_company, p_named, p_reference, look_around(p_company, p_provider, p_objects));
BEGIN
    owner := found.owner;
    claimed_by := found.claimed_by;
    is_open := found.is_open;
END $$;

-- Two accounts are one payer's where a provider has linked an object that one of them names to the other one.
CREATE FUNCTION is_same_payer(p_owner users, p_person text, p_stripe_customer text, p_whop_user text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM identity_links
        WHERE company_id = p_owner.company_id AND external_id = p_owner.external_id
            AND (provider = 'stripe' AND object_id = p_stripe_customer OR provider = 'whop' AND object_id = p_whop_user)
    ) OR EXISTS (
        SELECT FROM identity_links
        WHERE company_id = p_owner.company_id AND external_id = p_person
            AND (provider = 'stripe' AND object_id = p_owner.stripe_customer_id
                OR provider = 'whop' AND object_id = p_owner.whop_user_id)
    );
END $$;

-- Sets the owner of every payment and subscription that has one of these objects (`owner_of`).
-- Returns each user who gained or lost one, and the objects' present owner.
-- Needs: locks on the objects or on a person who is named, on the e-mails shown beside them, and on all people beside
-- them (`lock_people`, `lock_newcomer`), so that no other transaction changes whose they are.
-- Locks: the payments and subscriptions that may change hands, by id.
CREATE FUNCTION claim(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
#variable_conflict use_column
DECLARE
    around surroundings := look_around(p_company, p_provider, p_objects);
    usual record := owner_in(p_company, NULL, NULL, around);
    is_alone boolean := around.linked <@ ARRAY[usual.owner_name];
    paid uuid[];
    subscribed text[];
BEGIN
    -- what is already its usual owner's by a key stays so where nothing names anybody else: customers pay for years
    SELECT coalesce(array_agg(payment_id) FILTER (WHERE payment_id IS NOT NULL), '{}'),
        coalesce(array_agg(subscription_key) FILTER (WHERE subscription_key IS NOT NULL), '{}')
    INTO paid, subscribed
    FROM owned_beside(p_company, p_provider, around.objects)
    WHERE (is_alone AND claimed_by = 'key' AND user_id = usual.owner
        AND coalesce(reference, usual.owner_name) = usual.owner_name) IS NOT TRUE;
    IF paid = '{}' AND subscribed = '{}' THEN
        IF usual.owner IS NOT NULL THEN RETURN NEXT usual.owner; END IF;
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
            UPDATE payments SET user_id = present.owner, claimed_by = present.word
            FROM of_payments AS present
            WHERE company_id = p_company AND payments.id = present.id
                AND (user_id, claimed_by) IS DISTINCT FROM (present.owner, present.word)
        ), given_subscriptions AS (
            UPDATE subscriptions SET user_id = present.owner, claimed_by = present.word
            FROM of_subscriptions AS present
            WHERE company_id = p_company AND provider = p_provider
                AND subscriptions.subscription_key = present.subscription_key
                AND (user_id, claimed_by) IS DISTINCT FROM (present.owner, present.word)
        )
        SELECT concerned.user_id FROM (
            SELECT owner FROM of_payments UNION SELECT former FROM of_payments
            UNION SELECT owner FROM of_subscriptions UNION SELECT former FROM of_subscriptions
            UNION SELECT usual.owner
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
        SELECT own.provider, array_agg(DISTINCT own.object_id) FROM (
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
        ) AS own (provider, object_id)
        GROUP BY own.provider;
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
            SELECT DISTINCT seen.provider, unnest(objects)
            FROM owned_beside(p_company, seen.provider, seen.objects)
            WHERE user_id IS NULL AND (owner_of(p_company, seen.provider, external_id, reference, objects)).is_open;
    END LOOP;
END $$;

-- The people whose payments and subscriptions an event about objects with these surroundings may change, or who are
-- settled by it: those named on the objects or on what has them, the users whose own the objects are, those who have
-- verified an e-mail shown beside the objects, and the present owners. The sale may have more objects than these. Who
-- holds the objects and the e-mails knows all of them for good, unless `may_change`: something has the objects, and its
-- owner may become another one, or they have partners.
CREATE FUNCTION people_beside(
    p_company uuid, p_provider text, around surroundings, OUT people text[], OUT may_change boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    owned record;
BEGIN
    may_change := around.partners <> '{}';
    IF may_change THEN
        around := look_at(p_company, p_provider, sale_objects(p_company, p_provider, around.objects));
    END IF;
    people := around.linked || around.own;
    IF around.hashes <> '{}' THEN
        people := people || names_of_holders(p_company, around.hashes);
    END IF;
    FOR owned IN
        SELECT external_id, reference, (
            SELECT external_id FROM users WHERE company_id = p_company AND id = user_id) AS owner_name
        FROM owned_beside(p_company, p_provider, around.objects)
    LOOP
        people := people || array_remove(ARRAY[owned.external_id, owned.reference, owned.owner_name], NULL);
        may_change := true;
    END LOOP;
END $$;

-- Whose profile stands beside these objects: the first of the people whom the event names (`p_names`); else the person
-- of a link of one of the objects or of their partners, of several the one who was linked first; else the user whose
-- own Whop user is among them, and else whose it was.
CREATE FUNCTION person_of(p_company uuid, p_provider text, p_objects text[], p_names text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[] := with_partners(p_company, p_provider, p_objects);
BEGIN
    RETURN (
        SELECT person FROM (
            SELECT name, 1, NULL FROM unnest(p_names) AS name
            UNION ALL
            SELECT external_id, CASE WHEN linked_at < 'infinity' THEN 2 ELSE 4 END, linked_at FROM identity_links
            WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (related)
            UNION ALL
            SELECT external_id, 3, NULL FROM users WHERE company_id = p_company AND whop_user_id = ANY (related)
        ) AS people (person, rank, linked_at)
        ORDER BY rank, linked_at, person LIMIT 1);
END $$;

GRANT SELECT ON identity_links TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT, UPDATE ON identity_links TO :"webhook", :"app", :"admin", :"jobs";
GRANT SELECT ON object_emails, verified_emails TO :"webhook", :"app", :"admin", :"jobs";
GRANT INSERT ON object_emails TO :"webhook", :"admin", :"jobs";
GRANT INSERT ON verified_emails TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION verify_email, with_partners, links_of, look_at, look_around, holders_of, names_of_holders,
    owner_in, owner_of, claim, claim_of, objects_by_email, objects_of, people_beside, person_of, is_same_payer
    TO :"webhook", :"app", :"admin", :"jobs";
