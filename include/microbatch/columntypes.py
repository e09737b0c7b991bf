"""Types of columns: DuckDB's, PostgreSQL's, and how JSON says them."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

TIME: Final = "TIMESTAMP WITH TIME ZONE"
"""DuckDB's name of a point in time."""
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_POSTGRES: Final = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "BIGINT": "bigint",
    "INTEGER": "bigint",
    "SMALLINT": "bigint",
    "TINYINT": "bigint",
    "UINTEGER": "bigint",
    "USMALLINT": "bigint",
    "UTINYINT": "bigint",
    "UBIGINT": "numeric",
    "HUGEINT": "numeric",
    TIME: "timestamptz",
    "DATE": "date",
    "UUID": "uuid",
}


class ColumnType(msgspec.Struct, frozen=True):
    """The type of a column, in DuckDB's words.

    Attributes:
        sql: such as `VARCHAR` or `DECIMAL(17,2)`.
        nullable: whether null may be in it, as far as that is known before it is computed.
    """

    sql: str
    nullable: bool = False

    @property
    def postgres(self) -> str | None:
        """PostgreSQL's type; None if there is no exact one for a column."""
        if self.scale is not None:
            return f"numeric({self.precision},{self.scale})"
        return _POSTGRES.get(self.sql)

    @property
    def scale(self) -> int | None:
        """Digits after the point; None if it is no decimal."""
        matched = _DECIMAL.fullmatch(self.sql)
        return int(matched[2]) if matched else None

    @property
    def precision(self) -> int:
        """Digits of a decimal, 0 for any other type."""
        matched = _DECIMAL.fullmatch(self.sql)
        return int(matched[1]) if matched else 0

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number of at most 64 bits."""
        return self.postgres == "bigint"

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return self.sql == "VARCHAR"

    @property
    def is_time(self) -> bool:
        """Whether it is a point in time."""
        return self.sql == TIME


class Column(msgspec.Struct, frozen=True):
    """A column of a table of ours: its name, PostgreSQL's type, and its comment."""

    name: str
    kind: str
    comment: str

    @property
    def copied(self) -> str:
        """The name of its type in a binary COPY, which knows no parameters."""
        return self.kind.split("(")[0]


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def json_value(value: Any, kind: str) -> Any:
    """A value of a column as it stands in the JSON of an output message.

    Whole numbers are JSON integers; decimals are strings with all digits of their scale; times are ISO 8601 in UTC
    with a Z, which is how msgspec writes them.

    Args:
        value: what PostgreSQL or DuckDB gave.
        kind: PostgreSQL's type of the column. A numeric without a scale is a sum of integers.
    """
    if isinstance(value, Decimal):
        return int(value) if kind == "numeric" else format(value, "f")
    if value is None or isinstance(value, (str, int, datetime, date)):
        return value
    return str(value)
