"""What a company sells and gives: plans with their limits, coupons, and plans given by hand."""

from goodword.access import coupon_redemptions, coupons, grants, plans
from goodword.access.coupon_redemptions import CouponRedemptionList, CouponRedemptionQuery
from goodword.access.coupons import Coupon, CouponChange, CouponList, CouponQuery, NewCoupon, NewCoupons
from goodword.access.grants import Grant, GrantEnd, NewGrant
from goodword.access.plans import Limit, NewPlan, Plan, PlanChange, PlanList, PlanQuery
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer

app = App()


@app.route("POST /v1/plans", scope=Scope.ADMIN, body=NewPlan, answers={201: Plan})
def create_plan(request: Request, new: NewPlan) -> Response:
    """Make a plan. Its features have their default limits until others are put."""
    return idempotency.answer_once(request, new, 201, plans.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/plans", scope=Scope.ADMIN, query=PlanQuery, answers={200: PlanList})
def list_plans(request: Request) -> Response:
    """List the plans, lowest sort_order first."""
    query = request.parse_query(PlanQuery)
    return answer(200, database.transact(plans.listed, request.company_id, query))


@app.route("PATCH /v1/plans/{plan_id}", scope=Scope.ADMIN, body=PlanChange, answers={200: Plan})
def change_plan(request: Request, wanted: PlanChange) -> Response:
    """Change a plan; whoever subscribed to a price that is replaced keeps the plan."""
    plan_id = request.path_parameters["plan_id"]
    return answer(200, database.transact(plans.change, request.company_id, plan_id, ids.new_id(), wanted))


@app.route("PUT /v1/plans/{plan_id}/limits/{feature}", scope=Scope.ADMIN, body=Limit, answers={200: Plan})
def put_limit(request: Request, wanted: Limit) -> Response:
    """Put a plan's own limit of a feature in the place of the feature's default."""
    plan_id, feature = (request.path_parameters[name] for name in ("plan_id", "feature"))
    return answer(200, database.transact(plans.put_limit, request.company_id, plan_id, feature, ids.new_id(), wanted))


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
