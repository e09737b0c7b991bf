"""Which rows of a batch that is redone still have to go to the topic of its stream: a topic forgets nothing.

A row is sent once, when its message passes for the first time. Whether it has passed before, the ledger knows of each
message that was rejected then; of any, if the stream keeps its rows in a table or the keys of `unique`. Of a message
that was no reject and left no trace, it is taken that it had passed.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from microbatch.postgres import Connection
from microbatch.registration import Registration
from microbatch.rows import Rows
from microbatch.sql import queries

_RESENDING: Final = queries("resending")

Place = tuple[int, int]
"""Partition and offset of a message of the source."""


class SentRows:
    """What the topic of a stream has of a batch that is redone.

    Attributes:
        is_known: whether the ledger knows of each message if it passed at the last attempt. They are then in the
            temporary table `passed_before`, once the batch is erased.
    """

    def __init__(
        self, connection: Connection, registration: Registration, batch_id: int, topic: str, *, is_known: bool
    ) -> None:
        self.is_known = is_known
        self._connection = connection
        self._facts: dict[str, Any] = {
            "pipeline_id": registration.pipeline_id,
            "topic_id": registration.topic_id,
            "batch_id": batch_id,
            "topic": topic,
        }
        self._rejected: Mapping[Place, bool] = {}

    def begin(self, rejected: Mapping[Place, bool]) -> None:
        """Begin once the batch is erased.

        Args:
            rejected: messages that an earlier attempt rejected, and whether their row was sent nevertheless, because
                yet another one accepted them.
        """
        self._rejected = rejected
        if self.is_known:
            self._connection.execute(_RESENDING["forget_passed_rejects"], self._facts)

    def unsent(self, rows: Rows) -> Rows:
        """Those rows of messages which pass now that the topic does not have; the ledger then says that it has."""
        places = [(rows.partition, offset) for offset in rows.offsets.to_pylist()]
        passed = self._passed_before(places)
        is_unsent = [self._is_unsent(place, passed) for place in places]
        found = (place for place, is_new in zip(places, is_unsent, strict=True) if is_new)
        resolved = [place for place in found if place in self._rejected]
        if resolved:
            self._connection.execute(_RESENDING["mark_rows_sent"], {**self._facts, **_arrays(resolved)})
        return rows.only(np.array(is_unsent))

    def finish(self) -> None:
        """Write down which rows are there though their message does not pass any more: it may pass again."""
        if self.is_known:
            self._connection.execute(_RESENDING["mark_passed_rejects"], self._facts)
            self._connection.execute(_RESENDING["note_passed_before"], self._facts)

    def _is_unsent(self, place: Place, passed: set[Place]) -> bool:
        if place in self._rejected:
            return not self._rejected[place]
        return self.is_known and place not in passed

    def _passed_before(self, places: list[Place]) -> set[Place]:
        """Takes them out of `passed_before`: what is left there at the end does not pass any more."""
        if not self.is_known:
            return set()
        return set(self._connection.execute(_RESENDING["take_passed_before"], _arrays(places)).fetchall())


def _arrays(places: list[Place]) -> dict[str, list[int]]:
    return {"partitions": [partition for partition, _ in places], "offsets": [offset for _, offset in places]}
