"""Messages of one source partition as columns: that is how they become a segment, and how they are sent from one."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microbatch.columns import integers
from microbatch.decoding import Header
from microbatch.joining import BINARY, Array, content, lengths

_CODEC: Final = "zstd"
_ENVELOPE_BYTES: Final = 64


class Bodies(msgspec.Struct, frozen=True):
    """What messages do not have in common that come from one partition of the source, and go to one of a topic.

    Attributes:
        offsets: of the messages that they come from.
        keys: of those.
        timestamps_ms: of those.
        values: JSON.
    """

    offsets: Array
    keys: Array
    timestamps_ms: Array
    values: Array

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each, near enough."""
        return lengths(self.keys) + lengths(self.values) + _ENVELOPE_BYTES

    def slice(self, start: int, end: int) -> "Bodies":
        """Those from one place to before another."""
        return self._each(lambda array: array.slice(start, end - start))

    def only(self, which: npt.NDArray[np.bool_]) -> "Bodies":
        """Those for which it is true."""
        return self._each(lambda array: array.filter(pa.array(which)))

    def _each(self, change: Callable[[Array], Array]) -> "Bodies":
        return Bodies(*map(change, (self.offsets, self.keys, self.timestamps_ms, self.values)))


class Common(msgspec.Struct, frozen=True):
    """What such messages have in common.

    Attributes:
        topic: where they go.
        partition: of that.
        before: their first headers.
        offset_name: of the next one, which says the offset.
        after: the others.
    """

    topic: str
    partition: int
    before: tuple[Header, ...]
    offset_name: str
    after: tuple[Header, ...]


class Alike(msgspec.Struct, frozen=True):
    """Such messages, whole. Numbers are little-endian.

    Attributes:
        common: what they have in common.
        offsets: 8 bytes each.
        timestamps_ms: 8 bytes each.
        keys: one after the other.
        key_lengths: 4 bytes each; -1: it has none.
        values: one after the other.
        value_lengths: 4 bytes each.
    """

    common: Common
    offsets: bytes
    timestamps_ms: bytes
    keys: bytes
    key_lengths: bytes
    values: bytes
    value_lengths: bytes

    def __len__(self) -> int:
        return len(self.offsets) // 8

    def parts(self, *more: Header) -> Iterator[tuple[bytes | None, bytes | None, int, list[Header]]]:
        """Key, value, timestamp and headers of each, in their order; with more headers at their end."""
        before, name, after = self.common.before, self.common.offset_name, (*self.common.after, *more)
        columns = (
            _split(self.keys, self.key_lengths),
            _split(self.values, self.value_lengths),
            np.frombuffer(self.timestamps_ms, "<i8").tolist(),
            np.frombuffer(self.offsets, "<i8").tolist(),
        )
        for key, value, timestamp_ms, offset in zip(*columns, strict=True):
            yield key, value, timestamp_ms, [*before, (name, b"%d" % offset), *after]


class Packed(msgspec.Struct, frozen=True):
    """Such messages, compressed: what the outbox holds, PostgreSQL writes twice and deletes soon.

    Attributes:
        size: of what was compressed: `Alike` in msgpack.
        data: zstd.
    """

    size: int
    data: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Alike)


def packed(common: Common, bodies: Sequence[Bodies]) -> Packed:
    """Messages in their order, compressed."""
    columns = zip(*map(msgspec.structs.astuple, bodies), strict=True)
    offsets, keys, timestamps_ms, values = (pa.concat_arrays(list(arrays)) for arrays in columns)
    data = _encoder.encode(
        Alike(
            common,
            integers(offsets).astype("<i8").tobytes(),
            integers(timestamps_ms).astype("<i8").tobytes(),
            *_joined(keys),
            *_joined(values),
        )
    )
    return Packed(len(data), pa.compress(data, _CODEC, asbytes=True))


def unpacked(given: Packed) -> Alike:
    """The messages again."""
    return _decoder.decode(pa.decompress(given.data, given.size, _CODEC, asbytes=True))


def _joined(values: Array) -> tuple[bytes, bytes]:
    data = content(values.fill_null(b"").cast(BINARY))
    return bytes(data), lengths(values).astype("<i4").tobytes()


def _split(data: bytes, sizes: bytes) -> list[bytes | None]:
    """Each part; None where the size is negative."""
    found_sizes = np.frombuffer(sizes, "<i4")
    ends = np.cumsum(found_sizes.clip(0), dtype=np.int64)
    found: list[bytes | None] = [data[start:end] for start, end in pairwise([0, *ends.tolist()])]
    for missing in np.flatnonzero(found_sizes < 0):
        found[missing] = None
    return found
