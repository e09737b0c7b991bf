"""Java's default partitioner; the hashes are those of Kafka's own test of `Utils.murmur2`."""

import pytest

from recount.partitioner import murmur2


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(text: str, signed: int) -> None:
    assert murmur2(text.encode()) == signed % 2**32
