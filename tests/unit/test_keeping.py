"""Keep: for how long, declared with the pipeline and checked with it."""

from datetime import timedelta

import msgspec
import pytest

from fix_pipeline import sales_pipeline
from microbatch import Keep
from microbatch.definition import definition
from microbatch.errors import DeclarationError

DAY = timedelta(days=1)
SALES = sales_pipeline("t", 1)


def test_what_is_not_declared_is_kept_for_ever_but_batches_for_three_months() -> None:
    assert SALES.keep == Keep(contributions=90 * DAY, history=None, rows=None)


@pytest.mark.parametrize(
    "keep",
    [
        Keep(contributions=DAY, history=DAY, rows=DAY),
        Keep(contributions=30 * DAY, history=60 * DAY, rows=365 * DAY),
        Keep(contributions=None),
    ],
)
def test_revisions_and_rows_may_be_kept_as_long_as_batches_or_longer(keep: Keep) -> None:
    assert msgspec.structs.replace(SALES, keep=keep).keep == keep


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (Keep(contributions=timedelta(0)), "contributions=0:00:00; give it a day at least"),
        (Keep(contributions=DAY, history=-DAY), "history=-1 day, 0:00:00; give it a day at least"),
        (Keep(contributions=DAY, rows=DAY / 2), "rows=12:00:00; give it a day at least"),
        (Keep(contributions=2 * DAY, history=DAY), "history=1 day, 0:00:00, and contributions=2 days, 0:00:00"),
        (Keep(contributions=2 * DAY, rows=DAY), "rows=1 day, 0:00:00, and contributions=2 days, 0:00:00"),
        (Keep(contributions=None, rows=9 * DAY), "rows=9 days, 0:00:00, and contributions=None, for ever"),
    ],
)
def test_what_a_redo_would_bring_back_does_not_go_before_it(keep: Keep, said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        msgspec.structs.replace(SALES, keep=keep)

    assert f"pipeline 'sales': keep has {said}" in str(refused.value)


def test_it_is_not_a_part_of_the_definition() -> None:
    assert definition(msgspec.structs.replace(SALES, keep=Keep(contributions=None))) == definition(SALES)
