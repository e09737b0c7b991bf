"""An event's fields as columns, on the way from decoded events to DuckDB and pandas.

Apart from `fields.py`, which every DAG file imports: Arrow and NumPy take long to import.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib.abc import MetaPathFinder
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microbatch.event import FIRST_S, LAST_S, Event
from microbatch.fields import INTEGER_DIGITS, Field, FieldType

Integers = npt.NDArray[np.int64]


class _WithoutPandas(MetaPathFinder):
    """While it stands first in `sys.meta_path`, pandas cannot be imported."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError(fullname)


def _spare_pandas() -> None:
    """Have Arrow do without pandas, which it would import at its first conversion, at twice the cost of all the rest.

    It looks for it once, and again when a table is to become a DataFrame, as transforms ask for.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _WithoutPandas())
        pa.array([], pa.int64())
        del sys.meta_path[0]


_spare_pandas()
_PER_SECOND: Final = {"epoch_seconds": 1, "epoch_millis": 1_000}

_INT64: Final = pa.int64()
_SIMPLE: Final[dict[str, pa.DataType]] = {"str": pa.string(), "int": _INT64, "bool": pa.bool_()}


def arrow_type(plain: dict[str, Any]) -> pa.DataType:
    """The type of a field's column, by the field as the definition has it."""
    found: pa.DataType
    match plain["kind"]:
        case "decimal":
            found = pa.decimal128(INTEGER_DIGITS + plain["scale"], plain["scale"])
        case "enum":
            found = _SIMPLE[type(plain["values"][0]).__name__]
        case "list":
            found = pa.list_(arrow_type(plain["item"]))
        case "struct":
            found = pa.struct([pa.field(name, arrow_type(field)) for name, field in plain["fields"].items()])
        case kind:
            found = _SIMPLE.get(kind, pa.timestamp("us", tz="UTC"))
    return found


@cache
def reader(name: str) -> Callable[[list[Event]], list[Any]]:
    """Reads the field of that name of each event.

    Compiled, for it is done for each message: `attrgetter` looks a name up as one that it never saw, every time.
    """
    assert name.isidentifier()  # noqa: S101 - it is the name of an attribute of a class
    read: Callable[[list[Event]], list[Any]] = eval(f"lambda events: [event.{name} for event in events]")  # noqa: S307
    return read


def column(field: Field, events: list[Event]) -> "pa.Array[Any]":
    """A field of some events."""
    values = reader(field.name)(events)
    kind = arrow_type(field.type.plain)
    if is_number_of_time(field.type) and None not in values:
        return pa.array(microseconds(field.type, values), kind)
    convert = field.type.column
    if convert is not None:
        values = [None if value is None else convert(value) for value in values]
    if kind == _INT64:
        try:
            return pa.array(np.fromiter(values, np.int64, len(values)))  # twice as fast as Arrow
        except TypeError:
            pass  # one of them is null, which NumPy's integers cannot be
    return pa.array(values, kind)


def integers(values: Any) -> Integers:
    """Integers of Arrow, none of them null, as NumPy has them. `to_numpy` does the same, but imports pandas first."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return cast("Integers", np.from_dlpack(whole))


def is_number_of_time(type_: FieldType) -> bool:
    """Whether its values are seconds or milliseconds since 1970-01-01, as integers or texts of them."""
    return type_.plain["kind"] in _PER_SECOND


def microseconds(type_: FieldType, values: list[Any]) -> Integers:
    """Decoded times, none of them null, as microseconds since 1970-01-01 UTC.

    Raises:
        ValueError: one of them is not in the years that a column can have.
    """
    if not is_number_of_time(type_):
        return np.array([type_.column(value) for value in values] if type_.column else values, np.int64)
    per_second = _PER_SECOND[type_.plain["kind"]]
    numbers = np.fromiter(values, np.int64, len(values))
    if numbers.size and not FIRST_S * per_second <= numbers.min() <= numbers.max() < (LAST_S + 1) * per_second:
        raise ValueError("one of the times is out of range")
    return numbers * (1_000_000 // per_second)
