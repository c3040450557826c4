"""What a company sells and gives: features, plans with their limits, restrictions, coupons, and plans given by hand."""

from goodword.access import coupon_redemptions, coupons, features, grants, limits, plans, restrictions
from goodword.access.coupon_redemptions import CouponRedemptionList, CouponRedemptionQuery
from goodword.access.coupons import Coupon, CouponChange, CouponList, CouponQuery, NewCoupon, NewCoupons
from goodword.access.features import Feature, FeatureChange, FeatureList, FeatureQuery, NewFeature
from goodword.access.grants import Grant, GrantEnd, NewGrant
from goodword.access.limits import Limit
from goodword.access.plans import NewPlan, Plan, PlanChange, PlanList, PlanQuery
from goodword.access.restrictions import NewRestriction, Restriction, RestrictionList, RestrictionQuery
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer

app = App()


@app.route("POST /v1/features", scope=Scope.ADMIN, body=NewFeature, answers={201: Feature})
def create_feature(request: Request, new: NewFeature) -> Response:
    """Make a feature. Whoever has no plan that says something of it has its default limit."""
    return idempotency.answer_once(request, new, 201, features.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/features", scope=Scope.ADMIN, query=FeatureQuery, answers={200: FeatureList})
def list_features(request: Request) -> Response:
    """List the features, as entitlements list them."""
    query = request.parse_query(FeatureQuery)
    return answer(200, database.transact(features.listed, request.company_id, query))


@app.route("GET /v1/features/{feature}", scope=Scope.ADMIN, answers={200: Feature})
def read_feature(request: Request) -> Response:
    """Show a feature."""
    return answer(200, database.once(features.find, request.company_id, request.path_parameters["feature"]))


@app.route("PATCH /v1/features/{feature}", scope=Scope.ADMIN, body=FeatureChange, answers={200: Feature})
def change_feature(request: Request, wanted: FeatureChange) -> Response:
    """Change a feature; how it is counted and reset only before its first use."""
    feature = request.path_parameters["feature"]
    return answer(200, database.transact(features.change, request.company_id, feature, ids.new_id(), wanted))


@app.route("POST /v1/plans", scope=Scope.ADMIN, body=NewPlan, answers={201: Plan})
def create_plan(request: Request, new: NewPlan) -> Response:
    """Make a plan. It says nothing of a feature until a limit is put."""
    return idempotency.answer_once(request, new, 201, plans.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/plans", scope=Scope.ADMIN, query=PlanQuery, answers={200: PlanList})
def list_plans(request: Request) -> Response:
    """List the plans, lowest sort_order first."""
    query = request.parse_query(PlanQuery)
    return answer(200, database.transact(plans.listed, request.company_id, query))


@app.route("GET /v1/plans/{plan_id}", scope=Scope.ADMIN, answers={200: Plan})
def read_plan(request: Request) -> Response:
    """Show a plan."""
    return answer(200, database.once(plans.find, request.company_id, request.path_parameters["plan_id"]))


@app.route("PATCH /v1/plans/{plan_id}", scope=Scope.ADMIN, body=PlanChange, answers={200: Plan})
def change_plan(request: Request, wanted: PlanChange) -> Response:
    """Change a plan; whoever subscribed to a price that is replaced keeps the plan."""
    plan_id = request.path_parameters["plan_id"]
    return answer(200, database.transact(plans.change, request.company_id, plan_id, ids.new_id(), wanted))


@app.route("PUT /v1/plans/{plan_id}/limits/{feature}", scope=Scope.ADMIN, body=Limit, answers={200: Plan})
def put_limit(request: Request, wanted: Limit) -> Response:
    """Put a plan's own limit of a feature."""
    plan_id, feature = (request.path_parameters[name] for name in ("plan_id", "feature"))
    return answer(200, database.transact(limits.put, request.company_id, plan_id, feature, ids.new_id(), wanted))


@app.route("DELETE /v1/plans/{plan_id}/limits/{feature}", scope=Scope.ADMIN, answers={204: None})
def remove_limit(request: Request) -> Response:
    """Let a plan say nothing of a feature any more."""
    plan_id, feature = (request.path_parameters[name] for name in ("plan_id", "feature"))
    database.transact(limits.remove, request.company_id, plan_id, feature, ids.new_id())
    return Response(204)


@app.route(
    "GET /v1/users/{user_id}/restrictions", scope=Scope.ADMIN, query=RestrictionQuery, answers={200: RestrictionList}
)
def list_restrictions(request: Request) -> Response:
    """List a user's restrictions, newest first."""
    query = request.parse_query(RestrictionQuery)
    return answer(200, database.transact(restrictions.of_user, request.company_id, request.user_id, query))


@app.route(
    "PUT /v1/users/{user_id}/restrictions/{feature}", scope=Scope.ADMIN, body=NewRestriction, answers={200: Restriction}
)
def put_restriction(request: Request, wanted: NewRestriction) -> Response:
    """Say what a user may use of a feature, whatever their plans say."""
    caller, user_id, feature = request.caller, request.user_id, request.path_parameters["feature"]
    restriction = database.transact(
        restrictions.put, caller.company_id, user_id, feature, caller.key_id, ids.new_id(), wanted
    )
    return answer(200, restriction)


@app.route("DELETE /v1/users/{user_id}/restrictions/{feature}", scope=Scope.ADMIN, answers={204: None})
def remove_restriction(request: Request) -> Response:
    """Let a user's plans decide again."""
    feature = request.path_parameters["feature"]
    database.transact(restrictions.remove, request.company_id, request.user_id, feature, ids.new_id())
    return Response(204)


@app.route("POST /v1/coupons", scope=Scope.ADMIN, body=NewCoupon, answers={201: NewCoupons})
def create_coupons(request: Request, new: NewCoupon) -> Response:
    """Make a coupon, or up to a thousand of drawn codes at once."""
    if new.count is not None:
        request.required_idempotency_key()
    made = [ids.new_id() for _ in range(new.count or 1)]
    return idempotency.answer_once(
        request, new, 201, coupons.create, request.company_id, made, request.caller.key_id, new
    )


@app.route("GET /v1/coupons", scope=Scope.ADMIN, query=CouponQuery, answers={200: CouponList})
def list_coupons(request: Request) -> Response:
    """List the coupons, newest first."""
    query = request.parse_query(CouponQuery)
    return answer(200, database.transact(coupons.listed, request.company_id, query))


@app.route("GET /v1/coupons/{id}", scope=Scope.ADMIN, answers={200: Coupon})
def read_coupon(request: Request) -> Response:
    """Show a coupon."""
    coupon_id = ids.parse("cpn", request.path_parameters["id"])
    return answer(200, database.once(coupons.find, request.company_id, coupon_id))


@app.route("PATCH /v1/coupons/{id}", scope=Scope.ADMIN, body=CouponChange, answers={200: Coupon})
def change_coupon(request: Request, wanted: CouponChange) -> Response:
    """Change until when, how often and by whom a coupon may be redeemed."""
    coupon_id = ids.parse("cpn", request.path_parameters["id"])
    return answer(200, database.transact(coupons.change, request.company_id, coupon_id, ids.new_id(), wanted))


@app.route(
    "GET /v1/coupons/{id}/redemptions",
    scope=Scope.ADMIN,
    query=CouponRedemptionQuery,
    answers={200: CouponRedemptionList},
)
def list_coupon_redemptions(request: Request) -> Response:
    """List who has redeemed a coupon, newest first."""
    query = request.parse_query(CouponRedemptionQuery)
    coupon_id = ids.parse("cpn", request.path_parameters["id"])
    return answer(200, database.transact(coupon_redemptions.listed, request.company_id, coupon_id, query))


@app.route("POST /v1/users/{user_id}/grants", scope=Scope.ADMIN, body=NewGrant, answers={201: Grant})
def give_plan(request: Request, new: NewGrant) -> Response:
    """Give a user a plan for some days, or without an end."""
    return idempotency.answer_once(
        request, new, 201, grants.give, request.company_id, request.user_id, ids.new_id(), new
    )


@app.route("POST /v1/users/{user_id}/grants/{id}/end", scope=Scope.ADMIN, body=GrantEnd, answers={200: Grant})
def end_grant(request: Request, end: GrantEnd) -> Response:
    """End a grant now; one that has ended stays as it is."""
    grant_id = ids.parse("grt", request.path_parameters["id"])
    return idempotency.answer_once(request, end, 200, grants.end, request.company_id, request.user_id, grant_id, end)


lambda_handler = app.handle
