"""The loop that people write: poll, json.loads, add to a dict."""

import json

from benchmarks.contestants.client import PARTITIONS, consumer, is_end, say


def main() -> None:
    """Sum the sales of each seller and minute."""
    sums: dict[str, list[int]] = {}
    reader, left = consumer(), PARTITIONS
    while left:
        message = reader.poll(1.0)
        if message is None:
            continue
        if is_end(message):
            left -= 1
            continue
        sale = json.loads(message.value() or b"")
        total = sums.setdefault(f"{sale['seller_id']} {sale['sale_ts'] // 60 * 60}", [0, 0])
        total[0] += sale["amount_usd"]
        total[1] += 1
    say(sums)


if __name__ == "__main__":
    main()
