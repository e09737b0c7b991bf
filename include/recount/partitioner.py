"""Which partition Java clients choose for a key: murmur2, as Kafka's `Utils.murmur2` has it."""

from typing import Final

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_32: Final = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, 0 to `partitions` - 1."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The 32-bit hash of the bytes, not signed."""
    whole = len(data) // 4 * 4
    value = (_SEED ^ len(data)) & _32
    for at in range(0, whole, 4):
        value = ((value * _M) & _32) ^ _mixed(int.from_bytes(data[at : at + 4], "little"))
    if len(data) > whole:
        value = ((value ^ int.from_bytes(data[whole:], "little")) * _M) & _32
    value = ((value ^ (value >> 13)) * _M) & _32
    return value ^ (value >> 15)


def _mixed(word: int) -> int:
    word = (word * _M) & _32
    return ((word ^ (word >> 24)) * _M) & _32
