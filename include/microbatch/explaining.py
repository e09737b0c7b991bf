"""From a published number back to where it comes from: its revisions, and the batches that each of them summed.

Everything here only reads, with the role that only reads, and needs no DAG file: the ledger knows the outputs.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, LiteralString

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from microbatch.errors import ResultUnknownError
from microbatch.sql import queries
from microbatch.window_tables import LONGER_S

_EXPLAINING: Final = queries("explaining")
_OF_A_WINDOW: Final = ("window_start", "window_end")
_OF_A_REVISION: Final = (
    *("is_final", "revision", "retracted", "batches", "merge_id", "valid_from", "valid_to"),
    *("microbatch.dag_id", "microbatch.run_id"),
)


class Output(msgspec.Struct, frozen=True):
    """A window output of a registered pipeline.

    Attributes:
        pipeline_id: of its pipeline.
        pipeline: its name.
        source_topic: what it reads.
        definition: as it is registered.
        definition_hash: of that.
        schema: of its table.
        table: its name.
        by: name and type of each column of the key.
        longest_s: no window is longer.
    """

    pipeline_id: int
    pipeline: str
    source_topic: str
    definition: dict[str, Any]
    definition_hash: str
    schema: str
    table: str
    by: list[tuple[str, str]]
    longest_s: int

    @property
    def key(self) -> str:
        """What a key is made of, for people."""
        return ", ".join(f"{name} ({kind})" for name, kind in self.by) or "nothing but the window"


class Revision(msgspec.Struct, frozen=True):
    """A result as it was published; `valid_to` None: it holds."""

    revision: int
    valid_from: datetime
    valid_to: datetime | None
    is_final: bool
    retracted: bool
    numbers: dict[str, Any]
    batches: list[int]
    dag_id: str | None
    run_id: str | None


class Batch(msgspec.Struct, frozen=True):
    """A batch, or an archive of those from `batch_id` to `last_id`; `ranges` is text for people.

    Attributes:
        is_former: a definition from before a rebuild has computed it.
    """

    batch_id: int
    kind: str
    dag_id: str | None
    run_id: str | None
    batch_time: datetime
    committed_at: datetime | None
    redone_at: datetime | None
    redo_dag_id: str | None
    redo_run_id: str | None
    ranges: str
    last_id: int | None
    is_former: bool

    def has(self, batch_id: int) -> bool:
        """Whether it is the batch of that number, or the archive that this has become a part of."""
        return self.batch_id <= batch_id <= (self.last_id or self.batch_id)


class Explanation(msgspec.Struct, frozen=True):
    """Where the results of one window and key come from.

    Attributes:
        output: whose results they are.
        key: the value of each column of `by`.
        window: start, included, and end, excluded.
        revisions: in their order; none: it is not published yet.
        batches: all that a revision has summed, and those that contribute now.
        contributions: by batch, what it contributes now.
        lost_offsets: of the pipeline, whose messages were deleted unread; a person has accepted that.
    """

    output: Output
    key: dict[str, Any]
    window: tuple[datetime, datetime]
    revisions: list[Revision]
    batches: list[Batch]
    contributions: dict[int, dict[str, Any]]
    lost_offsets: int


class Explainer:
    """Asks about the results of one deployment's pipelines."""

    def __init__(self, connection: psycopg.Connection, deployment: str) -> None:
        self._connection = connection
        self._deployment = deployment

    def explain(self, table: str, key: list[str], moment: datetime) -> Explanation:
        """Where the result of the window around a moment comes from.

        Args:
            table: of the results, with or without its schema.
            key: the values of the output's `by`, as text.
            moment: in the window, aware.

        Raises:
            ResultUnknownError: there is no such table, key or window; the text says which there are.
        """
        output = self.output(table)
        if len(key) != len(output.by):
            raise ResultUnknownError(
                table=output.table, what=f"{len(key)} values were given for a key", there=f"a key is {output.key}"
            )
        question = _Question(self._connection, output, key, moment)
        try:
            published, contributing = (
                question.rows(_EXPLAINING["revisions"]),
                question.rows(_EXPLAINING["contributions_of_key"]),
            )
        except psycopg.DataError as error:
            reason = str(error).splitlines()[0]
            raise ResultUnknownError(table=output.table, what=reason, there=f"a key is {output.key}") from error
        if not published and not contributing:
            raise question.unknown()
        revisions = [_revision(row, output) for row in published]
        contributions = {row["batch_id"]: _numbers(row, output, ("batch_id",)) for row in contributing}
        first = (published or contributing)[0]
        ids = sorted({number for revision in revisions for number in revision.batches} | contributions.keys())
        return Explanation(
            output=output,
            key={name: first[name] for name, _ in output.by},
            window=(first["window_start"], first["window_end"]),
            revisions=revisions,
            batches=self._batches(output, ids),
            contributions=contributions,
            lost_offsets=self._lost_offsets(output),
        )

    def output(self, table: str) -> Output:
        """The output of that table.

        Raises:
            ResultUnknownError: there is none.
        """
        found = list(self._outputs())
        for output in found:
            if table in (output.table, f"{output.schema}.{output.table}"):
                return output
        known = ", ".join(output.table for output in found) or "none yet"
        raise ResultUnknownError(
            table=table,
            what=f"no pipeline of deployment {self._deployment!r} has windows of that name",
            there=f"those that there are: {known}",
        )

    def _outputs(self) -> Iterator[Output]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_EXPLAINING["registered_outputs"], {"deployment": self._deployment}).fetchall()
        for row in rows:
            for plain in row["definition"]["outputs"]:
                if plain["kind"] == "tumbling_window":
                    yield Output(
                        pipeline_id=row["pipeline_id"],
                        pipeline=row["name"],
                        source_topic=row["source_topic"],
                        definition=row["definition"],
                        definition_hash=row["definition_hash"],
                        schema=plain["schema"],
                        table=plain["table"],
                        by=[(name, kind) for name, kind in plain["by"]],
                        longest_s=plain["size_s"] + LONGER_S,
                    )

    def _batches(self, output: Output, ids: list[int]) -> list[Batch]:
        facts = {"pipeline_id": output.pipeline_id, "batches": ids}
        with self._connection.cursor(row_factory=class_row(Batch)) as cursor:
            return cursor.execute(_EXPLAINING["batches"], facts).fetchall()

    def _lost_offsets(self, output: Output) -> int:
        facts = {"pipeline_id": output.pipeline_id}
        found: Any = self._connection.execute(_EXPLAINING["lost_offsets"], facts).fetchone()
        return int(found[0])


class _Question:
    """What is asked about one key and window: the output's tables, quoted, and the values."""

    def __init__(self, connection: psycopg.Connection, output: Output, key: list[str], moment: datetime) -> None:
        self._connection = connection
        self._output = output
        self._key = key
        self._moment = moment
        values_of_key = {f"key{n}": value for n, value in enumerate(key)}
        self._facts: dict[str, Any] = {"moment": moment, "longest_s": output.longest_s, **values_of_key}
        # Values go as texts of no type: PostgreSQL reads them as what the column is. Without columns, a row of one.
        columns = [sql.Identifier("t", name) for name, _ in output.by]
        values = [sql.Placeholder(f"key{n}") for n in range(len(key))]
        comma = sql.SQL(", ")
        self._parts = {
            "history": sql.Identifier(output.schema, f"{output.table}_history"),
            "contribution": sql.Identifier(output.schema, f"{output.table}_contribution"),
            "key": comma.join(columns) if columns else sql.SQL("1"),
            "values": comma.join(values) if values else sql.SQL("1"),
            "descending": comma.join(sql.SQL("{} desc").format(column) for column in columns),
        }

    def rows(self, query: LiteralString) -> list[dict[str, Any]]:
        """The rows of a query, by the names of their columns."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.SQL(query).format(**self._parts), self._facts).fetchall()

    def unknown(self) -> ResultUnknownError:
        """What to say when there is neither a result nor a contribution."""
        wanted = ", ".join(f"{name} {value!r}" for (name, _), value in zip(self._output.by, self._key, strict=True))
        windows = [f"{row['window_start']:%Y-%m-%dT%H:%M:%SZ}" for row in self.rows(_EXPLAINING["near_windows"])]
        near = sorted(tuple(row.values()) for row in self.rows(_EXPLAINING["near_keys"])) if self._key else []
        keys = [" ".join(repr(str(value)) for value in values) for values in near]
        there = [f"that key has windows at {', '.join(windows)}"] if windows else []
        there += [f"that window has the keys {', '.join(keys)}"] if keys else []
        return ResultUnknownError(
            table=self._output.table,
            what=f"nothing for {wanted or 'the window'} at {self._moment:%Y-%m-%dT%H:%M:%SZ}",
            there="; ".join(there) or "neither the key nor the window has any result",
        )


def _revision(row: dict[str, Any], output: Output) -> Revision:
    return Revision(
        revision=row["revision"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        is_final=row["is_final"],
        retracted=row["retracted"],
        numbers=_numbers(row, output, _OF_A_REVISION),
        batches=row["batches"],
        dag_id=row["microbatch.dag_id"],
        run_id=row["microbatch.run_id"],
    )


def _numbers(row: dict[str, Any], output: Output, others: tuple[str, ...]) -> dict[str, Any]:
    """The columns of the measures, in the table's order."""
    left_out = {*_OF_A_WINDOW, *others, *(name for name, _ in output.by)}
    return {name: value for name, value in row.items() if name not in left_out}
