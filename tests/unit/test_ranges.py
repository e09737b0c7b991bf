"""Planning: which offsets become the next batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.ranges import OffsetRange, by_round, plan_ranges, shard_partitions

R = OffsetRange


@st.composite
def uncovered_ranges(draw: st.DrawFn) -> list[OffsetRange]:
    """Disjoint ranges of up to four partitions, in any order."""
    found = []
    for partition in range(draw(st.integers(0, 4))):
        bounds = draw(st.lists(st.integers(0, 60), max_size=8, unique=True).map(sorted))
        found += [R(partition, start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=False)]
    return draw(st.permutations(found))


def offsets(ranges: list[OffsetRange]) -> list[tuple[int, int]]:
    return [(item.partition, offset) for item in ranges for offset in range(item.start, item.end)]


def of_partition(ranges: list[OffsetRange], partition: int) -> list[int]:
    return sorted(offset for at, offset in offsets(ranges) if at == partition)


limits = st.integers(1, 100)


@given(uncovered_ranges(), limits)
def test_a_plan_is_disjoint_and_takes_only_what_is_uncovered(uncovered: list[OffsetRange], limit: int) -> None:
    planned = offsets(plan_ranges(uncovered, limit))

    assert len(planned) == len(set(planned))
    assert set(planned) <= set(offsets(uncovered))


@given(uncovered_ranges(), limits)
def test_a_plan_fills_its_limit_as_far_as_there_is_something(uncovered: list[OffsetRange], limit: int) -> None:
    planned = offsets(plan_ranges(uncovered, limit))

    assert len(planned) == min(limit, len(offsets(uncovered)))


@given(uncovered_ranges(), limits)
def test_a_plan_takes_the_lowest_offsets_of_each_partition_and_skips_none(
    uncovered: list[OffsetRange], limit: int
) -> None:
    planned = plan_ranges(uncovered, limit)

    for partition in {item.partition for item in uncovered}:
        taken = of_partition(planned, partition)
        assert taken == of_partition(uncovered, partition)[: len(taken)]


@given(uncovered_ranges(), limits)
def test_every_partition_gets_its_share(uncovered: list[OffsetRange], limit: int) -> None:
    planned = plan_ranges(uncovered, limit)
    partitions = {item.partition for item in uncovered}

    for partition in partitions:
        share = limit // len(partitions)
        assert len(of_partition(planned, partition)) >= min(share, len(of_partition(uncovered, partition)))


@given(uncovered_ranges(), limits)
def test_no_range_of_a_plan_is_empty(uncovered: list[OffsetRange], limit: int) -> None:
    assert all(item.start < item.end for item in plan_ranges(uncovered, limit))


@pytest.mark.parametrize(
    ("uncovered", "limit", "planned"),
    [
        ([], 10, []),
        ([R(0, 5, 9)], 10, [R(0, 5, 9)]),
        ([R(0, 5, 9)], 3, [R(0, 5, 8)]),
        ([R(0, 0, 9), R(1, 0, 9)], 6, [R(0, 0, 3), R(1, 0, 3)]),
        ([R(0, 0, 1), R(1, 0, 9)], 6, [R(0, 0, 1), R(1, 0, 5)]),
        ([R(0, 7, 9), R(0, 2, 4)], 3, [R(0, 2, 4), R(0, 7, 8)]),
        ([R(0, 0, 9), R(1, 0, 9), R(2, 0, 9)], 1, [R(0, 0, 1)]),
    ],
    ids=["nothing", "all", "cut", "halves", "what-one-leaves", "gap-first", "limit-below-partitions"],
)
def test_plans(uncovered: list[OffsetRange], limit: int, planned: list[OffsetRange]) -> None:
    assert plan_ranges(uncovered, limit) == planned


def test_planning_again_and_again_covers_everything() -> None:
    uncovered = [R(0, 0, 10), R(0, 20, 25), R(1, 3, 4), R(2, 0, 100)]
    covered: list[tuple[int, int]] = []

    while planned := plan_ranges(uncovered, 7):
        covered += offsets(planned)
        taken = {(item.partition, item.start): item.end for item in planned}
        uncovered = [
            R(item.partition, end, item.end)
            for item in uncovered
            if (end := taken.get((item.partition, item.start), item.start)) < item.end
        ]

    expected = [(0, n) for n in (*range(10), *range(20, 25))] + [(1, 3)] + [(2, n) for n in range(100)]
    assert sorted(covered) == expected


@given(uncovered_ranges())
def test_rounds_hold_every_range_once_and_a_partition_once_each(ranges: list[OffsetRange]) -> None:
    rounds = by_round(ranges)

    assert sorted(item for each in rounds for item in each) == sorted(ranges)
    assert all(len({item.partition for item in each}) == len(each) > 0 for each in rounds)


@given(uncovered_ranges())
def test_rounds_keep_the_order_of_a_partition(ranges: list[OffsetRange]) -> None:
    in_turn = [item for each in by_round(ranges) for item in each]

    for partition in {item.partition for item in ranges}:
        starts = [item.start for item in in_turn if item.partition == partition]
        assert starts == sorted(starts)


def test_rounds_take_all_partitions_at_once() -> None:
    rounds = by_round([R(1, 5, 6), R(0, 8, 9), R(0, 1, 3), R(0, 4, 7)])

    assert rounds == [[R(0, 1, 3), R(1, 5, 6)], [R(0, 4, 7)], [R(0, 8, 9)]]


@given(st.integers(1, 9), st.integers(0, 40))
def test_each_partition_belongs_to_exactly_one_shard(shards: int, partitions: int) -> None:
    found = [partition for shard in range(shards) for partition in shard_partitions(shard, shards, partitions)]

    assert sorted(found) == list(range(partitions))


def test_shards_take_partitions_by_their_remainder() -> None:
    assert shard_partitions(1, 3, 8) == [1, 4, 7]


def test_a_range_is_shown_with_its_last_offset() -> None:
    assert str(R(3, 1200, 4712)) == "[3] 1200..4711"
    assert R(3, 1200, 4712).size == 3512
