-- The points that facts are due: one row per person, event and occasion of a referral, with its booking once paid.
-- `adjustments` counts what was taken back from and given back to a paid award: the occasions of those bookings.

CREATE TABLE awards (
    company_id       uuid NOT NULL,
    id               uuid NOT NULL,
    referral_id      uuid NOT NULL,
    user_id          uuid NOT NULL,
    event            text NOT NULL,
    app_id           text NOT NULL DEFAULT '',
    occasion         text NOT NULL DEFAULT '',
    period           integer,
    base_points      bigint NOT NULL,
    multiplier_bps   integer NOT NULL DEFAULT 10000,
    points           bigint NOT NULL,
    reversed_points  bigint NOT NULL DEFAULT 0,
    adjustments      integer NOT NULL DEFAULT 0,
    tier             text,
    status           text NOT NULL,
    hold_until       timestamptz,
    hold_reason      text,
    reason           text,
    program_version  integer NOT NULL,
    payment_id       uuid,
    entry_id         bigint,
    trace            jsonb NOT NULL,
    due_at           timestamptz NOT NULL,
    released_at      timestamptz,
    created_at       timestamptz NOT NULL,
    CONSTRAINT awards_pk PRIMARY KEY (company_id, id),
    CONSTRAINT awards_natural_uq UNIQUE (company_id, referral_id, event, app_id, occasion),
    CONSTRAINT awards_referral_fk FOREIGN KEY (company_id, referral_id) REFERENCES referrals (company_id, id),
    CONSTRAINT awards_user_fk FOREIGN KEY (company_id, user_id) REFERENCES users (company_id, id),
    CONSTRAINT awards_payment_fk FOREIGN KEY (company_id, payment_id) REFERENCES payments (company_id, id),
    CONSTRAINT awards_entry_fk FOREIGN KEY (company_id, entry_id) REFERENCES entries (company_id, id),
    CONSTRAINT awards_event_ck CHECK (event IN (
        'registered', 'welcome', 'activated', 'qualified', 'recurring', 'l2', 'retained', 'cross_app')),
    CONSTRAINT awards_status_ck CHECK (status IN ('pending', 'held', 'paid', 'rejected', 'reversed')),
    CONSTRAINT awards_points_ck CHECK (points >= 0 AND reversed_points BETWEEN 0 AND points),
    CONSTRAINT awards_paid_ck CHECK (status <> 'paid' OR entry_id IS NOT NULL)
);
CREATE INDEX awards_user_ix ON awards (company_id, user_id, created_at, id);
CREATE INDEX awards_waiting_ix ON awards (company_id, hold_until) WHERE status = 'pending';

GRANT SELECT, INSERT, UPDATE ON awards TO :"webhook", :"app", :"admin", :"jobs";
