-- Identity locks: what is held while facts about people are stored. docs/architecture.md, The lock order.

-- A signup and a payment of one person may commit at the same moment without seeing each other. Every transaction that
-- joins a provider's object to a person takes these locks first, in the order of docs/decisions/0017: objects with
-- their partners, e-mails, people, promotion codes, bindings; within each kind by name (facts/locks.py).
-- There is no row to lock: the person may not exist yet. Locks end with the transaction.

-- The key of the lock of an identity.
CREATE FUNCTION lock_key(company uuid, identity text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(company::text || identity, 0);

CREATE FUNCTION lock_identities(company uuid, identities text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(lock_key(company, identity))
    FROM (SELECT DISTINCT identity FROM unnest(identities) AS identity ORDER BY identity) AS ordered;
END $$;

-- Locks that several transactions share: no other one has them alone, by lock_identities, in the meantime.
CREATE FUNCTION share_identities(company uuid, identities text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lock_key(company, identity))
    FROM (SELECT DISTINCT identity FROM unnest(identities) AS identity ORDER BY identity) AS ordered;
END $$;

-- Locks objects of one provider and their partners: objects of one sale are joined to a person through each other.
-- Which these are is known once the objects are held. To take a partner's lock after the others would be out of order,
-- so all are given back, as a savepoint's locks are when it is rolled back, and taken anew with it.
-- Returns what is around the objects.
CREATE FUNCTION lock_objects(p_company uuid, p_provider text, p_objects text[]) RETURNS surroundings
    LANGUAGE plpgsql AS $$
DECLARE
    held text[] := p_objects;
    around surroundings;
BEGIN
    LOOP
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(
                SELECT p_provider || ':' || object_id FROM unnest(held) AS object_id));
            around := look_around(p_company, p_provider, p_objects);
            IF around.objects <@ held THEN RETURN around; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN held := around.objects;
        END;
    END LOOP;
END $$;

-- Locks e-mails by their hashes.
CREATE FUNCTION lock_emails(p_company uuid, p_hashes bytea[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_identities(p_company, ARRAY(SELECT 'email:' || encode(hash, 'hex') FROM unnest(p_hashes) AS hash));
END $$;

-- Locks the people beside an event's objects, with those whom the event names and those who have verified an e-mail
-- that it shows. Where they may change until they are held, they are looked for again, and all taken anew, as in
-- lock_objects.
-- Returns whether something has the objects or their partners.
-- Needs: locks on the objects, of which these are the surroundings, and on the e-mails.
CREATE FUNCTION lock_people(
    p_company uuid, p_provider text, around surroundings, p_names text[], p_hashes bytea[]) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    beside record := people_beside(p_company, p_provider, around);
    known text[] := p_names;
    people text[];
BEGIN
    IF p_hashes <> '{}' THEN
        known := known || names_of_holders(p_company, p_hashes);
    END IF;
    LOOP
        people := known || beside.people;
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            IF NOT beside.may_change THEN RETURN false; END IF;
            beside := people_beside(p_company, p_provider, look_around(p_company, p_provider, around.objects));
            IF beside.people <@ people THEN RETURN true; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN NULL;
        END;
    END LOOP;
END $$;

-- Locks a person who signs up, and the people beside what will be theirs: known once the person's own lock is held.
-- Needs: locks on the person's own objects and verified e-mail.
CREATE FUNCTION lock_newcomer(
    p_company uuid, p_person text, p_stripe_customer text, p_whop_user text, p_hashes bytea[]) RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    people text[] := ARRAY[p_person];
    found text[];
BEGIN
    LOOP
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            found := ARRAY(
                SELECT unnest(beside.people)
                FROM objects_of(p_company, p_person, p_stripe_customer, p_whop_user, p_hashes) AS own
                CROSS JOIN LATERAL people_beside(
                    p_company, own.provider, look_around(p_company, own.provider, own.objects)) AS beside);
            IF found <@ people THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN people := people || found;
        END;
    END LOOP;
END $$;

-- Whether anything is known of an object. What has it is looked for in every company, so that no plan made on empty
-- tables reads all that this company has. NULL for no object. Needs: a lock on the object.
CREATE FUNCTION is_known_object(p_company uuid, p_provider text, p_object text) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    RETURN EXISTS (SELECT FROM identity_links
            WHERE company_id = p_company AND provider = p_provider AND object_id = p_object)
        OR EXISTS (SELECT FROM object_links
            WHERE company_id = p_company AND provider = p_provider AND object_id = p_object)
        OR EXISTS (SELECT FROM touches
            WHERE company_id = p_company AND provider = p_provider AND object_id = p_object)
        OR EXISTS (SELECT FROM (
            SELECT company_id, provider FROM payments WHERE objects && ARRAY[p_object] OFFSET 0) AS paid
            WHERE company_id = p_company AND provider = p_provider)
        OR EXISTS (SELECT FROM (
            SELECT company_id, provider FROM subscriptions WHERE objects && ARRAY[p_object] OFFSET 0) AS subscribed
            WHERE company_id = p_company AND provider = p_provider);
END $$;

-- Whether anything is known of a person who has not signed up. Needs: a lock on the person.
CREATE FUNCTION is_known_person(p_company uuid, p_person text) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM identity_links WHERE company_id = p_company AND external_id = p_person)
        OR EXISTS (SELECT FROM payments WHERE company_id = p_company AND external_id = p_person)
        OR EXISTS (SELECT FROM subscriptions WHERE company_id = p_company AND external_id = p_person)
        OR EXISTS (SELECT FROM touches
            WHERE company_id = p_company AND external_id = p_person AND external_id <> '');
END $$;

-- Locks a person who signs up, and their own objects, where nothing is known of any of them: nobody else stands beside
-- them, and nothing waits for them. Else all locks are given back and the answer is no: lock_newcomer takes them, with
-- the people beside.
CREATE FUNCTION lock_newcomer_alone(p_company uuid, p_person text, p_stripe_customer text, p_whop_user text)
    RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    -- one by one: to have them sorted would cost more than the locks
    IF p_stripe_customer IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(lock_key(p_company, 'stripe:' || p_stripe_customer));
    END IF;
    IF p_whop_user IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(lock_key(p_company, 'whop:' || p_whop_user));
    END IF;
    PERFORM pg_advisory_xact_lock(lock_key(p_company, 'user:' || p_person));
    IF is_known_person(p_company, p_person) OR is_known_object(p_company, 'stripe', p_stripe_customer)
        OR is_known_object(p_company, 'whop', p_whop_user)
    THEN
        RAISE SQLSTATE 'GW001';
    END IF;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'GW001' THEN
    RETURN false;
END $$;

-- Locks a promotion code and the people who wait for its text, whose locks come first. A person who has used it since
-- they were looked for waits too: then all are taken anew, as in lock_objects.
CREATE FUNCTION lock_promotion(p_company uuid, p_provider text, p_promotion text, p_code text, p_most integer)
    RETURNS void
    LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    people text[] := '{}';
    waiting text[];
BEGIN
    LOOP
        BEGIN
            PERFORM lock_identities(p_company, ARRAY(SELECT 'user:' || person FROM unnest(people) AS person));
            PERFORM lock_identities(p_company, ARRAY[p_provider || ':' || p_promotion]);
            waiting := ARRAY(
                SELECT external_id FROM waiting_for_promotion(p_company, p_provider, p_promotion, p_code, p_most));
            IF waiting <@ people THEN RETURN; END IF;
            RAISE SQLSTATE 'GW001';
        EXCEPTION WHEN SQLSTATE 'GW001' THEN people := people || waiting;
        END;
    END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION lock_key, lock_identities, share_identities, lock_objects, lock_emails, lock_people,
    lock_newcomer, lock_promotion
    TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION is_known_object, is_known_person, lock_newcomer_alone TO :"app";
