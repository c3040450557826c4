"""The plans, features and limits every company begins with (docs/rules.md, Plans and features)."""

from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

_UNLIMITED = None

# key, category, limit type, reset, default limit, then the limits of free, basic, premium and selfhosted
_FEATURES: tuple[tuple[str, str, str, str, int | None, tuple[int | None, int | None, int | None, int | None]], ...] = (
    ("weight_entries", "data", "count", "never", _UNLIMITED, (30, _UNLIMITED, _UNLIMITED, _UNLIMITED)),
    ("circumference_entries", "data", "count", "never", _UNLIMITED, (10, _UNLIMITED, _UNLIMITED, _UNLIMITED)),
    ("caliper_entries", "data", "count", "never", _UNLIMITED, (10, _UNLIMITED, _UNLIMITED, _UNLIMITED)),
    ("nutrition_entries", "data", "count", "never", _UNLIMITED, (30, _UNLIMITED, _UNLIMITED, _UNLIMITED)),
    ("activity_entries", "data", "count", "never", _UNLIMITED, (30, _UNLIMITED, _UNLIMITED, _UNLIMITED)),
    ("photos", "data", "count", "never", _UNLIMITED, (5, 50, _UNLIMITED, _UNLIMITED)),
    ("ai_calls", "ai", "count", "monthly", 0, (0, 3, _UNLIMITED, _UNLIMITED)),
    ("ai_pipeline", "ai", "boolean", "never", 0, (0, 0, 1, 1)),
    ("export_csv", "export", "boolean", "never", 0, (0, 1, 1, 1)),
    ("export_json", "export", "boolean", "never", 0, (0, 1, 1, 1)),
    ("export_zip", "export", "boolean", "never", 0, (0, 1, 1, 1)),
)
_PLANS = (
    ("free", "Free", 0, 0, True, 1),
    ("basic", "Basic", 499, 4990, True, 2),
    ("premium", "Premium", 999, 9990, True, 3),
    ("selfhosted", "Self-hosted", 0, 0, False, 4),
)

_INSERT_FEATURES = """
    INSERT INTO features (company_id, key, name, category, limit_type, reset, default_limit, sort_order)
    SELECT %(company_id)s, key, name, category, limit_type, reset, default_limit, sort_order
    FROM jsonb_to_recordset(%(rows)s) AS row (key text, name text, category text, limit_type text, reset text,
        default_limit bigint, sort_order integer)
"""
_INSERT_PLANS = """
    INSERT INTO plans (company_id, id, name, price_monthly_cents, price_yearly_cents, active, sort_order)
    SELECT %(company_id)s, id, name, price_monthly_cents, price_yearly_cents, active, sort_order
    FROM jsonb_to_recordset(%(rows)s) AS row (id text, name text, price_monthly_cents bigint,
        price_yearly_cents bigint, active boolean, sort_order integer)
"""
_INSERT_LIMITS = """
    INSERT INTO plan_limits (company_id, plan_id, feature, limit_value)
    SELECT %(company_id)s, plan_id, feature, limit_value
    FROM jsonb_to_recordset(%(rows)s) AS row (plan_id text, feature text, limit_value bigint)
"""


def begin(connection: Connection, company_id: UUID) -> None:
    """Write the start data of a new company."""
    features = [
        {"key": key, "name": key.replace("_", " ").capitalize(), "category": category, "limit_type": limit_type,
         "reset": reset, "default_limit": default_limit, "sort_order": position}
        for position, (key, category, limit_type, reset, default_limit, _) in enumerate(_FEATURES, start=1)
    ]  # fmt: skip
    plans = [
        {"id": id_, "name": name, "price_monthly_cents": monthly, "price_yearly_cents": yearly, "active": active,
         "sort_order": order}
        for id_, name, monthly, yearly, active, order in _PLANS
    ]  # fmt: skip
    limits = [
        {"plan_id": plan[0], "feature": feature[0], "limit_value": limit}
        for feature in _FEATURES
        for plan, limit in zip(_PLANS, feature[5], strict=True)
    ]
    connection.execute(_INSERT_FEATURES, {"company_id": company_id, "rows": Jsonb(features)})
    connection.execute(_INSERT_PLANS, {"company_id": company_id, "rows": Jsonb(plans)})
    connection.execute(_INSERT_LIMITS, {"company_id": company_id, "rows": Jsonb(limits)})
