-- Ownership: whose a payment or a subscription is, by all that is known.

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
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN p_objects || ARRAY(
        SELECT other_id FROM object_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = ANY (p_objects));
END $$;

-- What says whose objects are. Each of the four looks an object up at a time, which OFFSET 0 keeps so: for as long as a
-- company is small the planner would rather read all that it has, and the plan is kept when it is not small any more. The
-- sub-select hides from the planner how many objects there are: it would plan anew at every call, for just so many. The
-- texts are put in the place of their calls.

CREATE FUNCTION links_of(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF identity_links
    LANGUAGE sql STABLE AS $$
    SELECT link.* FROM unnest((SELECT p_objects)) AS each (object) CROSS JOIN LATERAL (
        SELECT * FROM identity_links
        WHERE company_id = p_company AND provider = p_provider AND object_id = each.object OFFSET 0) AS link
$$;

-- The users whose own the objects are: the customers of Stripe, and the users of Whop.
CREATE FUNCTION users_of_own(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF users
    LANGUAGE sql STABLE AS $$
    SELECT own.* FROM unnest((SELECT p_objects)) AS each (object) CROSS JOIN LATERAL (
        SELECT * FROM users WHERE company_id = p_company AND stripe_customer_id = each.object OFFSET 0) AS own
    WHERE (SELECT p_provider) = 'stripe'
    UNION ALL
    SELECT own.* FROM unnest((SELECT p_objects)) AS each (object) CROSS JOIN LATERAL (
        SELECT * FROM users WHERE company_id = p_company AND whop_user_id = each.object OFFSET 0) AS own
    WHERE (SELECT p_provider) = 'whop'
$$;

-- The hashes of the e-mails that were shown beside the objects.
CREATE FUNCTION emails_beside(p_company uuid, p_provider text, p_objects text[]) RETURNS SETOF bytea
    LANGUAGE sql STABLE AS $$
    SELECT shown.email_hash FROM unnest((SELECT p_objects)) AS each (object) CROSS JOIN LATERAL (
        SELECT email_hash FROM object_emails
        WHERE company_id = p_company AND provider = p_provider AND object_id = each.object OFFSET 0) AS shown
$$;

-- The ids of the users who have verified the e-mails behind some hashes.
CREATE FUNCTION holders_of(p_company uuid, p_hashes bytea[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE AS $$
    SELECT verified.user_id FROM unnest((SELECT p_hashes)) AS each (hash) CROSS JOIN LATERAL (
        SELECT user_id FROM verified_emails
        WHERE company_id = p_company AND email_hash = each.hash OFFSET 0) AS verified
$$;

-- The owner of something that has these objects, and what makes it theirs. In this order: the person whom it names itself
-- (`p_named`), who may have to sign up yet; the person whom its own reference names, if they have signed up; the earliest
-- link of an object to somebody who has signed up; the user whose own an object is; nobody, if a link names anybody by
-- more than a reference; and the one user who has verified an e-mail that was shown beside an object. Two such users are
-- as good as none, for nothing but the order in which they came could choose between them. So the owner follows from
-- what is known, in whatever order that came.
-- Returns `owner_name`, the owner's external id; `is_linked_to_another`: a link that was looked at names somebody else;
-- `is_open`: nobody is named whom it would wait for, so the next user who verifies one of these e-mails is the owner.
-- Needs: the objects with their partners.
CREATE FUNCTION owner_among(
    p_company uuid, p_provider text, p_named text, p_reference text, p_related text[],
    OUT owner uuid, OUT owner_name text, OUT claimed_by text, OUT is_linked_to_another boolean, OUT is_open boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    link record;
    linked text[] := '{}';
    is_named boolean := p_named IS NOT NULL;
    hashes bytea[];
    holders uuid[];
BEGIN
    is_open := false;
    IF coalesce(p_named, p_reference) IS NOT NULL THEN
        SELECT id, external_id INTO owner, owner_name FROM users
        WHERE company_id = p_company AND external_id = coalesce(p_named, p_reference);
    END IF;
    IF owner IS NULL AND NOT is_named THEN
        FOR link IN
            SELECT known.external_id, known.by_reference, (
                SELECT id FROM users WHERE company_id = p_company AND external_id = known.external_id) AS user_id
            FROM links_of(p_company, p_provider, p_related) AS known
            ORDER BY known.linked_at, known.external_id
        LOOP
            IF owner IS NULL AND link.user_id IS NOT NULL THEN
                owner := link.user_id;
                owner_name := link.external_id;
            END IF;
            linked := linked || link.external_id;
            is_named := is_named OR NOT link.by_reference;
        END LOOP;
        IF owner IS NULL THEN
            SELECT own.id, own.external_id INTO owner, owner_name
            FROM users_of_own(p_company, p_provider, p_related) AS own ORDER BY own.external_id LIMIT 1;
        END IF;
    END IF;
    IF owner IS NOT NULL THEN
        claimed_by := 'key';
    ELSIF NOT is_named THEN
        hashes := ARRAY(SELECT emails_beside(p_company, p_provider, p_related));
        holders := ARRAY(SELECT DISTINCT holders_of(p_company, hashes) LIMIT 2);
        is_open := holders = '{}';
        IF cardinality(holders) = 1 THEN
            owner := holders[1];
            owner_name := (SELECT external_id FROM users WHERE company_id = p_company AND id = owner);
            claimed_by := 'email';
        END IF;
    END IF;
    is_linked_to_another := NOT linked <@ ARRAY[owner_name];
END $$;

-- The owner of something that has these objects (`owner_among`).
CREATE FUNCTION owner_of(
    p_company uuid, p_provider text, p_named text, p_reference text, p_objects text[],
    OUT owner uuid, OUT claimed_by text, OUT is_open boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    found record := owner_among(
        p_company, p_provider, p_named, p_reference, with_partners(p_company, p_provider, p_objects));
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
    related text[] := with_partners(p_company, p_provider, p_objects);
    usual record := owner_among(p_company, p_provider, NULL, NULL, related);
    paid uuid[];
    subscribed text[];
BEGIN
    -- what is already its usual owner's by a key stays so where nothing names anybody else: customers pay for years
    SELECT coalesce(array_agg(payment_id) FILTER (WHERE payment_id IS NOT NULL), '{}'),
        coalesce(array_agg(subscription_key) FILTER (WHERE subscription_key IS NOT NULL), '{}')
    INTO paid, subscribed
    FROM owned_beside(p_company, p_provider, related)
    WHERE (NOT usual.is_linked_to_another AND claimed_by = 'key' AND user_id = usual.owner
        AND coalesce(reference, usual.owner_name) = usual.owner_name) IS NOT TRUE;
    IF paid = '{}' AND subscribed = '{}' THEN
        RETURN QUERY SELECT usual.owner WHERE usual.owner IS NOT NULL;
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

-- What an event's facts come to, once they are stored: what belongs to one sale is joined (`p_is_of_sale`), and everything
-- is given to its owner.
-- Returns the users whose sale it is (`matched`); the users who are to be settled, which are these, who gained or lost by
-- it, the objects' owner, and those whom the event names (`concerned`); and whether one of the payments `p_keys` is
-- nobody's yet.
-- Needs and locks: as claim.
CREATE FUNCTION find_owners(
    p_company uuid, p_provider text, p_objects text[], p_names text[], p_keys text[], p_is_of_sale boolean,
    OUT matched uuid[], OUT concerned uuid[], OUT has_parked boolean
) LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    name text;
    key text;
BEGIN
    matched := '{}';
    IF p_is_of_sale THEN
        matched := ARRAY(SELECT match_takebacks(p_company, p_provider, p_objects));
    END IF;
    concerned := matched || ARRAY(SELECT claim(p_company, p_provider, p_objects));
    FOREACH name IN ARRAY p_names LOOP
        concerned := concerned || ARRAY(SELECT id FROM users WHERE company_id = p_company AND external_id = name);
    END LOOP;
    has_parked := false;
    FOREACH key IN ARRAY p_keys LOOP
        has_parked := has_parked OR EXISTS (
            SELECT FROM payments
            WHERE company_id = p_company AND provider = p_provider AND payment_key = key AND user_id IS NULL);
    END LOOP;
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

-- The people whose payments and subscriptions an event about these objects may change, or who are settled by it: those
-- named on the objects or on what has them, the users whose own the objects are, those who have verified an e-mail shown
-- beside the objects, and the present owners.
-- Who holds the objects and the e-mails knows all of them for good, unless `may_change`: something has the objects, and its
-- owner may become another one, or the sale has more objects.
CREATE FUNCTION people_beside(
    p_company uuid, p_provider text, p_objects text[], OUT people text[], OUT may_change boolean
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    related text[] := sale_objects(p_company, p_provider, p_objects);
    hashes bytea[] := ARRAY(SELECT emails_beside(p_company, p_provider, related));
    owned record;
BEGIN
    people := ARRAY(
        SELECT external_id FROM links_of(p_company, p_provider, related)
        UNION ALL
        SELECT external_id FROM users_of_own(p_company, p_provider, related));
    IF hashes <> '{}' THEN
        people := people || ARRAY(
            SELECT (SELECT external_id FROM users WHERE company_id = p_company AND id = holder)
            FROM holders_of(p_company, hashes) AS holder);
    END IF;
    may_change := related <> p_objects;
    FOR owned IN
        SELECT external_id, reference, (
            SELECT external_id FROM users WHERE company_id = p_company AND id = user_id) AS owner_name
        FROM owned_beside(p_company, p_provider, related)
    LOOP
        people := people || array_remove(ARRAY[owned.external_id, owned.reference, owned.owner_name], NULL);
        may_change := true;
    END LOOP;
END $$;

-- Whose profile stands beside these objects: the first of the people whom the event names (`p_names`); else the person of
-- a link of one of the objects or of their partners, of several the one who was linked first; else the user whose own
-- Whop user is among them.
CREATE FUNCTION person_of(p_company uuid, p_provider text, p_objects text[], p_names text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = goodword, pg_temp AS $$
DECLARE
    related text[] := with_partners(p_company, p_provider, p_objects);
BEGIN
    RETURN (
        SELECT person FROM (
            SELECT name, 1, NULL FROM unnest(p_names) AS name
            UNION ALL
            SELECT external_id, 2, linked_at FROM identity_links
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
GRANT EXECUTE ON FUNCTION with_partners, links_of, users_of_own, emails_beside, holders_of, owner_among,
    owner_of, claim, claim_of, objects_by_email, objects_of, people_beside, find_owners, person_of, is_same_payer
    TO :"webhook", :"app", :"admin", :"jobs";
