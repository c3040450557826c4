"""The plans, features and limits every company begins with (docs/rules.md, Plans and features)."""

from typing import NamedTuple
from uuid import UUID

from psycopg import Connection

from goodword.core import query

_UNLIMITED = None


class _Plan(NamedTuple):
    """A plan without a price is not for sale."""

    id: str
    name: str
    description: str
    price_monthly_cents: int | None
    price_yearly_cents: int | None
    active: bool = True


class _Feature(NamedTuple):
    """A feature, with its limits by the plans in their order."""

    key: str
    name: str
    description: str
    category: str
    limits: tuple[int | None, int | None, int | None, int | None]
    limit_type: str = "count"
    reset: str = "never"
    default_limit: int | None = _UNLIMITED


_PLANS = (
    _Plan("free", "Free", "The basics, with limits", None, None),
    _Plan("basic", "Basic", "The core features, without AI", 499, 4990),
    _Plan("premium", "Premium", "Every feature, with AI and connectors", 999, 9990),
    _Plan("selfhosted", "Self-Hosted", "Without limits, for a server of one's own", None, None, active=False),
)

_ON_FROM_BASIC, _ON_FROM_PREMIUM = (0, 1, 1, 1), (0, 0, 1, 1)


def _entries(key: str, name: str, counted: str, free: int) -> _Feature:
    limits = (free, _UNLIMITED, _UNLIMITED, _UNLIMITED)
    return _Feature(key, name, f"How many {counted} are kept", "data", limits)


def _switch(key: str, name: str, description: str, category: str, limits: tuple[int, int, int, int]) -> _Feature:
    return _Feature(key, name, description, category, limits, limit_type="boolean", default_limit=0)


_FEATURES = (
    _entries("weight_entries", "Weight entries", "weights", 30),
    _entries("circumference_entries", "Circumference entries", "body circumferences", 10),
    _entries("caliper_entries", "Caliper entries", "skinfold measurements", 10),
    _entries("nutrition_entries", "Nutrition entries", "meals", 30),
    _entries("activity_entries", "Activity entries", "workouts and activities", 30),
    _Feature("photos", "Progress photos", "How many photos are kept", "data", (5, 50, _UNLIMITED, _UNLIMITED)),
    _Feature(
        "ai_calls", "AI calls", "Analyses by AI in a month", "ai", (0, 3, _UNLIMITED, _UNLIMITED), reset="monthly",
        default_limit=0,
    ),
    _switch("ai_pipeline", "AI pipeline", "The whole analysis by AI", "ai", _ON_FROM_PREMIUM),
    _switch("export_csv", "CSV export", "Data as CSV", "export", _ON_FROM_BASIC),
    _switch("export_json", "JSON export", "Data as JSON", "export", _ON_FROM_BASIC),
    _switch("export_zip", "ZIP export", "A whole backup", "export", _ON_FROM_BASIC),
)  # fmt: skip

_INSERT_FEATURES = """
    INSERT INTO features (company_id, key, name, description, category, limit_type, reset, default_limit, sort_order)
    SELECT %(company_id)s, key, name, description, category, limit_type, reset, default_limit, sort_order
    FROM jsonb_to_recordset(%(rows)s) AS row (key text, name text, description text, category text, limit_type text,
        reset text, default_limit bigint, sort_order integer)
"""
_INSERT_PLANS = """
    INSERT INTO plans (company_id, id, name, description, price_monthly_cents, price_yearly_cents, active, sort_order)
    SELECT %(company_id)s, id, name, description, price_monthly_cents, price_yearly_cents, active, sort_order
    FROM jsonb_to_recordset(%(rows)s) AS row (id text, name text, description text, price_monthly_cents bigint,
        price_yearly_cents bigint, active boolean, sort_order integer)
"""
_INSERT_LIMITS = """
    INSERT INTO plan_limits (company_id, plan_id, feature, limit_value)
    SELECT %(company_id)s, plan_id, feature, limit_value
    FROM jsonb_to_recordset(%(rows)s) AS row (plan_id text, feature text, limit_value bigint)
"""


def begin(connection: Connection, company_id: UUID) -> None:
    """Write the start data of a new company."""
    features = [{**each._asdict(), "sort_order": position} for position, each in enumerate(_FEATURES, start=1)]
    plans = [{**each._asdict(), "sort_order": position} for position, each in enumerate(_PLANS, start=1)]
    limits = [
        {"plan_id": plan.id, "feature": feature.key, "limit_value": limit}
        for feature in _FEATURES
        for plan, limit in zip(_PLANS, feature.limits, strict=True)
    ]
    connection.execute(_INSERT_FEATURES, {"company_id": company_id, "rows": query.as_json(features)})
    connection.execute(_INSERT_PLANS, {"company_id": company_id, "rows": query.as_json(plans)})
    connection.execute(_INSERT_LIMITS, {"company_id": company_id, "rows": query.as_json(limits)})
