-- Programs: a company's rules, versioned.

-- What statements ask of a document stands beside it: to look into it costs more than to look it up.

CREATE TABLE program_versions (
    company_id  uuid NOT NULL,
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    version     integer NOT NULL,
    program     jsonb NOT NULL,
    timezone    text GENERATED ALWAYS AS (program ->> 'timezone') STORED,
    has_caps    boolean NOT NULL GENERATED ALWAYS AS (
        coalesce(program #>> '{caps,per_user_points}', program #>> '{caps,per_user_per_day_points}') IS NOT NULL) STORED,
    created_at  timestamptz NOT NULL,
    CONSTRAINT program_versions_pk PRIMARY KEY (company_id, version),
    CONSTRAINT program_versions_id_uq UNIQUE (company_id, id),
    CONSTRAINT program_versions_company_fk FOREIGN KEY (company_id) REFERENCES companies (id),
    CONSTRAINT program_versions_version_ck CHECK (version >= 1)
);

GRANT SELECT ON program_versions TO :"click", :"webhook", :"app", :"admin", :"jobs", :"ledger";
GRANT INSERT ON program_versions TO :"admin";
