-- What the providers send: their endpoints here (a secret or a key is one, or the ARN of one in AWS Secrets Manager),
-- and every event once, with its raw body and what became of it.

CREATE TABLE provider_endpoints (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL,
    provider    text NOT NULL,
    scope       text NOT NULL DEFAULT 'company',
    secrets     text[] NOT NULL,
    api_key     text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz,
    reconciles  boolean NOT NULL GENERATED ALWAYS AS (api_key IS NOT NULL) STORED,
    CONSTRAINT provider_endpoints_pk PRIMARY KEY (company_id, id),
    CONSTRAINT provider_endpoints_id_uq UNIQUE (id),
    CONSTRAINT provider_endpoints_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT provider_endpoints_provider_ck CHECK (provider IN ('stripe', 'whop')),
    CONSTRAINT provider_endpoints_scope_ck CHECK (scope IN ('company', 'app')),
    CONSTRAINT provider_endpoints_secrets_ck CHECK (
        cardinality(secrets) BETWEEN (disabled_at IS NULL)::integer AND 10 AND array_position(secrets, '') IS NULL),
    CONSTRAINT provider_endpoints_api_key_ck CHECK (api_key <> '' AND (api_key IS NULL OR disabled_at IS NULL))
);

-- Until when (in real time) a provider was asked what an endpoint may have missed, for each company that it serves.
CREATE TABLE reconciliations (
    company_id           uuid NOT NULL,
    endpoint_company_id  uuid NOT NULL,
    endpoint_id          uuid NOT NULL,
    reconciled_until     timestamptz,
    asked_at             timestamptz NOT NULL,
    CONSTRAINT reconciliations_pk PRIMARY KEY (company_id, endpoint_id),
    CONSTRAINT reconciliations_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT reconciliations_endpoint_fk FOREIGN KEY (endpoint_company_id, endpoint_id)
        REFERENCES provider_endpoints (company_id, id)
);
CREATE INDEX reconciliations_endpoint_ix ON reconciliations (endpoint_company_id, endpoint_id);

-- An event belongs to the company it is about, which for an app's endpoint need not be the endpoint's own.
CREATE TABLE inbox_events (
    company_id           uuid NOT NULL,
    id                   uuid NOT NULL,
    endpoint_company_id  uuid NOT NULL,
    endpoint_id          uuid NOT NULL,
    provider             text NOT NULL,
    event_id             text NOT NULL,
    type                 text NOT NULL,
    livemode             boolean,
    headers              jsonb NOT NULL,
    body                 bytea,
    outcome              text NOT NULL,
    error                text,
    note                 text,
    attempts             integer NOT NULL DEFAULT 1,
    next_attempt_at      timestamptz,
    received_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    handled_at           timestamptz,
    CONSTRAINT inbox_events_pk PRIMARY KEY (company_id, id),
    CONSTRAINT inbox_events_event_uq UNIQUE (provider, endpoint_id, event_id),
    CONSTRAINT inbox_events_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT inbox_events_endpoint_fk FOREIGN KEY (endpoint_company_id, endpoint_id)
        REFERENCES provider_endpoints (company_id, id),
    CONSTRAINT inbox_events_outcome_ck CHECK (outcome IN ('applied', 'ignored', 'parked', 'failed')),
    CONSTRAINT inbox_events_error_ck CHECK ((outcome = 'failed') = (error IS NOT NULL))
);
CREATE INDEX inbox_events_newest_ix ON inbox_events (company_id, received_at DESC, id);
CREATE INDEX inbox_events_due_ix ON inbox_events (next_attempt_at) WHERE outcome = 'failed';
-- Bodies hold personal data: the body of a handled event is kept for a while and then removed (`body` NULL).
CREATE INDEX inbox_events_body_ix ON inbox_events (received_at) WHERE body IS NOT NULL AND outcome <> 'failed';

-- When a failed event is tried again: after a minute, then ever more rarely, up to a day. NULL for an event that shows
-- no object: it will never work, and waits for an operator.
CREATE FUNCTION next_inbox_attempt(outcome text, error text, attempts integer) RETURNS timestamptz
    LANGUAGE sql VOLATILE
    RETURN CASE WHEN outcome = 'failed' AND error <> 'thin_event' THEN
        clock_timestamp() + least(interval '1 minute' * 2 ^ least(attempts - 1, 12), interval '1 day') END;

-- Signing secrets can be read by the webhook role only, API keys by the jobs role only; the admin role, which writes
-- both, cannot read them back.
GRANT SELECT (company_id, id, provider, scope, secrets, disabled_at) ON provider_endpoints TO :"webhook";
GRANT SELECT (company_id, id, provider, scope, api_key, reconciles) ON provider_endpoints TO :"jobs";
GRANT SELECT (company_id, id, provider, scope, reconciles, created_at, disabled_at), INSERT,
    UPDATE (secrets, api_key, disabled_at) ON provider_endpoints TO :"admin";
GRANT SELECT, INSERT, UPDATE ON reconciliations TO :"jobs";
GRANT SELECT ON reconciliations TO :"admin";
GRANT UPDATE (username, email, avatar_url, whop_user_id, updated_at) ON users TO :"webhook", :"jobs";
GRANT SELECT, INSERT, UPDATE ON inbox_events TO :"webhook", :"jobs";
GRANT SELECT ON inbox_events TO :"admin";
GRANT UPDATE (outcome, error, note, attempts, next_attempt_at, handled_at) ON inbox_events TO :"admin";
GRANT EXECUTE ON FUNCTION next_inbox_attempt TO :"webhook", :"admin", :"jobs";
