"""What a company sells: its plans, their limits, and the prices by which providers sell them."""

from goodword.access import plans
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


lambda_handler = app.handle
