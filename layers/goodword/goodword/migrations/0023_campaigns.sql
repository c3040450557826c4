-- Campaigns: referrals by codes of their own, under terms of their own, for a time; and the ranking at their end.

-- `awards` are the terms that take the place of the program's, event by event, and `tiers` the table that does; NULL: none.
-- `reserved_points` counts only under a points_cap: without one there is no row that every referral would queue for.
-- `change_id` names the last change, so that one that is repeated after a lost connection knows its own.
CREATE TABLE campaigns (
    company_id         uuid NOT NULL,
    id                 uuid NOT NULL,
    name               text NOT NULL,
    description        text,
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz NOT NULL,
    awards             jsonb,
    tiers              jsonb,
    points_cap         bigint,
    per_user_cap       bigint,
    reserved_points    bigint NOT NULL DEFAULT 0,
    prizes             jsonb NOT NULL DEFAULT '[]',
    verification_days  integer NOT NULL DEFAULT 0,
    activated_at       timestamptz,
    archived_at        timestamptz,
    ranked_at          timestamptz,
    change_id          uuid,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT campaigns_pk PRIMARY KEY (company_id, id),
    CONSTRAINT campaigns_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT campaigns_dates_ck CHECK (starts_at < ends_at),
    CONSTRAINT campaigns_caps_ck CHECK (points_cap >= 1 AND per_user_cap >= 1),
    CONSTRAINT campaigns_reserved_ck CHECK (reserved_points >= 0),
    CONSTRAINT campaigns_verification_ck CHECK (verification_days BETWEEN 0 AND 90)
);
CREATE INDEX campaigns_newest_ix ON campaigns (company_id, created_at DESC, id);
CREATE INDEX campaigns_unranked_ix ON campaigns (company_id, ends_at)
    WHERE activated_at IS NOT NULL AND ranked_at IS NULL;

ALTER TABLE codes ADD CONSTRAINT codes_campaign_fk FOREIGN KEY (company_id, campaign_id)
    REFERENCES campaigns (company_id, id);
ALTER TABLE codes ADD CONSTRAINT codes_campaign_ck CHECK ((type = 'campaign') = (campaign_id IS NOT NULL));
ALTER TABLE referrals ADD CONSTRAINT referrals_campaign_fk FOREIGN KEY (company_id, campaign_id)
    REFERENCES campaigns (company_id, id);
CREATE INDEX codes_campaign_ix ON codes (company_id, campaign_id) WHERE campaign_id IS NOT NULL;
CREATE INDEX referrals_campaign_ix ON referrals (company_id, campaign_id, qualified_at) WHERE campaign_id IS NOT NULL;

-- Whether a campaign gives its own terms at an instant.
CREATE FUNCTION is_in_force(campaign campaigns, at timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN coalesce(campaign.activated_at <= at AND campaign.starts_at <= at AND at < campaign.ends_at, false);

-- Active before its start reads `active` too; it ends by its date, whoever comes by.
CREATE FUNCTION campaign_status(campaign campaigns, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN campaign.archived_at IS NOT NULL THEN 'archived'
        WHEN campaign.activated_at IS NULL THEN 'draft'
        WHEN campaign.ends_at <= at OR campaign.ranked_at IS NOT NULL THEN 'ended'
        ELSE 'active'
    END;

-- What a campaign says in place of the program, as text: those who read it know it again.
CREATE FUNCTION campaign_terms(campaign campaigns) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_strip_nulls(jsonb_build_object('awards', campaign.awards, 'tiers', campaign.tiers))::text;

-- The final ranking of a campaign, written once with its prizes.
CREATE TABLE campaign_ranks (
    company_id         uuid NOT NULL,
    campaign_id        uuid NOT NULL,
    rank               integer NOT NULL,
    user_id            uuid NOT NULL,
    qualified          integer NOT NULL,
    points             bigint NOT NULL,
    prize_points       bigint NOT NULL DEFAULT 0,
    entry_id           bigint,
    CONSTRAINT campaign_ranks_pk PRIMARY KEY (company_id, campaign_id, rank),
    CONSTRAINT campaign_ranks_user_uq UNIQUE (company_id, campaign_id, user_id),
    CONSTRAINT campaign_ranks_campaign_fk FOREIGN KEY (company_id, campaign_id) REFERENCES campaigns (company_id, id),
    CONSTRAINT campaign_ranks_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT campaign_ranks_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT campaign_ranks_counts_ck CHECK (rank >= 1 AND qualified >= 1 AND points >= 0 AND prize_points >= 0),
    CONSTRAINT campaign_ranks_prize_ck CHECK ((prize_points > 0) = (entry_id IS NOT NULL))
);

-- Ends a campaign: writes its ranking, pays the prizes and tells of both. Elements of `p_ranks`, best first: {rank,
-- user_id, qualified, points, prize_points}. Prizes expire as points do by a version of the program.
-- Needs: the lock of the campaign. Locks: the wallets of the winners.
CREATE FUNCTION end_campaign(
    p_company uuid, p_campaign uuid, p_ranks jsonb, p_program_version integer, p_expiry_months integer,
    p_at timestamptz
) RETURNS void LANGUAGE plpgsql SET search_path = goodword, pg_temp AS $$
DECLARE
    shown_id text := public_id('cam', p_campaign);
    prizes jsonb := (
        SELECT jsonb_agg(jsonb_build_object('user_id', user_id, 'type', 'CAMPAIGN_PRIZE', 'points', prize_points,
            'reference', shown_id, 'occasion', public_id('usr', user_id), 'program_version', p_program_version,
            'expiry_months', p_expiry_months) ORDER BY rank)
        FROM jsonb_to_recordset(p_ranks) AS ranked (rank integer, user_id uuid, prize_points bigint)
        WHERE prize_points > 0);
    entries bigint[];
BEGIN
    UPDATE campaigns SET ranked_at = p_at, updated_at = p_at
    WHERE company_id = p_company AND id = p_campaign AND ranked_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF prizes IS NOT NULL THEN
        entries := post_entries(p_company, prizes);
    END IF;
    INSERT INTO outbox_events (company_id, id, type, data, created_at)
    VALUES (p_company, time_ordered_id(), 'campaign.ended',
        jsonb_build_object('id', shown_id, 'ranked', jsonb_array_length(p_ranks),
            'prizes', coalesce(jsonb_array_length(prizes), 0)), p_at);
    WITH ranked AS (
        INSERT INTO campaign_ranks (company_id, campaign_id, rank, user_id, qualified, points, prize_points, entry_id)
        SELECT p_company, p_campaign, rank, user_id, qualified, points, prize_points,
            CASE WHEN prize_points > 0
                THEN entries[count(*) FILTER (WHERE prize_points > 0) OVER (ORDER BY rank)] END
        FROM jsonb_to_recordset(p_ranks) AS ranked (rank integer, user_id uuid, qualified integer, points bigint,
            prize_points bigint)
        RETURNING *
    ), told AS (
        INSERT INTO outbox_events (company_id, id, type, data, created_at)
        SELECT p_company, time_ordered_id(), 'campaign.prize_paid',
            jsonb_build_object('id', shown_id, 'user_id', public_id('usr', users.id), 'external_id', external_id,
                'rank', rank, 'points', prize_points, 'transaction_id', 'txn_' || entry_id), p_at
        FROM ranked JOIN users ON users.company_id = p_company AND users.id = ranked.user_id
        WHERE prize_points > 0 ORDER BY rank
    )
    INSERT INTO activity (company_id, id, user_id, action, details, created_at)
    SELECT p_company, time_ordered_id(), user_id, 'campaign_prize_paid',
        jsonb_build_object('campaign_id', shown_id, 'rank', rank, 'points', prize_points), p_at
    FROM ranked WHERE prize_points > 0;
END $$;

-- What a person's awards come to on a board: all time ('all'), a month ('2026-11') or a campaign (its id). The row of
-- all time is what holds a person's awards together: whoever decides by it locks it first.
-- `qualified` are the counted referrals, `points` what was paid and not taken back of what the referrals earned their
-- referrer, and `reserved` the points of all awards to this person that stand or wait: what caps are asked of. A month
-- reserves nothing.
CREATE TABLE scores (
    company_id         uuid NOT NULL,
    board              text NOT NULL,
    user_id            uuid NOT NULL,
    qualified          integer NOT NULL DEFAULT 0,
    points             bigint NOT NULL DEFAULT 0,
    reserved           bigint NOT NULL DEFAULT 0,
    last_qualified_at  timestamptz,
    CONSTRAINT scores_pk PRIMARY KEY (company_id, user_id, board),
    CONSTRAINT scores_counts_ck CHECK (qualified >= 0 AND points >= 0 AND reserved >= 0)
);
-- A board in its order, each key ascending: whoever stands behind a row is one range. Read by it alone.
CREATE INDEX scores_rank_ix ON scores (company_id, board, (-qualified), (-points), last_qualified_at, user_id)
    INCLUDE (qualified, points) WHERE qualified >= 1;

-- The row of all time of a person, locked; made where there is none yet.
CREATE FUNCTION hold_score(p_company uuid, p_user uuid) RETURNS scores LANGUAGE plpgsql AS $$
DECLARE
    held scores;
BEGIN
    LOOP
        SELECT * INTO held FROM scores
        WHERE company_id = p_company AND user_id = p_user AND board = 'all' FOR NO KEY UPDATE;
        IF FOUND THEN
            RETURN held;
        END IF;
        INSERT INTO scores (company_id, board, user_id) VALUES (p_company, 'all', p_user)
        ON CONFLICT ON CONSTRAINT scores_pk DO NOTHING;
    END LOOP;
END $$;

-- Moves scores: rows of all time come first, by person, and whoever holds one is alone with the person's others. A month
-- is given by an instant and a zone.
-- Elements: {user_id, board, at, zone, qualified, points, reserved, qualified_at, loses}. The boards that have lost a
-- referral.
CREATE FUNCTION move_scores(p_company uuid, p_moves jsonb) RETURNS TABLE (lost_user uuid, lost_board text)
    LANGUAGE plpgsql AS $$
BEGIN
    IF p_moves @? '$[*] ? (@.qualified < 0 || @.points < 0 || @.reserved < 0 || @.loses == true)' THEN
        RETURN QUERY SELECT * FROM lower_scores(p_company, p_moves);
        RETURN;
    END IF;
    INSERT INTO scores AS known (company_id, board, user_id, qualified, points, reserved, last_qualified_at)
    SELECT p_company, named.board, user_id, sum(qualified)::integer, sum(points)::bigint, sum(reserved)::bigint,
        max(qualified_at)
    FROM jsonb_to_recordset(p_moves) AS move (user_id uuid, board text, at timestamptz, zone text, qualified integer,
        points bigint, reserved bigint, qualified_at timestamptz)
    CROSS JOIN LATERAL (SELECT coalesce(move.board, to_char(at AT TIME ZONE zone, 'YYYY-MM')) AS board) AS named
    GROUP BY user_id, named.board ORDER BY named.board <> 'all', user_id
    ON CONFLICT ON CONSTRAINT scores_pk DO UPDATE SET qualified = known.qualified + excluded.qualified,
        points = known.points + excluded.points, reserved = known.reserved + excluded.reserved,
        last_qualified_at = greatest(known.last_qualified_at, excluded.last_qualified_at);
END $$;

-- The same where something is taken from a score, one row after the other.
CREATE FUNCTION lower_scores(p_company uuid, p_moves jsonb) RETURNS TABLE (lost_user uuid, lost_board text)
    LANGUAGE plpgsql AS $$
DECLARE
    moved record;
BEGIN
    FOR moved IN
        SELECT user_id, coalesce(board, to_char(at AT TIME ZONE zone, 'YYYY-MM')) AS board, qualified, points, reserved,
            qualified_at, loses
        FROM jsonb_to_recordset(p_moves) AS move (user_id uuid, board text, at timestamptz, zone text, qualified integer,
            points bigint, reserved bigint, qualified_at timestamptz, loses boolean)
    LOOP
        -- a row that is proposed must keep the rules that nothing is below 0, even where there is one to add it to
        IF least(moved.qualified, moved.points, moved.reserved) < 0 THEN
            UPDATE scores SET qualified = scores.qualified + moved.qualified, points = scores.points + moved.points,
                reserved = scores.reserved + moved.reserved,
                last_qualified_at = greatest(last_qualified_at, moved.qualified_at)
            WHERE company_id = p_company AND user_id = moved.user_id AND board = moved.board;
            IF NOT FOUND THEN
                RAISE check_violation USING MESSAGE = 'nothing stands on this board that could be taken from it',
                    CONSTRAINT = 'scores_counts_ck', TABLE = 'scores';
            END IF;
        ELSE
            INSERT INTO scores AS known (company_id, board, user_id, qualified, points, reserved, last_qualified_at)
            VALUES (p_company, moved.board, moved.user_id, moved.qualified, moved.points, moved.reserved,
                moved.qualified_at)
            ON CONFLICT ON CONSTRAINT scores_pk DO UPDATE SET qualified = known.qualified + excluded.qualified,
                points = known.points + excluded.points, reserved = known.reserved + excluded.reserved,
                last_qualified_at = greatest(known.last_qualified_at, excluded.last_qualified_at);
        END IF;
        IF moved.loses THEN
            lost_user := moved.user_id;
            lost_board := moved.board;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

-- When the last of the referrals that count on a board had qualified, after it has lost one.
CREATE FUNCTION date_score(p_company uuid, p_user uuid, p_board text, p_last timestamptz) RETURNS void
    LANGUAGE sql AS $$
    UPDATE scores SET last_qualified_at = p_last WHERE company_id = p_company AND user_id = p_user AND board = p_board;
$$;

-- Takes room under the cap of a campaign, or gives it back. Who adds a first cap waits for everybody who was here
-- without one, and everybody after that is counted.
CREATE FUNCTION reserve_in_campaign(p_company uuid, p_campaign uuid, p_points bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM campaigns WHERE company_id = p_company AND id = p_campaign FOR KEY SHARE;
    UPDATE campaigns SET reserved_points = reserved_points + p_points
    WHERE company_id = p_company AND id = p_campaign AND points_cap IS NOT NULL AND p_points <> 0;
END $$;

GRANT SELECT ON campaigns TO :"click", :"webhook", :"app", :"admin", :"jobs";
GRANT UPDATE (reserved_points) ON campaigns TO :"webhook", :"app", :"jobs";
GRANT UPDATE (ranked_at, updated_at) ON campaigns TO :"jobs";
GRANT INSERT, UPDATE ON campaigns TO :"admin";
GRANT SELECT ON campaign_ranks TO :"app", :"admin", :"jobs";
GRANT INSERT ON campaign_ranks TO :"jobs";
GRANT EXECUTE ON FUNCTION end_campaign TO :"jobs";
GRANT SELECT, INSERT, UPDATE ON scores TO :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION is_in_force, campaign_status, campaign_terms TO :"click", :"webhook", :"app", :"admin", :"jobs";
GRANT EXECUTE ON FUNCTION hold_score, move_scores, lower_scores, date_score, reserve_in_campaign
    TO :"webhook", :"app", :"admin", :"jobs";
