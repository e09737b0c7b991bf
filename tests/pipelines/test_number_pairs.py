"""The pipeline number_pairs, with no Kafka, Postgres or Airflow, and its settings."""

from typing import Any

import pytest

from dag_files import declared
from microbatch.decoding import Message
from microbatch.definition import definition, definition_hash
from microbatch.errors import DeclarationError, SettingWrongError
from microbatch.testing import Outcome, run

pipeline = declared("number_pairs")


def numbers(*values: Any) -> list[dict[str, Any]]:
    return [{"number": value} for value in values]


def pairs(outcome: Outcome, table: str = "number_pairs") -> list[tuple[int, int]]:
    """The offsets of both numbers of each pair."""
    return [(pair["first_offset"], pair["second_offset"]) for pair in outcome.pairs[table]]


def test_a_pair_sums_to_twelve_and_names_both_numbers_and_where_they_came_from() -> None:
    three, nine = Message(1, 7, 1_000, None, b'{"number": 3}'), Message(0, 5, 2_000, None, b'{"number": 9}')

    outcome = run(pipeline, [three, nine])

    assert outcome.pairs["number_pairs"] == [
        {
            "first_value": 3,
            "first_partition": 1,
            "first_offset": 7,
            "second_value": 9,
            "second_partition": 0,
            "second_offset": 5,
        }
    ]
    assert outcome.waiting == {"number_pairs": []}


@pytest.mark.parametrize("number", range(13))
def test_each_number_has_its_partner(number: int) -> None:
    outcome = run(pipeline, numbers(number, 12 - number))

    assert pairs(outcome) == [(0, 1)]


def test_the_oldest_are_paired_first() -> None:
    outcome = run(pipeline, numbers(5, 5, 5, 7, 7))

    assert pairs(outcome) == [(0, 3), (1, 4)]
    assert outcome.waiting == {"number_pairs": [5]}


def test_the_oldest_is_the_one_with_the_earlier_time_whatever_its_partition() -> None:
    late, early = Message(0, 0, 2_000, None, b'{"number": 5}'), Message(1, 0, 1_000, None, b'{"number": 5}')
    partner = Message(0, 1, 3_000, None, b'{"number": 7}')

    outcome = run(pipeline, [late, early, partner])

    assert [pair["first_partition"] for pair in outcome.pairs["number_pairs"]] == [1]


def test_two_sixes_are_a_pair_and_a_third_waits() -> None:
    outcome = run(pipeline, numbers(6, 6, 6))

    assert pairs(outcome) == [(0, 1)]
    assert outcome.waiting == {"number_pairs": [6]}


def test_what_has_no_partner_waits_the_oldest_first() -> None:
    outcome = run(pipeline, numbers(4, 11, 0, 4))

    assert (pairs(outcome), outcome.waiting) == ([], {"number_pairs": [4, 11, 0, 4]})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"number": 13}', "Expected `int` <= 12"),
        (b'{"number": -1}', "Expected `int` >= 0"),
        (b'{"number": 9223372036854775808}', "Expected `int` <= 12"),
        (b'{"number": 6.0}', "got `float`"),
        (b'{"number": 1e1}', "got `float`"),
        (b'{"number": "6"}', "got `str`"),
        (b'{"number": true}', "got `bool`"),
        (b'{"number": null}', "got `null`"),
        (b'{"nummer": 6}', "missing required field `number`"),
        (b"6", "got `int`"),
        (b'{"number": 6', "truncated"),
        (b"\x00\xff6", "malformed"),
    ],
)
def test_out_of_range_or_corrupt_is_rejected_with_its_reason_and_pairs_with_nothing(value: bytes, reason: str) -> None:
    outcome = run(pipeline, [value, *numbers(6)])

    (reject,) = outcome.rejects
    assert (reject.value, reason in reject.reason) == (value, True), reject.reason
    assert (pairs(outcome), outcome.waiting) == ([], {"number_pairs": [6]})


def test_it_has_the_originals_topics() -> None:
    (output,) = pipeline.pairs

    assert (pipeline.source.name, pipeline.dead_letter_topic.name) == ("raw-topic", "raw-events-dlq")
    assert (output.table, output.topic and output.topic.name) == ("number_pairs", "enriched-topic")


# -- settings --------------------------------------------------------------------------------------------------


def test_another_sum_is_another_pipeline_with_sinks_and_state_of_its_own() -> None:
    ten = declared("number_pairs", NUMBER_PAIRS_SUM="10")

    outcome = run(ten, numbers(3, 9, 7, 5, 5, 12))

    (output,) = ten.pairs
    assert (ten.name, output.table, output.topic and output.topic.name) == (
        "number_pairs_10",
        "number_pairs_10",
        "enriched-topic_10",
    )
    assert pairs(outcome, "number_pairs_10") == [(0, 2), (3, 4)]
    assert outcome.waiting == {"number_pairs_10": [9, 12]}


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("NUMBER_PAIRS_RAW_TOPIC", ["source", "topic"]),
        ("NUMBER_PAIRS_ENRICHED_TOPIC", ["outputs", 0, "topic"]),
        ("NUMBER_PAIRS_DLQ", ["dead_letters"]),
        ("NUMBER_PAIRS_GROUP_ID", ["name"]),
    ],
)
def test_a_setting_reaches_the_definition_and_leaves_the_rest_as_it_is(setting: str, where: list[Any]) -> None:
    found, usual = definition(declared("number_pairs", **{setting: "mine"})), definition(pipeline)

    *path, last = where
    inner, usual_inner = found, usual
    for step in path:
        inner, usual_inner = inner[step], usual_inner[step]
    assert inner.pop(last) == "mine"
    usual_inner.pop(last)
    assert found == usual


def test_the_sum_is_part_of_the_definition() -> None:
    ten = definition(declared("number_pairs", NUMBER_PAIRS_SUM="10"))

    assert ten["outputs"][0]["sum"] == 10
    assert definition_hash(ten) != definition_hash(definition(pipeline))


@pytest.mark.parametrize("value", ["twelve", "12.5", "1e1", "12,10", "1_2"])
def test_a_sum_that_is_no_number_is_an_error_that_names_setting_and_value(value: str) -> None:
    with pytest.raises(SettingWrongError, match=rf"NUMBER_PAIRS_SUM='{value}' .*; write it as in NUMBER_PAIRS_SUM=12"):
        declared("number_pairs", NUMBER_PAIRS_SUM=value)


@pytest.mark.parametrize("setting", ["NUMBER_PAIRS_RAW_TOPIC", "NUMBER_PAIRS_ENRICHED_TOPIC", "NUMBER_PAIRS_DLQ"])
def test_a_topic_that_kafka_refuses_is_an_error_that_names_it(setting: str) -> None:
    with pytest.raises(DeclarationError, match="Kafka refuses the topic name 'my topic'"):
        declared("number_pairs", **{setting: "my topic"})


def test_settings_that_are_empty_are_as_good_as_not_set() -> None:
    names = ["SUM", "GROUP_ID", "RAW_TOPIC", "ENRICHED_TOPIC", "DLQ"]

    found = declared("number_pairs", **{f"NUMBER_PAIRS_{name}": "" for name in names})

    assert definition(found) == definition(pipeline)
