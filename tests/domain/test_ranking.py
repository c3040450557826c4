"""The ranking of a campaign: who stands where, and which ranks win."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from goodword.campaigns.campaigns import Prize
from goodword.campaigns.ranking import Participant, ranked

DAY = timedelta(days=1)
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
PRIZES = [Prize(rank_from=4, rank_to=6, points=5), Prize(rank_from=1, rank_to=2, points=100)]

people = st.lists(
    st.builds(
        Participant,
        st.integers(1, 50).map(lambda number: UUID(int=number)),
        st.integers(1, 3),
        st.integers(0, 3),
        st.integers(0, 2).map(lambda days: NOON + days * DAY),
    ),
    unique_by=lambda each: each.user_id,
)


def participant(number: int, qualified: int, points: int, days: int) -> Participant:
    return Participant(UUID(int=number), qualified, points, NOON + days * DAY)


def test_referrals_come_before_points_and_points_before_who_had_them_first() -> None:
    found = ranked(
        [
            participant(1, 2, 90, 0), participant(2, 3, 10, 9), participant(4, 2, 50, 3), participant(3, 2, 50, 3),
            participant(5, 2, 50, 1), participant(6, 1, 999, 0), participant(7, 1, 0, 0),
        ],
        PRIZES,
    )  # fmt: skip
    assert [(each.rank, each.user_id.int, each.prize_points) for each in found] == [
        (1, 2, 100), (2, 1, 100), (3, 5, 0), (4, 3, 5), (5, 4, 5), (6, 6, 5), (7, 7, 0),
    ]  # fmt: skip


@given(people, st.data())
def test_a_ranking_depends_on_no_order_and_ranks_everybody_once(found: list[Participant], data: st.DataObject) -> None:
    ranks = ranked(found, PRIZES)
    assert ranked(data.draw(st.permutations(found)), PRIZES) == ranks
    assert [each.rank for each in ranks] == list(range(1, len(found) + 1))
    assert {each.user_id for each in ranks} == {each.user_id for each in found}
    assert sum(each.prize_points for each in ranks) == 100 * min(2, len(found)) + 5 * max(0, min(3, len(found) - 3))
