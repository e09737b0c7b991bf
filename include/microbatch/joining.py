"""Texts of many rows at once, joined out of columns of Arrow: no Python object a row or a value."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microbatch.columns import integers

Bytes = npt.NDArray[np.uint8]
"""A row each, of the same number of bytes."""
Array: TypeAlias = Any
"""A column of Arrow: `pa.Array`, of which its type hints do not know what functions over columns take and give."""
Part: TypeAlias = Any
"""What rows are joined of: `Bytes`, binaries or texts of Arrow without null, or `bytes`, the same for all rows."""

BINARY: Final = pa.large_binary()


def joined(parts: Iterable[Part]) -> Array:
    """The bytes of each row, one part after the other; of no part may a row be null, and one has a row each."""
    arrays: list[Array] = []
    for kind, group in groupby(parts, key=type):
        if kind is bytes:
            arrays.append(pa.scalar(b"".join(group), BINARY))
        elif kind is np.ndarray:
            arrays.append(of_one_width(np.hstack(list(group))))
        else:
            arrays += [array.cast(BINARY) for array in group]
    return pc.binary_join_element_wise(*arrays, pa.scalar(b"", BINARY))


def of_one_width(data: Bytes) -> Array:
    """The same bytes as a column of Arrow."""
    rows, width = data.shape
    ends, whole = np.arange(rows + 1, dtype=np.int64) * width, np.ascontiguousarray(data)
    return pa.Array.from_buffers(BINARY, rows, [None, pa.py_buffer(ends.data), pa.py_buffer(whole.data)])


def content(array: Array) -> memoryview:
    """The bytes of all rows of a binary column, one after the other."""
    _, ends, data = array.buffers()
    if not len(array) or data is None:
        return memoryview(b"")
    at = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(at[0]) : int(at[-1])]


def lengths(values: Array) -> npt.NDArray[np.int64]:
    """Bytes of each; -1 where it is null."""
    found: Array = pc.binary_length(values)
    return integers(found.fill_null(-1)).astype(np.int64)
