"""What two deployments over the same messages have to agree on, whatever they have read in which order."""

import json
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from psycopg.sql import SQL, Identifier

from faults.headline.pipelines import output_topics
from fix_pipeline import World
from microbatch.outputs import Pairs, Stream, TumblingWindow
from outside import on_topic
from recount.kafka import Message

Place = tuple[int, int]
"""Partition and offset of a message."""

_OF_THE_READING: Final = {"revision", "updated_at", "batch_id", "processed_time"}
_OF_THE_MESSAGE: Final = {"source_partition", "source_offset"}
"""Of messages that are the same in all that counts it is chance which one is kept."""


def shown(world: World) -> dict[str, list[Any]]:
    """By table, what is in it, without what tells when and by which batch it came; of pairs how many there are."""
    found: dict[str, list[Any]] = {}
    for output in world.pipeline.outputs:
        if isinstance(output, Pairs):
            found |= _pairs(world)
        elif output.table is not None:
            chance = _OF_THE_MESSAGE if isinstance(output, Stream) and output.unique else set()
            found[output.table] = _rows(world, output.table, _OF_THE_READING | chance)
    return found


def _pairs(world: World) -> dict[str, list[Any]]:
    """How many pairs there are of which values, and how many of each value wait."""
    pairs = Counter(tuple(sorted(row[:2])) for row in _pair_rows(world))
    waiting = Counter(value for (value,) in world.rows("select value from number_pairs_waiting"))
    return {"number_pairs": sorted(pairs.items()), "number_pairs_waiting": sorted(waiting.items())}


def wrong_pairs(world: World) -> list[str]:
    """What is wrong with the pairs, if the pipeline makes some: judged by the messages."""
    if not any(isinstance(output, Pairs) for output in world.pipeline.outputs):
        return []
    numbers, used, wrong = _numbers(world), Counter[Place](), list[str]()
    for first, second, *places in _pair_rows(world):
        one, other = (places[0], places[1]), (places[2], places[3])
        used.update([one, other])
        if first + second != 12 or (numbers.get(one), numbers.get(other)) != (first, second):
            wrong.append(f"{first} of {one} and {second} of {other}")
    return wrong + [f"{place} is in {times} pairs" for place, times in used.items() if times > 1]


def _numbers(world: World) -> dict[Place, Any]:
    """What the messages of the source say, as far as it is a number."""
    found = {}
    for message in on_topic(world, world.pipeline.source.name):
        with suppress(ValueError, TypeError, KeyError):
            found[message.partition, message.offset] = json.loads(message.value or b"")["number"]
    return found


def _pair_rows(world: World) -> list[tuple[Any, ...]]:
    """Both values of each pair, then partition and offset of both."""
    return world.rows(
        "select first_value, second_value, first_partition, first_offset, second_partition, second_offset"
        " from number_pairs"
    )


def _rows(world: World, table: str, without: set[str]) -> list[tuple[Any, ...]]:
    named = world.rows(
        "select column_name from information_schema.columns where table_name = %s order by ordinal_position", table
    )
    columns = SQL(", ").join(Identifier(name) for (name,) in named if name not in without)
    query = SQL("select {} from {} order by {}").format(columns, Identifier(table), columns)
    return world.rows(query.as_string())


def history(world: World) -> list[list[tuple[Any, ...]]]:
    """Every revision of every window output, as it was published."""
    tables = [f"{output.table}_history" for output in world.pipeline.outputs if isinstance(output, TumblingWindow)]
    return [_rows(world, table, set()) for table in tables]


def on_topics(world: World) -> list[list[Message]]:
    """All that was ever sent, topic by topic."""
    return [on_topic(world, topic) for topic in output_topics(world.pipeline)]
