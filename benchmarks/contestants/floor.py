"""The least that this client can do: take blocks of messages, and look at the value and the error of each."""

from benchmarks.contestants.client import PARTITIONS, consumer, is_end, say


def main() -> None:
    """Count the messages."""
    reader, messages, left = consumer(), 0, PARTITIONS
    while left:
        for message in reader.consume(1000, 1.0):
            if message.error() is None:
                messages += message.value() is not None
            else:
                left -= is_end(message)
    say({"messages": messages})


if __name__ == "__main__":
    main()
