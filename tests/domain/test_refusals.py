"""What is said about a field that cannot be: our own words, and no pattern."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, create_model

from goodword.access.entitlements import FEATURE_KEY
from goodword.access.plans import PLAN_ID, Currency, PriceRef
from goodword.core import refusals
from goodword.core.fields import AppId, Email, ExternalId, PositiveInt, RequestModel, Text, Url
from goodword.points.redemptions import NewRedemption
from goodword.referral.codes import CustomText


def said(of: Any, value: object) -> str:  # noqa: ANN401 - any type
    """What is said about one value of a type."""
    model = create_model("Body", __base__=RequestModel, field=(of, ...))
    with pytest.raises(ValidationError) as invalid:
        model.model_validate({"field": value})
    return refusals.words_for(invalid.value.errors()[0])


@pytest.mark.parametrize(
    ("of", "value", "words"),
    [
        (Text, 1, "must be a text"),
        (Text, "", "must have at least 1 characters"),
        (Text, "x" * 201, "must have at most 200 characters"),
        (Text, "\0", "must be characters other than NUL"),
        (PositiveInt, "1", "must be a whole number"),
        (PositiveInt, 0, "must be at least 1"),
        (bool, 1, "must be true or false"),
        (list[int], 1, "must be a list"),
        (Literal["stripe", "whop"], "paypal", "must be 'stripe' or 'whop'"),
        (Email, "ada", "must be an e-mail address"),
        (Url, "ftp://x", "must be a URL that begins with http:// or https:// and a host"),
        (AppId, "a b", "must be 1 to 64 letters, digits, underscores, dots or hyphens"),
        (CustomText, "ä", "must be 3 to 20 letters, digits or hyphens"),
        (Annotated[str, Field(pattern=FEATURE_KEY)], "A", "must be 1 to 64 small letters, digits or underscores"),
        (Annotated[str, Field(pattern=PLAN_ID)], "A", "must be 1 to 64 small letters, digits, underscores or hyphens"),
        (PriceRef, "a b", "must be 1 to 255 visible ASCII characters"),
        (Currency, "USD", "must be a currency of three small letters, as usd"),
    ],
)
def test_a_value_is_refused_in_our_words(of: Any, value: object, words: str) -> None:  # noqa: ANN401 - any type
    assert said(of, value) == words


def test_a_rule_of_our_own_is_said_as_it_is() -> None:
    assert said(ExternalId, "a b").startswith("must be 1 to 128 visible ASCII characters")


def test_an_id_is_explained_by_how_it_begins() -> None:
    with pytest.raises(ValidationError) as invalid:
        NewRedemption.model_validate({"option_id": "red_1", "colour": "red"})
    words = {str(error["loc"][0]): refusals.words_for(error) for error in invalid.value.errors()}
    assert words == {"option_id": "must be an id that begins with opt_", "colour": "is not known"}
