"""Campaigns and milestones: what a company offers to those who bring many, and what has come of it."""

from goodword.awards import campaign_answers, milestone_catalogue, milestone_claims, milestone_standings
from goodword.awards.campaign_answers import Campaign, CampaignList, CampaignQuery
from goodword.awards.milestone_catalogue import (
    Milestone,
    MilestoneChange,
    MilestoneList,
    MilestoneQuery,
    NewMilestone,
)
from goodword.awards.milestone_claims import MilestoneDelivery
from goodword.awards.milestone_standings import MilestoneHolder, MilestoneHolderList, MilestoneHolderQuery
from goodword.campaigns.campaigns import CampaignChange, NewCampaign
from goodword.core import database, idempotency, ids
from goodword.core.auth import Scope
from goodword.core.http import App, Request, Response, answer

app = App()


@app.route("POST /v1/campaigns", scope=Scope.ADMIN, body=NewCampaign, answers={201: Campaign})
def create_campaign(request: Request, new: NewCampaign) -> Response:
    """Make a draft of a campaign: nobody joins it before it is said to be active."""
    return idempotency.answer_once(request, new, 201, campaign_answers.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/campaigns", scope=Scope.ADMIN, query=CampaignQuery, answers={200: CampaignList})
def list_campaigns(request: Request) -> Response:
    """List the campaigns, newest first."""
    query = request.parse_query(CampaignQuery)
    return answer(200, database.transact(campaign_answers.listed, request.company_id, query))


@app.route("GET /v1/campaigns/{id}", scope=Scope.ADMIN, answers={200: Campaign})
def read_campaign(request: Request) -> Response:
    """Show a campaign."""
    return answer(200, database.once(campaign_answers.find, request.company_id, request.path_id("cam")))


@app.route("PATCH /v1/campaigns/{id}", scope=Scope.ADMIN, body=CampaignChange, answers={200: Campaign})
def change_campaign(request: Request, wanted: CampaignChange) -> Response:
    """Change a campaign, or say that it is active or archived."""
    campaign_id = request.path_id("cam")
    return answer(
        200, database.transact(campaign_answers.change, request.company_id, campaign_id, ids.new_id(), wanted)
    )


@app.route("POST /v1/milestones", scope=Scope.ADMIN, body=NewMilestone, answers={201: Milestone})
def create_milestone(request: Request, new: NewMilestone) -> Response:
    """Make a milestone, for the referrals that count from now on."""
    return idempotency.answer_once(request, new, 201, milestone_catalogue.create, request.company_id, ids.new_id(), new)


@app.route("GET /v1/milestones", scope=Scope.ADMIN, query=MilestoneQuery, answers={200: MilestoneList})
def list_milestones(request: Request) -> Response:
    """List the milestones, lowest threshold first."""
    query = request.parse_query(MilestoneQuery)
    return answer(200, database.transact(milestone_catalogue.listed, request.company_id, query))


@app.route("GET /v1/milestones/{id}", scope=Scope.ADMIN, answers={200: Milestone})
def read_milestone(request: Request) -> Response:
    """Show a milestone."""
    milestone_id = request.path_id("mil")
    return answer(200, database.once(milestone_catalogue.find, request.company_id, milestone_id))


@app.route("PATCH /v1/milestones/{id}", scope=Scope.ADMIN, body=MilestoneChange, answers={200: Milestone})
def change_milestone(request: Request, wanted: MilestoneChange) -> Response:
    """Change a milestone, for whoever reaches or claims it from now on."""
    milestone_id = request.path_id("mil")
    return answer(
        200, database.transact(milestone_catalogue.change, request.company_id, milestone_id, ids.new_id(), wanted)
    )


@app.route(
    "GET /v1/milestones/{id}/users",
    scope=Scope.ADMIN,
    query=MilestoneHolderQuery,
    answers={200: MilestoneHolderList},
)
def list_milestone_holders(request: Request) -> Response:
    """List who has reached a milestone; whoever is `granted` a custom one waits for the company to deliver it."""
    query = request.parse_query(MilestoneHolderQuery)
    milestone_id = request.path_id("mil")
    return answer(200, database.transact(milestone_standings.holders, request.company_id, milestone_id, query))


@app.route(
    "POST /v1/milestones/{id}/users/{user_id}/fulfil",
    scope=Scope.ADMIN,
    body=MilestoneDelivery,
    answers={200: MilestoneHolder},
)
def fulfil_milestone(request: Request, delivery: MilestoneDelivery) -> Response:
    """Say that what a user was granted has been delivered."""
    company_id, user_id, milestone_id = request.company_id, request.user_id, request.path_id("mil")
    return idempotency.respond_once(
        request, delivery, lambda kept: answer(200, kept), milestone_claims.fulfil, company_id, milestone_id, user_id,
        delivery,
    )  # fmt: skip


lambda_handler = app.handle
