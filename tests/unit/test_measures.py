"""Measures: mergeable numbers."""

from collections.abc import Callable

import msgspec
import pytest

from microbatch.event import Field
from microbatch.measures import AnyMeasure, Count, Measure, Sum, facts

ALL: list[AnyMeasure] = [Sum("amount"), Count()]


@pytest.mark.parametrize("kind", ["str", "epoch_seconds"])
def test_a_sum_of_anything_but_an_integer_is_refused(kind: str) -> None:
    field = msgspec.convert({"name": "amount", "kind": kind}, Field)

    assert Sum("amount").refused(field) == "Sum takes an integer field, whose sums are exact"
    assert Sum("amount").refused(None) is not None


def test_an_integer_can_be_summed_and_everything_counted() -> None:
    assert Sum("amount").refused(Field("amount", "int")) is None
    assert Count().refused(None) is None


def test_what_a_measure_needs_and_says() -> None:
    assert [(m.needs, m.column_type, m.describe()) for m in ALL] == [
        ("amount", "numeric", "sum of amount"),
        (None, "bigint", "number of events"),
    ]


def test_the_facts_in_a_definition_name_the_measure() -> None:
    assert [facts(measure) for measure in ALL] == [{"measure": "sum", "field": "amount"}, {"measure": "count"}]


def test_every_kind_of_measure_is_among_those_that_can_be_declared() -> None:
    assert set(Measure.__subclasses__()) == {type(measure) for measure in ALL}


def test_the_base_promises_nothing() -> None:
    bare = Measure()

    assert bare.needs is None
    promises: list[Callable[[], object]] = [
        lambda: bare.column_type,
        lambda: bare.refused(None),
        lambda: bare.over_events('"x"'),
        lambda: bare.over_partials('"x"'),
        bare.describe,
    ]
    for promise in promises:
        with pytest.raises(NotImplementedError):
            promise()
