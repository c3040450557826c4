"""E-mails that look alike: by the edits that lead from one name to the other, reckoned in another way."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodword.fraud.emails import Mailbox, are_alike, mailbox

names = st.text("ab", min_size=1, max_size=9)


def edits(one: str, other: str) -> int:
    """How many letters are put in, left out or replaced between two names, at least."""

    @cache
    def between(first: int, second: int) -> int:
        if not first or not second:
            return first + second
        same = one[first - 1] == other[second - 1]
        return min(
            between(first - 1, second) + 1, between(first, second - 1) + 1, between(first - 1, second - 1) + (not same)
        )

    return between(len(one), len(other))


@given(names, names)
def test_names_of_six_letters_are_alike_within_two_edits_and_shorter_ones_where_they_are_equal(
    one: str, other: str
) -> None:
    are_long = min(len(one), len(other)) >= 6
    alike = are_alike(Mailbox(one, "app.example"), Mailbox(other, "app.example"))
    assert alike == (one == other or (are_long and edits(one, other) <= 2))
    assert alike == are_alike(Mailbox(other, "app.example"), Mailbox(one, "app.example"))
    assert not are_alike(Mailbox(one, "app.example"), Mailbox(other, "web.example"))


@pytest.mark.parametrize(
    ("email", "name"),
    [("A.B+c@App.Example", "ab"), ("a+b+c@app.example", "a"), (" a.b.@app.example ", "ab"), ("+x@app.example", "")],
)
def test_a_mailbox_is_named_without_case_tag_and_dots(email: str, name: str) -> None:
    assert mailbox(email) == Mailbox(name, "app.example")
