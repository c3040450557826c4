-- What a company sells: plans with limits per feature, and the prices by which providers sell them: docs/rules.md, Access.

-- `creation` is the id of the request that made a row whose own id is chosen by a client: a request that is repeated
-- after a lost answer finds its own row, and any other one finds the id taken.
CREATE TABLE features (
    company_id     uuid NOT NULL,
    key            text NOT NULL,
    name           text NOT NULL,
    description    text,
    category       text NOT NULL,
    limit_type     text NOT NULL,
    reset          text NOT NULL,
    default_limit  bigint,
    active         boolean NOT NULL DEFAULT true,
    sort_order     integer NOT NULL,
    creation       uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT features_pk PRIMARY KEY (company_id, key),
    CONSTRAINT features_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT features_category_ck CHECK (category IN ('data', 'ai', 'export', 'integration')),
    CONSTRAINT features_limit_type_ck CHECK (limit_type IN ('count', 'boolean', 'quota')),
    CONSTRAINT features_reset_ck CHECK (reset IN ('never', 'daily', 'monthly')),
    CONSTRAINT features_default_limit_ck CHECK (default_limit >= 0)
);

-- A price of NULL: not for sale so. 'disabled' is no plan: companies.post_trial_plan says so of nothing at all.
CREATE TABLE plans (
    company_id           uuid NOT NULL,
    id                   text NOT NULL,
    name                 text NOT NULL,
    description          text,
    price_monthly_cents  bigint,
    price_yearly_cents   bigint,
    currency             text NOT NULL DEFAULT 'usd',
    active               boolean NOT NULL DEFAULT true,
    sort_order           integer NOT NULL,
    creation             uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT plans_pk PRIMARY KEY (company_id, id),
    CONSTRAINT plans_id_ck CHECK (id <> 'disabled'),
    CONSTRAINT plans_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT plans_prices_ck CHECK (price_monthly_cents >= 0 AND price_yearly_cents >= 0)
);

-- What providers sell a plan as: Stripe's prices, Whop's plans. Each is one plan's alone. A price that has been replaced
-- is `former`: whoever subscribed to it keeps the plan.
CREATE TABLE plan_prices (
    company_id  uuid NOT NULL,
    provider    text NOT NULL,
    price_ref   text NOT NULL,
    plan_id     text NOT NULL,
    kind        text NOT NULL,
    CONSTRAINT plan_prices_pk PRIMARY KEY (company_id, provider, price_ref),
    CONSTRAINT plan_prices_plan_fk FOREIGN KEY (company_id, plan_id) REFERENCES plans (company_id, id),
    CONSTRAINT plan_prices_kind_ck CHECK (CASE provider
        WHEN 'stripe' THEN kind IN ('monthly', 'yearly', 'former')
        WHEN 'whop' THEN kind = 'current'
        ELSE false
    END)
);
CREATE INDEX plan_prices_plan_ix ON plan_prices (company_id, plan_id);
CREATE UNIQUE INDEX plan_prices_interval_uq ON plan_prices (company_id, plan_id, kind)
    WHERE kind IN ('monthly', 'yearly');

-- The plans a user is subscribed to at an instant. What is overdue runs while the provider still tries to collect; what
-- is unpaid or paused does not. An end that was announced comes by the clock, whether or not the provider has told of it.
CREATE FUNCTION subscribed_plans(p_company uuid, p_user uuid, p_at timestamptz) RETURNS TABLE (plan_id text)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT DISTINCT price.plan_id
    FROM subscriptions
    JOIN plan_prices AS price ON price.company_id = subscriptions.company_id
        AND price.provider = subscriptions.provider AND price.price_ref = ANY (subscriptions.price_refs)
    WHERE subscriptions.company_id = p_company AND subscriptions.user_id = p_user
        AND subscriptions.status IN ('trialing', 'active', 'past_due', 'ended')
        AND coalesce(subscriptions.ended_at, subscriptions.cancels_at, 'infinity') > p_at;
END;

-- NULL is unlimited, 0 is off; a plan without a row for a feature falls back to the feature's default.
CREATE TABLE plan_limits (
    company_id   uuid NOT NULL,
    plan_id      text NOT NULL,
    feature      text NOT NULL,
    limit_value  bigint,
    CONSTRAINT plan_limits_pk PRIMARY KEY (company_id, plan_id, feature),
    CONSTRAINT plan_limits_plan_fk FOREIGN KEY (company_id, plan_id) REFERENCES plans (company_id, id),
    CONSTRAINT plan_limits_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT plan_limits_value_ck CHECK (limit_value >= 0)
);

-- What one user's limit of a feature is, whatever their plans say; `created_by` is the API key that put it.
CREATE TABLE restrictions (
    company_id   uuid NOT NULL,
    user_id      uuid NOT NULL,
    feature      text NOT NULL,
    limit_value  bigint,
    reason       text,
    created_by   uuid NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT restrictions_pk PRIMARY KEY (company_id, user_id, feature),
    CONSTRAINT restrictions_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT restrictions_feature_fk FOREIGN KEY (company_id, feature) REFERENCES features (company_id, key),
    CONSTRAINT restrictions_key_fk FOREIGN KEY (company_id, created_by) REFERENCES api_keys (company_id, id),
    CONSTRAINT restrictions_value_ck CHECK (limit_value >= 0)
);

GRANT SELECT ON features, plans, plan_prices, plan_limits, restrictions, subscriptions
    TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT, UPDATE ON features, plans, plan_prices, plan_limits TO :"admin";
GRANT INSERT, UPDATE, DELETE ON restrictions TO :"admin";
GRANT DELETE ON plan_prices, plan_limits TO :"admin";
GRANT EXECUTE ON FUNCTION subscribed_plans TO :"webhook", :"app", :"admin", :"jobs", :"ledger";
