"""Users: who they are, who brought them, whom they brought, what came of it, and what they do."""

from goodword.access import coupon_redemptions, grants
from goodword.access.coupon_redemptions import EnteredCoupon, RedeemedCoupon
from goodword.access.grants import GrantList, GrantQuery
from goodword.accounts import activity
from goodword.accounts.activity import Activity, ActivityList, ActivityQuery, NewActivity
from goodword.accounts.users import UserChange
from goodword.awards import listing as awards
from goodword.awards import milestone_claims, milestone_standings
from goodword.awards.listing import AwardList, AwardQuery
from goodword.awards.milestone_catalogue import MilestoneQuery
from goodword.awards.milestone_standings import UserMilestone, UserMilestoneList
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer
from goodword.fraud import histories, sightings
from goodword.fraud.histories import UserChecks
from goodword.insight import attributions, explanations, user_stats
from goodword.insight.attributions import UserAttribution
from goodword.insight.explanation_models import AwardExplanation, ReferralExplanation
from goodword.insight.user_stats import UserStats
from goodword.referral import named_referrers, profiles, referrals, user_edits
from goodword.referral.named_referrers import LateAttribution, LateIds
from goodword.referral.profiles import User
from goodword.referral.referrals import CircleQuery, ReferralList, ReferralQuery
from goodword.referral.signups import SignupAnswer
from goodword.referral.user_edits import EditIds

app = App()


@app.route("GET /v1/users/{user_id}", scope=Scope.READ, answers={200: User})
def read(request: Request) -> Response:
    """Show a user."""
    return answer(200, database.once(profiles.find, request.company_id, request.user_id, request.base_url))


@app.route("PATCH /v1/users/{user_id}", scope=Scope.WRITE, body=UserChange, answers={200: User})
def change(request: Request, wanted: UserChange) -> Response:
    """Change a user, who then has what waits for who they have become."""
    user = database.transact(
        user_edits.change, request.company_id, request.user_id, EditIds(), wanted, request.base_url
    )
    return answer(200, user)


@app.route("GET /v1/users/{user_id}/referrals", scope=Scope.READ, query=CircleQuery, answers={200: ReferralList})
def circle(request: Request) -> Response:
    """List the people a user brought."""
    query = request.parse_query(CircleQuery)
    return answer(200, database.transact(referrals.circle, request.company_id, request.user_id, query))


@app.route("GET /v1/referrals", scope=Scope.ADMIN, query=ReferralQuery, answers={200: ReferralList})
def list_referrals(request: Request) -> Response:
    """List all referrals."""
    query = request.parse_query(ReferralQuery)
    return answer(200, database.transact(referrals.listed, request.company_id, query))


@app.route("GET /v1/users/{user_id}/awards", scope=Scope.READ, query=AwardQuery, answers={200: AwardList})
def list_awards(request: Request) -> Response:
    """List the awards that a user receives."""
    query = request.parse_query(AwardQuery)
    return answer(200, database.transact(awards.of_user, request.company_id, request.user_id, query))


@app.route("PUT /v1/users/{user_id}/referrer", scope=Scope.WRITE, body=LateAttribution, answers={200: SignupAnswer})
def attribute_late(request: Request, wanted: LateAttribution) -> Response:
    """Bind a user to a referrer after the signup."""
    caller, user_id, new_ids = request.caller, request.user_id, LateIds()
    bound = database.transact(
        named_referrers.attribute, caller.company_id, user_id, wanted, caller.scope, new_ids, request.base_url
    )
    return answer(200, bound)


@app.route("GET /v1/users/{user_id}/attribution", scope=Scope.READ, answers={200: UserAttribution})
def read_attribution(request: Request) -> Response:
    """Show how a user came, also where nobody was found or somebody was blocked."""
    return answer(200, database.transact(attributions.of_user, request.company_id, request.user_id))


@app.route("GET /v1/users/{user_id}/checks", scope=Scope.ADMIN, answers={200: UserChecks})
def read_checks(request: Request) -> Response:
    """Show every judgement on a user, and where they were seen."""
    return answer(200, database.transact(histories.of_user, request.company_id, request.user_id))


@app.route("GET /v1/referrals/{id}/explain", scope=Scope.READ, answers={200: ReferralExplanation})
def explain_referral(request: Request) -> Response:
    """Show how a referral came to be, every fact known about it, and what follows."""
    public_id = request.path_parameters["id"]
    return answer(200, database.transact(explanations.of_referral, request.company_id, public_id))


@app.route("GET /v1/awards/{id}/explain", scope=Scope.READ, answers={200: AwardExplanation})
def explain_award(request: Request) -> Response:
    """Show from what an award's points come, what of them is due, and what was booked."""
    public_id = request.path_parameters["id"]
    return answer(200, database.transact(explanations.of_award, request.company_id, public_id))


@app.route("GET /v1/users/{user_id}/grants", scope=Scope.READ, query=GrantQuery, answers={200: GrantList})
def list_grants(request: Request) -> Response:
    """List the plans that a user was given for a time, newest first."""
    query = request.parse_query(GrantQuery)
    return answer(200, database.transact(grants.listed, request.company_id, request.user_id, query))


@app.route("POST /v1/users/{user_id}/coupons", scope=Scope.WRITE, body=EnteredCoupon, answers={201: RedeemedCoupon})
def redeem_coupon(request: Request, entered: EnteredCoupon) -> Response:
    """Give a user what a coupon gives, once per Idempotency-Key."""
    request.required_idempotency_key()
    return idempotency.answer_once(
        request, entered, 201, coupon_redemptions.redeem, request.company_id, request.user_id, ids.new_id(), entered
    )


@app.route(
    "GET /v1/users/{user_id}/milestones", scope=Scope.READ, query=MilestoneQuery, answers={200: UserMilestoneList}
)
def list_milestones(request: Request) -> Response:
    """List the milestones that a user may reach or has reached, lowest threshold first."""
    query = request.parse_query(MilestoneQuery)
    return answer(200, database.transact(milestone_standings.of_user, request.company_id, request.user_id, query))


@app.route("POST /v1/users/{user_id}/milestones/{id}/claim", scope=Scope.WRITE, answers={200: UserMilestone})
def claim_milestone(request: Request) -> Response:
    """Give a user what they have reached. A milestone that is claimed already is answered as it is."""
    nothing, company_id = request.parse_nothing(), request.company_id
    milestone_id = request.path_id("mil")
    user_id = database.once(milestone_claims.admit, company_id, request.user_id)
    return idempotency.respond_once(
        request, nothing, lambda kept: answer(200, kept), milestone_claims.claim, company_id, user_id, milestone_id,
        ids.new_id(),
    )  # fmt: skip


@app.route("POST /v1/users/{user_id}/activity", scope=Scope.WRITE, body=NewActivity, answers={201: Activity})
def report_activity(request: Request, new: NewActivity) -> Response:
    """Keep what a user did in an app; a login is counted."""
    company_id, user_id, activity_id = request.company_id, request.user_id, ids.new_id()
    return idempotency.respond_once(
        request, new, lambda kept: answer(201, kept), sightings.report, company_id, user_id, activity_id, new
    )


@app.route("GET /v1/users/{user_id}/activity", scope=Scope.READ, query=ActivityQuery, answers={200: ActivityList})
def list_activity(request: Request) -> Response:
    """List what a user did, and what was done to them."""
    query = request.parse_query(ActivityQuery)
    return answer(200, database.transact(activity.listed, request.company_id, request.user_id, query))


@app.route("GET /v1/users/{user_id}/stats", scope=Scope.READ, answers={200: UserStats})
def read_stats(request: Request) -> Response:
    """Show how often a user comes, how much they use, and what they earned by referrals."""
    return answer(200, database.once(user_stats.of_user, request.company_id, request.user_id))


lambda_handler = app.handle
