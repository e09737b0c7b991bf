"""Archives as the check sees them: numbers of batches that are no more, and what is taken on trust."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_recount import message, plain
from fix_recount import picture as made
from recount import check_ledger, scope
from recount.archives import Archives
from recount.picture import Picture
from recount.scope import Why

EVENT: dict[str, Any] = {"n": {"kind": "int"}}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5))), st.integers(0, 60))
def test_a_batch_is_in_the_archive_whose_numbers_have_it_and_else_it_is_itself(
    sizes: list[tuple[int, int]], batch_id: int
) -> None:
    spans, at = [], 1
    for size, between in sizes:
        spans.append((at, at + size))
        at += size + between

    found = Archives.of(reversed(spans)).now_in(batch_id)

    assert [found] == ([start for start, end in spans if start <= batch_id < end] or [batch_id])


def archived(**counts: Any) -> Picture:
    """The first of two batches is an archive."""
    found = made(plain(EVENT), [[message(0, n=1), message(1, n=2)], [message(2, n=3)]])
    batches = found.ledger.batches
    return replace(
        found, ledger=replace(found.ledger, batches={**batches, 1: replace(batches[1], kind="archive", **counts)})
    )


@pytest.mark.parametrize("trusting", [False, True])
def test_an_archive_is_not_counted_again(trusting: bool) -> None:
    found = scope.whole(archived().ledger, {0: 0}, trusting=trusting)

    assert found.unread == {1: Why.ARCHIVED}


def test_an_archive_that_does_not_say_what_its_ranges_say_is_found() -> None:
    wrong = [text for finding in check_ledger.check(archived(messages=5)) for text in finding.differences]

    assert (
        "archive 1 says 5 messages, 0 rejected, 0 repeated, 0 filtered; "
        "its ranges say 2 messages, 0 rejected, 0 repeated, 0 filtered"
    ) in wrong
