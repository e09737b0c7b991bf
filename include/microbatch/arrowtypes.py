"""Arrow's types of an event's fields, on the way from decoded events to DuckDB and pandas.

Apart from `fields.py`, which every DAG file imports: Arrow takes long to import.
"""

from typing import Any, Final

import pyarrow as pa

from microbatch.fields import INTEGER_DIGITS

_SIMPLE: Final[dict[str, pa.DataType]] = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_()}


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
