"""Campaigns: referrals under terms of their own, for a time."""

from goodword.awards import campaign_answers
from goodword.awards.campaign_answers import Campaign, CampaignList, CampaignQuery
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


lambda_handler = app.handle
