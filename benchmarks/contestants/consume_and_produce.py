"""The least that this client can do to send on what it reads: the same bytes, in transactions with its offsets."""

from benchmarks.contestants.client import BOOTSTRAP, OUTPUT, PARTITIONS, consumer, is_end, say
from confluent_kafka import Consumer, Producer, TopicPartition

A_TRANSACTION = 100_000


def main() -> None:
    """Send every message on, with its key and timestamp, to the partition of its number."""
    reader = consumer()
    writer = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": "bench", "linger.ms": 5, "log_level": 3})
    writer.init_transactions(30)
    sent, left = 0, PARTITIONS
    writer.begin_transaction()
    while left:
        for message in reader.consume(1000, 1.0):
            if message.error() is not None:
                left -= is_end(message)
                continue
            _, at_ms = message.timestamp()
            writer.produce(OUTPUT, message.value(), message.key(), message.partition() or 0, timestamp=at_ms)
            sent += 1
            if sent % A_TRANSACTION == 0:
                _commit(reader, writer)
                writer.begin_transaction()
        writer.poll(0)
    _commit(reader, writer)
    say({"messages": sent})


def _commit(reader: Consumer, writer: Producer) -> None:
    offsets: list[TopicPartition] = reader.position(reader.assignment())
    writer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 30)
    writer.commit_transaction(60)


if __name__ == "__main__":
    main()
