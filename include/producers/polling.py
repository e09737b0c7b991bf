"""The weather of all cities, asked for at once, each answer sent on as soon as it is there."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from microbatch.clock import Clock
from microbatch.errors import MicrobatchError, TransientError
from producers.message import Message
from producers.openweathermap import Client, KeyRefusedError, Patience, Reading, Service
from producers.sending import Sending

TOPIC: Final = "weather"

log: Final = logging.getLogger("producers")


class NothingReadError(TransientError):
    """Not one city's weather could be read."""

    message = "no weather of any of {count} cities; first reason: {reason}"


class Polled(msgspec.Struct, frozen=True):
    """What came of a poll.

    Attributes:
        read: the cities whose weather was sent, in the order in which it came.
        failed: why the others' was not, by city.
    """

    read: list[str]
    failed: dict[str, str]

    def describe(self) -> str:
        """One line for a person."""
        without = f"; none of {', '.join(self.failed)}" if self.failed else ""
        return f"weather of {len(self.read)} cities sent to topic {TOPIC}{without}"


def poll(
    service: Service,
    cities: Sequence[str],
    kafka: Mapping[str, str],
    patience: Patience | None = None,
    clock: Clock | None = None,
) -> Polled:
    """Send the present weather of cities to the topic: the answers as they are, keyed by the city's number.

    A city whose weather cannot be read costs the others nothing; it is a warning in the log.

    Args:
        service: whom to ask.
        cities: names or numbers of the service.
        kafka: librdkafka's settings, at least `bootstrap.servers`.
        patience: how long to wait, 45 s for everything if it is not given.
        clock: the machine's.

    Raises:
        KeyRefusedError: the service does not accept the key.
        NothingReadError: no city's weather could be read.
        KafkaUnreachableError: no broker answers.
        NoTopicError: the topic does not exist.
        EventsLostError: Kafka did not take all answers.
    """
    read: list[str] = []
    failed: dict[str, MicrobatchError] = {}

    def take(city: str, outcome: Reading | MicrobatchError) -> None:
        if isinstance(outcome, MicrobatchError):
            failed[city] = outcome
            return
        sending.send(Message(str(outcome.city_id).encode(), outcome.body, outcome.at))
        sending.look()
        read.append(city)

    with Sending(TOPIC, kafka) as sending:
        asyncio.run(_ask_for_all(service, cities, patience, clock, take))
    _report(read, failed)
    return Polled(read, {city: str(error) for city, error in failed.items()})


async def _ask_for_all(
    service: Service,
    cities: Sequence[str],
    patience: Patience | None,
    clock: Clock | None,
    take: Callable[[str, Reading | MicrobatchError], None],
) -> None:
    async with Client(service, patience, clock) as client:
        asked = [asyncio.create_task(_ask(client, city)) for city in cities]
        for answered in asyncio.as_completed(asked):
            take(*await answered)


async def _ask(client: Client, city: str) -> tuple[str, Reading | MicrobatchError]:
    try:
        return city, await client.read(city)
    except MicrobatchError as error:
        return city, error


def _report(read: Sequence[str], failed: Mapping[str, MicrobatchError]) -> None:
    """Warn of cities that failed; raise if all did."""
    if not read:
        for error in failed.values():
            if isinstance(error, KeyRefusedError):
                raise error  # said once, not for each city
    for city, error in failed.items():
        log.warning("%s: %s", city, error)
    if not read:
        raise NothingReadError(count=len(failed), reason=str(next(iter(failed.values()))))
