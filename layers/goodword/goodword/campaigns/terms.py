"""The terms of a campaign: what its referrals earn in place of what the program says, for good.

They can be changed in a draft only, so whoever has joined keeps what they joined under (docs/rules.md, Campaigns).
"""

from functools import lru_cache

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from goodword.program.document import AwardTerms, Program, Tiers, WithoutPayment


class _Terms(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_serializer(mode="wrap")
    def _given_alone(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """As the document is written: what is not named is the program's, and stands nowhere."""
        return {name: value for name, value in write(self).items() if value is not None}


class CampaignAwards(_Terms):
    """The events whose terms a campaign has of its own; one that is named takes the place of the program's wholly."""

    registered: WithoutPayment | None = None
    welcome: WithoutPayment | None = None
    activated: WithoutPayment | None = None
    qualified: AwardTerms | None = None
    recurring: AwardTerms | None = None
    l2: AwardTerms | None = None
    retained: AwardTerms | None = None
    cross_app: WithoutPayment | None = None


class CampaignTerms(_Terms):
    """What a campaign says in place of the program."""

    awards: CampaignAwards | None = None
    tiers: Tiers | None = None

    def over(self, program: Program) -> Program:
        """The program as it is for the referrals of the campaign."""
        changed: dict[str, object] = {}
        if self.awards:
            own = {name: getattr(self.awards, name) for name in CampaignAwards.model_fields}
            given = {name: terms for name, terms in own.items() if terms is not None}
            changed["awards"] = program.awards.model_copy(update=given)
        if self.tiers:
            changed["tiers"] = self.tiers
        return program.model_copy(update=changed)


@lru_cache(maxsize=256)
def _parse(campaign: str) -> CampaignTerms:
    """Stored terms. They stay what they are from the first referral on, so each text is read once per process."""
    return CampaignTerms.model_validate_json(campaign)


def over(program: Program, campaign: str | None) -> Program:
    """A program as it is for the referrals of a campaign, whose terms are given as they are stored; or of none."""
    return _parse(campaign).over(program) if campaign else program
