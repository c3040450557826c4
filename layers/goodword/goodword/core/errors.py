"""What can go wrong for a caller, by kind. The one table from kind to HTTP status is in `goodword.core.http`.

A violated database constraint is an error by its name (`BY_CONSTRAINT`), never by its message.
"""

from collections.abc import Mapping


class DomainError(Exception):
    """A refusal with a stable `code`, a sentence for people, and fields that the answer carries besides."""

    def __init__(self, code: str, detail: str, **fields: object) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields: Mapping[str, object] = fields


class Malformed(DomainError):
    """The request cannot be read at all."""


class Unauthenticated(DomainError):
    """No key, or none that we know."""


class Forbidden(DomainError):
    """A known key that may not do this."""


class NotFound(DomainError):
    """There is no such thing for this caller; another company's thing looks the same."""


class Conflict(DomainError):
    """The request contradicts what is stored."""


class TooLarge(DomainError):
    """The body is larger than this endpoint takes."""


class Refused(DomainError):
    """Well-formed, but invalid or against a rule."""


def invalid_fields(*wrong: tuple[str, str]) -> Refused:
    """The refusal of fields by their names, each with what is wrong with it."""
    errors = [{"field": field, "message": message} for field, message in wrong]
    return Refused("invalid_request", "Some fields are not valid.", errors=errors)


class TooManyRequests(DomainError):
    """A rate limit; `retry_after` seconds are among the fields."""


class Unavailable(DomainError):
    """The database cannot be reached in time; nothing is known to have happened."""


BY_CONSTRAINT: Mapping[str, DomainError] = {
    "users_whop_user_uq": Conflict("identity_taken", "Another user has this whop_user_id."),
    "users_stripe_customer_uq": Conflict("identity_taken", "Another user has this stripe_customer_id."),
    "companies_whop_company_uq": Conflict("whop_company_taken", "Another company has this whop_company_id."),
    "codes_code_uq": Conflict("code_taken", "This code is taken."),
    "fraud_patterns_value_uq": Conflict("pattern_exists", "There is a pattern of this type, match and value."),
    "redemption_options_feature_fk": Refused(
        "feature_unknown",
        "There is no such feature.",
        errors=[{"field": "feature", "message": "is no feature of this company"}],
    ),
    "redemption_options_plan_fk": invalid_fields(("plan", "is no plan of this company")),
    "access_grants_plan_fk": invalid_fields(("plan", "is no plan of this company")),
    "grant_intervals_calendar_ck": Refused(
        "plan_already_held", "The user has plans until the end of the calendar already."
    ),
    "coupons_plan_fk": invalid_fields(("plan", "is no plan of this company")),
    "coupons_code_uq": Conflict("coupon_exists", "There is another coupon with this code."),
    "coupons_window_ck": invalid_fields(("valid_until", "must be later than valid_from")),
}
