"""Which batches a rebuild redoes, which hinder it, and from when on none does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from microbatch.kafka import Ends
from microbatch.ranges import OffsetRange
from microbatch.rebuild_choice import ARCHIVED, DELETED, RETIRED, Counted, chosen, earliest, hindrance

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def batch(batch_id: int, start: int, end: int, partition: int = 0, **facts: Any) -> Counted:
    known: dict[str, Any] = {"kind": "catch up", "is_current": False, "is_retired": False} | facts
    return Counted(batch_id, 0, batch_time=NOW, messages=1, ranges=[OffsetRange(partition, start, end)], **known)


def ids(batches: list[Counted]) -> list[int]:
    return [each.batch_id for each in batches]


BATCHES = [batch(3, 20, 30), batch(1, 0, 10), batch(2, 10, 20), batch(4, 0, 10, partition=1)]


def test_without_an_interval_all_are_meant_oldest_first() -> None:
    assert ids(chosen(BATCHES, None, is_chained=False)) == [1, 2, 3, 4]


def test_of_an_interval_those_are_meant_that_have_an_offset_in_it() -> None:
    wanted = {0: OffsetRange(0, 9, 11), 1: OffsetRange(1, 10, 10)}

    assert ids(chosen(BATCHES, wanted, is_chained=False)) == [1, 2]
    assert chosen(BATCHES, {}, is_chained=False) == []


def test_where_batches_depend_on_those_before_them_all_after_the_first_are_meant() -> None:
    wanted = {0: OffsetRange(0, 10, 11)}

    assert ids(chosen(BATCHES, wanted, is_chained=True)) == [2, 3, 4]
    assert chosen(BATCHES, {}, is_chained=True) == []


def test_offsets_of_another_log_are_in_no_interval() -> None:
    retired = [batch(1, 0, 10, is_retired=True)]

    assert chosen(retired, {0: OffsetRange(0, 0, 10)}, is_chained=False) == []
    assert ids(chosen(retired, None, is_chained=False)) == [1]


def test_what_hinders_a_batch_is_named() -> None:
    ends = {0: Ends(5, 30, 30)}

    assert hindrance(batch(1, 5, 10), ends) is None
    assert hindrance(batch(1, 4, 10), ends) == DELETED
    assert hindrance(batch(1, 4, 10, kind="archive"), ends) == ARCHIVED
    assert hindrance(batch(1, 4, 10, partition=7, is_retired=True), ends) == RETIRED
    assert hindrance(batch(1, 4, 10, kind="loss"), ends) is None


@given(st.integers(0, 10**6))
def test_the_earliest_second_is_found(seconds: int) -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    assert earliest(lambda moment: moment >= first, NOW) == first


def test_what_is_always_or_never_possible_is_so_from_the_beginning_or_not_at_all() -> None:
    assert earliest(lambda _: True, NOW) == datetime(1970, 1, 1, tzinfo=UTC)
    assert earliest(lambda _: False, NOW) is None
